-- The library that the server has loaded. Between the installation of a new version and ALTER EXTENSION UPDATE, its
-- version and that of these objects differ: docs/operations.md, Upgrade.

CREATE FUNCTION webhook_internal.library_version() RETURNS text
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'webhook_library_version';
COMMENT ON FUNCTION webhook_internal.library_version() IS
    'The version of the library that this session runs. If the server preloads it, that is the library that was installed '
    'when the server started.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.library_version()');

CREATE FUNCTION webhook_internal.series(version text) RETURNS integer[]
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY[coalesce(substring(version FROM '^([0-9]{1,9})'), '0')::integer,
                 coalesce(substring(version FROM '^[^.]*[.]([0-9]{1,9})'), '0')::integer]
$$;
COMMENT ON FUNCTION webhook_internal.series(text) IS
    'The first two numbers of a version: {1,0} of 1.0.3. The library delivers for objects of its own series.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.series(text)');

-- The scripts of CREATE EXTENSION and of each ALTER EXTENSION UPDATE call it before anything else. By then pg_extension
-- has the version that the script makes. An older library might lack functions in C that the script declares.
CREATE FUNCTION webhook_internal.require_library() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted text := (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'webhook');
    loaded text := webhook_internal.library_version();
BEGIN
    IF webhook_internal.series(loaded) < webhook_internal.series(wanted) THEN
        RAISE EXCEPTION 'extension "webhook" in version % needs the library of that version, but the server runs version %',
                        wanted, loaded
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'Nothing has changed.',
                  HINT = 'Restart the server, so that it loads the library that is installed. Then repeat the statement.';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.require_library() IS
    'For the scripts of the extension. Raises 55000 if the library is older than the version that the script makes.';

SELECT webhook_internal.require_library();

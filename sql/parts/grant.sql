-- webhook_grant() and webhook_revoke(): the privileges of a role, by its level.

-- Revokes all privileges of the role on the extension's own objects. USAGE on the schema of the extension stays,
-- because the schema may hold other objects.
CREATE FUNCTION @extschema@.webhook_revoke(role regrole) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    extension oid := (SELECT e.oid FROM pg_extension e WHERE e.extname = 'webhook');
    object text;
BEGIN
    FOR object IN
        SELECT format('%s %s', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass)
        FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.deptype = 'e'
          AND d.classid = 'pg_class'::regclass AND c.relkind IN ('r', 'p', 'v', 'S') AND c.relowner <> role
          AND (EXISTS (SELECT FROM aclexplode(c.relacl) acl WHERE acl.grantee = role)
               OR EXISTS (SELECT FROM pg_attribute a, aclexplode(a.attacl) acl
                          WHERE a.attrelid = c.oid AND acl.grantee = role))
        UNION ALL
        SELECT format('FUNCTION %s', p.oid::regprocedure)
        FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.deptype = 'e'
          AND d.classid = 'pg_proc'::regclass AND p.proowner <> role
          AND EXISTS (SELECT FROM aclexplode(p.proacl) acl WHERE acl.grantee = role)
        UNION ALL
        SELECT format('SCHEMA %I', n.nspname)
        FROM pg_depend d JOIN pg_namespace n ON n.oid = d.objid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.deptype = 'e'
          AND d.classid = 'pg_namespace'::regclass AND n.nspowner <> role
          AND EXISTS (SELECT FROM aclexplode(n.nspacl) acl WHERE acl.grantee = role)
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s CASCADE', object, role);
    END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_revoke(regrole) IS
    'Takes back webhook_grant(), except USAGE on the extension''s schema.';

-- Only uses GRANT, which pg_dump dumps. It does not dump policies on the tables of an extension.
CREATE FUNCTION @extschema@.webhook_grant(role regrole, level text DEFAULT 'manage') RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    privilege text;
BEGIN
    IF level IS NULL OR level NOT IN ('monitor', 'read', 'manage', 'operate') THEN
        RAISE EXCEPTION 'invalid level "%"', level
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'The level is ''monitor'', ''read'', ''manage'' or ''operate''.';
    END IF;
    PERFORM @extschema@.webhook_revoke(role);
    FOR privilege IN SELECT p.privilege FROM webhook_internal.privileges p WHERE level = ANY (p.levels) LOOP
        EXECUTE format('GRANT %s TO %s', privilege, role);
    END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_grant(regrole, text) IS
    'Gives the role a level, in place of the one it has. monitor: health, figures and progress of the workers, and '
    'nothing of organizations; pg_monitor has it. read: logs, deliveries without their data, webhooks without their '
    'headers, and functions that explain them. manage: also data and headers, changing webhooks, revealing secrets, '
    'redelivering, cancelling, publishing events. operate: monitor and manage for all organizations, declaring events, '
    'pausing. Only uses GRANT. Raises 22023 if there is no such level.';

-- The library calls it after ALTER EXTENSION UPDATE, in its transaction. Not the script itself: PostgreSQL would take what
-- that grants for privileges that CREATE EXTENSION brings, and pg_dump would leave them out. Rows that this transaction has
-- inserted are new. Privileges from before stay as they are, because an administrator may have revoked some of them.
CREATE FUNCTION webhook_internal.grant_new_privileges() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        WITH new AS (
            SELECT p.privilege, p.levels FROM webhook_internal.privileges p WHERE p.xmin = pg_current_xact_id()::xid
        ), marked AS (
            -- A privilege that the level has, and the one below it has not.
            SELECT m.rank, m.level, acl.grantee
            FROM (VALUES (0, 'monitor', 'webhook_internal.progress()'::regprocedure),
                         (1, 'read', 'webhook_internal.library_version()'::regprocedure),
                         (2, 'manage', 'webhook_internal.redeliver_tenant(uuid, bigint[])'::regprocedure),
                         (3, 'operate', '@extschema@.webhook_is_operator()'::regprocedure)) m (rank, level, function)
            JOIN pg_proc f ON f.oid = m.function, aclexplode(f.proacl) acl
            WHERE acl.privilege_type = 'EXECUTE' AND acl.grantee NOT IN (0, f.proowner, 'pg_monitor'::regrole)
        ), role AS (
            SELECT DISTINCT ON (m.grantee) m.grantee, m.level FROM marked m ORDER BY m.grantee, m.rank DESC
        )
        SELECT format('GRANT %s TO %s', new.privilege, role.grantee::regrole) FROM new JOIN role ON role.level = ANY (new.levels)
    LOOP
        EXECUTE statement;
    END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.grant_new_privileges() IS
    'Grants the rows that this transaction has inserted into webhook_internal.privileges to the roles of their levels. A role '
    'has the level that webhook_grant() gave it last.';

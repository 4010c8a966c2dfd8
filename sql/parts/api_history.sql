-- webhook_api: who changed a webhook.

CREATE FUNCTION webhook_api.history(id uuid, before bigint DEFAULT NULL, page_size integer DEFAULT 50) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET TimeZone = 'UTC'
AS $$
DECLARE
    rows_max integer := webhook_internal.check_page_size(page_size, 200);
    changes json[];
    header_names jsonb := '{}';
    ids bigint[];
BEGIN
    -- A deleted webhook has a history, too.
    IF id IS NULL OR NOT EXISTS (SELECT FROM @extschema@.webhook_history h WHERE h.configuration_id = history.id) THEN
        PERFORM webhook_internal.require_webhook(id);
    END IF;
    ids := ARRAY(SELECT h.id FROM @extschema@.webhook_history h
                 WHERE h.configuration_id = history.id AND (before IS NULL OR h.id < before)
                 ORDER BY h.id DESC LIMIT rows_max + 1);
    -- Not one query: PostgreSQL would require the privilege on the columns.
    IF has_column_privilege('@extschema@.webhook_history'::regclass, 'old_headers', 'SELECT') THEN
        SELECT jsonb_object_agg(h.id, jsonb_build_object(
                   'old', CASE WHEN h.old_headers = '{}' THEN '{}' ELSE jsonb_build_object('header_names', h.old_headers) END,
                   'new', CASE WHEN h.new_headers = '{}' THEN '{}' ELSE jsonb_build_object('header_names', h.new_headers) END))
            INTO header_names
        FROM @extschema@.webhook_history h WHERE h.id = ANY (ids);
    END IF;
    SELECT array_agg(json_build_object(
               'id', h.id::text, 'changed_at', h.changed_at, 'operation', h.operation, 'version', h.version,
               'user', h.role, 'subject', h.subject,
               'old', h.old_values || coalesce(header_names #> ARRAY[h.id::text, 'old'], '{}'),
               'new', h.new_values || coalesce(header_names #> ARRAY[h.id::text, 'new'], '{}')) ORDER BY h.id DESC)
        INTO changes
    FROM @extschema@.webhook_history h WHERE h.id = ANY (ids[:rows_max]);
    RETURN json_build_object('changes', coalesce(to_json(changes), '[]'),
                             'next', CASE WHEN cardinality(ids) > rows_max THEN ids[rows_max]::text END);
END
$$;
COMMENT ON FUNCTION webhook_api.history(uuid, bigint, integer) IS
    'Who changed a webhook and how, the newest change first: docs/api.md. Also of a webhook that has been deleted. before: '
    'the next of the page before. Raises PT404 if the caller sees neither the webhook nor a change of it.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.history(uuid, bigint, integer)');

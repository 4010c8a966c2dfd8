-- What each level may do.

-- What each level gives: from the first of the two on, up to the second.
CREATE FUNCTION webhook_internal.privileges(level text) RETURNS SETOF text
    LANGUAGE sql IMMUTABLE STRICT ROWS 100 SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.privilege FROM (VALUES
        (1, 3, 'USAGE ON SCHEMA @extschema@'),
        -- Functions that run as their caller find there by its name what they may execute.
        (1, 3, 'USAGE ON SCHEMA webhook_internal'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_flush()'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_is_preloaded()'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_generate_secret()'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_url_problem(text)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_header_problem(text, text)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_event_pattern_problem(text)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_event_matches(text, text)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_filter_matches(jsonpath, json)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_filter_problem(jsonpath, json)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_filter_data_problem(text)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_sign(text, text)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_sign(text, bigint, text, text)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_verify(text, text, text)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_verify(text, bigint, text, text, text)'),
        -- Called by the views, as whoever reads them.
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.trigger_arguments(bytea)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.trigger_option(text[], text)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.watch_key(regclass)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.unwatched_children(regclass, text)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.trigger_condition(oid)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.duration_quantile(bigint[], double precision)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.encode_id(uuid, bigint, timestamptz)'),
        -- webhook_test(), webhook_emit() and webhook_replay() name the known events in their errors.
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.known_events(text)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.check_event(text)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.check_known_event(text)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.check_event_pattern(text)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.check_events(text[])'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.body(text, timestamptz, json, json)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.shell_quote(text)'),
        -- webhook_find() of an operator, webhook_emit() of an operator, and webhook_watch().
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.decode_id(uuid, text)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.check_own_event(text)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.check_source(regclass)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.check_columns(regclass, text, name[], text)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.check_comparison(regclass, name[], boolean)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.watch_operation(text, text)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.watch_trigger_name(regclass, text, text)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.watch_arguments(regclass, text, text, name[], name[], name, '
            'name[], name[], name[], boolean, boolean)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.watch_conflicts(regclass, text, text, name)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.condition_meaning(regclass, name)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.check_restorable(regclass, name)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.foreign_equality(regclass, name)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.condition_of_change(regclass, name)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.condition_of_value(regclass, name, text)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.check_condition(text)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.trigger_declaration(name, regclass, text, text, text[])'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.normal_condition(regclass, text, text, text)'),
        (1, 3, 'SELECT ON @extschema@.webhook_event_types'),
        (1, 3, 'SELECT ON @extschema@.webhook_watches'),
        (1, 3, 'SELECT ON @extschema@.webhook_deliveries'),
        (1, 3, 'SELECT ON webhook_internal.given_up'),
        (1, 3, 'SELECT ON @extschema@.webhook_logs'),
        (1, 3, 'SELECT ON @extschema@.webhook_minutes'),
        (1, 3, 'SELECT ON @extschema@.webhook_endpoints'),
        (1, 3, 'SELECT ON @extschema@.webhook_stats'),
        (1, 1, 'SELECT (id, webhook_id, created_at, event, organization_id, key, oversized_bytes, known_switch) '
            'ON @extschema@.webhook_own_events'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_server_state()'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_check(uuid)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.check_sources(uuid)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.check_secrets_own(uuid)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.check_shares_own(uuid)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.check_deferred_own(uuid)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_explain(bigint)'),
        (1, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_find(text)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.find_own(text)'),
        (1, 1, 'SELECT (id, organization_id, name, url, events, secret, is_active, filter, timeout_ms, '
            'retry_schedule, rate_limit_per_s, max_in_flight, ordering, test_event, active_since, disabled_at, disabled_reason, created_at, updated_at, switches) '
            'ON @extschema@.webhook_configurations'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.was_active(boolean, integer[], integer)'),
        (1, 3, 'EXECUTE ON FUNCTION webhook_internal.is_settled(bigint)'),
        (2, 3, 'SELECT, INSERT, UPDATE, DELETE ON @extschema@.webhook_configurations'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.check_limit(text)'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_reveal_secret(uuid)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.reveal_secret_own(uuid)'),
        (2, 3, 'SELECT ON @extschema@.webhook_own_events'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_redeliver(bigint)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.redeliver_own(uuid, bigint)'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_replay(uuid, timestamptz, timestamptz, text[], boolean, '
            'boolean)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.replay_own(uuid, timestamptz, timestamptz, text[], boolean, '
            'boolean)'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_cancel(uuid, bigint)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.cancel_own(uuid, bigint)'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_rotate_secret(uuid, interval)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.rotate_secret_own(uuid, interval)'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_test(uuid, text)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.test_own(uuid, text)'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_curl(bigint)'),
        (2, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_emit(text, json, text, text)'),
        (2, 3, 'EXECUTE ON FUNCTION webhook_internal.emit_own(text, json, text)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_is_operator()'),
        (3, 3, 'INSERT (name, category, description, example), UPDATE (category, description, example), DELETE '
            'ON @extschema@.webhook_event_types'),
        (3, 3, 'SELECT ON @extschema@.webhook_events'),
        (3, 3, 'SELECT, UPDATE (is_paused, paused_reason) ON @extschema@.webhook_instance'),
        (3, 3, 'SELECT ON @extschema@.webhook_checkpoint'),
        (3, 3, 'SELECT ON @extschema@.webhook_workers'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.worker_slots()'),
        (3, 3, 'SELECT ON @extschema@.webhook_rings'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_capture()'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.append(text, json, text, text)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.wake()'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.set_paused(boolean, text)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_pause(text)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_resume()'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.register_event(text)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_watch(regclass, text, text, text, name[], name[], name, '
            'name[], name[], name[], boolean, boolean, text)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_unwatch(regclass, text)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_watch_crm(regclass, regclass, regclass, regclass, regclass, '
            'regclass, name, name, name, name, name, name, name, name, name, name)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.reveal_secret_any(uuid)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.check_secrets_any(uuid)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.check_shares_any(uuid)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.check_deferred_any(uuid)'),
        (3, 3, 'EXECUTE ON FUNCTION @extschema@.webhook_reencrypt_secrets()'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.redeliver_any(uuid, bigint)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.replay_any(uuid, timestamptz, timestamptz, text[], boolean, '
            'boolean)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.cancel_any(uuid, bigint)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.rotate_secret_any(uuid, interval)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.test_any(uuid, text)'),
        (3, 3, 'EXECUTE ON FUNCTION webhook_internal.find_any(text)')
    ) p (lowest, highest, privilege)
    WHERE array_position(ARRAY['read', 'manage', 'operate'], level) BETWEEN p.lowest AND p.highest
$$;
COMMENT ON FUNCTION webhook_internal.privileges(text) IS 'What webhook_grant() grants for a level.';

-- Takes away what the role was given on the extension's own objects. USAGE on the schema stays: other things live
-- there.
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
COMMENT ON FUNCTION @extschema@.webhook_revoke(regrole) IS 'Takes back webhook_grant(), but for USAGE on the schema.';

-- GRANTs only, which pg_dump carries; policies on an extension's tables it does not.
CREATE FUNCTION @extschema@.webhook_grant(role regrole, level text DEFAULT 'manage') RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    privilege text;
BEGIN
    IF level IS NULL OR level NOT IN ('read', 'manage', 'operate') THEN
        RAISE EXCEPTION 'invalid level "%"', level
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It is ''read'', ''manage'' or ''operate''.';
    END IF;
    PERFORM @extschema@.webhook_revoke(role);
    FOR privilege IN SELECT p FROM webhook_internal.privileges(level) p LOOP
        EXECUTE format('GRANT %s TO %s', privilege, role);
    END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_grant(regrole, text) IS
    'Gives the role a level instead of the one it has. read: logs, deliveries without their data, webhooks without '
    'their headers, and finding out about them. manage: also the data, and to create, change, delete and reveal '
    'webhooks, send again, cancel, publish events. operate: all organizations, declaring events, pausing. By GRANTs '
    'alone.';

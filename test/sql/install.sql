-- What CREATE EXTENSION makes, what it hands out, and what DROP EXTENSION takes away. In one transaction, rolled back.
\set ECHO none
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only true
BEGIN;
SET client_min_messages = error;
CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;

-- A role that default privileges favour.
CREATE ROLE regress_webhook_favoured;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO regress_webhook_favoured;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO regress_webhook_favoured;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO regress_webhook_favoured;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO regress_webhook_favoured;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;

CREATE SCHEMA hooks;
CREATE EXTENSION webhook SCHEMA hooks;
SET search_path = public, tap;
SELECT plan(34);

CREATE VIEW pg_temp.relations AS
    SELECT c.* FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
    WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
      AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'webhook');
CREATE VIEW pg_temp.functions AS
    SELECT p.* FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
    WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
      AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'webhook');

-- Where things are and how they are called.
SELECT is_empty($$
    SELECT oid::regclass::text FROM pg_temp.relations
    WHERE relnamespace NOT IN ('hooks'::regnamespace, 'webhook_internal'::regnamespace, 'webhook_api'::regnamespace)
    UNION ALL SELECT oid::regprocedure::text FROM pg_temp.functions
              WHERE pronamespace NOT IN ('hooks'::regnamespace, 'webhook_internal'::regnamespace, 'webhook_api'::regnamespace)
$$, 'everything is in the schema that CREATE EXTENSION names, in webhook_internal or in webhook_api');
-- What \df webhook_* shows. A function that is added here is one that users call; all others go to webhook_internal.
SELECT bag_eq($$SELECT proname::text FROM pg_temp.functions WHERE pronamespace = 'hooks'::regnamespace$$, $$SELECT unnest(ARRAY[
    'webhook_attach_node', 'webhook_detach_node', 'webhook_home', 'webhook_join_home', 'webhook_share', 'webhook_take_over',
    'webhook_cancel', 'webhook_capture', 'webhook_check', 'webhook_curl', 'webhook_current_organization',
    'webhook_emit', 'webhook_event_matches', 'webhook_event_pattern_problem', 'webhook_explain',
    'webhook_filter_data_problem', 'webhook_filter_matches', 'webhook_filter_problem', 'webhook_find',
    'webhook_flush', 'webhook_generate_secret', 'webhook_grant', 'webhook_header_problem', 'webhook_health', 'webhook_is_operator',
    'webhook_is_preloaded', 'webhook_metrics', 'webhook_node_check', 'webhook_node_create', 'webhook_node_keep', 'webhook_node_missed',
    'webhook_node_resync', 'webhook_node_slot', 'webhook_pause', 'webhook_publication', 'webhook_redeliver', 'webhook_reencrypt_secrets', 'webhook_replay',
    'webhook_resume', 'webhook_reveal_secret', 'webhook_revoke', 'webhook_rotate_secret', 'webhook_server_state',
    'webhook_sign', 'webhook_sign', 'webhook_test', 'webhook_unwatch', 'webhook_url_problem', 'webhook_verify',
    'webhook_verify', 'webhook_watch', 'webhook_watch_crm'])$$, 'the first has what users call, and no more');
SELECT is_empty($$
    SELECT oid::regclass::text FROM pg_temp.relations
    WHERE relname LIKE 'webhook\_%' <> (relnamespace = 'hooks'::regnamespace)
    UNION ALL SELECT oid::regprocedure::text FROM pg_temp.functions
              WHERE proname LIKE 'webhook\_%' <> (pronamespace = 'hooks'::regnamespace)
$$, 'there, and only there, every name begins with webhook_');

-- Comments.
SELECT is_empty($$
    SELECT r.relname FROM pg_temp.relations r
    WHERE obj_description(r.oid, 'pg_class') IS NULL
      AND (r.relkind IN ('r', 'p', 'v', 'S')
           OR r.relkind IN ('i', 'I') AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = r.oid))
$$, 'every table, view, sequence and index has a comment');
SELECT is_empty($$
    SELECT r.relname, a.attname FROM pg_temp.relations r JOIN pg_attribute a ON a.attrelid = r.oid
    WHERE r.relkind IN ('r', 'p', 'v') AND NOT r.relispartition AND a.attnum > 0 AND NOT a.attisdropped
      AND col_description(r.oid, a.attnum) IS NULL
$$, 'every column has a comment');
SELECT is_empty($$
    SELECT oid::regprocedure FROM pg_temp.functions WHERE obj_description(oid, 'pg_proc') IS NULL
$$, 'every function has a comment');
SELECT is_empty($$
    SELECT p.polname, p.polrelid::regclass FROM pg_policy p JOIN pg_temp.relations r ON r.oid = p.polrelid
    WHERE obj_description(p.oid, 'pg_policy') IS NULL
$$, 'every policy has a comment');

-- Functions.
SELECT is_empty($$
    SELECT f.oid::regprocedure FROM pg_temp.functions f JOIN pg_language l ON l.oid = f.prolang
    WHERE l.lanname <> 'c' AND f.prokind <> 'a' AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (f.proconfig), false)
$$, 'every function that is not C pins its search_path');
SELECT set_eq('SELECT proname::text FROM pg_temp.functions WHERE prosecdef', ARRAY[
    'configurations_check', 'configurations_stage_secret', 'configurations_adopt_secrets',
    'configurations_change_secret', 'configurations_changed', 'configurations_record', 'configurations_count_version', 'configurations_forget', 'configurations_draw_identity',
    'secrets_forget',
    'emit_tenant', 'redeliver_tenant', 'redeliver_operator', 'replay_tenant', 'replay_operator',
    'count_replay_tenant', 'count_replay_operator', 'start_replay_tenant', 'start_replay_operator', 'cancel_replay_tenant', 'cancel_replay_operator',
    'cancel_tenant', 'cancel_operator', 'rotate_secret_tenant', 'rotate_secret_operator',
    'reveal_secret_tenant', 'reveal_secret_operator', 'webhook_reencrypt_secrets',
    'check_secrets_tenant', 'check_secrets_operator', 'check_shares_tenant', 'check_shares_operator', 'check_deferred_tenant', 'check_deferred_operator',
    'check_limit',
    'test_tenant', 'test_operator', 'find_tenant', 'is_settled', 'was_active', 'webhook_server_state', 'webhook_health', 'webhook_metrics', 'progress', 'recent_events_tenant', 'newest_log_id', 'log_slots', 'hide_statement', 'has_lost_slot',
    'require_home', 'node_states', 'check_node', 'pause_nodes', 'is_node', 'take_share', 'take_mark', 'take_command', 'act_on_report'],
    'only these functions run as their owner');
SELECT is_empty($$
    SELECT oid::regprocedure FROM pg_temp.functions
    WHERE (prorettype = 'trigger'::regtype OR prosecdef) AND has_function_privilege('public', oid, 'EXECUTE')
$$, 'nobody can attach a trigger function, or call one that runs as its owner');
SELECT is_empty($$
    SELECT f FROM unnest(ARRAY['webhook_internal.append(text, json, text, text)', 'webhook_is_operator()', 'webhook_internal.wake()',
        'webhook_internal.replace_secret(uuid, text)', 'webhook_reveal_secret(uuid)', 'webhook_emit(text, json, text, text)',
        'webhook_test(uuid, text, json)', 'webhook_internal.send_test(uuid, timestamptz, text, text, json, integer)',
        'webhook_pause(text)', 'webhook_resume()', 'webhook_grant(regrole, text)', 'webhook_revoke(regrole)']) f
    WHERE has_function_privilege('public', CASE WHEN f LIKE 'webhook\_internal.%' THEN f ELSE 'hooks.' || f END, 'EXECUTE')
$$, 'what needs a grant is not PUBLIC''s');

-- Privileges.
SELECT is_empty($$
    SELECT oid::regclass, relacl FROM pg_temp.relations, aclexplode(relacl) acl
    WHERE acl.grantee NOT IN (relowner, 'pg_monitor'::regrole)
$$, 'no role but the owner and pg_monitor has a right on any table, segment, view or sequence');
SELECT is_empty($$
    SELECT acl FROM pg_namespace, aclexplode(nspacl) acl WHERE nspname IN ('webhook_internal', 'webhook_api')
      AND acl.grantee <> nspowner
$$, 'nor on the schemas webhook_internal and webhook_api');
SELECT is_empty($$
    SELECT oid::regprocedure, proacl FROM pg_temp.functions, aclexplode(proacl) acl
    WHERE acl.grantee NOT IN (0, proowner, 'pg_monitor'::regrole)
$$, 'no role but the owner, pg_monitor and PUBLIC may execute a function');
SELECT is_empty($$
    SELECT relname FROM pg_temp.relations WHERE relkind IN ('r', 'p') AND NOT relrowsecurity
$$, 'row-level security is on for every table and segment');
SELECT is_empty($$
    SELECT p.polname FROM pg_policy p JOIN pg_temp.relations r ON r.oid = p.polrelid
    WHERE r.relispartition OR r.relname = 'webhook_secrets'
$$, 'segments and secrets have no policy');
SELECT is_empty($$
    SELECT r.relname FROM pg_temp.relations r WHERE r.relkind = 'v' AND r.relname <> 'webhook_own_events'
      AND NOT coalesce('security_invoker=true' = ANY (r.reloptions), false)
$$, 'views run as who asks, but for those that judge who asks themselves');

-- Rings.
SELECT bag_eq($$
    SELECT p.relname::text, pg_get_expr(c.relpartbound, c.oid)
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
    WHERE p.oid IN ('hooks.webhook_events'::regclass, 'hooks.webhook_logs'::regclass)
    ORDER BY p.relname, c.relname
$$, $$
    SELECT ring, format('FOR VALUES IN (''%s'')', slot)
    FROM unnest(ARRAY['webhook_events', 'webhook_logs']) ring, generate_series(0, 11) slot ORDER BY ring, slot
$$, 'events and logs are rings of 8 segments and of 4, without a default one');
SELECT bag_eq('SELECT ring, slot::int FROM hooks.webhook_rings ORDER BY ring',
    $$VALUES ('events', 0), ('excess_events', 8), ('excess_logs', 8), ('logs', 0)$$, 'all begin with their first segment');

-- pg_dump.
SELECT bag_eq($$
    SELECT c.table_oid::regclass::text, c.condition
    FROM pg_extension e, unnest(e.extconfig, e.extcondition) c (table_oid, condition) WHERE e.extname = 'webhook'
    ORDER BY 1
$$, $$VALUES ('hooks.webhook_configurations', ''), ('hooks.webhook_event_types', 'WHERE NOT is_builtin'),
             ('hooks.webhook_instance', ''), ('hooks.webhook_secrets', '')$$,
    'pg_dump carries the webhooks, their secrets, the user''s event types and the instance');

-- Events.
SELECT set_eq('SELECT name FROM hooks.webhook_event_types WHERE is_builtin', ARRAY[
    'contact.created', 'contact.updated', 'contact.assigned', 'deal.created', 'deal.updated', 'deal.stage.changed',
    'deal.assigned', 'conversation.created', 'conversation.assigned', 'conversation.status.changed',
    'message.received', 'message.sent', 'message.delivered', 'message.read', 'message.failed', 'broadcast.response',
    'zoom.recording.completed', 'webhook.test', 'webhook.disabled', 'webhook.delivery.failed', 'webhook.recovered',
    'webhook.endpoint.failing'],
    'the 17 built-in events are there, and those about webhooks themselves');
SELECT is_empty($$
    SELECT name FROM hooks.webhook_event_types
    WHERE category <> split_part(name, '.', 1) OR description = ''
       OR (example ->> 'organization_id' IS NULL AND name NOT LIKE 'webhook.%') OR example::text = '{}'
$$, 'each has a category, a description and an example');
SELECT throws_ok($$INSERT INTO hooks.webhook_event_types (name, category) VALUES ('Invoice Paid', 'invoice')$$, '23514',
    NULL, 'an event type must have a name that an event can bear');
SELECT throws_ok($$INSERT INTO hooks.webhook_event_types (name, category) VALUES ('invoice.*', 'invoice')$$, '23514',
    NULL, 'an event type is not a pattern');

-- Replication.
SELECT is_empty($$
    SELECT r.relname FROM pg_temp.relations r
    WHERE r.relname NOT IN ('webhook_event_types', 'webhook_configurations', 'webhook_secrets') AND r.relkind IN ('r', 'p')
      -- Between a home and its nodes these are replicated. Their own triggers keep rows out that come from elsewhere.
      AND r.relname NOT IN (SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
                            WHERE t.tgenabled = 'R' AND t.tgtype & 7 = 7 AND t.tgname IN ('webhook_take_share',
                                'webhook_take_mark', 'webhook_receive_shift', 'webhook_take_command',
                                'webhook_act_on_report'))
      AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = r.oid AND t.tgname = 'webhook_keep_local'
                        AND t.tgenabled = 'R' AND t.tgtype & 31 = 31)
$$, 'what is local to a database, each segment too, has the trigger that keeps replicated rows out');
SELECT is_empty($$
    SELECT r.relname FROM pg_temp.relations r
    WHERE r.relkind = 'r' AND NOT r.relispartition AND r.relreplident <> 'f'
      AND NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = r.oid AND contype = 'p')
$$, 'a publication of all tables does not forbid our updates');
SELECT bag_eq($$SELECT tgname::text, tgenabled::text, tgtype & 1 = 1 FROM pg_trigger
                    WHERE tgfoid = 'webhook_internal.invalidate_subscriptions()'::regprocedure ORDER BY tgname$$,
    $$VALUES ('webhook_configurations_6_invalidate', 'A', false),
             ('webhook_configurations_6_invalidate_replicated', 'R', true),
             ('webhook_invalidate', 'A', false), ('webhook_invalidate', 'A', false), ('webhook_invalidate', 'A', false),
             ('webhook_invalidate_replicated', 'R', true), ('webhook_invalidate_replicated', 'R', true)$$,
    'a change of webhooks, of their secrets, of the instance or of the nodes is announced however it comes');

CREATE FUNCTION pg_temp.event_rows_after(role text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('session_replication_role', role, true);
    INSERT INTO hooks.webhook_events (slot, id, xid, created_at, event, data)
    VALUES (3, 1, pg_current_xact_id(), now(), 'contact.created', '{}');
    INSERT INTO hooks.webhook_events_4 (slot, id, xid, created_at, event, data)
    VALUES (4, 2, pg_current_xact_id(), now(), 'contact.created', '{}');
    PERFORM set_config('session_replication_role', 'origin', true);
    RETURN (SELECT count(*) FROM hooks.webhook_events);
END
$$;
SELECT is(pg_temp.event_rows_after('replica'), 0::bigint, 'replication does not fill webhook_events');
SELECT is(pg_temp.event_rows_after('origin'), 2::bigint, 'others do');

-- Restored settings of a session.
SELECT is(current_setting('search_path'), 'public, tap', 'CREATE EXTENSION leaves the search_path alone');

-- DROP EXTENSION.
CREATE TABLE contacts (id int PRIMARY KEY, organization_id text);
SELECT hooks.webhook_watch('contacts', 'contact.created') IS NULL AS unused \gset
SELECT throws_ok('DROP EXTENSION webhook', '2BP01', NULL, 'DROP EXTENSION needs CASCADE while an event is declared');
DROP EXTENSION webhook CASCADE;
SELECT is_empty($$
    SELECT n.nspname FROM pg_namespace n, aclexplode(n.nspacl) acl WHERE acl.grantee = 'pg_monitor'::regrole
$$, 'DROP EXTENSION leaves pg_monitor no right');
SELECT triggers_are('contacts', '{}'::name[], 'and drops the triggers then');
CREATE EXTENSION webhook;
SELECT has_table('public'::name, 'webhook_configurations'::name, 'in public it works as well');

SELECT * FROM finish();
ROLLBACK;

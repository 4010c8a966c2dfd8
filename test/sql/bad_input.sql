-- Bad input: every argument of every function that PUBLIC or a level of webhook_grant() may execute, and every column of
-- webhook_configurations, is given what nobody should give. It succeeds or is refused by an error of the user's kind;
-- what those say is tested beside what they are for. In one transaction, rolled back.
\set ECHO none
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only true
BEGIN;
SET client_min_messages = error;
CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;
CREATE SCHEMA hooks;
CREATE EXTENSION webhook SCHEMA hooks;
SET search_path = public, tap;
SELECT plan(17);

CREATE ROLE regress_webhook_none;
CREATE ROLE regress_webhook_read;
CREATE ROLE regress_webhook_manage;
CREATE ROLE regress_webhook_operate;
SELECT hooks.webhook_grant('regress_webhook_read', 'read'), hooks.webhook_grant('regress_webhook_manage'),
       hooks.webhook_grant('regress_webhook_operate', 'operate') \g /dev/null

-- Something for good arguments to hit, and something that belongs to another organization.
INSERT INTO hooks.webhook_instance (instance, database_oid, system_identifier)
VALUES ('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 1, 1);
INSERT INTO hooks.webhook_configurations (id, organization_id, name, url, events, secret, headers)
SELECT id::uuid, o, 'webhook of ' || o, 'https://' || o || '.example/', '{contact.*}', 'the secret of ' || o, '{}'
FROM (VALUES ('00000000-0000-0000-0000-00000000000a', 'acme'), ('00000000-0000-0000-0000-00000000000b', 'globex')) c (id, o);
INSERT INTO hooks.webhook_events (slot, id, xid, created_at, event, organization_id, data)
SELECT 0, id, pg_current_xact_id(), now(), 'contact.created', o, json_build_object('of', o)
FROM (VALUES (1, 'acme'), (2, 'globex')) e (id, o);
INSERT INTO hooks.webhook_logs (id, slot, created_at, configuration_id, organization_id, event_id, event, attempt, status, error)
SELECT CASE organization_id WHEN 'acme' THEN 1 ELSE 2 END, 0, now(), id, organization_id,
       CASE organization_id WHEN 'acme' THEN 1 ELSE 2 END, 'contact.created', 1, 'failed', organization_id
FROM hooks.webhook_configurations;
INSERT INTO hooks.webhook_deliveries (event_id, configuration_id, configuration_created_at, organization_id, event, created_at,
                                      state, attempts, next_attempt_at, slot)
SELECT 1, id, created_at, organization_id, 'contact.created', now(), 'pending', 1, now() + interval '1 h', 0
FROM hooks.webhook_configurations WHERE organization_id = 'acme';
INSERT INTO hooks.webhook_replays (id, configuration_id, configuration_created_at, organization_id, since, until, only_failed, role,
                                   session_role, place, snapshot, first_event_id, last_event_id, position)
SELECT CASE organization_id WHEN 'acme' THEN 1 ELSE 2 END, id, created_at, organization_id, '-infinity', now(), false,
       organization_id, organization_id, 1, pg_current_snapshot(), 1, 2, 0 FROM hooks.webhook_configurations;
CREATE TABLE contacts (id int PRIMARY KEY, organization_id text, "odd ""name""" text, updated_at timestamptz);
SELECT hooks.webhook_watch('contacts', 'contact.created', 'UPDATE', on_replicated => true) \g /dev/null
ALTER TABLE contacts OWNER TO regress_webhook_operate;
CREATE VIEW people AS SELECT * FROM contacts;
ALTER VIEW people OWNER TO regress_webhook_operate;

-- No worker sees what this transaction makes: its answer to a test.
CREATE OR REPLACE FUNCTION webhook_internal.send_test(
    webhook uuid, created_at timestamptz, organization text, event text, data json, timeout_ms integer, OUT status text,
    OUT response_status integer, OUT response_body text, OUT error text, OUT duration_ms double precision, OUT log_id bigint,
    OUT url text, OUT headers text, OUT body text)
    LANGUAGE sql AS $$SELECT 'success', 200, 'ok', NULL, 12.5::double precision, 43::bigint,
        'https://example.com/hook', E'Content-Type: application/json\r\nX-Own: ***', data::text$$;

CREATE VIEW functions AS
    SELECT p.* FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
    WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
      AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'webhook') AND p.prorettype <> 'trigger'::regtype
      -- Not those that are there to raise an error, nor aggregates.
      AND p.proname NOT LIKE 'raise\_%' AND p.prokind = 'f';

-- One good and many bad values for each type, as literals.
CREATE TABLE good (type text PRIMARY KEY, value text);
INSERT INTO good VALUES
    ('text', 'contact.created'), ('name', 'id'), ('uuid', '00000000-0000-0000-0000-00000000000a'), ('bigint', '1'),
    ('integer', '1'), ('boolean', 'true'), ('json', '{}'), ('jsonb', '{}'), ('jsonpath', '$'), ('interval', '1 h'),
    ('timestamp with time zone', '2024-01-15 10:30+00'), ('text[]', '{contact.created}'), ('name[]', '{id}'),
    ('interval[]', '{1s}'), ('bigint[]', '{1}'), ('integer[]', '{1,2}'), ('regclass', 'contacts'), ('regrole', 'regress_webhook_none'), ('oid', '1'),
    ('bytea', '\x6100'), ('double precision', '0.5'), ('uuid[]', '{00000000-0000-0000-0000-00000000000a}'), ('smallint', '0'),
    ('hooks.webhook_configurations', (SELECT c::text FROM hooks.webhook_configurations c WHERE c.organization_id = 'acme')),
    ('hooks.webhook_logs', (SELECT l::text FROM hooks.webhook_logs l WHERE l.id = 1)),
    ('hooks.webhook_deliveries', (SELECT d::text FROM hooks.webhook_deliveries d));
-- Arguments that need another good value than their type's.
CREATE TABLE good_argument (argument text PRIMARY KEY, value text);
INSERT INTO good_argument VALUES
    ('operation', 'UPDATE'), ('condition', 'NEW.id = 1'), ('exclude_columns', NULL), ('search_path', 'public'),
    ('organization_id', 'acme'), ('organization_column', 'organization_id'), ('updated_column', 'updated_at'),
    ('webhook_id', (SELECT webhook_id FROM hooks.webhook_own_events WHERE id = 1)), ('until', 'infinity'),
    ('trigger_name', 'webhook_contact_created_update'), ('organization', 'acme'), ('status', NULL), ('state', 'pending'),
    ('if_updated_at', NULL), ('filter', '$'), ('after', NULL), ('before', NULL), ('key', NULL), ('backfill', 'false'),
    ('source_table', '{"schema":"public","name":"contacts","identity":"d","key":["id"],"schema_usable":true,"columns":[{"name":"id","type":"integer","typmod":-1,"plain":"integer","plain_typmod":-1,"is_published":true,"is_readable":true,"not_null":true,"is_generated":false}]}'),
    ('source_tables', '[]'), ('names', '["id"]'), ('server', '{"role":"webhook_node"}');
CREATE TABLE bad (type text, value text);
INSERT INTO bad SELECT type, NULL FROM good;
INSERT INTO bad
SELECT type, value FROM unnest(ARRAY['text', 'name']) type, unnest(ARRAY['', ' ', repeat('x', 64), repeat('long.', 20000),
    E'it''s "quoted" \\ `$1` $$', E'line\nfeed\rreturn\ttab', U&'Zo\00EB \65E5\672C \+01F642', E'\x01\x7F', '%s%n%I', '*', '.',
    'contact.*', 'a..b', '''; DROP TABLE contacts; --', '{', '{"a":', '[]', 'null', '-1', 'evt_', 'evt_' || repeat('z', 26),
    'whsec_', 'whsec_!', 'v1,', 'sha256=', 'http://', 'https://u:p@h/', 'true) OR (true', 'odd "name"', '1/0', 'OLD.id = 1']) value
UNION ALL
SELECT type, value FROM unnest(ARRAY['bigint', 'integer']) type, unnest(ARRAY['0', '-1', '2', '2147483647', '-2147483648']) value
UNION ALL SELECT 'bigint', unnest(ARRAY['9223372036854775807', '-9223372036854775808'])
UNION ALL SELECT 'smallint', unnest(ARRAY['-1', '12', '32767', '-32768'])
UNION ALL SELECT 'double precision', unnest(ARRAY['0', '-0', '-1', '2', '1e308', '5e-324', 'NaN', 'Infinity', '-Infinity'])
UNION ALL SELECT 'xid8', unnest(ARRAY['0', '3', '18446744073709551615'])
UNION ALL SELECT 'boolean', 'false'
UNION ALL SELECT 'uuid', unnest(ARRAY['00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-00000000000b',
                                      'ffffffff-ffff-ffff-ffff-ffffffffffff'])
UNION ALL SELECT 'timestamp with time zone', unnest(ARRAY['infinity', '-infinity', '4713-01-01 00:00+00 BC',
                                                          '294276-12-31 23:59+00', '1970-01-01 00:00+00'])
UNION ALL SELECT 'interval', unnest(ARRAY['0', '-1 h', '1 microsecond', '178000000 years', '-178000000 years',
                                          '1000000 years -359999999 days'])
UNION ALL SELECT type, value FROM unnest(ARRAY['json', 'jsonb']) type, unnest(ARRAY['null', '[]', '"text"', '1e308',
    '{"":""}', '{"a":null}', '{"a":{"b":[1]}}', '{"X-A":"line\nfeed"}', '{"it''s \"odd\"":"\u65e5"}', '{"a":"1","A":"2"}',
    repeat('[', 500) || repeat(']', 500), '"' || repeat('long', 50000) || '"']) value
UNION ALL SELECT 'json', '{"a":"\u0000"}'
UNION ALL SELECT 'jsonpath', unnest(ARRAY['$.a', 'strict $.a.b', '$ ? (1 / 0 > 0)', '$.**', '$ ? (@ like_regex "(a+)+$")',
                                          '$.' || repeat('a', 100000)])
UNION ALL SELECT 'text[]', unnest(ARRAY['{}', '{NULL}', '{""}', '{{a,b},{c,d}}', '[5:6]={a,b}', '{"it''s","\"odd\"","a,b"}',
                                        array_fill('contact.created'::text, ARRAY[3000])::text])
UNION ALL SELECT 'name[]', unnest(ARRAY['{}', '{NULL}', '{""}', '{{id},{id}}', '[5:5]={id}', '{"odd \"name\""}', '{none}',
                                        array_fill('id'::text, ARRAY[3000])::text])
UNION ALL SELECT 'interval[]', unnest(ARRAY['{}', '{NULL}', '{0}', '{-1s}', '{{1s},{1s}}', '{178000000 years}'])
UNION ALL SELECT 'bigint[]', unnest(ARRAY['{}', '{NULL}', '{{1},{2}}', '{-1}'])
UNION ALL SELECT 'uuid[]', unnest(ARRAY['{}', '{NULL}', '{00000000-0000-0000-0000-00000000000b}'])
UNION ALL SELECT 'integer[]', unnest(ARRAY['{}', '{NULL}', '{{1},{2}}', '{-1}', '{2,1}'])
UNION ALL SELECT 'regclass', unnest(ARRAY['0', '4294967295', 'pg_class', 'people', 'hooks.webhook_events',
    'hooks.webhook_events_0', 'hooks.webhook_secrets', 'hooks.webhook_logs_id_seq', 'hooks.webhook_events_id_idx',
    'hooks.webhook_watches', 'information_schema.tables'])
UNION ALL SELECT 'regrole', unnest(ARRAY['0', '4294967295', 'regress_webhook_manage'])
UNION ALL SELECT 'oid', unnest(ARRAY['0', '4294967295', '1259'])
UNION ALL SELECT 'bytea', unnest(ARRAY['\x', '\x00', '\x0000', '\xff', '\xff00', '\x5c00', '\x5c30303000']);

-- What becomes of a statement: 'fine' and its rows, or SQLSTATE and texts of its error. It is undone.
CREATE FUNCTION outcome(role text, statement text, OUT state text, OUT said text) LANGUAGE plpgsql AS $$
DECLARE
    line text;
    detail text;
    hint text;
BEGIN
    said := '';
    PERFORM set_config('webhook.organization_id', 'acme', true);
    PERFORM set_config('role', 'regress_webhook_' || role, true);
    FOR line IN EXECUTE statement LOOP
        said := said || left(coalesce(line, ''), 10000);
    END LOOP;
    PERFORM set_config('role', 'none', true);
    RAISE EXCEPTION 'undone' USING ERRCODE = 'UNDNE';
EXCEPTION
    WHEN SQLSTATE 'UNDNE' THEN
        state := 'fine';
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, said = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                                hint = PG_EXCEPTION_HINT;
        said := concat_ws(E'\n', said, detail, hint);
END
$$;

-- --- functions -------------------------------------------------------------------------------------------------------

-- The lower of the two levels that may execute a function (manage may all that read may), and its arguments.
CREATE TABLE callable AS
    SELECT f.oid::regprocedure::text AS signature, f.oid::regproc AS name, a.argument, a.type, a.place, l.role
    FROM functions f
    CROSS JOIN LATERAL (SELECT role FROM unnest(ARRAY['manage', 'operate']) WITH ORDINALITY r (role, level)
                        WHERE has_function_privilege('regress_webhook_' || role, f.oid, 'EXECUTE') ORDER BY level LIMIT 1) l
    LEFT JOIN LATERAL (SELECT format_type(t, NULL) AS type, place, f.proargnames[place] AS argument
                       FROM unnest(f.proargtypes::oid[]) WITH ORDINALITY u (t, place)) a ON true;
SELECT is_empty($$
    SELECT signature FROM (SELECT oid::regprocedure::text AS signature, oid FROM functions) f
    WHERE (has_function_privilege('regress_webhook_none', oid, 'EXECUTE')
           OR has_function_privilege('regress_webhook_read', oid, 'EXECUTE'))
      AND signature NOT IN (SELECT signature FROM callable WHERE role = 'manage')
$$, 'what PUBLIC or read may execute, manage may');
SELECT is_empty($$
    SELECT DISTINCT format('add good and bad values of type %s, of %s, to test/sql/bad_input.sql', type, signature)
    FROM callable WHERE type IS NOT NULL AND type NOT IN (SELECT type FROM good)
$$, 'there are values for every type of argument');

CREATE FUNCTION call_of(function text, spoiled int, value text) RETURNS text LANGUAGE sql AS $$
    SELECT format('SELECT f FROM %s(%s) f', min(c.name::text), string_agg(
        format('%L::%s', CASE WHEN c.place = spoiled THEN call_of.value WHEN a.argument IS NULL THEN g.value ELSE a.value END, c.type), ', ' ORDER BY c.place))
    FROM callable c LEFT JOIN good g USING (type) LEFT JOIN good_argument a USING (argument) WHERE c.signature = function AND c.type IS NOT NULL
$$;
CREATE TABLE called AS
    SELECT c.signature, c.role, c.place, b.value, o.state, o.said
    FROM callable c JOIN bad b USING (type)
    CROSS JOIN LATERAL outcome(c.role, call_of(c.signature, c.place::int, b.value)) o;
SELECT cmp_ok(count(*), '>', 1000::bigint, 'there are many calls') FROM called;
SELECT is_empty($$SELECT signature FROM callable WHERE type IS NOT NULL EXCEPT SELECT signature FROM called$$,
                'every function with arguments is called');
SELECT is_empty($$
    SELECT signature, place, left(value, 60), state, left(said, 200) FROM called
    WHERE state ~ '^(XX|P0|58|57|53|38|39|F0|0Z|2F|08)'
$$, 'no function fails as one must not: no internal error, no error without a SQLSTATE of its own');
-- As operators, who see the rows of all organizations, in other ways.
CREATE TABLE called_by_operator AS
    SELECT c.signature, c.place, b.value, o.state, o.said
    FROM callable c JOIN bad b USING (type)
    CROSS JOIN LATERAL outcome('operate', call_of(c.signature, c.place::int, b.value)) o
    WHERE c.signature LIKE 'webhook_api.%' AND c.role <> 'operate';
SELECT is_empty($$
    SELECT signature, place, left(value, 60), state, left(said, 200)
    FROM (SELECT signature, place, value, state, said FROM called UNION ALL TABLE called_by_operator) c
    WHERE signature LIKE 'webhook_api.%'
      AND said ~ '^((bigint|integer|smallint|timestamp|interval|date) out of range|cannot subtract infinite)'
$$, 'no function of webhook_api computes with a value that is too large to compute with');
SELECT is_empty($$
    SELECT signature, place, left(value, 60), state, left(said, 200) FROM called_by_operator
    WHERE state ~ '^(XX|P0|58|57|53|38|39|F0|0Z|2F|08)'
$$, 'nor fails for an operator as one must not');
SELECT is_empty($$
    SELECT signature, place, left(value, 60), state, left(said, 200) FROM called
    WHERE role <> 'operate' AND said LIKE '%globex%'
$$, 'and none tells of another organization');
SELECT is_empty($$
    SELECT signature, place, left(value, 60), said FROM called WHERE state <> 'fine' AND said LIKE '%the secret of%'
$$, 'or a secret');
SELECT is_empty($$
    SELECT signature, o.state, left(o.said, 200) FROM (SELECT DISTINCT signature, role FROM callable WHERE type IS NOT NULL) c
    CROSS JOIN LATERAL outcome(c.role, call_of(c.signature, 0, NULL)) o WHERE o.state <> 'fine'
      -- These need a second server: test/t/081_nodes.pl and test/t/082_node_setup.pl.
      AND signature !~ '(ask_source|source_server|source_tables|ready_tables|subscription_source|start_resynchronized|webhook_node_\w+)[(]'
$$, 'with good arguments each succeeds, so that the bad ones are reached');

-- --- columns of webhook_configurations -------------------------------------------------------------------------------

CREATE TABLE stored AS
    SELECT a.attname, s.operation, b.value, o.state, o.said
    FROM pg_attribute a JOIN bad b ON b.type = format_type(a.atttypid, NULL)
    CROSS JOIN LATERAL (
        SELECT 'INSERT' AS operation, format(
            'INSERT INTO hooks.webhook_configurations (%s) VALUES (%s) RETURNING 1',
            string_agg(quote_ident(c.name), ', '),
            string_agg(CASE WHEN c.name = a.attname THEN format('%L::%s', b.value, b.type) ELSE quote_literal(c.value) END, ', '))
                AS statement
        FROM (VALUES ('name', 'new'), ('url', 'https://example.com/'), ('events', '{*}')
              UNION SELECT a.attname, '' WHERE a.attname NOT IN ('name', 'url', 'events')) c (name, value)
        UNION ALL
        SELECT 'UPDATE', format('UPDATE hooks.webhook_configurations SET %I = %L::%s RETURNING 1', a.attname, b.value, b.type)
    ) s
    CROSS JOIN LATERAL outcome('manage', s.statement) o
    WHERE a.attrelid = 'hooks.webhook_configurations'::regclass AND a.attnum > 0 AND NOT a.attisdropped;
SELECT is_empty($$
    SELECT attname FROM pg_attribute
    WHERE attrelid = 'hooks.webhook_configurations'::regclass AND attnum > 0 AND NOT attisdropped
    EXCEPT SELECT attname FROM stored
$$, 'every column of webhook_configurations is tried');
SELECT is_empty($$
    SELECT attname, operation, left(value, 60), state, left(said, 200) FROM stored
    WHERE state <> 'fine' AND state !~ '^(22|23|42|0A)'
$$, 'each is stored, or refused as a value that cannot be');
SELECT is_empty($$
    SELECT attname, operation, left(value, 60), said FROM stored WHERE said LIKE '%globex%' OR said LIKE '%the secret of%'
$$, 'without a word about others');
SELECT is_empty($$
    SELECT attname, operation, length(value) FROM stored WHERE state = 'fine' AND length(value) > 10000
      AND attname NOT IN ('events', 'headers')
$$, 'what is over-long is not stored');

-- A reason that a tenant gives is bounded.
SELECT is((outcome('manage', format('UPDATE hooks.webhook_configurations SET is_active = false, disabled_reason = %L RETURNING 1',
                                    repeat(U&'\00E4', 1000)))).state, 'fine', 'a disabled_reason of 1000 characters is stored');
SELECT is(said, E'the disabled_reason of a webhook can have at most 1000 characters\nIt has 1001.\nShorten it.',
          'a longer one is refused'), is(state, '22023', 'by SQLSTATE too')
FROM outcome('manage', format('UPDATE hooks.webhook_configurations SET is_active = false, disabled_reason = %L RETURNING 1',
                              repeat('x', 1001)));

SELECT * FROM finish();
ROLLBACK;

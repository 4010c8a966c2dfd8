-- webhook_history: who changed which webhook, without secrets and the values of headers, in the transaction of the change;
-- and webhook_api.history(). In one transaction, rolled back.
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
SELECT plan(55);

CREATE ROLE regress_webhook_reads;
CREATE ROLE regress_webhook_manages;
CREATE ROLE regress_webhook_operates;
SELECT hooks.webhook_grant('regress_webhook_reads', 'read'), hooks.webhook_grant('regress_webhook_manages', 'manage'),
       hooks.webhook_grant('regress_webhook_operates', 'operate') \g /dev/null
GRANT USAGE ON SCHEMA tap TO PUBLIC;
CREATE VIEW tap.newest AS SELECT * FROM hooks.webhook_history ORDER BY id DESC LIMIT 1;

-- --- What a change leaves ---------------------------------------------------------------------------------------------

SET ROLE regress_webhook_manages;
SET request.jwt.claims = '{"organization_id": "acme", "sub": "ada@example.com"}';
INSERT INTO hooks.webhook_configurations (name, url, events, secret, headers, retry_schedule)
VALUES ('crm', 'https://example.com/', '{contact.*}', 'a very long secret', '{"X-Key": "the key", "X-Other": "o"}', '{5s,1min}');
RESET ROLE;
SELECT id AS a FROM hooks.webhook_configurations \gset
SELECT is((SELECT (configuration_id, organization_id, operation, role, session_role, subject)::text FROM tap.newest),
          format('(%s,acme,INSERT,regress_webhook_manages,%s,ada@example.com)', :'a', session_user),
          'an INSERT: of which webhook, whose, by whom');
SELECT is((SELECT new_values FROM tap.newest), '{"name": "crm", "url": "https://example.com/", "events": ["contact.*"],
    "filter": null, "is_active": true, "timeout_ms": 5000, "retry_schedule_s": [5, 60], "rate_limit_per_s": null,
    "max_in_flight": 16, "ordering": "relaxed", "test_event": null, "disabled_reason": null, "secret": "set"}',
    'with all values, but for the secret');
SELECT is((SELECT (old_values, new_headers)::text FROM tap.newest), '({},"{X-Key,X-Other}")', 'of headers the names');

SET ROLE regress_webhook_manages;
UPDATE hooks.webhook_configurations SET url = 'https://example.com/new', timeout_ms = 700, retry_schedule = NULL;
RESET ROLE;
SELECT is((SELECT (operation, old_values, new_values, old_headers, new_headers)::text FROM tap.newest),
          ('UPDATE'::text, '{"url": "https://example.com/", "timeout_ms": 5000, "retry_schedule_s": [5, 60]}'::jsonb,
           '{"url": "https://example.com/new", "timeout_ms": 700, "retry_schedule_s": null}'::jsonb, '{}'::text[],
           '{}'::text[])::text, 'an UPDATE: what it changed, before and after');
SELECT count(*) AS changes FROM hooks.webhook_history \gset
UPDATE hooks.webhook_configurations SET name = name, timeout_ms = 700;
SELECT is((SELECT count(*) FROM hooks.webhook_history), :changes::bigint, 'an UPDATE that changes nothing leaves nothing');
UPDATE hooks.webhook_configurations SET headers = '{"X-Key": "another key", "X-New": "n"}';
SELECT is((SELECT (old_values, new_values, old_headers, new_headers)::text FROM tap.newest),
          '({},{},"{X-Key,X-Other}","{X-Key,X-New}")', 'headers that were removed, added or changed, by their names');
SELECT is((SELECT (role, session_role)::text FROM tap.newest), (session_user, session_user)::text,
          'without SET ROLE it is who logged in');
SELECT is_empty($$SELECT h FROM hooks.webhook_history h WHERE h::text ~ 'the key|another key|long secret'$$,
                'no secret and no value of a header is kept');

-- --- Secrets ----------------------------------------------------------------------------------------------------------

UPDATE hooks.webhook_configurations SET secret = 'quite another secret';
SELECT is((SELECT (old_values, new_values)::text FROM tap.newest), '({},"{""secret"": ""changed""}")', 'a secret is changed');
SELECT hooks.webhook_rotate_secret(:'a') \g /dev/null
SELECT is((SELECT (old_values, new_values)::text FROM tap.newest), '({},"{""secret"": ""changed""}")', 'or rotated');
UPDATE hooks.webhook_configurations SET secret = 'one secret of 1234';
SELECT count(*) AS changes FROM hooks.webhook_history \gset
UPDATE hooks.webhook_configurations SET secret = 'two secret of 1234';
SELECT is((SELECT count(*) FROM hooks.webhook_history), :changes::bigint + 1, 'also if the mask stays the same');
UPDATE hooks.webhook_configurations SET secret = NULL;
SELECT is((SELECT new_values FROM tap.newest), '{"secret": "removed"}', 'or removed');
UPDATE hooks.webhook_configurations SET secret = 'a very long secret';
SELECT is((SELECT new_values FROM tap.newest), '{"secret": "set"}', 'or set');
SELECT count(*) AS changes FROM hooks.webhook_history \gset
UPDATE hooks.webhook_configurations SET secret = secret;
SELECT is((SELECT count(*) FROM hooks.webhook_history), :changes::bigint, 'its mask, written back, is no change');

-- --- Versions ---------------------------------------------------------------------------------------------------------

SELECT is((SELECT array_agg(version ORDER BY id) FROM hooks.webhook_history),
          ARRAY(SELECT generate_series(1, (SELECT version FROM hooks.webhook_configurations))), 'each change makes a version');
SELECT version FROM hooks.webhook_configurations \gset
UPDATE hooks.webhook_configurations SET name = name, secret = secret, version = 4711;
SELECT is((SELECT version FROM hooks.webhook_configurations), :version, 'an UPDATE that changes nothing makes none, whatever it says');
UPDATE hooks.webhook_configurations SET timeout_ms = 800, version = 1;
SELECT is((SELECT version FROM hooks.webhook_configurations), :version + 1, 'nor can another one set it');
INSERT INTO hooks.webhook_configurations (id, name, url, events, version)
SELECT id, name, url, events, 4711 FROM hooks.webhook_configurations
ON CONFLICT (id) DO UPDATE SET ordering = 'key', version = EXCLUDED.version;
SELECT is((SELECT version FROM hooks.webhook_configurations), :version + 2, 'nor an upsert');
INSERT INTO hooks.webhook_configurations (organization_id, name, url, events, version)
VALUES ('umbrella', 'restored', 'https://example.com/', '{*}', 7);
SELECT is((SELECT version FROM tap.newest), 7, 'an operator who restores a webhook gives its version');
DELETE FROM hooks.webhook_configurations WHERE name = 'restored';
SELECT is((SELECT (operation, version)::text FROM tap.newest), '(DELETE,7)', 'a DELETE has the version that was deleted');
SET ROLE regress_webhook_manages;
SET request.jwt.claims = '{"organization_id": "umbrella"}';
INSERT INTO hooks.webhook_configurations (name, url, events, version) VALUES ('new', 'https://example.com/', '{*}', 7);
RESET ROLE;
SELECT is((SELECT version FROM tap.newest), 1, 'a tenant does not');
UPDATE hooks.webhook_configurations SET version = 9 WHERE name = 'new';
DELETE FROM hooks.webhook_configurations WHERE name = 'new';
DELETE FROM hooks.webhook_history WHERE organization_id = 'umbrella';
INSERT INTO hooks.webhook_configurations (organization_id, name, url, events, version)
VALUES ('umbrella', 'last', 'https://example.com/', '{*}', 2147483647);
UPDATE hooks.webhook_configurations SET timeout_ms = 900 WHERE name = 'last';
SELECT is((SELECT (operation, version)::text FROM tap.newest), '(UPDATE,2147483647)', 'the count ends at the highest integer');
DELETE FROM hooks.webhook_configurations WHERE name = 'last';
DELETE FROM hooks.webhook_history WHERE organization_id = 'umbrella';
SET session_replication_role = replica;
UPDATE hooks.webhook_configurations SET url = 'https://example.com/replicated', version = 100;
SET session_replication_role = DEFAULT;
SELECT is((SELECT version FROM hooks.webhook_configurations), 100, 'replication brings the version of where the change was made');
SELECT throws_ok('INSERT INTO hooks.webhook_configurations (name, url, events, version) VALUES (''x'', ''https://example.com/'', ''{*}'', 0)',
                 '23514', NULL, 'a version is positive');

-- --- Claims -----------------------------------------------------------------------------------------------------------

RESET request.jwt.claims;

CREATE FUNCTION pg_temp.subject_of(claims text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('request.jwt.claims', claims, true);
    UPDATE hooks.webhook_configurations SET timeout_ms = timeout_ms + 1;
    PERFORM set_config('request.jwt.claims', '', true);
    RETURN (SELECT subject FROM tap.newest);
END
$$;
SELECT is(pg_temp.subject_of(claims), subject, 'the subject of ' || claims)
FROM (VALUES ('', NULL), ('{}', NULL), ('{"sub": 4711}', '4711'), ('{"sub": null}', NULL), ('null', NULL), ('[1]', NULL),
             ('no json', NULL), ('{"sub": "\ud800"}', NULL), ('{"sub": "a\u0000b"}', NULL)) c (claims, subject);
SELECT is(length(pg_temp.subject_of(json_build_object('sub', repeat('x', 5000))::text)), 200, 'a long subject is cut');

-- --- Bounds -----------------------------------------------------------------------------------------------------------

INSERT INTO hooks.webhook_event_types (name, category) SELECT 'item.e' || i, 'item' FROM generate_series(1, 201) i;
UPDATE hooks.webhook_configurations SET events = ARRAY(SELECT 'item.e' || i FROM generate_series(1, 200) i);
UPDATE hooks.webhook_configurations SET events[200] = 'item.e201';
SELECT is((SELECT jsonb_array_length(new_values -> 'events') FROM tap.newest), 50, 'of many events the first 50 are kept');
SELECT isnt((SELECT old_values FROM tap.newest), '{}', 'though the change is behind them');
INSERT INTO hooks.webhook_configurations (organization_id, name, url, events)
VALUES ('globex', 'other', 'https://example.org/', '{*}');
SELECT id AS b FROM hooks.webhook_configurations WHERE organization_id = 'globex' \gset
INSERT INTO hooks.webhook_history (configuration_id, organization_id, operation, version)
SELECT :'a', 'acme', 'UPDATE', 1 FROM generate_series(1, 5100);
DO $$
BEGIN
    FOR i IN 1 .. 70 LOOP
        UPDATE hooks.webhook_configurations SET timeout_ms = 1000 + i % 2 WHERE organization_id = 'acme';
    END LOOP;
END
$$;
SELECT ok(count(*) BETWEEN 5000 AND 5064, 'an organization has no more than about 5000') FROM hooks.webhook_history
WHERE organization_id = 'acme';
SELECT is((SELECT count(*) FROM hooks.webhook_history WHERE organization_id = 'globex'), 1::bigint, 'others keep theirs');

-- --- Who may see it ---------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.asked(role text, organization text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    PERFORM set_config('webhook.organization_id', organization, true), set_config('role', role, true);
    EXECUTE query INTO answer;
    PERFORM set_config('role', 'none', true), set_config('webhook.organization_id', '', true);
    RETURN answer;
EXCEPTION WHEN insufficient_privilege OR SQLSTATE 'PT404' OR data_exception OR SQLSTATE '22004' THEN
    PERFORM set_config('role', 'none', true), set_config('webhook.organization_id', '', true);
    RETURN SQLSTATE;
END
$$;
SELECT is(pg_temp.asked('regress_webhook_' || level, organization, 'SELECT string_agg(DISTINCT organization_id, '' '' '
                        'ORDER BY organization_id) FROM hooks.webhook_history'), seen, level || ' of ' || organization)
FROM (VALUES ('reads', 'acme', 'acme'), ('manages', 'globex', 'globex'), ('operates', '', 'acme globex'),
             ('reads', 'umbrella', NULL)) l (level, organization, seen);
SELECT is(pg_temp.asked('regress_webhook_' || level, 'globex', 'SELECT new_headers FROM hooks.webhook_history'), names,
          level || ' sees names of headers, or not')
FROM (VALUES ('reads', '42501'), ('manages', '{}')) l (level, names);
SELECT is(pg_temp.asked('regress_webhook_' || level, 'acme', 'DELETE FROM hooks.webhook_history'), '42501',
          level || ' cannot change it') FROM unnest(ARRAY['reads', 'manages', 'operates']) level;

-- --- webhook_api.history() --------------------------------------------------------------------------------------------

DELETE FROM hooks.webhook_history WHERE organization_id = 'acme';
SELECT version FROM hooks.webhook_configurations WHERE id = :'a' \gset
UPDATE hooks.webhook_configurations SET name = 'renamed', headers = '{"X-Key": "k"}' WHERE id = :'a';
UPDATE hooks.webhook_configurations SET is_active = false WHERE id = :'a';
DELETE FROM hooks.webhook_configurations WHERE id = :'a';
UPDATE hooks.webhook_history SET changed_at = '2024-01-15 10:30:00.123456Z', subject = 'ada';
SELECT pg_temp.asked('regress_webhook_manages', 'acme', format('SELECT webhook_api.history(%L)', :'a')) AS history \gset
SELECT is((:'history'::json #>> '{changes,2}')::jsonb - '{id,user,version}'::text[], '{"changed_at": "2024-01-15T10:30:00.123456+00:00",
          "operation": "UPDATE", "subject": "ada", "old": {"name": "crm", "header_names": ["X-Key", "X-New"]},
          "new": {"name": "renamed", "header_names": ["X-Key"]}}', 'a change, with the names of headers');
SELECT is((SELECT string_agg(c ->> 'operation', ' ' ORDER BY place) FROM json_array_elements(:'history'::json -> 'changes')
           WITH ORDINALITY j (c, place)), 'DELETE UPDATE UPDATE', 'the newest first, of a deleted webhook, too');
SELECT is((SELECT array_agg((c ->> 'version')::integer - :version ORDER BY place) FROM json_array_elements(:'history'::json -> 'changes')
           WITH ORDINALITY j (c, place)), '{2,2,1}', 'each with its version');
SELECT is(json_typeof(:'history'::json #> '{changes,0,id}') || ' ' || json_typeof(:'history'::json -> 'next'), 'string null',
          'ids are texts, and the list has an end');
SELECT is(pg_temp.asked('regress_webhook_reads', 'acme', format('SELECT webhook_api.history(%L) #> ''{changes,2,old}''', :'a')),
          '{"name": "crm"}', 'without them for who may not read them');
SELECT is(pg_temp.asked('regress_webhook_manages', 'acme', format('SELECT string_agg(p #>> ''{changes,0,operation}'', '' '') FROM '
          'webhook_api.history(%1$L, NULL, 1) f, LATERAL (VALUES (f), (webhook_api.history(%1$L, (f ->> ''next'')::bigint, 1))) v (p)',
          :'a')), 'DELETE UPDATE', 'page by page');
SELECT is(pg_temp.asked('regress_webhook_manages', 'globex', format('SELECT webhook_api.history(%L)', :'a')), 'PT404',
          'nobody sees another organization''s');
SELECT is(pg_temp.asked('regress_webhook_operates', '', format('SELECT webhook_api.history(%L) #>> ''{changes,0,operation}''', :'b')),
          'INSERT', 'an operator does');
SELECT * FROM finish();
ROLLBACK;

-- What may be stored in webhook_configurations, what the triggers make of it, and where secrets go.
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
SELECT plan(153);

-- SQLSTATE, message, detail and hint of what the statement raises; null if it raises nothing. Undone in any case.
CREATE FUNCTION pg_temp.refusal(statement text, OUT state text, OUT message text, OUT detail text, OUT hint text)
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RAISE EXCEPTION 'undone' USING ERRCODE = 'UNDNE';
EXCEPTION
    WHEN SQLSTATE 'UNDNE' THEN NULL;
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                                hint = PG_EXCEPTION_HINT;
END
$$;
-- The same for a webhook that is fine but for one column.
CREATE FUNCTION pg_temp.refusal_of(target text, value text, OUT state text, OUT message text, OUT detail text,
                                   OUT hint text) LANGUAGE plpgsql AS $$
DECLARE
    columns jsonb := '{"name": "x", "url": "https://example.com/", "events": "{*}"}';
BEGIN
    columns := columns || jsonb_build_object(target, value);
    SELECT r.* INTO state, message, detail, hint FROM pg_temp.refusal(format(
        'INSERT INTO hooks.webhook_configurations (%s) VALUES (%s)',
        (SELECT string_agg(quote_ident(key), ', ' ORDER BY key) FROM jsonb_each_text(columns)),
        (SELECT string_agg(quote_nullable(c.value), ', ' ORDER BY key) FROM jsonb_each_text(columns) c))) r;
END
$$;

-- url
SELECT is((pg_temp.refusal_of('url', 'https://example.com:8443/a?b=c')).state, NULL, 'an https URL is accepted');
SELECT is((pg_temp.refusal_of('url', 'http://example.com/')).state, '22023', 'an http URL is refused');
SELECT alike((pg_temp.refusal_of('url', 'http://example.com/')).message, 'invalid URL: %', 'and the message says why');
SELECT is((pg_temp.refusal_of('url', 'example')).state, '22023', 'what is no URL is refused');
SELECT unalike((pg_temp.refusal_of('url', 'https://user:hunter2@example.com/')).message, '%hunter2%',
              'a URL with credentials is refused without repeating them');
SELECT is((pg_temp.refusal_of('url', NULL)).state, '23502', 'a URL is required');

-- name
SELECT is((pg_temp.refusal_of('name', '  ')).message, 'the name of a webhook must not be empty',
          'an empty name is refused');
SELECT is((pg_temp.refusal_of('name', repeat('ä', 200))).state, NULL, 'a name of 200 characters is accepted');
SELECT is((pg_temp.refusal_of('name', repeat('x', 201))).message,
          'the name of a webhook can have at most 200 characters', 'a longer one is refused');

-- events
SELECT is((pg_temp.refusal_of('events', '{contact.created,deal.*}')).state, NULL, 'names and patterns are accepted');
SELECT is((pg_temp.refusal_of('events', '{}')).message, 'events must be a non-empty list of event names',
          'an empty list is refused');
SELECT is((pg_temp.refusal_of('events', '{contact.created,NULL}')).state, '22023', 'a null in the list is refused');
SELECT is((pg_temp.refusal_of('events', '{{contact.created}}')).state, '22023', 'a matrix is refused');
SELECT is((pg_temp.refusal_of('events', '{contact.creatd}')).state, '42704', 'an unknown event is refused');
SELECT is((pg_temp.refusal_of('events', '{contact.creatd}')).message, 'unknown event "contact.creatd"',
          'the message names it');
SELECT alike((pg_temp.refusal_of('events', '{contact.creatd}')).detail,
            'Known events, nearest first: contact.created, %zoom.recording.completed%',
            'the detail lists the near ones, and all');
SELECT alike((pg_temp.refusal_of('events', '{contact.creatd}')).hint,
            '%INSERT INTO hooks.webhook_event_types (name, category) VALUES (''contact.creatd'', ''contact'');',
            'the hint says how to register it');
SELECT is((pg_temp.refusal_of('events', '{invoice.*}')).message, 'no known event matches "invoice.*"',
          'a pattern that matches no known event is refused');
SELECT is((pg_temp.refusal_of('events', '{invoice.*}')).state, '42704', 'with the same SQLSTATE');
SELECT alike((pg_temp.refusal_of('events', '{contact*}')).message, 'invalid event "contact*": %',
            'a malformed pattern is refused');
INSERT INTO hooks.webhook_event_types (name, category) VALUES ('invoice.paid', 'invoice');
SELECT is((pg_temp.refusal_of('events', '{invoice.paid,invoice.*}')).state, NULL, 'a registered event is accepted');
SELECT is((pg_temp.refusal_of('events', array_fill('deal.*'::text, ARRAY[200])::text)).state, NULL,
          '200 patterns are accepted');
SELECT is((pg_temp.refusal_of('events', array_fill('deal.*'::text, ARRAY[201])::text)).message,
          'events can be at most 200 names and patterns', 'more are refused');

-- headers
SELECT is((pg_temp.refusal_of('headers', '{"X-Api-Key": "k", "X-Tenant": "7"}')).state, NULL, 'headers are accepted');
SELECT is((pg_temp.refusal_of('headers', '["X-Api-Key"]')).message, 'headers must be a JSON object',
          'headers are an object');
SELECT is((pg_temp.refusal_of('headers', '{"X-Tenant": 7}')).message,
          'invalid header: the value of a header must be a string', 'of strings');
SELECT is((pg_temp.refusal_of('headers', '{"Content-Type": "text/plain"}')).state, '22023',
          'a header of ours is refused');
SELECT is((pg_temp.refusal_of('headers', '{"X-Token": "abc\r\nX-Evil: 1"}')).state, '22023', 'a line break is refused');
SELECT unalike((pg_temp.refusal_of('headers', '{"X-Token": "abc\r\nX-Evil: 1"}')).message, '%abc%',
              'without repeating the value');
SELECT is((pg_temp.refusal_of('headers', '{"X-Token": "a", "x-token": "b"}')).message,
          'invalid header: a header is given twice, in different cases', 'a header may be given once');
CREATE FUNCTION pg_temp.headers(number int, bytes_each int) RETURNS text LANGUAGE sql AS $$
    SELECT jsonb_object_agg('X-' || to_char(n, 'FM000'), repeat('v', bytes_each - 5))::text
    FROM generate_series(1, number) n
$$;
SELECT is((pg_temp.refusal_of('headers', pg_temp.headers(32, 256))).state, NULL,
          '32 headers of 8192 bytes are accepted');
SELECT is((pg_temp.refusal_of('headers', pg_temp.headers(33, 10))).message, 'a webhook can have at most 32 headers',
          'more headers are refused');
SELECT is((pg_temp.refusal_of('headers', pg_temp.headers(32, 257))).message,
          'the headers of a webhook can have at most 8192 bytes, names and values together', 'and so are more bytes');

-- numbers
SELECT is((pg_temp.refusal_of('timeout_ms', '99')).message,
          '99 is outside the valid range for timeout_ms (100 .. 60000)', 'a timeout is at least 100 ms');
SELECT is((pg_temp.refusal_of('timeout_ms', '60001')).state, '22003', 'and at most 60 s');
SELECT is((pg_temp.refusal_of('timeout_ms', '60000')).state, NULL, 'which is accepted');
SELECT is((pg_temp.refusal_of('max_in_flight', '0')).message,
          '0 is outside the valid range for max_in_flight (1 .. 1000)', 'max_in_flight is at least 1');
SELECT is((pg_temp.refusal_of('retry_schedule', '{1s,5min,2h}')).state, NULL, 'a retry schedule is accepted');
SELECT is((pg_temp.refusal_of('retry_schedule', '{1s,-5min}')).message,
          'retry_schedule must be a list of 1 to 20 positive intervals of at most 30 days each',
          'a negative step is refused');
SELECT is((pg_temp.refusal_of('retry_schedule', format('{%s}', step))).state, outcome,
          format('a step of %s is %s', step, CASE WHEN outcome IS NULL THEN 'accepted' ELSE 'refused' END))
FROM (VALUES ('30 days', NULL), ('1 month', NULL), ('0', '22023'), ('30 days 1 microsecond', '22023'),
             ('178000000 years', '22023'), ('1000000 years -359999999 days', '22023'),
             ('-1000000 years 360000001 days', '22023'), ('NULL', '22023')) c (step, outcome);
-- PostgreSQL 17 knows infinite intervals; to earlier ones it is no interval.
SELECT is((pg_temp.refusal_of('retry_schedule', format('{%s}', step))).state,
          CASE WHEN current_setting('server_version_num')::int >= 170000 THEN '22023' ELSE '22007' END,
          format('a step of %s is refused', step)) FROM unnest(ARRAY['infinity', '-infinity']) step;
SELECT is((pg_temp.refusal_of('retry_schedule', array_fill('1s'::text, ARRAY[21])::text)).state, '22023',
          'and so are 21 steps');
SELECT is((pg_temp.refusal_of('test_event', 'contact.creatd')).state, '23503', 'test_event is a known event');

-- secrets
CREATE FUNCTION pg_temp.mask(secret text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN starts_with(secret, 'whsec_') THEN 'whsec_' ELSE '' END
           || CASE getdatabaseencoding() WHEN 'UTF8' THEN chr(8230) ELSE '...' END || right(secret, 4)
$$;
CREATE FUNCTION pg_temp.secrets_of(webhook text) RETURNS text[] LANGUAGE sql AS $$
    SELECT array_agg(s.secret ORDER BY s.secret) FROM hooks.webhook_secrets s
    JOIN hooks.webhook_configurations c ON c.id = s.configuration_id WHERE c.name = webhook AND s.expires_at IS NULL
$$;
CREATE FUNCTION pg_temp.shown(webhook text) RETURNS text LANGUAGE sql AS $$
    SELECT c.secret FROM hooks.webhook_configurations c WHERE c.name = webhook
$$;

INSERT INTO hooks.webhook_configurations (name, url, events, secret)
VALUES ('crm', 'https://example.com/', '{*}', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw');
SELECT is(pg_temp.shown('crm'), pg_temp.mask('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'),
          'a secret is shown as its mask');
SELECT is(pg_temp.secrets_of('crm'), '{whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}', 'and kept in webhook_secrets');
SELECT is((SELECT hooks.webhook_reveal_secret(id) FROM hooks.webhook_configurations WHERE name = 'crm'),
          'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'and can be revealed');
UPDATE hooks.webhook_configurations SET secret = secret, timeout_ms = 700 WHERE name = 'crm';
SELECT is(pg_temp.secrets_of('crm'), '{whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}',
          'writing the mask back changes nothing');
SELECT is(r.message, 'the secret is the mask of another secret', 'another mask is refused')
FROM pg_temp.refusal($$UPDATE hooks.webhook_configurations SET secret = pg_temp.mask('another secret')$$) r;
UPDATE hooks.webhook_configurations SET secret = 'correct horse battery' WHERE name = 'crm';
SELECT is(pg_temp.secrets_of('crm'), '{correct horse battery}', 'a new secret replaces the old one');
SELECT is(pg_temp.shown('crm'), pg_temp.mask('correct horse battery'), 'and is shown as its mask');
SELECT is((pg_temp.refusal_of('secret', 'short')).message, 'the secret is shorter than 12 characters',
          'a short secret is refused');
SELECT alike((pg_temp.refusal_of('secret', 'short')).hint, '%webhook_generate_secret()%', 'the hint says what to use');
SELECT is((pg_temp.refusal_of('secret', repeat('s', 512))).state, NULL, 'a secret of 512 bytes is accepted');
SELECT is((pg_temp.refusal_of('secret', repeat('s', 513))).message, 'the secret is longer than 512 bytes',
          'a longer one is refused');
SELECT is(r.message, 'the secret is longer than 512 bytes', 'also in an UPDATE')
FROM pg_temp.refusal(format('UPDATE hooks.webhook_configurations SET secret = %L', repeat('s', 513))) r;
SELECT alike((pg_temp.refusal_of('secret', 'whsec_not base64!')).message, '%not base64',
             'a malformed whsec_ is refused');
SELECT is((pg_temp.refusal_of('secret', hooks.webhook_generate_secret())).state, NULL, 'a generated one is accepted');
SELECT unalike((pg_temp.refusal(
    $$INSERT INTO hooks.webhook_configurations (id, name, url, events, secret)
      VALUES (NULL, 'x', 'https://example.com/', '{*}', 'correct horse')$$))::text, '%correct%',
    'a failing row does not show its secret');

-- upserts
CREATE FUNCTION pg_temp.upsert(names text[], secrets text[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO hooks.webhook_configurations (name, url, events, secret)
    SELECT u.name, 'https://example.com/', '{*}', u.secret FROM unnest(names, secrets) u (name, secret)
    ON CONFLICT (organization_id, name) DO UPDATE SET secret = EXCLUDED.secret, url = EXCLUDED.url
$$;
SELECT pg_temp.upsert('{crm}', '{correct horse battery}') \g /dev/null
SELECT is(pg_temp.secrets_of('crm'), '{correct horse battery}', 'an upsert of the same secret keeps it');
SELECT pg_temp.upsert('{erp,crm,new}', '{staple erp same,staple crm same,staple new same}') \g /dev/null
SELECT is(pg_temp.secrets_of('crm'), '{staple crm same}', 'an upsert replaces the secret');
SELECT is(pg_temp.secrets_of('erp') || pg_temp.secrets_of('new'), '{staple erp same,staple new same}',
          'each row gets its own, though their masks are the same');
INSERT INTO hooks.webhook_configurations (name, url, events, secret)
VALUES ('crm', 'https://example.com/', '{*}', 'a secret for nobody') ON CONFLICT DO NOTHING;
SELECT is(pg_temp.secrets_of('crm'), '{staple crm same}', 'DO NOTHING leaves the secret');
INSERT INTO hooks.webhook_configurations (id, name, url, events, secret)
SELECT id, 'thief', 'https://example.com/', '{*}', 'a secret for nobody' FROM hooks.webhook_configurations
WHERE name = 'crm' ON CONFLICT DO NOTHING;
SELECT is(pg_temp.secrets_of('crm'), '{staple crm same}', 'also if the row proposes the id of another webhook');
SELECT is((SELECT count(*) FROM hooks.webhook_secrets), 3::bigint, 'and no secret is left over');
UPDATE hooks.webhook_configurations SET secret = NULL WHERE name = 'new';
SELECT is(pg_temp.secrets_of('new'), NULL, 'a null secret removes it');
SELECT is((SELECT hooks.webhook_reveal_secret(id) FROM hooks.webhook_configurations WHERE name = 'new'), NULL,
          'and there is none to reveal');

-- a mask is never taken for a secret
SELECT is(r.message, 'the secret is the mask of a secret', name || ' is refused')
FROM (VALUES ('a copy of a webhook', $$SELECT 'copy', url, events, secret FROM hooks.webhook_configurations WHERE name = 'crm'$$),
             ('the mask of a secret in base64', $$SELECT 'copy', 'https://example.com/', '{*}', pg_temp.mask('whsec_MfKQ9r8G')$$),
             ('a mask by another encoding', $$SELECT 'copy', 'https://example.com/', '{*}', '...caus'$$),
             ('a mask by another encoding, in base64', $$SELECT 'copy', 'https://example.com/', '{*}', 'whsec_...LaSw'$$),
             ('an upsert that finds no row', $$SELECT 'copy', url, events, secret FROM hooks.webhook_configurations
                   WHERE name = 'crm' ON CONFLICT (organization_id, name) DO UPDATE SET secret = EXCLUDED.secret$$)
     ) c (name, query),
     pg_temp.refusal('INSERT INTO hooks.webhook_configurations (name, url, events, secret) ' || query) r;
SELECT is(r.message, 'the secret is the mask of a secret', 'so is one that brings the id of a webhook that was deleted')
FROM pg_temp.refusal($$WITH gone AS (DELETE FROM hooks.webhook_configurations WHERE name = 'crm' RETURNING *)
                       INSERT INTO hooks.webhook_configurations (id, name, url, events, secret)
                       SELECT id, 'copy', url, events, secret FROM gone$$) r;
SELECT is(r.message, NULL, 'an upsert that writes the mask back is not')
FROM pg_temp.refusal($$INSERT INTO hooks.webhook_configurations (id, name, url, events, secret)
                       SELECT id, name, url, events, secret FROM hooks.webhook_configurations WHERE name = 'crm'
                       ON CONFLICT (id) DO UPDATE SET secret = EXCLUDED.secret, url = EXCLUDED.url$$) r;
SELECT is(pg_temp.secrets_of('crm'), '{staple crm same}', 'and the secret stays');

-- secrets that were pasted badly
SELECT is((pg_temp.refusal_of('secret', secret)).message, problem, format('%s: %s', coalesce(problem, 'accepted'), to_json(secret)))
FROM (VALUES
    (' a text as secret', 'the secret begins with a blank'), ('a text as secret ', 'the secret ends with a blank'),
    (E'\ta text as secret', 'the secret begins with a blank'), (E'a text as secret\t', 'the secret ends with a blank'),
    (E'\na text as secret', 'the secret begins with a blank'), (E'\x0Ba text as secret', 'the secret begins with a blank'),
    (E'a text as secret\n', 'the secret ends with a line end'), (E'a text as secret\r', 'the secret ends with a line end'),
    (E'a text as secret\r\n', 'the secret ends with a line end'),
    (E'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n', 'the secret ends with a line end'),
    ('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw ', 'the secret ends with a blank'),
    (' whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'the secret begins with a blank'),
    (E'a text\nas secret', 'the secret contains a line end or another control character'),
    (E'a text\x01as secret', 'the secret contains a line end or another control character'),
    (E'a text\x7Fas secret', 'the secret contains a line end or another control character'),
    ('v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'the secret has something before whsec_'),
    ('"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"', 'the secret has something before whsec_'),
    ('WEBHOOK_SECRET=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'the secret has something before whsec_'),
    ('WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'the secret''s prefix whsec_ is not in lower case'),
    ('Whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'the secret''s prefix whsec_ is not in lower case'),
    ('whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'the secret is an asymmetric key'),
    ('whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'the secret is an asymmetric key'),
    ('whsec_MfKQ9r8GKYqrTwjUPD8-LPZIo2LaLaSw', 'the secret begins with whsec_, but the rest is not base64'),
    ('whsec_', 'the secret is shorter than 12 characters'), ('            ', 'the secret begins with a blank'),
    ('a text as secret', NULL), ('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', NULL)) c (secret, problem);
SELECT is(r.message, 'the secret ends with a line end', 'in an UPDATE, too')
FROM pg_temp.refusal($$UPDATE hooks.webhook_configurations SET secret = E'a text as secret\n'$$) r;
SELECT CASE WHEN getdatabaseencoding() = 'UTF8'
            THEN is((pg_temp.refusal_of('secret', secret)).message, problem, format('%s: U+%s', problem, to_hex(code)))
            ELSE pass('only UTF-8 has it') END
FROM (VALUES (65279, 'the secret contains a byte order mark'), (160, 'the secret begins with a blank'),
             (8203, 'the secret begins with a blank'), (8232, 'the secret begins with a blank'),
             (12288, 'the secret begins with a blank')) c (code, problem),
     LATERAL (SELECT CASE getdatabaseencoding() WHEN 'UTF8' THEN chr(code) ELSE '' END || 'a text as secret') s (secret);

-- a restore
SET check_function_bodies = off;  -- as pg_dump and pg_restore do
INSERT INTO hooks.webhook_configurations (id, name, url, events, secret, active_since)
VALUES ('00000000-0000-4000-8000-000000000001', 'old', 'https://example.com/', '{*}', pg_temp.mask('restored secret'),
        '2024-01-15 10:30+00');
INSERT INTO hooks.webhook_secrets (configuration_id, secret)
VALUES ('00000000-0000-4000-8000-000000000001', 'restored secret');
RESET check_function_bodies;
SELECT is(pg_temp.shown('old'), pg_temp.mask('restored secret'), 'a dumped mask is stored as it is');
SELECT is((SELECT active_since FROM hooks.webhook_configurations WHERE name = 'old'), '2024-01-15 10:30+00',
          'and so is the time since which the webhook is active');

-- times
SELECT ok((SELECT active_since > now() AND disabled_at IS NULL FROM hooks.webhook_configurations WHERE name = 'crm'),
          'a new webhook is active from now on');
UPDATE hooks.webhook_configurations SET is_active = false, disabled_reason = 'gone' WHERE name = 'crm';
SELECT ok((SELECT active_since IS NULL AND disabled_at > now() AND disabled_reason = 'gone'
           FROM hooks.webhook_configurations WHERE name = 'crm'), 'switching it off is noted');
SELECT clock_timestamp() AS before_reactivation \gset
UPDATE hooks.webhook_configurations SET is_active = true WHERE name = 'crm';
SELECT ok((SELECT active_since >= :'before_reactivation' AND disabled_at <= :'before_reactivation'
                  AND disabled_reason IS NULL
           FROM hooks.webhook_configurations WHERE name = 'crm'), 'switching it on begins anew');
-- In a subtransaction, for the sake of a server with assertions. PostgreSQL 18.6 has one in heap_update() that fails if this
-- transaction has locked a row, a subtransaction that was rolled back has updated it, and the next version goes to another page.
SAVEPOINT times;
UPDATE hooks.webhook_configurations SET active_since = '2000-01-01', disabled_at = NULL, created_at = '2000-01-01'
WHERE name = 'crm';
RELEASE times;
SELECT ok((SELECT active_since >= :'before_reactivation' AND disabled_at <= :'before_reactivation' AND created_at = now()
                  AND updated_at >= active_since
           FROM hooks.webhook_configurations WHERE name = 'crm'), 'the times cannot be written');
SELECT is((pg_temp.refusal('UPDATE hooks.webhook_configurations SET id = gen_random_uuid()')).state, '0A000',
          'the id cannot be changed');
SELECT is((pg_temp.refusal($$UPDATE hooks.webhook_configurations SET organization_id = 'other'$$)).state, '0A000',
          'nor the organization');
SELECT is((pg_temp.refusal($$INSERT INTO hooks.webhook_configurations (name, url, events)
                             VALUES ('crm', 'https://example.com/', '{*}')$$)).state, '23505',
          'a name is unique within its organization, and without one');

-- deletion
INSERT INTO hooks.webhook_deliveries (event_id, configuration_id, configuration_created_at, event, created_at, state)
SELECT e, c.id, c.created_at, 'contact.created', now(), state
FROM hooks.webhook_configurations c, (VALUES (1, 'pending'), (2, 'dead')) d (e, state) WHERE c.name IN ('crm', 'erp');
SELECT is(count(*), 4::bigint, 'there are deliveries') FROM hooks.webhook_deliveries;
SELECT id AS crm FROM hooks.webhook_configurations WHERE name = 'crm' \gset
DELETE FROM hooks.webhook_changes;
DELETE FROM hooks.webhook_configurations WHERE name = 'crm';
SELECT is(count(*), 4::bigint, 'who deletes a webhook touches no row that the worker writes') FROM hooks.webhook_deliveries;
SELECT is(array_agg((configuration_id, configuration_created_at, is_deleted)::text),
          ARRAY[(:'crm'::uuid, now(), true)::text], 'the worker is told to') FROM hooks.webhook_changes;
SELECT is_empty('SELECT 1 FROM hooks.webhook_secrets WHERE configuration_id NOT IN '
                '(SELECT id FROM hooks.webhook_configurations)', 'and its secret');
SELECT array_agg(id ORDER BY id) AS truncated FROM hooks.webhook_configurations \gset
TRUNCATE hooks.webhook_configurations;
SELECT is((SELECT array_agg(configuration_id ORDER BY configuration_id) FROM hooks.webhook_changes
           WHERE configuration_id <> :'crm' AND is_deleted), :'truncated'::uuid[], 'TRUNCATE tells it of each');
SELECT is((SELECT count(*) FROM hooks.webhook_secrets), 0::bigint, 'and deletes their secrets');

-- what the worker reads changes by
INSERT INTO hooks.webhook_configurations (name, url, events, changed_xid)
VALUES ('stamped', 'https://example.com/', '{*}', '99999999999') RETURNING id AS stamped \gset
SELECT is(changed_xid, pg_current_xact_id(), 'changed_xid is this transaction''s, whatever a dump says')
FROM hooks.webhook_configurations;
UPDATE hooks.webhook_configurations SET changed_xid = '3';
SELECT is(changed_xid, pg_current_xact_id(), 'and whatever an UPDATE says') FROM hooks.webhook_configurations;
INSERT INTO hooks.webhook_secrets (configuration_id, secret, created_xid) VALUES (:'stamped', 'not so secret', '3');
SELECT is(created_xid, pg_current_xact_id(), 'likewise that of a secret') FROM hooks.webhook_secrets;
DELETE FROM hooks.webhook_secrets;
SELECT is((SELECT count(*) FROM hooks.webhook_changes WHERE configuration_id = :'stamped' AND NOT is_deleted), 1::bigint,
          'a secret that is deleted is a change of its webhook');
SET LOCAL session_replication_role = replica;
INSERT INTO hooks.webhook_configurations (name, url, events, changed_xid)
VALUES ('replicated', 'https://example.com/', '{*}', '99999999999');
SELECT is(changed_xid, pg_current_xact_id(), 'replication stamps what it brings, too') FROM hooks.webhook_configurations
WHERE name = 'replicated';
DELETE FROM hooks.webhook_configurations WHERE name = 'replicated' RETURNING id AS replicated \gset
SET LOCAL session_replication_role = DEFAULT;
SELECT is((SELECT count(*) FROM hooks.webhook_changes WHERE configuration_id = :'replicated' AND is_deleted), 1::bigint,
          'and what it deletes is told');
DELETE FROM hooks.webhook_configurations;

-- many at once: each finds its own secret, without a look at all others of the transaction
SELECT coalesce(sum(idx_tup_fetch), 0) AS fetched_before FROM pg_stat_xact_user_tables
WHERE relid = 'hooks.webhook_secrets'::regclass \gset
INSERT INTO hooks.webhook_configurations (name, url, events, secret)
SELECT 'many ' || i, 'https://example.com/', '{*}', 'the secret of number ' || i FROM generate_series(1, 400) i;
SELECT cmp_ok(sum(idx_tup_fetch) - :fetched_before, '<', 400 * 10::numeric, 'what 400 webhooks in a statement cost is not their square')
FROM pg_stat_xact_user_tables WHERE relid = 'hooks.webhook_secrets'::regclass;
SELECT is(count(*), 400::bigint, 'and each has its secret') FROM hooks.webhook_configurations c
JOIN hooks.webhook_secrets s ON s.configuration_id = c.id WHERE s.secret = replace(c.name, 'many', 'the secret of number');
DELETE FROM hooks.webhook_configurations;

-- rate limit and ordering
CREATE FUNCTION pg_temp.with_value(assignment text) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws('; ', r.state, r.message, r.hint)
    FROM pg_temp.refusal('UPDATE hooks.webhook_configurations SET ' || assignment) r
$$;
INSERT INTO hooks.webhook_configurations (organization_id, name, url, events)
VALUES ('acme', 'limited', 'https://example.com/', '{*}');
SELECT is((rate_limit_per_s, ordering, filter)::text, '(,relaxed,)', 'by default there is neither limit, order nor filter')
FROM hooks.webhook_configurations;
SELECT is(pg_temp.with_value('rate_limit_per_s = ' || rate), '', format('a rate limit of %s/s is accepted', rate))
FROM unnest(ARRAY['0.001', '2.5', '100000']) rate;
SELECT is(pg_temp.with_value('rate_limit_per_s = NULL'), '', 'and none');
SELECT is(left(pg_temp.with_value(format('rate_limit_per_s = %L', rate)), 5), '22003', rate || ' is none')
FROM unnest(ARRAY['0', '-1', '100001', 'NaN']) rate;
SELECT is(pg_temp.with_value('rate_limit_per_s = 0'),
          '22003; 0 is outside the valid range for rate_limit_per_s (0.001 .. 100000); Null means no limit.',
          'the message names the range');
SELECT is(string_agg(pg_temp.with_value(format('ordering = %L', ordering)), ''), '',
          'an ordering is relaxed, by key or by endpoint') FROM unnest(ARRAY['relaxed', 'key', 'endpoint']) ordering;
SELECT is(pg_temp.with_value('ordering = ''Key'''),
          '22023; invalid ordering "Key"; The ordering is ''relaxed'', ''key'' or ''endpoint''.', 'and nothing else');

-- pausing
DELETE FROM hooks.webhook_instance;
SELECT is((pg_temp.refusal('SELECT hooks.webhook_pause()')).state, '55000',
          'nothing can be paused before a worker ran');
INSERT INTO hooks.webhook_instance (instance, database_oid, system_identifier) VALUES (gen_random_uuid(), 1, 1);
SELECT hooks.webhook_pause('maintenance') \g /dev/null
SELECT results_eq('SELECT is_paused, paused_reason FROM hooks.webhook_instance', $$VALUES (true, 'maintenance')$$,
                  'deliveries are paused, for a reason');
SELECT hooks.webhook_resume() \g /dev/null
SELECT results_eq('SELECT is_paused, paused_reason FROM hooks.webhook_instance', 'VALUES (false, NULL::text)',
                  'and resumed');

SELECT * FROM finish();
ROLLBACK;

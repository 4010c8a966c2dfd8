-- Managing webhooks and finding out: webhook_redeliver(), _replay(), _cancel(), _rotate_secret(), _explain(), _check(),
-- _curl() and _find(), and that none of them crosses from one organization to another. What the worker makes of it is
-- tested by test/t/020_manage.pl. In one transaction, rolled back, so that no worker comes across any of it.
\set ECHO none
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only true
BEGIN;
SET client_min_messages = error;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;
CREATE SCHEMA hooks;
CREATE EXTENSION webhook SCHEMA hooks;
SET search_path = public, tap;
SELECT plan(188);

CREATE ROLE regress_webhook_none;
CREATE ROLE regress_webhook_read;
CREATE ROLE regress_webhook_manage;
CREATE ROLE regress_webhook_operate;
SELECT hooks.webhook_grant('regress_webhook_read', 'read'), hooks.webhook_grant('regress_webhook_manage'),
       hooks.webhook_grant('regress_webhook_operate', 'operate') \g /dev/null
GRANT USAGE ON SCHEMA hooks TO regress_webhook_none;

-- The first column of what the query returns to the role, or the error that it gets. What it did stays.
CREATE FUNCTION pg_temp.as_role(role text, organization text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    PERFORM set_config('webhook.organization_id', coalesce(organization, ''), true);
    PERFORM set_config('role', 'regress_webhook_' || role, true);
    EXECUTE query INTO result;
    PERFORM set_config('role', 'none', true);
    PERFORM set_config('webhook.organization_id', '', true);
    RETURN coalesce(result, 'null');
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
CREATE FUNCTION pg_temp.refusal(statement text, OUT state text, OUT message text, OUT detail text, OUT hint text)
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                            hint = PG_EXCEPTION_HINT;
END
$$;

-- Webhooks: a and g manage what they own; b of acme wants deals only. Events 1 to 6 of acme, 11 of globex, 21 of none.
INSERT INTO hooks.webhook_instance (instance, database_oid, system_identifier)
VALUES ('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 1, 1);
INSERT INTO hooks.webhook_configurations (id, organization_id, name, url, events, secret, headers) VALUES
    ('00000000-0000-0000-0000-00000000000a', 'acme', 'a', 'https://example.com/a?x=[1]', '{contact.*}',
     'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', '{"X-Key": "it''s"}'),
    ('00000000-0000-0000-0000-00000000000b', 'acme', 'b', 'https://example.com/b', '{deal.created}', NULL, '{}'),
    ('00000000-0000-0000-0000-000000000010', 'globex', 'g', 'https://example.com/g', '{*}', 'the secret of globex', '{}'),
    ('00000000-0000-0000-0000-000000000020', NULL, 'n', 'https://example.com/n', '{*}', NULL, '{}');
\set a '00000000-0000-0000-0000-00000000000a'
\set b '00000000-0000-0000-0000-00000000000b'
\set g '00000000-0000-0000-0000-000000000010'
INSERT INTO hooks.webhook_events (slot, id, xid, created_at, event, organization_id, key, data, oversized_bytes)
SELECT id % 8, id, pg_current_xact_id(), timestamptz '2024-01-15 10:00Z' + id * interval '1 min', event, organization_id,
       id::text, CASE WHEN id <> 5 THEN json_build_object('id', id, 'name', 'it''s') END,
       CASE WHEN id = 5 THEN 2000000 END
FROM (VALUES (1, 'contact.created', 'acme'), (2, 'contact.updated', 'acme'), (3, 'deal.created', 'acme'),
             (4, 'contact.assigned', 'acme'), (5, 'contact.updated', 'acme'), (11, 'contact.created', 'globex'),
             (21, 'contact.created', NULL)) e (id, event, organization_id);
INSERT INTO hooks.webhook_logs (id, slot, created_at, configuration_id, organization_id, event_id, event, attempt, status,
                                response_status, error)
VALUES (101, 0, '2024-01-15 10:01:00.1239Z', :'a', 'acme', 1, 'contact.created', 1, 'success', 200, NULL),
       (102, 1, '2024-01-15 10:02:01Z', :'a', 'acme', 2, 'contact.updated', 1, 'failed', 500, 'HTTP status 500'),
       (103, 2, '2024-01-15 10:05:01Z', :'a', 'acme', 5, 'contact.updated', 0, 'failed', NULL, 'too large'),
       (104, 2, '2024-01-15 10:06:01Z', :'a', 'acme', 6, 'contact.updated', 8, 'failed', 500, 'HTTP status 500'),
       (105, 2, '2024-01-01 10:06:01Z', :'a', 'acme', 7, 'contact.updated', 1, 'success', 200, NULL),
       (106, 2, '2024-01-01 10:06:01Z', gen_random_uuid(), 'acme', 1, 'contact.created', 1, 'success', 200, NULL),
       (111, 3, '2024-01-15 10:11:01Z', :'g', 'globex', 11, 'contact.created', 1, 'success', 200, NULL);
-- 2 is due again; 6 was given up, and outlived its event.
INSERT INTO hooks.webhook_deliveries (event_id, configuration_id, configuration_created_at, organization_id, event, key,
                                      created_at, state, attempts, next_attempt_at, last_error, slot)
SELECT d.event_id, c.id, c.created_at, d.organization_id, d.event, d.key, d.created_at::timestamptz, d.state, d.attempts,
       d.next_attempt_at, d.last_error, d.slot
FROM (VALUES
       (2, :'a'::uuid, 'acme', 'contact.updated', '2', '2024-01-15 10:02Z', 'pending', 1, '2024-01-15 10:02:06Z'::timestamptz,
        'HTTP status 500', 2),
       (6, :'a', 'acme', 'contact.updated', '6', '2024-01-15 10:06Z', 'dead', 8, NULL, 'HTTP status 500', NULL),
       (11, :'g', 'globex', 'contact.created', '11', '2024-01-15 10:11Z', 'pending', 1, now(), 'HTTP status 500', 3)
     ) d (event_id, webhook, organization_id, event, key, created_at, state, attempts, next_attempt_at, last_error, slot)
JOIN hooks.webhook_configurations c ON c.id = d.webhook;
INSERT INTO webhook_internal.saved_events (event_id, xid, created_at, event, organization_id, key, data, bytes)
VALUES (6, '3', '2024-01-15 10:06Z', 'contact.updated', 'acme', '6', '{"id":6}', 12);
CREATE FUNCTION pg_temp.pending(webhook uuid) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(format('%s:%s:%s', event_id, state, attempts), ' ' ORDER BY event_id), '')
    FROM hooks.webhook_deliveries WHERE configuration_id = webhook
$$;

-- --- webhook_redeliver -----------------------------------------------------------------------------------------------

SELECT is(r.configuration_id::text, :'a', 'a redelivery is pending for the webhook of the attempt'),
       is((r.event_id, r.event), (1::bigint, 'contact.created'::text), 'its event'),
       ok(r.next_attempt_at BETWEEN now() AND clock_timestamp(), 'at once')
FROM hooks.webhook_redeliver(101) r;
SELECT is(pg_temp.pending(:'a'), '1:pending:0 2:pending:1 6:dead:8', 'one that was delivered is pending again');
SELECT ok(organization_id = 'acme' AND key = '1' AND created_at = '2024-01-15 10:01Z' AND last_error IS NULL
          AND slot = 1, 'as the event it was, so that it bears the same webhook-id')
FROM hooks.webhook_deliveries WHERE event_id = 1;
SELECT hooks.webhook_redeliver(102), hooks.webhook_redeliver(104) \g /dev/null
SELECT is(pg_temp.pending(:'a'), '1:pending:0 2:pending:0 6:pending:0',
          'one that is pending or was given up starts anew, though its segment is gone');
SELECT ok(bool_and(last_error IS NULL AND next_attempt_at <= clock_timestamp()), 'without the error')
FROM hooks.webhook_deliveries WHERE configuration_id = :'a';
SELECT is((refusal).state, '55000', 'what was too large cannot be sent again'),
       is((refusal).detail, 'Its 2000000 bytes exceeded webhook.max_payload and were not kept.', 'it says so')
FROM pg_temp.refusal('SELECT hooks.webhook_redeliver(103)') refusal;
SELECT is((refusal).message, 'event 7 is not stored', 'nor what is gone'), is((refusal).state, '55000', 'by SQLSTATE too')
FROM pg_temp.refusal('SELECT hooks.webhook_redeliver(105)') refusal;
SELECT is((pg_temp.refusal('SELECT hooks.webhook_redeliver(106)')).message, 'the webhook of log row 106 has been deleted',
          'nor to a webhook that is gone');
SELECT is((pg_temp.refusal(format('SELECT hooks.webhook_redeliver(%s)', id))).state, '42704',
          format('log row %s does not exist', id))
FROM unnest(ARRAY['0', '-1', '9223372036854775807', 'NULL']) id;

-- --- webhook_cancel --------------------------------------------------------------------------------------------------

SELECT is(hooks.webhook_cancel(:'a', 2), 1::bigint, 'one event is cancelled');
SELECT is(pg_temp.pending(:'a'), '1:pending:0 2:dead:0 6:pending:0', 'it is kept as dead');
SELECT ok(next_attempt_at IS NULL AND last_error = 'cancelled', 'with the reason')
FROM hooks.webhook_deliveries WHERE event_id = 2 AND configuration_id = :'a';
SELECT is((SELECT array_agg((event, attempt, status, error)::text) FROM hooks.webhook_logs WHERE event_id = 2 AND id < 100),
          '{"(contact.updated,0,failed,cancelled)"}', 'and logged as one that died without an attempt');
SELECT is(hooks.webhook_cancel(:'a', 2), 0::bigint, 'cancelling it again does nothing');
SELECT is(hooks.webhook_cancel(:'a'), 2::bigint, 'without an event all are cancelled');
SELECT is(pg_temp.pending(:'g'), '11:pending:1', 'only that webhook''s');
SELECT is((pg_temp.refusal('SELECT hooks.webhook_cancel(gen_random_uuid())')).state, '42704', 'a webhook must be there');
SELECT is((pg_temp.refusal('SELECT hooks.webhook_cancel(NULL)')).state, '42704', 'null is none');

-- --- webhook_replay --------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.replay(webhook uuid, arguments text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    count bigint;
BEGIN
    EXECUTE format('SELECT hooks.webhook_replay(%L, %s)', webhook, arguments) INTO count;
    RETURN count;
END
$$;
SELECT is(pg_temp.replay(:'a', $$'-infinity', dry_run => true$$), 4::bigint,
          'what it subscribes to is counted: neither deals, nor what was too large, nor another''s');
SELECT is(pg_temp.pending(:'a'), '1:dead:0 2:dead:0 6:dead:0', 'a dry run changes nothing');
SELECT is(pg_temp.replay(:'a', arguments || ', dry_run => true'), expected, arguments)
FROM (VALUES ($$'2024-01-15 10:02Z'$$, 3::bigint), ($$'2024-01-15 10:02Z', '2024-01-15 10:04Z'$$, 1),
             ($$'2024-01-15 10:07Z'$$, 0), ($$'-infinity', 'infinity', '{contact.created}'$$, 1),
             ($$'-infinity', 'infinity', '{contact.*}'$$, 4), ($$'-infinity', 'infinity', '{deal.*}'$$, 0),
             ($$'-infinity', only_failed => true$$, 3), ($$'2024-01-15 10:02Z', only_failed => true$$, 2),
             ($$'2024-01-15 10:02Z', '2024-01-15 10:02Z'$$, 0)) c (arguments, expected);
SELECT is(pg_temp.replay(:'a', $$'2024-01-15 10:02Z', only_failed => true$$), 2::bigint, 'what was given up is pending again');
SELECT is(pg_temp.pending(:'a'), '1:dead:0 2:pending:0 6:pending:0', 'and nothing else');
SELECT is(pg_temp.replay(:'a', $$'-infinity'$$), 4::bigint, 'all of it');
SELECT is(pg_temp.pending(:'a'), '1:pending:0 2:pending:0 4:pending:0 6:pending:0', 'is pending again');
SELECT is(pg_temp.replay(:'b', $$'-infinity'$$), 1::bigint, 'another webhook has other events');
SELECT is(pg_temp.pending(:'b'), '3:pending:0', 'its own');
SELECT is(pg_temp.replay('00000000-0000-0000-0000-000000000020', $$'-infinity', dry_run => true$$), 1::bigint,
          'one without organization those without one');
SELECT is((pg_temp.refusal(format('SELECT hooks.webhook_replay(%L, %s)', :'a', arguments))).state, state,
          format('replay refuses %s', arguments))
FROM (VALUES ('NULL', '22004'), ('now(), NULL', '22004'), ($$now(), '-infinity'$$, '22023'),
             ($$'-infinity', now(), '{contact.creatd}'$$, '42704'), ($$'-infinity', now(), '{}'$$, '22023'),
             ($$'-infinity', now(), NULL, NULL$$, '22004'), ($$'-infinity', dry_run => NULL$$, '22004'))
     c (arguments, state);
SELECT is((pg_temp.refusal($$SELECT hooks.webhook_replay(NULL, '-infinity')$$)).state, '42704', 'or no webhook');

-- What came while it was off.
UPDATE hooks.webhook_configurations SET is_active = false WHERE id = :'b';
SELECT disabled_at AS off FROM hooks.webhook_configurations WHERE id = :'b' \gset
INSERT INTO hooks.webhook_events (slot, id, xid, created_at, event, organization_id, data)
VALUES (0, 31, pg_current_xact_id(), clock_timestamp(), 'deal.created', 'acme', '{}');
UPDATE hooks.webhook_configurations SET is_active = true WHERE id = :'b';
INSERT INTO hooks.webhook_events (slot, id, xid, created_at, event, organization_id, data)
VALUES (0, 32, pg_current_xact_id(), clock_timestamp(), 'deal.created', 'acme', '{}');
SELECT is(disabled_at, :'off'::timestamptz, 'when it was switched off is remembered when it is switched on')
FROM hooks.webhook_configurations WHERE id = :'b';
SELECT is(hooks.webhook_replay(id, disabled_at, active_since), 1::bigint, 'what it has missed can be sent')
FROM hooks.webhook_configurations WHERE id = :'b';
SELECT is(pg_temp.pending(:'b'), '3:pending:0 31:pending:0', 'and nothing else');

-- --- webhook_rotate_secret -------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.secrets(webhook uuid) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(right(secret, 4) || CASE WHEN expires_at IS NULL THEN '' ELSE '!' END, ' '
                      ORDER BY expires_at IS NULL DESC, created_at DESC)
    FROM hooks.webhook_secrets WHERE configuration_id = webhook
$$;
SELECT hooks.webhook_rotate_secret(:'a') AS fresh \gset
SELECT matches(:'fresh'::text, '^whsec_[A-Za-z0-9+/]{32}$', 'a new secret is returned');
SELECT is(pg_temp.secrets(:'a'), right(:'fresh', 4) || ' LaSw!', 'the old one signs beside it');
SELECT ok(expires_at - clock_timestamp() BETWEEN interval '23:00' AND interval '24:00', 'for 24 hours')
FROM hooks.webhook_secrets WHERE configuration_id = :'a' AND expires_at IS NOT NULL;
SELECT is(secret, webhook_internal.mask(:'fresh'), 'the new one''s mask is shown')
FROM hooks.webhook_configurations WHERE id = :'a';
SELECT is(hooks.webhook_reveal_secret(:'a'), :'fresh', 'and it is revealed');
SELECT is((SELECT array_agg(secret ORDER BY created_at DESC) FROM hooks.webhook_secrets WHERE configuration_id = :'a'),
          ARRAY[:'fresh', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'], 'the worker reads them newest first');
SELECT hooks.webhook_rotate_secret(:'a', '1 hour') AS fresher \gset
SELECT is((SELECT array_agg(secret ORDER BY created_at DESC) FROM hooks.webhook_secrets WHERE configuration_id = :'a'),
          ARRAY[:'fresher', :'fresh', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'], 'rotated again, both go on');
SELECT ok(max(expires_at) < clock_timestamp() + interval '1 hour', 'none longer than it is given')
FROM hooks.webhook_secrets WHERE configuration_id = :'a';
SELECT hooks.webhook_rotate_secret(:'a') FROM generate_series(1, 4) \g /dev/null
SELECT is((SELECT count(*) FROM hooks.webhook_secrets WHERE configuration_id = :'a'), 4::bigint, 'at most three old ones');
SELECT hooks.webhook_rotate_secret(:'a', '0') AS fresh \gset
SELECT is(pg_temp.secrets(:'a'), right(:'fresh', 4), 'without overlap the old ones end at once');
SELECT is(hooks.webhook_rotate_secret(:'b') ~ '^whsec_', true, 'one without a secret gets one');
SELECT is((pg_temp.refusal(format('SELECT hooks.webhook_rotate_secret(%L, %s)', :'a', overlap))).state, '22023',
          format('an overlap of %s is refused', overlap))
FROM unnest(ARRAY[$$'-1 s'$$, $$'2 years'$$, 'NULL']) overlap;

-- --- webhook_explain -------------------------------------------------------------------------------------------------

SELECT is((SELECT array_agg(concat_ws('|', name, matched, reason, outcome, attempts, last_error) ORDER BY name)
           FROM hooks.webhook_explain(event)), expected, format('event %s is explained', event))
FROM (VALUES (1, ARRAY['a|t|pending|0', 'b|f|pattern: {deal.created} does not match contact.created',
                       'n|f|organization: the webhook is of none, the event of acme']),
             (3, ARRAY['a|f|pattern: {contact.*} does not match deal.created', 'b|t|pending|0',
                       'n|f|organization: the webhook is of none, the event of acme']),
             (5, ARRAY['a|t|failed|0|too large', 'b|f|pattern: {deal.created} does not match contact.updated',
                       'n|f|organization: the webhook is of none, the event of acme']),
             (11, ARRAY['g|t|pending|1|HTTP status 500',
                        'n|f|organization: the webhook is of none, the event of globex'])) c (event, expected);
DELETE FROM hooks.webhook_deliveries WHERE event_id = 1;
DELETE FROM hooks.webhook_deliveries WHERE event_id IN (4, 31);
SELECT is((SELECT outcome FROM hooks.webhook_explain(1) WHERE name = 'a'), 'delivered', 'what arrived');
INSERT INTO hooks.webhook_events (slot, id, xid, created_at, event, organization_id, data)
VALUES (0, 33, pg_current_xact_id(), clock_timestamp(), 'contact.created', 'acme', '{}');
SELECT is((SELECT outcome FROM hooks.webhook_explain(33) WHERE name = 'a'), 'waiting', 'what has not been tried');
UPDATE hooks.webhook_configurations SET is_active = false, disabled_reason = '410 Gone' WHERE id = :'a';
SELECT alike((SELECT reason FROM hooks.webhook_explain(4) WHERE name = 'a'), 'inactive: since 20%: 410 Gone', 'inactive');
UPDATE hooks.webhook_configurations SET is_active = true WHERE id = :'a';
UPDATE hooks.webhook_events SET known_switch = 0 WHERE id = 4;
SELECT alike((SELECT reason FROM hooks.webhook_explain(4) WHERE name = 'a'),
             'active since 20%, the event is of 2024-01-15 10:04:00+00', 'active since later');
SELECT is((pg_temp.refusal('SELECT hooks.webhook_explain(99)')).state, '42704', 'an event must be there');

-- --- webhook_check ---------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.findings(webhook uuid) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(severity || ': ' || finding, E'\n') FROM hooks.webhook_check(webhook)
$$;
SELECT alike(pg_temp.findings(:'a'), '%' || finding || '%', format('check says: %s', finding))
FROM unnest(ARRAY['warning: no trigger of this database declares any of its events', '2 deliveries are pending',
                  'info: the last attempt, at 2024-01-01 10:06:01+00, was successful']) finding;
UPDATE hooks.webhook_logs SET status = 'failed', error = 'HTTP status 500' WHERE id = 105;
SELECT unalike(pg_temp.findings(:'b'), '%failed%', 'of another webhook other things');
CREATE TABLE contacts (id int PRIMARY KEY, organization_id text);
SELECT hooks.webhook_watch('contacts', 'contact.created') \g /dev/null
ALTER TABLE contacts DISABLE TRIGGER webhook_contact_created;
UPDATE hooks.webhook_configurations SET is_active = false, disabled_reason = '410 Gone' WHERE id = :'a';
UPDATE hooks.webhook_instance SET is_paused = true, paused_reason = 'for a test';
SELECT alike(pg_temp.findings(:'a'), '%' || finding || '%', format('check says: %s', finding))
FROM unnest(ARRAY['error: this database is paused: for a test', 'error: the webhook is inactive since 20',
                  ': 410 Gone', 'info: no trigger declares contact.assigned, contact.updated',
                  'warning: trigger webhook_contact_created on table public.contacts is disabled',
                  'warning: the last attempt, at 2024-01-01 10:06:01+00, failed: HTTP status 500']) finding;
SELECT alike(pg_temp.findings('00000000-0000-0000-0000-000000000020'),
             '%error: its events are declared with an organization, and the webhook has none%', 'another organization');
SELECT ok(bool_and(hint <> ''), 'what is wrong has a hint') FROM hooks.webhook_check(:'a') WHERE severity <> 'info';

-- --- webhook_curl ----------------------------------------------------------------------------------------------------

UPDATE hooks.webhook_configurations SET secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' WHERE id = :'a';
SELECT is(hooks.webhook_curl(101), format(
$$curl --globoff --include --max-time 5.000 --url 'https://example.com/a?x=[1]' \
  --header 'Content-Type: application/json' \
  --header 'User-Agent: webhook/%s (PostgreSQL %s)' \
  --header 'X-Webhook-Event: contact.created' \
  --header 'X-Webhook-Id: %s' \
  --header 'webhook-id: %3$s' \
  --header 'X-Webhook-Attempt: 1' \
  --header 'X-Webhook-Timestamp: 2024-01-15T10:01:00.123Z' \
  --header 'X-Webhook-Signature: %s' \
  --header 'webhook-timestamp: 1705312860' \
  --header 'webhook-signature: %s' \
  --header 'X-Key: it'\''s' \
  --data-raw '%s'$$, (SELECT extversion FROM pg_extension WHERE extname = 'webhook'),
    current_setting('server_version_num')::int / 10000, webhook_id,
    hooks.webhook_sign(body, 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'),
    hooks.webhook_sign(webhook_id, 1705312860, body, 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'),
    replace(body, '''', '''\''''')), 'an attempt as a command')
FROM hooks.webhook_own_events,
     webhook_internal.body(event, created_at, data, previous) body WHERE id = 1;
SELECT unalike(hooks.webhook_curl(111), '%secret of globex%', 'it does not tell the secret');
SELECT is((pg_temp.refusal('SELECT hooks.webhook_curl(103)')).state, '55000', 'no attempt, no command');
SELECT is((pg_temp.refusal('SELECT hooks.webhook_curl(105)')).state, '55000', 'no event, no command');
SELECT is((pg_temp.refusal('SELECT hooks.webhook_curl(106)')).state, '42704', 'no webhook, no command');

-- --- webhook_find ----------------------------------------------------------------------------------------------------

SELECT is((f.event_id, f.created_at, f.event, f.organization_id), (e.id, e.created_at, e.event, e.organization_id),
          format('event %s is found by its webhook-id', e.id))
FROM hooks.webhook_own_events e, hooks.webhook_find(e.webhook_id) f WHERE e.id IN (1, 6, 11) ORDER BY e.id;
SELECT is((SELECT event_id FROM hooks.webhook_find(webhook_internal.encode_id(
              '6ba7b810-9dad-11d1-80b4-00c04fd430c8', 105, '2024-01-01 10:00Z'))), NULL, 'one that was never is not');
SELECT is((SELECT event FROM hooks.webhook_find(webhook_internal.encode_id(
              '6ba7b810-9dad-11d1-80b4-00c04fd430c8', 7, '2024-01-01 10:00Z'))), 'contact.updated',
          'one that is only logged is');
SELECT is((pg_temp.refusal(format('SELECT hooks.webhook_find(%L)', id))).state, '22023', format('%s is none', id))
FROM unnest(ARRAY['', 'evt_1', '4711']) id;

-- --- webhook_test: what is asked for amiss; test/t/021_test_function.pl has the rest -----------------------------------

SELECT is(r.state || ': ' || r.message, expected, 'webhook_test(' || arguments || ')')
FROM (VALUES
    ('NULL', '42704: webhook <NULL> does not exist, or belongs to another organization'),
    ('NULL, ''contact.created''', '42704: webhook <NULL> does not exist, or belongs to another organization'),
    ('''00000000-0000-0000-0000-0000000000ff''', '42704: webhook 00000000-0000-0000-0000-0000000000ff does not exist, '
        'or belongs to another organization'),
    (quote_literal(:'a') || ', ''contact.creatd''', '42704: unknown event "contact.creatd"'),
    (quote_literal(:'a') || ', ''contact.*''', '22023: invalid event name "contact.*": it is a pattern'),
    (quote_literal(:'a') || ', ''''', '22023: invalid event name "": it is empty'),
    (quote_literal(:'a') || ', ''größe''', '22023: invalid event name "größe": character 3 is none of the lower-case '
        'letters a-z, digits, "_", "-" and "."'),
    (quote_literal(:'a') || ', E''contact.\ncreated''', E'22023: invalid event name "contact.\ncreated": character 9 is '
        'none of the lower-case letters a-z, digits, "_", "-" and "."'),
    (quote_literal(:'a') || ', repeat(''x'', 101)', format('22023: invalid event name "%s": it is longer than 100 '
        'characters', repeat('x', 101)))
    ) c (arguments, expected), pg_temp.refusal('SELECT hooks.webhook_test(' || arguments || ')') r;
SELECT ok(detail LIKE 'Known events, nearest first: contact.created, %', 'an unknown event is told the nearest')
FROM pg_temp.refusal(format('SELECT hooks.webhook_test(%L, ''contact.creatd'')', :'a'));
-- A log row of a test: there is no event to send again.
INSERT INTO hooks.webhook_logs (slot, id, created_at, configuration_id, organization_id, event_id, event, attempt, status)
VALUES (0, 900, now(), :'a', 'acme', -5, 'webhook.test', 1, 'success');
SELECT is(r.state || ': ' || r.message, '55000: log row 900 is of a test', f || ' of a test')
FROM unnest(ARRAY['redeliver', 'curl']) f, pg_temp.refusal(format('SELECT hooks.webhook_%s(900)', f)) r;
DELETE FROM hooks.webhook_logs WHERE id = 900;
-- In place of the worker, which sees nothing of this transaction: tells what it is asked for.
CREATE OR REPLACE FUNCTION webhook_internal.send_test(
    webhook uuid, created_at timestamptz, organization text, event text, data json, timeout_ms integer, OUT status text,
    OUT response_status integer, OUT response_body text, OUT error text, OUT duration_ms double precision, OUT log_id bigint,
    OUT url text, OUT headers text, OUT body text)
    LANGUAGE sql STRICT AS $$SELECT 'success', 200, event, webhook::text, timeout_ms::double precision, 43::bigint,
        'https://example.com/hook', E'Content-Type: application/json\r\nX-Own: ***', data::text$$;
SELECT is((SELECT (status, response_status, response_body, error, duration_ms, log_id) FROM hooks.webhook_test(:'a') t)::text,
          format('(success,200,webhook.test,%s,5000,43)', :'a'), 'without an event it is webhook.test');
SELECT is((hooks.webhook_test(:'a')).request::jsonb, '{"url": "https://example.com/hook", "headers": {"Content-Type": '
          '"application/json", "X-Own": "***"}, "body": "{\"message\":\"This is a test of your webhook.\"}"}',
          'the example is sent, and the request is told');
SELECT is((hooks.webhook_test(:'a', payload => payload::json)).request ->> 'body', payload, 'or data of one''s own: ' || payload)
FROM unnest(ARRAY['{"id":  1}', '[]', '"x"', 'null', '{"a": 1, "a": 2}']) payload;
SELECT is((hooks.webhook_test(:'a', 'deal.created')).response_body, 'deal.created', 'else the given one');
UPDATE hooks.webhook_configurations SET test_event = 'contact.updated', timeout_ms = 700 WHERE id = :'a';
SELECT is((SELECT t.response_body || ' ' || t.duration_ms FROM hooks.webhook_test(:'a', NULL) t), 'contact.updated 700',
          'the webhook may name another, and the timeout');
UPDATE hooks.webhook_configurations SET test_event = NULL, timeout_ms = 5000 WHERE id = :'a';

-- --- Who may ---------------------------------------------------------------------------------------------------------

-- Every function, tried by each level on its own and on another's: 42501 without the right, 42704 across the border.
CREATE TEMPORARY TABLE tried (call text, lowest text);
INSERT INTO tried VALUES
    ('webhook_check(%1$L)', 'read'), ('webhook_explain(%2$s)', 'read'),
    ('webhook_cancel(%1$L)', 'manage'), ('webhook_internal.cancel_tenant(%1$L, NULL)', 'manage'),
    ('webhook_redeliver(%3$s)', 'manage'), ('webhook_internal.redeliver_tenant(%1$L, ARRAY[%2$s]::bigint[])', 'manage'),
    ('webhook_replay(%1$L, ''-infinity'')', 'manage'),
    ('webhook_internal.replay_tenant(%1$L, ''-infinity'', now(), NULL, false, true)', 'manage'),
    ('webhook_curl(%3$s)', 'manage'), ('webhook_rotate_secret(%1$L)', 'manage'),
    ('webhook_internal.rotate_secret_tenant(%1$L, ''1 h'')', 'manage'),
    ('webhook_test(%1$L)', 'manage'), ('webhook_internal.test_tenant(%1$L, ''webhook.test'', NULL)', 'manage'),
    ('webhook_internal.test_operator(%1$L, ''webhook.test'', NULL)', 'operate'),
    ('webhook_internal.send_test(%1$L, now(), '''', ''webhook.test'', ''{}'', 1000)', 'owner'),
    ('webhook_internal.cancel_operator(%1$L, NULL)', 'operate'), ('webhook_internal.redeliver_operator(%1$L, ARRAY[%2$s]::bigint[])', 'operate'),
    ('webhook_internal.replay_operator(%1$L, ''-infinity'', now(), NULL, false, true)', 'operate'),
    ('webhook_internal.rotate_secret_operator(%1$L, ''1 h'')', 'operate'),
    ('webhook_internal.make_pending(%1$L, ARRAY[%2$s])', 'owner'), ('webhook_internal.hold(%1$L)', 'owner'),
    ('webhook_internal.prune_replays(%1$L)', 'owner'),
    ('webhook_internal.replayable(%1$L, now(), now(), NULL, false)', 'owner');
CREATE FUNCTION pg_temp.outcomes(call text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s=%s', role, CASE WHEN length(result) = 5 AND result <> 'dummy' THEN result ELSE 'ok' END),
                      ' ' ORDER BY place)
    FROM unnest(ARRAY['none', 'read', 'manage', 'operate']) WITH ORDINALITY r (role, place),
         pg_temp.as_role(role, CASE WHEN role = 'operate' THEN NULL ELSE 'acme' END, 'SELECT count(*)::text FROM '
                        || CASE WHEN call LIKE 'webhook\_internal.%' THEN '' ELSE 'hooks.' END || call) result
$$;
SELECT is(pg_temp.outcomes(format(call, :'a', 1, 101)),
          CASE lowest WHEN 'read' THEN 'none=42501 read=ok manage=ok operate=ok'
                      WHEN 'manage' THEN CASE WHEN call LIKE '%\_tenant(%' THEN 'none=42501 read=42501 manage=ok operate=42704'
                                              ELSE 'none=42501 read=42501 manage=ok operate=ok' END
                      WHEN 'operate' THEN 'none=42501 read=42501 manage=42501 operate=ok'
                      ELSE 'none=42501 read=42501 manage=42501 operate=42501' END, 'own: ' || call)
FROM tried;
SELECT is(pg_temp.outcomes(format(call, :'g', 11, 111)),
          CASE lowest WHEN 'read' THEN 'none=42501 read=42704 manage=42704 operate=ok'
                      WHEN 'manage' THEN CASE WHEN call LIKE '%\_tenant(%' THEN 'none=42501 read=42501 manage=42704 operate=42704'
                                              ELSE 'none=42501 read=42501 manage=42704 operate=ok' END
                      WHEN 'operate' THEN 'none=42501 read=42501 manage=42501 operate=ok'
                      ELSE 'none=42501 read=42501 manage=42501 operate=42501' END, 'another''s: ' || call)
FROM tried;
SELECT is(pg_temp.as_role('manage', 'acme', format('SELECT webhook_internal.redeliver_tenant(%L, ARRAY[11]::bigint[])', :'a')), '55000',
          'another''s event is not sent to one''s own webhook');
SELECT is(pg_temp.as_role('manage', NULL, format('SELECT hooks.webhook_cancel(%L)', :'a')), '42704',
          'without an organization nothing is one''s own');
SELECT is(pg_temp.as_role(role, organization, format('SELECT event_id FROM hooks.webhook_find(%L)', webhook_id)), expected,
          format('%s of %s finds event %s: %s', role, coalesce(organization, 'none'), id, expected))
FROM hooks.webhook_own_events
CROSS JOIN (VALUES ('none', 'acme', '42501', '42501'), ('read', 'acme', '1', 'null'), ('manage', 'globex', 'null', '11'),
                   ('operate', NULL, '1', '11')) c (role, organization, of_acme, of_globex)
CROSS JOIN LATERAL (SELECT CASE id WHEN 1 THEN of_acme ELSE of_globex END AS expected) e
WHERE id IN (1, 11) ORDER BY id, role;
SELECT is(pg_temp.as_role(role, organization, 'SELECT string_agg(DISTINCT organization_id, '' '') FROM '
              '(SELECT organization_id FROM hooks.webhook_own_events) e'), expected,
          format('%s of %s sees the events of %s', role, coalesce(organization, 'none'), expected))
FROM (VALUES ('none', 'acme', '42501'), ('read', 'acme', 'acme'), ('manage', 'globex', 'globex'), ('manage', NULL, 'null'),
             ('operate', 'acme', 'acme globex')) c (role, organization, expected);
SELECT is(pg_temp.as_role('read', 'acme', 'SELECT data FROM hooks.webhook_own_events LIMIT 1'), '42501',
          'read does not see bodies there');
-- Whatever runs as its owner is tried here, in tenancy.sql, replays.sql, health.sql or api.sql, or cannot be called.
SELECT set_eq($$
    SELECT proname::text FROM pg_proc
    WHERE prosecdef AND pronamespace IN ('hooks'::regnamespace, 'webhook_internal'::regnamespace) AND prorettype <> 'trigger'::regtype
$$, ARRAY['emit_tenant', 'redeliver_operator', 'redeliver_tenant', 'replay_operator', 'replay_tenant',
          'count_replay_operator', 'count_replay_tenant', 'start_replay_operator', 'start_replay_tenant', 'cancel_replay_operator', 'cancel_replay_tenant',
          'cancel_operator', 'cancel_tenant', 'rotate_secret_operator', 'rotate_secret_tenant',
          'reveal_secret_tenant', 'reveal_secret_operator', 'webhook_reencrypt_secrets',
          'check_secrets_tenant', 'check_secrets_operator', 'check_shares_tenant', 'check_shares_operator', 'check_deferred_tenant',
          'check_deferred_operator', 'check_limit', 'test_tenant', 'test_operator',
          'find_tenant', 'is_settled', 'was_active', 'webhook_server_state', 'webhook_health', 'webhook_metrics', 'progress', 'recent_events_tenant', 'newest_log_id',
          'log_slots', 'hide_statement', 'has_lost_slot', 'require_home', 'is_node', 'node_states', 'check_node', 'pause_nodes'],
          'no other function runs as its owner');
SELECT is(webhook_internal.has_lost_slot(0), false, 'a subscription that does not exist has lost no slot');
SELECT webhook_internal.hide_statement() \g /dev/null
SELECT is(current_setting('log_min_error_statement'), 'panic', 'errors of the transaction are logged without the statement');

SELECT * FROM finish();
ROLLBACK;

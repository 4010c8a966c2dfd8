-- Calls with many rows: what they read is bounded, they say so, and whoever continues gets each row. In one transaction, rolled
-- back. No test judges a duration: bench/run api does.
\set ECHO none
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only true
BEGIN;
SET client_min_messages = error;
SET TimeZone = 'UTC';
CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;
CREATE SCHEMA hooks;
CREATE EXTENSION webhook SCHEMA hooks;
SET search_path = public, tap;
SELECT plan(6);

CREATE ROLE regress_webhook_manage;
CREATE ROLE regress_webhook_operate;
SELECT hooks.webhook_grant('regress_webhook_manage'), hooks.webhook_grant('regress_webhook_operate', 'operate') \g /dev/null

-- What the call returns to the role.
CREATE FUNCTION pg_temp.call(role text, organization text, call text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    result json;
BEGIN
    PERFORM set_config('webhook.organization_id', organization, true);
    PERFORM set_config('role', 'regress_webhook_' || role, true);
    EXECUTE 'SELECT webhook_api.' || call INTO result;
    PERFORM set_config('role', 'none', true);
    RETURN result;
END
$$;

-- 100 webhooks of acme, w100 to w199, and as many of globex.
INSERT INTO hooks.webhook_configurations (organization_id, name, url, events)
SELECT o, 'w' || n, 'https://example.com/', '{*}' FROM unnest(ARRAY['acme', 'globex']) o, generate_series(100, 199) n;
SELECT id AS first FROM hooks.webhook_configurations WHERE organization_id = 'acme' AND name = 'w100' \gset
SELECT id AS second FROM hooks.webhook_configurations WHERE organization_id = 'acme' AND name = 'w101' \gset

-- --- deliveries ------------------------------------------------------------------------------------------------------

INSERT INTO hooks.webhook_deliveries (event_id, configuration_id, configuration_created_at, organization_id, event, created_at,
                                      state, next_attempt_at)
SELECT n, CASE WHEN n <= 4000 THEN :'first' ELSE :'second' END::uuid, now(), 'acme', 'contact.created', now(),
       CASE n % 2 WHEN 1 THEN 'pending' ELSE 'dead' END, CASE n % 2 WHEN 1 THEN now() + n * interval '1 s' END
FROM generate_series(1, 4100) n;
SELECT is(string_agg(finding, '; ' ORDER BY finding),
          format('more than 1000 deliveries are pending, the next is due at %s; more than 1000 deliveries were given up',
                 now() + interval '1 s'), 'webhook_check() counts deliveries to 1000')
FROM hooks.webhook_check(:'first') WHERE finding LIKE '% deliveries %';
SELECT is(string_agg(finding, '; ' ORDER BY finding),
          format('50 deliveries are pending, the next is due at %s; 50 deliveries were given up', now() + interval '4001 s'),
          'and has the number of fewer')
FROM hooks.webhook_check(:'second') WHERE finding LIKE '% deliveries %';
SELECT is(jsonb_path_query_array(pg_temp.call('manage', 'acme', 'check()'),
                                 '$.findings[*] ? (@.finding like_regex " deliveries ").action'), '["replay_failed", "replay_failed"]',
          'the remedy is the same');
SELECT is(s -> 'pending' || (s -> 'dead'), '{"count": 1000, "is_more": true}', 'a webhook counts them to 1000')
FROM pg_temp.call('manage', 'acme', format('webhook(%L)', :'first')) a, LATERAL (SELECT a -> 'summary' AS s) s;
SELECT is(jsonb_path_query_array(a, '$.webhooks[0 to 1].dead'), '[{"count": 100, "is_more": true}, {"count": 50, "is_more": false}]',
          'and a list to 100')
FROM pg_temp.call('manage', 'acme', 'webhooks()') a;
-- 21 of acme's webhooks have a dead delivery, and the last of globex's.
INSERT INTO hooks.webhook_deliveries (event_id, configuration_id, configuration_created_at, organization_id, event, created_at, state)
SELECT 9999, id, now(), organization_id, 'contact.created', now(), 'dead' FROM hooks.webhook_configurations
WHERE organization_id = 'acme' AND name BETWEEN 'w179' AND 'w197' OR organization_id = 'globex' AND name = 'w199';
SELECT is(string_agg(format('%s: %s of %s', c.organization, c.webhooks, c.is_complete), ', ' ORDER BY c.organization),
          'acme: 20 of f, all: 20 of f, globex: 1 of t', 'check() looks at 20 webhooks, and says whether that is all')
FROM (SELECT o AS organization, (a ->> 'is_complete')::boolean AS is_complete,
             (SELECT count(DISTINCT f ->> 'webhook') FROM jsonb_array_elements(a -> 'findings') f) AS webhooks
      FROM unnest(ARRAY['acme', 'globex', 'all']) o,
           pg_temp.call(CASE o WHEN 'all' THEN 'operate' ELSE 'manage' END, o, 'check()') a) c;

SELECT * FROM finish();
ROLLBACK;

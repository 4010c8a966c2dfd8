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
SELECT plan(23);

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

-- --- the log ---------------------------------------------------------------------------------------------------------

-- Segments 0 to 3 begin a million ids apart, and of each 1000 rows the ends overlap, as when a worker moves on while others
-- record. w100 has half of acme's rows, w199 only old ones, the others as many as each other. Every 500th row has failed,
-- every 40th is beyond acme's share, in segment 8.
INSERT INTO hooks.webhook_logs (slot, id, created_at, configuration_id, organization_id, event_id, event, attempt, status, error)
SELECT CASE WHEN r.n % 40 = 7 THEN 8 ELSE r.segment END, r.id, now() - interval '4 hours' + r.n * interval '1 s', w.id,
       w.organization_id, r.n, 'contact.created', 1, CASE WHEN r.n % 500 = 0 THEN 'failed' ELSE 'success' END,
       CASE WHEN r.n % 500 = 0 THEN 'HTTP 500' END
FROM (SELECT n, s.segment, s.segment * 1000000 + i * 7 + CASE i WHEN 1000 THEN 1000000 - 6900 ELSE 0 END AS id
      FROM generate_series(0, 3) s (segment), generate_series(1, 1000) i, LATERAL (SELECT s.segment * 1000 + i AS n) n) r
JOIN hooks.webhook_configurations w
  ON w.organization_id = CASE WHEN r.n % 4 = 3 THEN 'globex' ELSE 'acme' END
     AND w.name = CASE WHEN r.n % 4 = 3 OR r.n % 2 = 0 THEN 'w100' WHEN r.segment = 0 AND r.n % 8 = 1 THEN 'w199'
                       ELSE 'w' || 101 + r.n % 98 END
ORDER BY r.segment, r.id;
SELECT setval('hooks.webhook_logs_id_seq', 4000200) \g /dev/null
UPDATE hooks.webhook_rings SET slot = 3 WHERE ring = 'logs';
CREATE FUNCTION pg_temp.expected(wanted text DEFAULT 'true') RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    ids bigint[];
BEGIN
    EXECUTE 'SELECT array_agg(l.id ORDER BY l.id) FROM hooks.webhook_logs l WHERE organization_id = ''acme'' AND ' || wanted INTO ids;
    RETURN ids;
END
$$;

-- The ids that a client gets that continues with next, and how many calls it takes.
CREATE FUNCTION pg_temp.walk(arguments text, is_ascending boolean, role text DEFAULT 'manage', OUT ids bigint[], OUT calls integer)
    LANGUAGE plpgsql AS $$
DECLARE
    place bigint := CASE WHEN is_ascending THEN 0 ELSE 9223372036854775807 END;
    answer jsonb;
BEGIN
    ids := '{}';
    FOR i IN 1 .. 1000 LOOP
        calls := i;
        answer := pg_temp.call(role, CASE role WHEN 'manage' THEN 'acme' ELSE 'all' END, format(
            'logs(%s%s => %s)', arguments, CASE WHEN is_ascending THEN 'after' ELSE 'before' END, place));
        ids := ids || ARRAY(SELECT (l.row ->> 'id')::bigint FROM jsonb_array_elements(answer -> 'logs') WITH ORDINALITY l (row, n)
                            ORDER BY l.n);
        EXIT WHEN answer ->> 'next' IS NULL OR (answer ->> 'next')::bigint = place;
        place := answer ->> 'next';
    END LOOP;
END
$$;
CREATE FUNCTION pg_temp.reversed(ids bigint[]) RETURNS bigint[] LANGUAGE sql AS
    'SELECT array_agg(i ORDER BY n DESC) FROM unnest(ids) WITH ORDINALITY u (i, n)';

CREATE FUNCTION pg_temp.difference(have bigint[], want bigint[]) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(min(format('%s rows instead of %s; number %s is %s instead of %s', cardinality(have), cardinality(want), n,
                               coalesce(have[n], 0), coalesce(want[n], 0)))
                    FILTER (WHERE n = first), 'none')
    FROM (SELECT n, min(n) OVER () AS first FROM generate_series(1, greatest(cardinality(have), cardinality(want))) n
          WHERE have[n] IS DISTINCT FROM want[n]) d
$$;
SELECT is(pg_temp.difference(w.ids, pg_temp.expected()), 'none', 'who follows gets each row once, the oldest first'),
       ok(w.calls <= cardinality(w.ids) / 50 + 10, 'in as many calls as there are pages')
FROM pg_temp.walk('', true) w;
SELECT is(pg_temp.difference(w.ids, pg_temp.reversed(pg_temp.expected())), 'none',
          'who loads older rows gets each row once, the newest first')
FROM pg_temp.walk('page_size => 7, ', false) w;
SELECT is(pg_temp.difference(w.ids, pg_temp.expected(wanted)), 'none', format('follows %s', filter)),
       is(pg_temp.difference(o.ids, pg_temp.reversed(pg_temp.expected(wanted))), 'none', format('and loads %s', filter))
FROM (VALUES ('status => ''failed''', 'l.status = ''failed'''), ('event => ''deal.*''', 'false'),
             ('event_id => 2222', 'l.event_id = 2222')) f (filter, wanted),
     LATERAL pg_temp.walk(filter || ', ', true) w, LATERAL pg_temp.walk(filter || ', ', false) o;
SELECT is(pg_temp.difference(w.ids, ARRAY(SELECT id FROM hooks.webhook_logs ORDER BY id)), 'none', 'an operator gets those of all')
FROM pg_temp.walk('', true, 'operate') w;
SELECT is(pg_temp.difference(w.ids, ARRAY(SELECT id FROM hooks.webhook_logs ORDER BY id DESC)), 'none', 'and loads them')
FROM pg_temp.walk('', false, 'operate') w;

-- A worker moves on, and another one has a later id in the segment before.
INSERT INTO hooks.webhook_logs (slot, id, created_at, configuration_id, organization_id, event_id, event, attempt, status)
SELECT slot, r.id, now(), c.id, c.organization_id, r.id, 'contact.created', 1, 'success'
FROM (VALUES (4, 4000201, 'w101'), (3, 4000202, 'w102'), (4, 4000203, 'w103')) r (slot, id, name)
JOIN hooks.webhook_configurations c USING (name) WHERE c.organization_id = 'acme';
UPDATE hooks.webhook_rings SET slot = 4 WHERE ring = 'logs';
SELECT setval('hooks.webhook_logs_id_seq', 4000203) \g /dev/null
SELECT is(jsonb_path_query_array(pg_temp.call('manage', 'acme', call), '$.logs[*].id'), expected, call)
FROM (VALUES ('logs(after => 4000200)', '["4000201", "4000202", "4000203"]'::jsonb),
             ('logs(page_size => 3)', '["4000203", "4000202", "4000201"]')) c (call, expected);

-- Segments with few rows, whose ends overlap, too.
INSERT INTO hooks.webhook_logs (slot, id, created_at, configuration_id, organization_id, event_id, event, attempt, status)
SELECT 5 + (n - 1) / 300 - CASE WHEN n > 300 AND n % 300 IN (2, 4) THEN 1 ELSE 0 END, 4000300 + n, now(), c.id, c.organization_id, n,
       'contact.created', 1, 'success'
FROM generate_series(1, 900) n
JOIN hooks.webhook_configurations c ON c.organization_id = 'acme' AND c.name = 'w' || 100 + n % 100;
UPDATE hooks.webhook_rings SET slot = 7 WHERE ring = 'logs';
SELECT setval('hooks.webhook_logs_id_seq', 4001200) \g /dev/null
SELECT is(pg_temp.difference(u.ids, pg_temp.expected()), 'none', 'who follows gets each row of short segments, too'),
       is(pg_temp.difference(d.ids, pg_temp.reversed(pg_temp.expected())), 'none', 'and who loads older ones')
FROM pg_temp.walk('page_size => 60, ', true) u, pg_temp.walk('page_size => 60, ', false) d;

-- More rows than what a call with a filter may read at once.
INSERT INTO hooks.webhook_logs (slot, id, created_at, configuration_id, organization_id, event_id, event, attempt, status)
SELECT 7, 4002000 + n, now() + n * interval '1 ms', c.id, 'acme', n, 'contact.created', 1, 'success'
FROM generate_series(1, 20000) n
JOIN hooks.webhook_configurations c ON c.organization_id = 'acme' AND c.name = 'w' || 100 + n % 100;
SELECT setval('hooks.webhook_logs_id_seq', 4022000) \g /dev/null
SELECT ok(l -> 'logs' = '[]' AND (l ->> 'next')::bigint BETWEEN 4002001 AND 4019000
          AND (l ->> 'searched_to')::timestamptz BETWEEN now() AND now() + interval '17 s',
          'a filter that matches nothing ends after some thousand rows, and says how far it looked'),
       ok((SELECT sum((e ->> 'attempts')::integer) FROM jsonb_array_elements(b -> 'by_event') e) BETWEEN 3000 AND 15000
          AND (b ->> 'searched_to')::timestamptz BETWEEN now() AND now() + interval '17 s', 'so does breakdown()')
FROM pg_temp.call('manage', 'acme', 'logs(event => ''deal.*'')') l, pg_temp.call('manage', 'acme', 'breakdown(until => ''infinity'')') b;

SELECT * FROM finish();
ROLLBACK;

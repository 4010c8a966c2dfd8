-- Statistics: webhook_stats sums up webhook_minutes, webhook_endpoints and webhook_deliveries, and neither it nor the two
-- tables show another organization's. That the worker writes them is tested by unit tests. In one transaction, rolled
-- back.
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
SELECT plan(41);

-- Counts as DurationCounts in src/core/statistics.h keeps them: "DURATION in ms: COUNT".
CREATE FUNCTION pg_temp.bucket(ms double precision) RETURNS int LANGUAGE sql AS $$
    SELECT least(greatest(floor(2 * log(2, (ms / 0.25)::numeric))::int + 1, 0), 47) + 1
$$;
CREATE FUNCTION pg_temp.durations(VARIADIC ms_and_counts double precision[]) RETURNS int[] LANGUAGE sql AS $$
    SELECT array_agg((SELECT coalesce(sum(ms_and_counts[i + 1]), 0)::int FROM generate_series(1, array_length(ms_and_counts, 1), 2) i
                      WHERE pg_temp.bucket(ms_and_counts[i]) = bucket) ORDER BY bucket)
    FROM generate_series(1, 48) bucket
$$;
CREATE FUNCTION pg_temp.is_near(have double precision, want double precision, what text) RETURNS text LANGUAGE sql AS $$
    SELECT ok(have BETWEEN want * 0.8 AND want * 1.2, what) || CASE WHEN have BETWEEN want * 0.8 AND want * 1.2 THEN ''
        ELSE E'\n' || diag(format('have %s, want %s within 20 %%', have, want)) END
$$;

-- --- quantiles -------------------------------------------------------------------------------------------------------

SELECT is(cardinality(pg_temp.durations(1, 1)), 48, 'there are as many counts as the worker keeps');
SELECT is(webhook_internal.duration_quantile('{}', 0.5), NULL, 'no attempts have no quantile');
SELECT is(webhook_internal.duration_quantile(array_fill(0::bigint, ARRAY[48]), 0.5), NULL, 'nor do 48 times none');
SELECT pg_temp.is_near(webhook_internal.duration_quantile(pg_temp.durations(ms, 1)::bigint[], 0.5), ms, ms || ' ms are found')
FROM unnest(ARRAY[0.3, 1, 2.1, 5, 12.5, 99, 250, 1000, 5000, 60000]) ms;
SELECT pg_temp.is_near(webhook_internal.duration_quantile(pg_temp.durations(10, 94, 1000, 6)::bigint[], q), ms, what)
FROM (VALUES (0.5, 10, 'half take 10 ms'), (0.94, 10, '94 of 100 too'), (0.95, 1000, 'the 95th takes a second'),
             (1, 1000, 'and so does the last')) q (q, ms, what);

-- --- webhook_hours ---------------------------------------------------------------------------------------------------

SELECT is((SELECT webhook_internal.sum_counts(c) FROM (VALUES ('{"a": [2, 1]}'::jsonb), (NULL), ('{"b": [1, 1]}'), ('{"a": [3, 0]}')) v (c)),
          '{"a": [5, 1], "b": [1, 1]}', 'counts are added up by name');
SELECT is((webhook_internal.add_counts(jsonb_object_agg(n, '[1, 0]'::jsonb), '{"1": [1, 1], "more": [1, 1], "and more": [2, 0]}')) - ARRAY(SELECT n::text FROM generate_series(2, 100) n),
          '{"": [3, 1], "1": [2, 1]}', 'beyond 100 names, further ones are counted together')
FROM generate_series(1, 100) n;

-- --- webhook_stats ---------------------------------------------------------------------------------------------------

\set a '00000000-0000-0000-0000-00000000000a'
\set b '00000000-0000-0000-0000-00000000000b'
\set c '00000000-0000-0000-0000-00000000000c'
INSERT INTO hooks.webhook_configurations (id, organization_id, name, url, events, is_active)
VALUES (:'a', 'acme', 'busy', 'https://example.com/', '{*}', true), (:'b', 'acme', 'new', 'https://example.com/', '{*}', false),
       (:'c', 'globex', 'failing', 'https://example.com/', '{*}', true);
INSERT INTO hooks.webhook_minutes (configuration_id, slot, configuration_created_at, organization_id, minute, attempts,
                                   successes, durations, unjudged)
SELECT c.id, m.slot, c.created_at, m.organization_id, m.minute, m.attempts, m.successes, m.durations, m.attempts / 20
FROM (VALUES
    (:'a'::uuid, 0, 'acme', date_trunc('minute', now()), 60, 59, pg_temp.durations(10, 60)),
    (:'a', 1, 'acme', now() - interval '23 h 50 min', 40, 40, pg_temp.durations(10, 34, 1000, 6)),
    (:'a', 2, 'acme', now() - interval '24 h 10 min', 5000, 0, pg_temp.durations(30000, 5000)),
    (:'c', 0, 'globex', date_trunc('minute', now()), 3, 0, pg_temp.durations(5000, 3))
) m (webhook, slot, organization_id, minute, attempts, successes, durations)
JOIN hooks.webhook_configurations c ON c.id = m.webhook;
INSERT INTO hooks.webhook_hours (configuration_id, slot, configuration_created_at, organization_id, hour, attempts,
                                 successes, durations, unjudged, events, statuses)
SELECT c.id, 0, c.created_at, c.organization_id, date_trunc('hour', now()), 1, 1, pg_temp.durations(10, 1), 0, '{}', '{}'
FROM hooks.webhook_configurations c WHERE c.id IN (:'a', :'c');
INSERT INTO hooks.webhook_endpoints
    (configuration_id, configuration_created_at, organization_id, circuit_opened_at, next_probe_at, failing_since, last_success_at, last_failure_at, last_error,
     filter_failed_at, filter_error)
VALUES
    (:'a', (SELECT created_at FROM hooks.webhook_configurations WHERE id = :'a'), 'acme', NULL, NULL, NULL, '2024-01-15 10:00Z', '2024-01-14 10:00Z', 'HTTP status 500',
     '2024-01-15 11:00Z', 'division by zero'),
    (:'c', (SELECT created_at FROM hooks.webhook_configurations WHERE id = :'c'), 'globex', '2024-01-15 09:00Z', '2024-01-15 10:05Z', '2024-01-15 08:00Z', NULL, '2024-01-15 10:00Z', 'timeout', NULL, NULL);
INSERT INTO hooks.webhook_deliveries (event_id, configuration_id, configuration_created_at, organization_id, event, created_at,
                                      state)
SELECT d.id, c.id, c.created_at, organization, 'contact.created', now(), state
FROM (VALUES (1, :'a', 'acme', 'pending'), (2, :'a', 'acme', 'pending'), (3, :'a', 'acme', 'dead'),
             (4, :'c', 'globex', 'pending')) d (id, webhook, organization, state)
JOIN hooks.webhook_configurations c ON c.id = d.webhook::uuid;

SELECT is(array_agg(name ORDER BY name), '{busy,failing,new}', 'each webhook has a row') FROM hooks.webhook_stats;
SELECT is((attempts, successes)::text, '(100,99)', 'attempts and successes are of the last 24 hours'),
       is(success_percent, 99.0, 'in percent'),
       pg_temp.is_near(p50_ms, 10, 'half were done in 10 ms'), pg_temp.is_near(p95_ms, 1000, '95 of 100 in a second'),
       is(unjudged, 5::numeric, 'how many events its filter could not judge'),
       is(concat_ws(' ', filter_failed_at = '2024-01-15 11:00Z', filter_error), 't division by zero', 'when the last, and why'),
       is((pending, dead)::text, '(2,1)', 'what is pending and what was given up'), is(circuit, 'closed', 'the circuit is closed'),
       is(concat_ws(' ', last_success_at = '2024-01-15 10:00Z', last_failure_at = '2024-01-14 10:00Z', last_error),
          't t HTTP status 500', 'when it last went well, and when not, and why')
FROM hooks.webhook_stats WHERE configuration_id = :'a';
SELECT is(concat_ws(' ', circuit, circuit_opened_at = '2024-01-15 09:00Z', next_probe_at = '2024-01-15 10:05Z',
                    failing_since = '2024-01-15 08:00Z', success_percent, pending),
          'open t t t 0.0 1', 'an open circuit is shown, with the next probe')
FROM hooks.webhook_stats WHERE configuration_id = :'c';
SELECT is((is_active, attempts, successes, success_percent, p50_ms, pending, dead, circuit)::text, '(f,0,0,,,0,0,closed)',
          'a webhook without deliveries has none')
FROM hooks.webhook_stats WHERE configuration_id = :'b';

-- --- whose it is -----------------------------------------------------------------------------------------------------

CREATE ROLE regress_webhook_read;
CREATE ROLE regress_webhook_operate;
SELECT hooks.webhook_grant('regress_webhook_read', 'read'), hooks.webhook_grant('regress_webhook_operate', 'operate') \g /dev/null
CREATE FUNCTION pg_temp.seen(role text, organization text, relation text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    PERFORM set_config('webhook.organization_id', organization, true);
    PERFORM set_config('role', 'regress_webhook_' || role, true);
    EXECUTE format('SELECT string_agg(DISTINCT organization_id, '','') FROM hooks.%I', relation) INTO result;
    PERFORM set_config('role', 'none', true);
    RETURN coalesce(result, 'none');
END
$$;
SELECT is(string_agg(pg_temp.seen(role, organization, r), ' ' ORDER BY r), want, what)
FROM (VALUES ('read', 'acme', 'acme acme acme acme', 'an organization sees its own statistics'),
             ('read', 'initech', 'none none none none', 'and one without any none'),
             ('operate', '', 'acme,globex acme,globex acme,globex acme,globex', 'an operator sees all')) s (role, organization, want, what),
     unnest(ARRAY['webhook_stats', 'webhook_minutes', 'webhook_hours', 'webhook_endpoints']) r
GROUP BY role, organization, want, what ORDER BY role DESC, organization;

-- What webhook_check() says of the filter, to whom the webhook belongs and to operators, and nothing to others.
CREATE FUNCTION pg_temp.told(role text, organization text, webhook uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    PERFORM set_config('webhook.organization_id', organization, true);
    PERFORM set_config('role', 'regress_webhook_' || role, true);
    BEGIN
        SELECT string_agg(severity || ': ' || regexp_replace(finding, 'the last at .*: ', 'the last at ...: '), ', ') INTO result
        FROM hooks.webhook_check(webhook) WHERE finding ~ 'filter could not judge';
    EXCEPTION WHEN undefined_object THEN
        result := 'no such webhook';
    END;
    PERFORM set_config('role', 'none', true);
    RETURN coalesce(result, 'nothing');
END
$$;
UPDATE hooks.webhook_endpoints SET filter_failed_at = now() WHERE filter_error IS NOT NULL;
SELECT is(pg_temp.told('read', 'acme', :'a'), pg_temp.told('operate', '', :'a'), 'the owner and an operator are told the same'),
       is(pg_temp.told('read', 'acme', :'a'),
          'warning: its filter could not judge 5 events in the last 24 hours, which were not delivered; the last at ...: '
          'division by zero', 'of the filter'),
       is(pg_temp.told('read', 'globex', :'a'), 'no such webhook', 'another organization is told nothing'),
       is(pg_temp.told('operate', '', :'c'), 'nothing', 'nor is there anything where no filter failed');

-- --- another webhook of the id ------------------------------------------------------------------------------------------

DELETE FROM hooks.webhook_configurations WHERE id = :'a';
INSERT INTO hooks.webhook_configurations (id, organization_id, name, url, events)
VALUES (:'a', 'initech', 'heir', 'https://example.com/', '{*}');
SELECT is((attempts, successes, last_success_at, last_error, pending, dead, circuit)::text, '(0,0,,,0,0,closed)',
          'statistics are of the webhook, not of its id') FROM hooks.webhook_stats WHERE configuration_id = :'a';
SELECT is_empty(format('SELECT finding FROM hooks.webhook_check(%L) WHERE finding ~ ''pending|given up|last attempt|circuit|judge''',
                       :'a'), 'so is what webhook_check finds');

-- --- many webhooks -----------------------------------------------------------------------------------------------------

-- To compile the query takes PostgreSQL longer than to answer a tenant.
CREATE FUNCTION pg_temp.estimate(query text) RETURNS double precision LANGUAGE plpgsql AS $$
DECLARE
    result json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO result;
    RETURN result #>> '{0,Plan,Total Cost}';
END
$$;
INSERT INTO hooks.webhook_configurations (organization_id, name, url, events)
SELECT 'organization ' || n, 'w', 'https://example.com/', '{*}' FROM generate_series(1, 5000) AS n;
ANALYZE hooks.webhook_configurations;
SELECT cmp_ok(pg_temp.estimate('SELECT * FROM hooks.webhook_stats'), '<', current_setting('jit_above_cost')::float8,
              'PostgreSQL does not compile the query, though there are many webhooks');

SELECT * FROM finish();
ROLLBACK;

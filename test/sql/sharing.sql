-- What a home does for a node that is gone, function by function, with reports of nodes that do not exist.
-- test/t/083_sharing.pl and the two after it have real ones. In one transaction, rolled back.
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
SELECT plan(43);

INSERT INTO hooks.webhook_instance (instance, database_oid, system_identifier)
VALUES ('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 1, 1);
INSERT INTO hooks.webhook_configurations (id, organization_id, name, url, events)
SELECT format('00000000-0000-0000-0000-0000000000%s', lpad(i::text, 2, '0'))::uuid, 'acme', 'w' || i, 'https://acme.example/' || i, '{contact.*}'
FROM generate_series(1, 20) i;
-- One event each of 20 transactions.
INSERT INTO hooks.webhook_events (slot, known_switch, id, xid, created_at, event, organization_id, data)
SELECT 3, i + 20, i, (100 + i)::text::xid8, now() - interval '1 h', CASE WHEN i % 5 = 0 THEN 'deal.created' ELSE 'contact.created' END, 'acme', '{}'
FROM generate_series(10, 29) i;

-- --- Divisions --------------------------------------------------------------------------------------------------------

INSERT INTO hooks.webhook_node_shares (since, nodes, instance) VALUES
    (30, '{home,east}', '6ba7b810-9dad-11d1-80b4-00c04fd430c8'), (40, '{west,home,east}', '6ba7b810-9dad-11d1-80b4-00c04fd430c8'),
    (45, '{home,west}', '6ba7b810-9dad-11d1-80b4-00c04fd430c8');
SELECT is(webhook_internal.last_division(), '{home,west}', 'the last division counts');
SELECT is(array_agg(d.nodes::text) FILTER (WHERE d.nodes IS NOT NULL), expected, format('an event with known_switch %s, up to division %s', known, last))
FROM (VALUES (29, 45, NULL), (30, 45, '{"{home,east}"}'::text[]), (39, 45, '{"{home,east}"}'), (40, 45, '{"{west,home,east}"}'),
             (50, 45, '{"{home,west}"}'), (50, 40, '{"{west,home,east}"}'),
             (2147483647, 40, '{"{west,home,east}","{home,east}"}')) v (known, last, expected)
LEFT JOIN LATERAL webhook_internal.divisions_of(known, last) d ON true
GROUP BY known, last, expected ORDER BY known, last;
SELECT is((SELECT count(DISTINCT webhook_internal.node_number(c.id, 3)) FROM hooks.webhook_configurations c), 3::bigint,
          'webhooks spread over nodes');
SELECT throws_ok($$ SELECT webhook_internal.node_number(gen_random_uuid(), 0) $$, '22023', NULL, 'of which there is one at least');

-- --- A node is retired -------------------------------------------------------------------------------------------------

INSERT INTO webhook_internal.nodes (name, identity, settled) VALUES ('east', '1/1', 2), ('west', '1/2', 0), ('idle', '1/3', 1);
INSERT INTO webhook_internal.node_marks (id, checkpoint, snapshot, lowest_id, log_floor) VALUES
    (1, 'a', '105:105:', 1, 0), (2, 'b', '115:116:', 14, 0), (3, 'c', '200:200:', 30, 0);
SELECT lives_ok($$ SELECT webhook_internal.retire_node('idle') $$, 'a node that never had a share');
SELECT is_empty('TABLE webhook_internal.takeovers', 'leaves nothing');
SELECT lives_ok($$ SELECT webhook_internal.retire_node('east') $$, 'a node that had one');
SELECT results_eq('SELECT nodes FROM hooks.webhook_node_shares ORDER BY since',
                  $$VALUES ('{home,east-45}'::text[]), ('{west,home,east-45}'), ('{home,west}')$$, 'is named otherwise from then on');
SELECT results_eq('SELECT node, since, settled::text, lowest_id, is_collected FROM webhook_internal.takeovers',
                  $$VALUES ('east-45', 45, '115:116:', 14::bigint, false)$$, 'and is taken over from where its last mark was');

-- --- What it had not settled -------------------------------------------------------------------------------------------

SELECT is(webhook_internal.collect_takeover(100), false, 'nothing is looked for without checkpoints');
INSERT INTO hooks.webhook_checkpoint (worker, workers, instance, snapshot_from, snapshot_to, position, log_floor, lowest_id)
SELECT n, 2, '6ba7b810-9dad-11d1-80b4-00c04fd430c8', s, s, 0, 0, 1
FROM (VALUES (1, '9000000:9000000:'::pg_snapshot), (2, '9000000:9000000:')) v (n, s);
SELECT is(webhook_internal.collect_takeover(100), false, 'nor before all workers know of it');
SELECT ok(NOT (webhook_internal.serve_nodes(2, '{other}', 100)).has_more, 'of another one it is of no use');
SELECT is((webhook_internal.serve_nodes(2, '{east-45}', 100)).is_checkpoint_wanted, false, 'the second says that it knows');
SELECT is(webhook_internal.collect_takeover(100), false, 'which the first does not');
UPDATE hooks.webhook_checkpoint SET snapshot_from = '3:3:' WHERE worker = 1;
SELECT is((webhook_internal.serve_nodes(1, '{other,east-45}', 0)).is_checkpoint_wanted, true, 'when it does, its checkpoint is behind');
SELECT is(webhook_internal.collect_takeover(100), false, 'so nothing begins');
UPDATE hooks.webhook_checkpoint SET snapshot_from = '9000000:9000000:' WHERE worker = 1;
SELECT is((SELECT count(*) FROM generate_series(1, 20) i WHERE webhook_internal.collect_takeover(3)), 7::bigint, 'it goes in steps, of which the last finds nothing');
SELECT ok((SELECT is_collected FROM webhook_internal.takeovers), 'until all is collected');
SELECT set_eq('SELECT configuration_id, event_id FROM webhook_internal.to_take_over', $$
    SELECT c.id, e.id AS event_id FROM hooks.webhook_configurations c, hooks.webhook_events e
    WHERE e.id >= 16 AND e.event = 'contact.created'
      AND (e.id BETWEEN 10 AND 19 AND webhook_internal.node_number(c.id, 2) = 2
           OR e.id BETWEEN 20 AND 24 AND webhook_internal.node_number(c.id, 3) = 3)
$$, 'what fell to it, is subscribed to, and was not settled');

-- A large organization takes smaller steps. Rolled back, so that what follows has what came before.
SAVEPOINT large;
INSERT INTO hooks.webhook_configurations (organization_id, name, url, events)
SELECT 'large', 'l' || i, 'https://large.example/', '{contact.*}' FROM generate_series(1, 999) i;
INSERT INTO hooks.webhook_events (slot, known_switch, id, xid, created_at, event, organization_id, data)
SELECT 4, 2147483646, i, (300 + i)::text::xid8, now(), 'contact.created', 'large', '{}' FROM generate_series(100, 149) i;
UPDATE hooks.webhook_node_shares SET nodes = '{large-45}' WHERE since = 45;
INSERT INTO webhook_internal.takeovers (node, since, settled, lowest_id, log_floor, known_by)
VALUES ('large-45', 45, '200:200:', 100, 0, '{3,3}');
SELECT ok(webhook_internal.collect_takeover(1000), 'there are many');
SELECT is((SELECT count(*) FROM webhook_internal.to_take_over WHERE event_id >= 100), 9990::bigint, 'some 10,000 in a step');
ROLLBACK TO large;

-- --- What was pending there ----------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.delivery(event bigint, state text, stored_slot int) RETURNS json LANGUAGE sql AS $$
    SELECT to_json(d) FROM (SELECT event AS event_id, c.id AS configuration_id, c.created_at AS configuration_created_at, organization_id,
        'contact.created' AS event, NULL AS key, now() AS created_at, delivery.state, 4 AS attempts, 1 AS probes, now() AS pending_since,
        CASE delivery.state WHEN 'pending' THEN now() + interval '1 min' END AS next_attempt_at, 'it failed' AS last_error,
        NULL AS ordering_key, 7 AS request, stored_slot AS slot, now() AS updated_at
        FROM hooks.webhook_configurations c WHERE c.name = 'w1') d
$$;
CREATE FUNCTION pg_temp.report(node text, put json[], gone json[] DEFAULT '{}') RETURNS void LANGUAGE sql AS $$
    SELECT webhook_internal.take_rows(node, json_build_object('table', 'webhook_deliveries', 'put', to_json(put), 'gone', to_json(gone)))
$$;
SELECT pg_temp.report('east', ARRAY[pg_temp.delivery(11, 'pending', 5), pg_temp.delivery(12, 'dead', NULL), pg_temp.delivery(5, 'pending', 1)]) \g /dev/null
SELECT results_eq('SELECT event_id, slot::int, state, attempts FROM webhook_internal.node_deliveries ORDER BY 1',
                  $$VALUES (5::bigint, NULL, 'pending', 4), (11, 3, 'pending', 4), (12, 3, 'dead', 4)$$,
                  'a report has the segments of the home, and none for an event that is not stored there');
SELECT pg_temp.report('east', ARRAY[pg_temp.delivery(11, 'dead', 5)], ARRAY[pg_temp.delivery(12, 'dead', NULL)]) \g /dev/null
SELECT results_eq('SELECT event_id, state FROM webhook_internal.node_deliveries ORDER BY 1', $$VALUES (5::bigint, 'pending'), (11, 'dead')$$,
                  'a later one changes and deletes them');
SELECT pg_temp.report('east', ARRAY[pg_temp.delivery(11, 'pending', 5), pg_temp.delivery(12, 'dead', 5), pg_temp.delivery(13, 'pending', 5)]) \g /dev/null
SELECT pg_temp.report('west', ARRAY[pg_temp.delivery(14, 'pending', 5)]) \g /dev/null
SELECT is((SELECT count(*) FROM hooks.webhook_deliveries WHERE state = 'pending'), 4::bigint, 'webhook_deliveries shows them');
UPDATE webhook_internal.node_deliveries SET configuration_created_at = '2020-01-01', state = 'pending' WHERE event_id = 12;
SELECT is(webhook_internal.cancel_at_nodes('00000000-0000-0000-0000-000000000001', 12), 0::bigint,
          'those of an earlier webhook with the same id are not the webhook''s');
UPDATE webhook_internal.node_deliveries d SET configuration_created_at = c.created_at, state = 'dead'
FROM hooks.webhook_configurations c WHERE c.id = d.configuration_id AND d.event_id = 12;
SELECT is_empty('SELECT configuration_id FROM webhook_internal.webhooks_to_take_over(NULL, 100) WHERE configuration_id NOT IN
                 (SELECT configuration_id FROM webhook_internal.to_take_over)', 'those of nodes that are attached are not taken over');
UPDATE webhook_internal.nodes SET state = 'lost' WHERE name = 'east';
SELECT set_eq('SELECT configuration_id FROM webhook_internal.webhooks_to_take_over(NULL, 100)', $$
    SELECT configuration_id FROM webhook_internal.to_take_over UNION SELECT id FROM hooks.webhook_configurations WHERE name = 'w1'
$$, 'those of a lost one are');
SELECT is((SELECT count(*) FROM (SELECT configuration_id FROM webhook_internal.webhooks_to_take_over(NULL, 2) UNION ALL
           SELECT configuration_id FROM webhook_internal.webhooks_to_take_over((SELECT max(configuration_id::text)::uuid
           FROM webhook_internal.webhooks_to_take_over(NULL, 2)), 100)) w),
          (SELECT count(*) FROM webhook_internal.webhooks_to_take_over(NULL, 100)), 'page by page');
INSERT INTO hooks.webhook_deliveries (event_id, configuration_id, configuration_created_at, organization_id, event, created_at, state, slot)
SELECT 13, id, created_at, organization_id, 'contact.created', now(), 'dead', 3 FROM hooks.webhook_configurations WHERE name = 'w1';
SELECT is((SELECT array_agg(webhook_internal.inherit(c, 3) ORDER BY i) FROM hooks.webhook_configurations c, generate_series(1, 3) i WHERE c.name = 'w1'),
          '{3,1,0}', 'it inherits them in steps');
SELECT results_eq('SELECT event_id, state, attempts, slot::int, last_error FROM ONLY hooks.webhook_deliveries ORDER BY 1',
                  $$VALUES (11::bigint, 'pending', 4, 3, 'it failed'), (12, 'dead', 4, 3, 'it failed'), (13, 'dead', 0, 3, NULL)$$,
                  'with their attempts, and without changing its own');
SELECT results_eq('SELECT deliveries, first_event_id FROM webhook_internal.given_up', $$VALUES (1::bigint, 5::bigint)$$,
                  'what is not stored here is counted as given up');
SELECT results_eq('SELECT node, event_id FROM webhook_internal.node_deliveries', $$VALUES ('west', 14::bigint)$$, 'those of others stay');

-- --- What the nodes have counted ------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.minutes(node text, webhook text, attempts int, kind text) RETURNS void LANGUAGE sql AS $$
    SELECT webhook_internal.take_rows(node, ('{"table": "webhook_minutes", "put": [], "gone": []}'::jsonb || jsonb_build_object(kind, json_build_array(json_build_object('configuration_id', c.id, 'slot', 5, 'configuration_created_at', c.created_at,
           'organization_id', c.organization_id, 'minute', date_trunc('minute', now()), 'attempts', attempts, 'successes', 1,
           'durations', '{}'::int[], 'unjudged', 0))))::json)
    FROM hooks.webhook_configurations c WHERE c.name = webhook
$$;
INSERT INTO hooks.webhook_minutes (configuration_id, slot, configuration_created_at, organization_id, minute, attempts, successes, durations)
SELECT c.id, 5, c.created_at, c.organization_id, date_trunc('minute', now()), 1, 1, '{}' FROM hooks.webhook_configurations c WHERE c.name = 'w1';
SELECT pg_temp.minutes('east', 'w1', 10, 'put'), pg_temp.minutes('west', 'w1', 100, 'put'), pg_temp.minutes('west', 'w1', 200, 'put'),
       pg_temp.minutes('west', 'gone', 9, 'put') \g /dev/null
SELECT is((SELECT sum(attempts) FROM hooks.webhook_minutes), 211::bigint, 'what several nodes have sent in a minute adds up');
SELECT is((SELECT attempts::bigint FROM hooks.webhook_stats WHERE configuration_id = '00000000-0000-0000-0000-000000000001'), 211::bigint,
          'in webhook_stats, too');
SELECT pg_temp.minutes('west', 'w1', 0, 'gone') \g /dev/null
SELECT is((SELECT sum(attempts) FROM hooks.webhook_minutes), 11::bigint, 'and goes when it is gone there');

-- --- What is not stored any more ------------------------------------------------------------------------------------------

SELECT webhook_internal.note_emptied(5) \g /dev/null
SELECT is_empty('TABLE webhook_internal.emptied_events', 'of an empty segment nothing is noted');
SELECT webhook_internal.note_emptied(3) \g /dev/null
DELETE FROM hooks.webhook_events;
UPDATE webhook_internal.nodes SET settled = 2 WHERE name = 'west';
SET LOCAL client_min_messages = warning;
\set VERBOSITY terse
SELECT webhook_internal.retire_node('west') \g /dev/null
SET LOCAL client_min_messages = error;
SELECT results_eq($$SELECT node, settled::text FROM webhook_internal.takeovers WHERE node LIKE 'west%'$$, $$VALUES ('west-45', '115:116:')$$,
                  'it warns of what is lost, and takes over the rest');

SELECT * FROM finish();
ROLLBACK;

-- Filters: what webhook_filter_matches() takes for a match, what may be stored, and that webhook_explain() and
-- webhook_replay() say and do what the worker would. In one transaction, rolled back.
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
SELECT plan(50);

-- --- what matches ----------------------------------------------------------------------------------------------------

SELECT is(hooks.webhook_filter_matches(filter::jsonpath, data::json), matches, what)
FROM (VALUES
    ('$.amount > 5', '{"amount": 6}', true, 'a predicate that is true matches'),
    ('$.amount > 5', '{"amount": 5}', false, 'one that is false does not'),
    ('$.amount > 5', '{"amount": "many"}', false, 'nor one that is unknown'),
    ('$.amount > 5', '{}', false, 'nor one about what is not there'),
    ('$ ? (@.amount > 5)', '{"amount": 6}', true, 'a filter expression that finds something matches'),
    ('$ ? (@.amount > 5)', '{"amount": 5}', false, 'one that finds nothing does not'),
    ('$.items[*] ? (@.price > 5)', '{"items": [{"price": 1}, {"price": 9}]}', true, 'one of several is enough'),
    ('$.items[*].price > 5', '{"items": [{"price": 1}, {"price": 9}]}', true, 'for a predicate too'),
    ('$.is_paid', '{"is_paid": true}', true, 'a member that is true matches'),
    ('$.is_paid', '{"is_paid": false}', false, 'one that is false does not'),
    ('$.is_paid', '{"is_paid": null}', false, 'nor one that is null'),
    ('$.is_paid', '{}', false, 'nor one that is not there'),
    ('$.flags[*]', '{"flags": [false, null, true]}', true, 'of several results one that is neither is enough'),
    ('$.flags[*]', '{"flags": [false, null]}', false, 'and none is not'),
    ('$.amount', '{"amount": 0}', true, 'zero is something'),
    ('$.name', '{"name": ""}', true, 'and so is an empty string'),
    ('exists($.name)', '{"name": null}', true, 'exists() asks whether it is there'),
    ('$.stage == "won" && $.amount >= 100', '{"stage": "won", "amount": 100}', true, 'conditions are joined'),
    ('$.name like_regex "^ada" flag "i"', '{"name": "Ada"}', true, 'a regular expression is one'),
    ('lax $.contact.name == "Ada"', '{"contact": [{"name": "Ada"}]}', true, 'lax looks into arrays'),
    ('strict $.contact.name == "Ada"', '{"contact": [{"name": "Ada"}]}', false, 'strict does not'),
    ('$.at.datetime() >= "2024-01-15".datetime()', '{"at": "2024-01-16"}', true, 'dates are compared'),
    ('$.at.datetime() >= "2024-01-15".datetime()', '{"at": "2024-01-14"}', false, 'in both directions')
) f (filter, data, matches, what);
SELECT ok(hooks.webhook_filter_matches(NULL, '{}'), 'without a filter everything matches');

SELECT is(hooks.webhook_filter_problem('$.amount > 5', '{"amount": 6}'), NULL, 'of a match there is nothing to say');
SELECT is(hooks.webhook_filter_problem('$.amount > 5', '{"amount": 5}'), 'filter: ($."amount" > 5) does not match',
          'of no match that it is none');
SELECT is(hooks.webhook_filter_problem('strict $.contact.name', '{}'),
          'filter: strict $."contact"."name" cannot be evaluated: JSON object does not contain key "contact"',
          'an error is no match, with its reason');
SELECT is(hooks.webhook_filter_problem('$.at.datetime()', '{"at": "yesterday"}'),
          'filter: $."at".datetime() cannot be evaluated: datetime format is not recognized: "yesterday"',
          'likewise a text that is no date');
SELECT is(hooks.webhook_filter_problem('$.name', '{"name": "\u0000"}'),
          'filter: $."name" cannot be evaluated: unsupported Unicode escape sequence',
          'and data that is no jsonb');
SELECT is(hooks.webhook_filter_problem('$.amount > 5', '{"amount": 1e309}'),
          'filter: ($."amount" > 5) cannot be evaluated: the data is beyond what filters may see: it has a number of more '
          'than 100 digits, or an exponent above 308', 'or beyond the bounds, though it would match');
SELECT is(hooks.webhook_filter_problem(NULL, '{"amount": 1e309}'), NULL, 'which are those of filters');
SELECT is(hooks.webhook_filter_data_problem(data), problem, coalesce(problem, 'nothing is wrong with most data'))
FROM (VALUES
    ('{"amount": 6}', NULL),
    ((SELECT json_object_agg('k' || i, i)::text FROM generate_series(1, 2001) i), 'its objects have too many keys'),
    (to_json(repeat('x', 300000))::text, 'it has more than 256 kB')
) d (data, problem);

-- --- what may be stored ----------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.storing(filter text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text; detail text; hint text;
BEGIN
    INSERT INTO hooks.webhook_configurations (organization_id, name, url, events, filter)
    VALUES ('acme', 'stored', 'https://example.com/', '{*}', filter::jsonpath);
    DELETE FROM hooks.webhook_configurations WHERE name = 'stored';
    RETURN 'stored';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws('; ', SQLSTATE, message, nullif(detail, ''), nullif(hint, ''));
END
$$;
SELECT is(pg_temp.storing('$.' || repeat('a', 1020)), 'stored', 'a filter of 1024 bytes is stored');
SELECT is(pg_temp.storing('$.' || repeat('a', 1021)),
          '22023; the filter is longer than 1024 bytes; It has 1025.; Use a shorter filter, and let the receiver do the rest.',
          'a longer one is refused');
SELECT is(pg_temp.storing('$.amount > $limit'),
          '22023; the filter uses a variable, but filters have none; $ is the data of the event: $.amount > 5, or $ ? (@.amount > 5).',
          'a variable is refused');
SELECT is(pg_temp.storing('$.amount > $"the limit"'), pg_temp.storing('$.amount > $limit'), 'also one with a quoted name');
SELECT is(pg_temp.storing('$."$limit" == "$\"limit"'), 'stored', 'a dollar in a name or a string is none');
SELECT is(left(pg_temp.storing('$.amount >'), 5), '42601', 'what is no jsonpath is a syntax error');
SELECT is(left(pg_temp.storing('$.name like_regex "("'), 5), '2201B', 'and so is a bad regular expression');

-- --- what is said and done -------------------------------------------------------------------------------------------

CREATE ROLE regress_webhook_read;
CREATE ROLE regress_webhook_manage;
SELECT hooks.webhook_grant('regress_webhook_read', 'read'), hooks.webhook_grant('regress_webhook_manage') \g /dev/null
CREATE FUNCTION pg_temp.as_role(role text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    PERFORM set_config('webhook.organization_id', 'acme', true);
    PERFORM set_config('role', 'regress_webhook_' || role, true);
    EXECUTE query INTO result;
    PERFORM set_config('role', 'none', true);
    RETURN coalesce(result, 'null');
END
$$;
INSERT INTO hooks.webhook_instance (instance, database_oid, system_identifier)
VALUES ('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 1, 1);
\set large '00000000-0000-0000-0000-00000000000a'
INSERT INTO hooks.webhook_configurations (id, organization_id, name, url, events, filter, active_since, created_at)
VALUES (:'large', 'acme', 'large', 'https://example.com/', '{deal.*}', '$.amount > 5', '2024-01-01Z', '2024-01-01Z');
INSERT INTO hooks.webhook_events (slot, id, xid, created_at, event, organization_id, data, oversized_bytes)
SELECT 0, id, pg_current_xact_id(), now() - interval '1 h', event, 'acme', data::json, oversized
FROM (VALUES (1, 'deal.created', '{"amount": 6}', NULL), (2, 'deal.created', '{"amount": 5}', NULL),
             (3, 'deal.created', '{}', NULL), (4, 'deal.updated', '{"amount": 7}', NULL),
             (5, 'deal.updated', NULL, 2000000)) e (id, event, data, oversized);

SELECT is(pg_temp.as_role('manage', 'SELECT concat_ws('', '', matched, reason, outcome) FROM hooks.webhook_explain(1)'),
          't, waiting', 'webhook_explain(): an event that passes the filter');
SELECT is(pg_temp.as_role('manage', 'SELECT concat_ws('', '', matched, reason, outcome) FROM hooks.webhook_explain(2)'),
          'f, filter: ($."amount" > 5) does not match', 'and one that does not, with the reason');
SELECT is(pg_temp.as_role('read', 'SELECT concat_ws('', '', matched, reason, outcome) FROM hooks.webhook_explain(' || id || ')'),
          'f, filter: ($."amount" > 5) may not match', what)
FROM (VALUES (1, 'who may not see the data is not told by it whether it matches'), (2, 'nor whether it does not')) e (id, what);
SELECT is(pg_temp.as_role('manage', 'SELECT concat_ws('', '', matched, reason, outcome) FROM hooks.webhook_explain(5)'),
          'f, filter: ($."amount" > 5) may not match', 'what was too large to be kept matches no filter');

SELECT is(pg_temp.as_role('manage', format('SELECT hooks.webhook_replay(%L, ''-infinity'', dry_run => true)', :'large')), '2',
          'webhook_replay() counts what passes the filter');
SELECT is(pg_temp.as_role('manage', format('SELECT hooks.webhook_replay(%L, ''-infinity'')', :'large')), '2', 'and makes it pending');
SELECT set_eq('SELECT event_id FROM hooks.webhook_deliveries', '{1,4}'::bigint[], 'and nothing else');
UPDATE hooks.webhook_configurations SET filter = NULL;
SELECT is(pg_temp.as_role('manage', format('SELECT hooks.webhook_replay(%L, ''-infinity'', dry_run => true)', :'large')), '4',
          'without a filter all that is stored');

SELECT * FROM finish();
ROLLBACK;

-- webhook_watch(), webhook_unwatch() and webhook_watches: which triggers they write, and what they refuse.
-- What the triggers capture is another test's matter.
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
SELECT plan(86);

CREATE TABLE contacts (id int PRIMARY KEY, organization_id text, name text, assigned_to int, doc json,
                       updated_at timestamptz);
CREATE TABLE settings ("odd key, really" int, part int, value text, PRIMARY KEY (part, "odd key, really"));

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
CREATE FUNCTION pg_temp.trigger_oid(source regclass, trigger_name name) RETURNS oid LANGUAGE sql AS $$
    SELECT oid FROM pg_trigger WHERE tgrelid = source AND tgname = trigger_name
$$;
CREATE FUNCTION pg_temp.definition(source regclass, trigger_name name) RETURNS text LANGUAGE sql AS $$
    SELECT pg_get_triggerdef(pg_temp.trigger_oid(source, trigger_name), true)
$$;
-- Whether a trigger has been written anew since.
CREATE FUNCTION pg_temp.version(source regclass, trigger_name name) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s %s', tableoid, ctid) FROM pg_trigger WHERE tgrelid = source AND tgname = trigger_name
$$;

-- The trigger.
SELECT is(hooks.webhook_watch('contacts', 'contact.created'), '{webhook_contact_created}',
          'the trigger''s name is returned');
SELECT is(pg_temp.definition('contacts', 'webhook_contact_created'),
          'CREATE TRIGGER webhook_contact_created AFTER INSERT ON contacts FOR EACH ROW EXECUTE FUNCTION '
          'hooks.webhook_capture(''contact.created'', ''organization_column=organization_id'')',
          'an event that ends in .created is an INSERT; the key is the primary key');
SELECT is(hooks.webhook_watch('contacts', 'contact.updated'), '{webhook_contact_updated}', 'an .updated event');
SELECT is(pg_temp.definition('contacts', 'webhook_contact_updated'),
          'CREATE TRIGGER webhook_contact_updated AFTER UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION '
          'hooks.webhook_capture(''contact.updated'', ''organization_column=organization_id'', '
          '''ignore_columns={updated_at}'')',
          'is an UPDATE that changes more than updated_at');
SELECT is(hooks.webhook_watch('contacts', 'contact.deleted'), '{webhook_contact_deleted}', 'a .deleted event');
SELECT alike(pg_temp.definition('contacts', 'webhook_contact_deleted'), '% AFTER DELETE ON contacts %', 'is a DELETE');
SELECT is(hooks.webhook_watch('contacts', 'contact.assigned', 'UPDATE',
                              'NEW.assigned_to IS NOT NULL AND OLD.assigned_to IS DISTINCT FROM NEW.assigned_to'),
          '{webhook_contact_assigned_update}', 'another operation is part of the trigger''s name');
SELECT alike(pg_temp.definition('contacts', 'webhook_contact_assigned_update'),
             '% AFTER UPDATE ON contacts FOR EACH ROW WHEN (new.assigned_to IS NOT NULL AND '
             'old.assigned_to IS DISTINCT FROM new.assigned_to) EXECUTE FUNCTION %',
             'the condition is the executor''s');
SELECT is(hooks.webhook_watch('contacts', 'contact.assigned', 'INSERT', 'NEW.assigned_to IS NOT NULL -- at once'),
          '{webhook_contact_assigned_insert}', 'the same event may come from an INSERT too');
SELECT is(hooks.webhook_watch('settings', 'setting.saved', '  insert  or update', organization_column => NULL,
                              changed_columns => '{value,part}', include_columns => '{value,"odd key, really"}',
                              include_previous => true, large_numbers_as_text => true),
          '{webhook_setting_saved_insert_or_update}', 'the operation may be spelt as one likes');
SELECT is(pg_temp.definition('settings', 'webhook_setting_saved_insert_or_update'),
          'CREATE TRIGGER webhook_setting_saved_insert_or_update AFTER INSERT OR UPDATE ON settings FOR EACH ROW '
          'EXECUTE FUNCTION hooks.webhook_capture(''setting.saved'', '
          '''changed_columns={value,part}'', ''include_columns={value,"odd key, really"}'', ''include_previous=true'', '
          '''large_numbers_as_text=true'')',
          'every option is an argument; a column updated_at that is not there is not ignored');
SELECT alike(pg_temp.definition('contacts', (hooks.webhook_watch('contacts', 'contact.erased', 'DELETE',
                 key_columns => '{name}', exclude_columns => '{doc}'))[1]),
             '%(''contact.erased'', ''organization_column=organization_id'', ''key_columns={name}'', '
             '''exclude_columns={doc}'')', 'key and left-out columns are as given');

-- Its name.
SELECT is(octet_length((hooks.webhook_watch('contacts', repeat('long.', 15) || 'created'))[1]::text), 63,
          'a long event makes a name that fits');
SELECT isnt((hooks.webhook_watch('contacts', repeat('long.', 15) || 'a.created'))[1],
            (hooks.webhook_watch('contacts', repeat('long.', 15) || 'b.created'))[1], 'and is unique');
SELECT isnt((hooks.webhook_watch('contacts', 'line_item.created'))[1],
            (hooks.webhook_watch('contacts', 'line.item.created'))[1], 'so are events that differ by a dot');
SELECT is((hooks.webhook_watch('contacts', 'line.item.created'))[1],
          (hooks.webhook_watch('contacts', 'line.item.created'))[1], 'and each keeps its name');
SELECT bag_eq($$SELECT event FROM hooks.webhook_watches WHERE event LIKE 'line_item.%'$$,
              ARRAY['line_item.created', 'line.item.created'], 'both are declared');

-- Again.
SELECT pg_temp.version('contacts', 'webhook_contact_assigned_update') AS before \gset
SELECT is(hooks.webhook_watch('contacts', 'contact.assigned', 'UPDATE',
                              '(new.assigned_to is not null) and old.assigned_to is distinct from new.assigned_to'),
          '{webhook_contact_assigned_update}', 'declaring the same again');
SELECT is(pg_temp.version('contacts', 'webhook_contact_assigned_update'), :'before', 'does nothing');
SELECT pg_temp.version('contacts', 'webhook_contact_created') AS before \gset
SELECT is(hooks.webhook_watch('contacts', 'contact.created', 'INSERT'), '{webhook_contact_created}',
          'nor does it without a condition');
SELECT is(pg_temp.version('contacts', 'webhook_contact_created'), :'before', 'whatever the spelling');
SELECT is(hooks.webhook_watch('contacts', 'contact.assigned', 'UPDATE', 'NEW.assigned_to IS NOT NULL'),
          '{webhook_contact_assigned_update}', 'another condition');
SELECT alike(pg_temp.definition('contacts', 'webhook_contact_assigned_update'),
             '% WHEN (new.assigned_to IS NOT NULL) %', 'replaces the old one');
SELECT is(hooks.webhook_watch('contacts', 'contact.created', condition => 'NEW.name <> '''''),
          '{webhook_contact_created}', 'a condition where there was none');
SELECT alike(pg_temp.definition('contacts', 'webhook_contact_created'), '% WHEN (new.name <> %', 'is added');
SELECT alike(pg_temp.definition('contacts', (hooks.webhook_watch('contacts', 'contact.created'))[1]),
             '% FOR EACH ROW EXECUTE %', 'and removed');
SELECT is((SELECT count(*) FROM pg_class WHERE relname = 'webhook_condition_probe'), 0::bigint,
          'nothing is left of comparing them');

-- The condition's names.
CREATE SCHEMA app;
CREATE FUNCTION app.is_vip(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$SELECT $1 LIKE '%VIP%'$$;
SET search_path = public, tap, app;
SELECT alike(pg_temp.definition('contacts', (hooks.webhook_watch('contacts', 'vip.created',
                                                                 condition => 'is_vip(NEW.name)'))[1]),
             '% WHEN (is_vip(new.name)) %', 'the condition is read in the caller''s search_path');
SELECT is(current_setting('search_path'), 'public, tap, app', 'which stays as it was');
SELECT isnt(current_setting('lock_timeout'), '2s', 'and so does lock_timeout');
SET search_path = public, tap;

-- Changes that logical replication applies.
CREATE TABLE copies (id int PRIMARY KEY, organization_id text);
SELECT is(hooks.webhook_watch('copies', 'copy.created', on_replicated => true, backfill => true), '{webhook_copy_created}',
          'an event can come from changes that are replicated');
SELECT alike(pg_temp.definition('copies', 'webhook_copy_created'), '%, ''backfill=true'')', 'also from those that are copied');
SELECT is((SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'webhook_copy_created'), 'A', 'its trigger fires for them');
SELECT results_eq($$SELECT on_replicated, backfill, is_enabled FROM hooks.webhook_watches WHERE event = 'copy.created'$$,
                  $$VALUES (true, true, true)$$, 'the view shows it');
SELECT hooks.webhook_watch('copies', 'copy.created', on_replicated => true, condition => 'NEW.id > 0') \g /dev/null
SELECT results_eq($$SELECT on_replicated, backfill FROM hooks.webhook_watches WHERE event = 'copy.created'$$,
                  $$VALUES (true, false)$$, 'and what replaces it');
SELECT hooks.webhook_watch('copies', 'copy.created', condition => 'NEW.id > 0') \g /dev/null
SELECT results_eq($$SELECT on_replicated, is_enabled FROM hooks.webhook_watches WHERE event = 'copy.created'$$,
                  $$VALUES (false, true)$$, 'and that it is taken back');
ALTER TABLE copies DISABLE TRIGGER webhook_copy_created;
SELECT hooks.webhook_watch('copies', 'copy.created', condition => 'NEW.id > 0') \g /dev/null
SELECT is((SELECT is_enabled FROM hooks.webhook_watches WHERE event = 'copy.created'), false,
          'the same declaration again leaves a trigger disabled');
CREATE ROLE regress_watch_user;
SELECT hooks.webhook_grant('regress_watch_user', 'operate') \g /dev/null
GRANT USAGE ON SCHEMA public TO regress_watch_user;
GRANT TRIGGER ON copies TO regress_watch_user;
SELECT is(concat_ws(' / ', r.state, r.message, r.hint), '42501 / only the owner of table public.copies can declare an event '
          'on_replicated / Call webhook_watch() as the owner of the table, or leave on_replicated out.',
          'the privilege TRIGGER is not enough')
FROM pg_temp.refusal($$SET LOCAL ROLE regress_watch_user;
                       SELECT hooks.webhook_watch('copies', 'copy.changed', 'UPDATE', on_replicated => true)$$) r;

-- What the source of a delivery node must run.
SELECT is(concat_ws(' / ', r.state, r.message), '55000 / no event is declared for changes that logical replication applies',
          'without such events there is nothing to publish')
FROM pg_temp.refusal('SELECT hooks.webhook_publication()') r;
CREATE TABLE "odd parcels" (id int PRIMARY KEY, organization_id text, weight int);
CREATE SCHEMA post;
CREATE TABLE post.letters (
    id int PRIMARY KEY, organization_id text, body text, sender text, "to" text, is_urgent boolean, weight int, stamp text,
    size int GENERATED ALWAYS AS (length(body)) STORED) PARTITION BY RANGE (id);
SELECT hooks.webhook_watch('"odd parcels"', 'parcel.created', on_replicated => true),
       hooks.webhook_watch('post.letters', 'letter.created', on_replicated => true, include_columns => '{"to"}',
                           condition => 'NEW.is_urgent'),
       hooks.webhook_watch('post.letters', 'letter.updated', on_replicated => true, include_columns => '{id}',
                           changed_columns => '{stamp}'),
       hooks.webhook_watch('copies', 'copy.erased', 'DELETE') \g /dev/null
SELECT is(hooks.webhook_publication(), E'CREATE ROLE webhook_node LOGIN REPLICATION;\n'
          'GRANT USAGE ON SCHEMA post, public TO webhook_node;\n'
          'GRANT SELECT (id, organization_id, "to", is_urgent, stamp) ON post.letters TO webhook_node;\n'
          'GRANT SELECT ON public."odd parcels" TO webhook_node;\n'
          'CREATE PUBLICATION webhook FOR TABLE post.letters (id, organization_id, "to", is_urgent, stamp), '
          'public."odd parcels" WITH (publish_via_partition_root = true);',
          'it publishes the columns that events need: those sent, of the key, of arguments and conditions');
SELECT hooks.webhook_watch('post.letters', 'letter.erased', 'DELETE', on_replicated => true, exclude_columns => '{body,"to"}') \g /dev/null
SELECT alike(hooks.webhook_publication('p "1"', 'r "1"'), E'CREATE ROLE "r ""1""" LOGIN%GRANT SELECT (id, organization_id, '
             'sender, "to", is_urgent, weight, stamp) ON post.letters TO "r ""1""";%CREATE PUBLICATION "p ""1""" FOR%',
             'of all events together, under any name');
SELECT hooks.webhook_watch('post.letters', 'letter.moved', 'UPDATE', on_replicated => true) \g /dev/null
SELECT alike(hooks.webhook_publication(), '%GRANT SELECT ON post.letters TO%FOR TABLE post.letters, public%',
             'and lists none if one of them needs all');

-- New events.
SELECT bag_eq($$SELECT name, category, is_builtin FROM hooks.webhook_event_types WHERE name = 'setting.saved'$$,
                  $$VALUES ('setting.saved', 'setting', false)$$, 'an unknown event is registered');

-- The view.
SELECT bag_eq(
    $$SELECT source::text, event, operation, condition, changed_columns, ignore_columns, organization_column,
             key_columns, include_columns, exclude_columns, include_previous, large_numbers_as_text, on_replicated, backfill, trigger_name, is_enabled
      FROM hooks.webhook_watches WHERE event = 'setting.saved'$$,
    $$VALUES ('settings', 'setting.saved', 'INSERT OR UPDATE', NULL::text, '{value,part}'::name[], NULL::name[],
              NULL::name, '{part,"odd key, really"}'::name[], '{value,"odd key, really"}'::name[], NULL::name[], true, true, false, false,
              'webhook_setting_saved_insert_or_update'::name, true)$$, 'the view shows what was declared');
SELECT is((SELECT condition FROM hooks.webhook_watches WHERE event = 'contact.assigned' AND operation = 'INSERT'),
          '(new.assigned_to IS NOT NULL)', 'and its condition');
CREATE TABLE "odd \ name" (id int, "größe\000" int);
SELECT hooks.webhook_watch('"odd \ name"', 'odd.created', organization_column => NULL,
                           key_columns => ARRAY['größe\000']) \g /dev/null
SELECT is((SELECT key_columns FROM hooks.webhook_watches WHERE source = '"odd \ name"'::regclass),
          ARRAY['größe\000']::name[], 'names may hold any character');

-- Refusals.
SELECT is(concat_ws(' / ', r.state, r.message, r.detail, r.hint),
          '42703 / column "org" of table public.contacts does not exist / It was given as organization_column. '
          'The columns are: id, organization_id, name, assigned_to, doc, updated_at. / Name the column that holds '
          'the organization, or, in a database without tenants, pass organization_column => NULL.',
          'an unknown organization column is refused, with the columns and the way out')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'contact.created', organization_column => 'org')$$) r;
SELECT is(r.message, 'column "organization_id" of table public.settings does not exist', 'also if it is the default')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('settings', 'setting.created')$$) r;
SELECT is(r.message || ' / ' || r.detail, format('column "nome" of table public.contacts does not exist / It was given '
          'as %s. The columns are: id, organization_id, name, assigned_to, doc, updated_at.', p), p || ' is checked')
FROM unnest(ARRAY['changed_columns', 'ignore_columns', 'key_columns', 'include_columns', 'exclude_columns']) p,
     pg_temp.refusal(format($$SELECT hooks.webhook_watch('contacts', 'contact.updated', %s => '{name,nome}')$$, p)) r;
SELECT is(r.state || ' ' || r.message, '22023 the operation is required for event "contact.touched"',
          'an event that does not tell the operation needs one')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'contact.touched')$$) r;
SELECT is(r.state || ' ' || r.message, '22023 invalid operation "TRUNCATE"', 'another operation is refused')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'contact.touched', 'TRUNCATE')$$) r;
SELECT alike(r.message, 'invalid event name "Contact Touched": %', 'a malformed event is refused')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'Contact Touched', 'UPDATE')$$) r;
SELECT is(r.message, 'invalid event name "contact.*": it is a pattern', 'and so is a pattern')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'contact.*', 'UPDATE')$$) r;
SELECT is(r.message, 'changed_columns is for updates only', 'an INSERT changes no columns')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'contact.created', changed_columns => '{name}')$$) r;
SELECT is(r.message, 'include_previous is for updates only', 'nor has it a previous row')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'contact.created', include_previous => true)$$) r;
SELECT is(concat_ws(' / ', r.message, r.detail, r.hint),
          'backfill is for inserts that logical replication applies / Event "contact.created" is declared for INSERT, without '
          'on_replicated. / Add on_replicated => true to a declaration for INSERT, or leave backfill out.',
          'nothing is backfilled without replication')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'contact.created', backfill => true)$$) r;
SELECT is(r.detail, 'Event "contact.updated" is declared for UPDATE.', 'nor by an UPDATE')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'contact.updated', backfill => true, on_replicated => true)$$) r;
SELECT is(r.state, '22023', 'columns are included or excluded, not both')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'contact.created', include_columns => '{id}',
                                                  exclude_columns => '{doc}')$$) r;
SELECT is(r.state, '42703', 'an error in the condition is PostgreSQL''s own')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'contact.won', 'UPDATE', 'NEW.stage = 3')$$) r;
SELECT ok(r.state = '42P17' AND r.hint LIKE 'Declare the two separately: %'
          AND r.message = 'the condition of event "contact.won" mentions OLD, which an INSERT does not have',
          'a condition for both cannot mention OLD')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'contact.won', 'INSERT OR UPDATE',
                                                  'OLD.name IS DISTINCT FROM NEW.name')$$) r;
SELECT is_empty($$SELECT 1 FROM hooks.webhook_event_types WHERE name = 'contact.won'$$, 'and nothing is half-created');
SELECT ok(r.state = '42710' AND r.detail LIKE 'Trigger webhook_contact_assigned_insert captures it; %',
          'one change cannot be the same event twice')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'contact.assigned', 'INSERT OR UPDATE')$$) r;

CREATE VIEW people AS SELECT * FROM contacts;
CREATE FOREIGN DATA WRAPPER regress_webhook_fdw;
CREATE SERVER regress_webhook_server FOREIGN DATA WRAPPER regress_webhook_fdw;
CREATE FOREIGN TABLE far (id int) SERVER regress_webhook_server;
SELECT is(r.state || ' ' || r.message, '42809 ' || m, m)
FROM (VALUES ('people', 'public.people is not a table but a view'),
             ('far', 'public.far is not a table but a foreign table'),
             ('pg_catalog.pg_class', 'pg_class is a system catalog'),
             ('hooks.webhook_events_0', 'hooks.webhook_events_0 belongs to the extension webhook')) v (source, m),
     pg_temp.refusal(format('SELECT hooks.webhook_watch(%L, ''contact.created'')', source)) r;

-- The extension's own tables: each event would cause the next.
CREATE VIEW own_tables AS
    SELECT c.oid::regclass AS own_table, c.relispartition FROM pg_class c
    WHERE c.relnamespace = 'hooks'::regnamespace AND c.relkind IN ('r', 'p');
SELECT cmp_ok(count(*), '>', 20::bigint, 'the extension has tables of its own') FROM own_tables;
SELECT is_empty($$
    SELECT t.own_table, r.* FROM own_tables t, pg_temp.refusal(
        format('SELECT hooks.webhook_watch(%L, ''contact.created'', organization_column => NULL)', t.own_table)) r
    WHERE (r.state, r.message, r.detail, r.hint) IS DISTINCT FROM
          ('42809', t.own_table || ' belongs to the extension webhook',
           'Its rows are no events: each would cause the next.', 'Name a table that holds your own rows.')
$$, 'none of them can be declared');
SELECT is_empty($$
    SELECT t.own_table, o.path, r.* FROM own_tables t, (VALUES ('hooks, public'), ('tap')) o (path), pg_temp.refusal(
        format('SET LOCAL search_path = %s; CREATE TRIGGER loop AFTER INSERT ON %s FOR EACH ROW '
               'EXECUTE FUNCTION hooks.webhook_capture(''contact.created'')', o.path, t.own_table)) r
    WHERE (r.state, r.message, r.detail, r.hint) IS DISTINCT FROM
          ('42809', format('trigger "loop" cannot capture the rows of "%s", which belongs to the extension webhook',
                           split_part(t.own_table::text, '.', 2)),
           'Its rows are no events: each would cause the next.', 'Declare events on tables that hold your own rows.')
$$, 'nor by a trigger written by hand');
SELECT is(r.state, '42809', 'which names the function without its schema')
FROM pg_temp.refusal('SET LOCAL search_path = hooks; CREATE TRIGGER loop AFTER INSERT ON webhook_logs_3 FOR EACH ROW '
                     'EXECUTE FUNCTION webhook_capture(''contact.created'')') r;
CREATE FUNCTION public.webhook_capture() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
SELECT is((r.state, s.state)::text, '(,)', 'another function may watch them, even of this name, and ours other tables')
FROM pg_temp.refusal('CREATE TRIGGER mine AFTER INSERT ON hooks.webhook_logs FOR EACH ROW '
                     'EXECUTE FUNCTION public.webhook_capture()') r,
     pg_temp.refusal('CREATE TABLE public.webhook_logs (); CREATE TRIGGER mine AFTER INSERT ON public.webhook_logs '
                     'FOR EACH ROW EXECUTE FUNCTION hooks.webhook_capture(''contact.created'')') s;
-- While it is no part of the extension, it gets the trigger.
SELECT is((r.state, r.message, r.hint)::text, format('(42809,%s,%s)',
          '"trigger ""loop"" cannot capture the rows of ""webhook_logs_0"", which belongs to the extension webhook"',
          '"DROP TRIGGER, and declare events on tables that hold your own rows."'),
          'a trigger that came to be there all the same fails instead of looping')
FROM pg_temp.refusal($$
    ALTER EXTENSION webhook DROP TABLE hooks.webhook_logs_0;
    CREATE TRIGGER loop AFTER INSERT ON hooks.webhook_logs_0 FOR EACH ROW
        EXECUTE FUNCTION hooks.webhook_capture('contact.created');
    ALTER EXTENSION webhook ADD TABLE hooks.webhook_logs_0;
    INSERT INTO hooks.webhook_logs (slot, created_at, configuration_id, event_id, event, attempt, status)
    VALUES (0, now(), gen_random_uuid(), 1, 'contact.created', 1, 'success')
$$) r;

-- Partitioned tables.
CREATE TABLE visits (id int, organization_id text, day int) PARTITION BY LIST (day);
CREATE TABLE visits_1 PARTITION OF visits FOR VALUES IN (1);
SELECT is(hooks.webhook_watch('visits', 'visit.created', condition => 'NEW.id > 0'), '{webhook_visit_created}',
          'a partitioned table can be declared');
SELECT is(hooks.webhook_watch('visits', 'visit.created', condition => 'NEW.id > 1'), '{webhook_visit_created}',
          'and declared anew');
SELECT alike(pg_temp.definition('visits_1', 'webhook_visit_created'), '% WHEN (new.id > 1) %', 'on every partition');
SELECT is(r.message, 'event "visit.created" is already declared on the partitioned table public.visits',
          'a partition cannot declare it again')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('visits_1', 'visit.created')$$) r;

-- Events about webhooks themselves are the worker's alone.
SELECT is((r.state, r.message, r.hint)::text, '(42939,"event name ""webhook.custom"" is reserved","Choose another name.")',
          'a name that begins with "webhook." cannot be declared')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'webhook.custom', 'UPDATE')$$) r;
SELECT is(r.state, '42939', 'nor one of the built-in ones')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'webhook.disabled', 'UPDATE')$$) r;
SELECT is(r.state, '42939', 'nor published')
FROM pg_temp.refusal($$SELECT hooks.webhook_emit('webhook.disabled', '{}', 'acme')$$) r;
SELECT is(r.state, NULL, 'one that only looks like it can be declared')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'webhooks.seen', 'UPDATE')$$) r;

-- Taking it back.
SELECT is(hooks.webhook_unwatch('contacts', 'contact.assigned'),
          '{webhook_contact_assigned_insert,webhook_contact_assigned_update}', 'all triggers of the event are dropped');
SELECT ok(r.state = '42704' AND r.message = 'event "contact.assigned" is not declared on table public.contacts'
          AND r.detail LIKE 'Declared on it: %contact.created%', 'what is not declared cannot be taken back')
FROM pg_temp.refusal($$SELECT hooks.webhook_unwatch('contacts', 'contact.assigned')$$) r;

SELECT * FROM finish();
ROLLBACK;

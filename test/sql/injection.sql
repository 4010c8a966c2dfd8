-- No argument becomes SQL: what is pasted into a statement is one expression to PostgreSQL's own parser, comes from a list,
-- or is quoted. In one transaction, rolled back.
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
SELECT plan(24);

CREATE SEQUENCE hits;  -- counts also what is undone
CREATE FUNCTION hit() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN PERFORM nextval('hits'); RETURN true; END$$;
CREATE TABLE contacts (id int PRIMARY KEY, organization_id text, name text, doc json);
CREATE FUNCTION elsewhere() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM hit(); RETURN NULL; END';

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

-- --- conditions ------------------------------------------------------------------------------------------------------

CREATE TABLE hostile (condition text, why text);
INSERT INTO hostile VALUES
    ('true) EXECUTE FUNCTION elsewhere(); SELECT hit(); CREATE TRIGGER x AFTER INSERT ON contacts WHEN (true', 'statements'),
    ('true) EXECUTE FUNCTION elsewhere() --', 'the rest commented out'),
    ('true) EXECUTE FUNCTION elsewhere() /*', 'the rest in a comment without an end'),
    ('true) EXECUTE FUNCTION elsewhere();', 'another function'),
    ('true; SELECT hit()', 'a second statement'), ('true;', 'a semicolon'), (';', 'nothing but a semicolon'),
    (';true', 'a semicolon first'), ('true); SELECT hit(); --', 'a closing parenthesis'), ('true) OR (true', 'two halves'),
    (')', 'a closing parenthesis alone'), ('(true', 'one that is open'), ('(true))', 'one too many'),
    ('true, true', 'two targets'), ('true AS x', 'a name'), ('true x', 'a name without AS'), ('true "x"', 'one in quotes'),
    ('true FROM contacts', 'FROM'), ('hit() FROM pg_class', 'FROM behind a call'), ('true WHERE true', 'WHERE'),
    ('true GROUP BY 1', 'GROUP BY'), ('true HAVING true', 'HAVING'), ('true WINDOW w AS ()', 'WINDOW'),
    ('true UNION SELECT true', 'UNION'), ('true UNION ALL SELECT hit()', 'UNION ALL'), ('true INTERSECT SELECT true', 'INTERSECT'),
    ('true EXCEPT SELECT true', 'EXCEPT'), ('true ORDER BY 1', 'ORDER BY'), ('true LIMIT 1', 'LIMIT'),
    ('true OFFSET 1', 'OFFSET'), ('true FETCH FIRST ROW ONLY', 'FETCH'), ('true FETCH FIRST 1 ROW WITH TIES', 'FETCH WITH TIES'),
    ('true INTO t', 'INTO'), ('true INTO TEMP t', 'INTO TEMP'), ('true FOR UPDATE', 'a lock'), ('true FOR SHARE NOWAIT', 'a lock'),
    ('ALL true', 'ALL'), ('DISTINCT true', 'DISTINCT'), ('DISTINCT ON (true) true', 'DISTINCT ON'),
    ('SELECT true', 'a query'), ('VALUES (true)', 'VALUES'), ('TABLE contacts', 'TABLE'), ('WITH x AS (SELECT 1) SELECT true', 'WITH'),
    ('*', 'a star'), ('', ''), ('  ', ''), ('-- only a comment', 'a comment'), ('/* only a comment */', 'a comment'),
    ('true /* open', 'a comment without an end'), ('true /* a /* nested */', 'a nested one'),
    ('true */', 'the end of a comment'), ('NEW.name = ''open', 'a string without an end'), ('NEW.name = $$open', 'a dollar quote'),
    ('NEW.name = $a$open$$', 'another'), ('NEW.name = E''open\''', 'an escaped quote'), ('"open', 'a name without an end'),
    ('NEW.name = U&''\0061'' UESCAPE', 'UESCAPE without'), ('NEW.name = U&''\'' UESCAPE ''+''', 'a bad UESCAPE'),
    ('NEW.name = U&''\006'' ', 'a bad escape'), ('NEW.name = E''\u12''', 'a bad escape'),
    ('true \; SELECT hit()', 'a backslash'), ('true \g', 'a command of psql'), ('NEW.id := 1', 'an assignment'),
    ('NEW.id =', 'half an operator'), ('NOT', 'an operator alone'), ('true AND', 'an operator at the end'),
    (E'true -- comment\n; SELECT hit()', 'behind a comment'), (E'true) -- comment\n; SELECT hit(); --', 'behind another'),
    ('b''2', 'a bit string without an end'), ('true' || repeat(')', 10000), 'very many parentheses'),
    ('f(a := 1) x', 'a name behind a call'), ('x y z', 'words');
INSERT INTO hostile SELECT replace(condition, '''', ''''''), why || ', doubled' FROM hostile WHERE condition LIKE '%''open%';

SELECT is_empty($$
    SELECT h.condition, r.* FROM hostile h, LATERAL pg_temp.refusal(
        format('SELECT webhook_internal.check_condition(%L)', h.condition)) r
    WHERE r.state IS DISTINCT FROM '42601' OR r.message <> 'invalid condition' OR r.detail = ''
       OR r.hint <> 'Give one expression, such as NEW.status = ''open''.'
$$, 'what is not one expression is no condition');
SELECT is_empty($$
    SELECT h.condition, o.operation, r.* FROM hostile h, unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'INSERT OR UPDATE']) o (operation),
           LATERAL pg_temp.refusal(format('SELECT hooks.webhook_watch(''contacts'', ''contact.tried'', %L, %L)', o.operation, h.condition)) r
    WHERE btrim(h.condition) <> '' AND (r.state, r.message) IS DISTINCT FROM ('42601', 'invalid condition')
$$, 'webhook_watch() takes none of it');
SELECT is_empty($$
    SELECT h.condition, r.* FROM hostile h, LATERAL pg_temp.refusal(
        format('SELECT webhook_internal.trigger_declaration(''x'', ''contacts'', ''INSERT'', %L, ''{a}'')', h.condition)) r
    WHERE (r.state, r.message) IS DISTINCT FROM ('42601', 'invalid condition')
$$, 'nor does what writes the statement');
SELECT is_empty($$
    SELECT h.condition FROM hostile h
    WHERE webhook_internal.normal_condition('contacts', 'INSERT', h.condition, 'public') IS NOT NULL
$$, 'nor is there a normal form of it');
SELECT is((SELECT is_called FROM hits), false, 'nothing of it has run');
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgrelid = 'contacts'::regclass), 0::bigint, 'nor made a trigger');
SELECT is(r.detail, 'At character 8: syntax error at or near ")".', 'the error shows where')
FROM pg_temp.refusal($$SELECT webhook_internal.check_condition('NEW.id ) = 4')$$) r;

-- What is one expression stays allowed, and means what it meant.
CREATE TABLE harmless (condition text, stored text);
INSERT INTO harmless VALUES
    ('NEW.id > 0 -- a comment', '(new.id > 0)'), (E'NEW.id > 0 /* a /* nested */ one */', '(new.id > 0)'),
    (E'-- first\nNEW.id > 0', '(new.id > 0)'), ('NEW.name = $x$a;b)--$x$', '(new.name = ''a;b)--''::text)'),
    ('NEW.name = E''a\''b''', '(new.name = ''a''''b''::text)'), ('NEW.name = ''a\''', '(new.name = ''a\''::text)'),
    ('NEW.name = U&''d!0061t!+000061'' UESCAPE ''!''', '(new.name = ''data''::text)'),
    ('NEW.name = '';SELECT hit()''', '(new.name = '';SELECT hit()''::text)'),
    ('row(NEW.id, 1) = row(1, NEW.id)', '((new.id = 1) AND (1 = new.id))'), ('(NEW.id > 0) AND (NEW.name <> '''')', NULL),
    ('NEW.id IN (1, 2)', NULL), ('NEW.id OPERATOR(pg_catalog.>) 0', NULL), ('NEW.name COLLATE "C" > ''a''', NULL),
    ('CASE WHEN NEW.id > 0 THEN true END', NULL), ('starts_with(NEW.name, ''a'')', 'starts_with(new.name, ''a''::text)'),
    ('make_interval(days => NEW.id) > interval ''1 day''', NULL), ('NEW IS NOT NULL', NULL), ('NEW.* IS NOT NULL', NULL),
    ('NEW."id" > 0', '(new.id > 0)'), (repeat('NEW.id > 0 OR ', 2000) || 'true', NULL);
SELECT is_empty($$
    SELECT left(h.condition, 100), r.* FROM harmless h, LATERAL pg_temp.refusal(
        format('SELECT hooks.webhook_watch(''contacts'', ''contact.tried'', ''INSERT'', %L)', h.condition)) r
    WHERE r.state IS NOT NULL
$$, 'an expression is a condition');
SELECT is_empty($$
    SELECT h.condition, n FROM harmless h, webhook_internal.normal_condition('contacts', 'INSERT', h.condition, 'public') n
    WHERE n IS NULL OR n <> h.stored
$$, 'and means what it says');
-- These are expressions, which PostgreSQL itself does not allow in a trigger's condition.
SELECT is_empty($$
    SELECT c.condition, r.* FROM unnest(ARRAY['(SELECT hit())', 'EXISTS (SELECT 1)', '$1', 'count(*) > 0', 'NEW.*', 'NEW', 'NEW.id',
                                              'row_number() OVER () > 0', 'nosuch(NEW.id)', 'row(1)(2)', 'DEFAULT', 'hit(1)(2)']) c (condition),
         LATERAL pg_temp.refusal(format('SELECT hooks.webhook_watch(''contacts'', ''contact.tried'', ''INSERT'', %L)', c.condition)) r
    WHERE r.state IS NULL OR r.state NOT IN ('0A000', '42P02', '42803', '42P20', '42883', '42804', '42601')
$$, 'sub-selects, parameters and aggregates are errors');
SELECT is(r.state, '54001', 'an expression that is nested too deeply is an error, and no more')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'contact.tried', 'INSERT', repeat('NEW.id + ', 200000) || '1 > 0')$$) r;
SELECT matches(r.state, '^(42601|53200|54001)$', 'so are parentheses')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'contact.tried', 'INSERT', repeat('(', 100000) || '1' || repeat(')', 100000))$$) r;

-- Settings that change how text is read: the check and the statement see the same, whatever the session has set.
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SET backslash_quote = on;
SELECT is(webhook_internal.normal_condition('contacts', 'INSERT', E'NEW.name = \'a\\\'', 'public'), E'(new.name = \'a\\\'::text)',
          'a backslash is a backslash, in every session');
SELECT is(r.state, '42601', 'and cannot hide the end of a string')
FROM pg_temp.refusal($$SELECT hooks.webhook_watch('contacts', 'contact.tried', 'INSERT',
    E'NEW.name = \'\\\') EXECUTE FUNCTION elsewhere(); SELECT hit(); --\'')$$) r;
SELECT is(r.state, NULL, 'names with backslashes and quotes are quoted for both')
FROM pg_temp.refusal($x$
    CREATE TABLE "o'dd\'; SELECT hit(); --" ("c'\\'; SELECT hit(); --" int PRIMARY KEY, organization_id text);
    SELECT hooks.webhook_watch(oid, 'odd.created', condition => 'NEW.organization_id > ''''') FROM pg_class WHERE relname LIKE 'o_dd%' AND relkind = 'r';
    SELECT 1 / (key_columns = ARRAY[$y$c'\\'; SELECT hit(); --$y$]::name[])::int FROM hooks.webhook_watches WHERE event = 'odd.created'
$x$) r;
RESET standard_conforming_strings;
RESET escape_string_warning;
RESET backslash_quote;
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
    WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'webhook') AND d.classid = 'pg_proc'::regclass
      AND position('\' IN regexp_replace(p.prosrc, $x$\mE'([^'\\]|''|\\.)*'$x$, '', 'g')) > 0
$$, 'no function of ours means something else without standard_conforming_strings');

-- --- operations, names, search_path ----------------------------------------------------------------------------------

SELECT is_empty($$
    SELECT o.operation, f.call, r.* FROM unnest(ARRAY[
               'INSERT ON contacts EXECUTE FUNCTION elsewhere(); SELECT hit(); CREATE TRIGGER x AFTER INSERT', 'INSERT OR DELETE', 'TRUNCATE',
               'UPDATE OF name', 'INSERT--', 'INSERT/**/OR/**/UPDATE', '', 'insert;', 'INSERT OR UPDATE OR DELETE', 'INSERT ON']) o (operation),
         unnest(ARRAY['hooks.webhook_watch(''contacts'', ''contact.tried'', %L)',
                      'webhook_internal.trigger_declaration(''x'', ''contacts'', %L, NULL, ''{a}'')']) f (call),
         LATERAL pg_temp.refusal('SELECT ' || format(f.call, o.operation)) r
    WHERE (r.state, r.message) IS DISTINCT FROM ('22023', format('invalid operation "%s"', o.operation))
$$, 'operations come from a list, in each function that pastes one');
SELECT is(webhook_internal.normal_condition('contacts', 'INSERT ON contacts EXECUTE FUNCTION elsewhere(); SELECT hit(); CREATE TRIGGER x '
              'AFTER INSERT', 'true', 'public'), NULL, 'also in normal_condition()');
SELECT is(webhook_internal.normal_condition('contacts', NULL, 'true', 'public'), NULL, 'nor has a condition a normal form without an operation');
SELECT is_empty($$
    SELECT p.path, r.* FROM unnest(ARRAY['public; SELECT hit()', 'public''; SELECT hit(); --', '"public', 'public, "a;b"', '$user', E'a\nb', 'x)']) p (path),
           LATERAL pg_temp.refusal(format('SELECT hooks.webhook_watch(''contacts'', ''contact.tried'', ''INSERT'', ''NEW.id > 0'', search_path => %L)', p.path)) r
    WHERE r.state IS NOT NULL AND r.state <> '22023'
$$, 'a search_path is a value, and hostile text in it a bad one at most');
SELECT is_empty($$
    SELECT e.event, r.* FROM unnest(ARRAY['contact''; SELECT hit(); --.created', 'a$1.created', 'a\;.created', 'a b.created', 'a".created']) e (event),
           LATERAL pg_temp.refusal(format('SELECT hooks.webhook_watch(''contacts'', %L)', e.event)) r
    WHERE r.state IS DISTINCT FROM '22023'
$$, 'events have names without quotes');
SELECT is_empty($$
    SELECT c.name, p.parameter, r.* FROM unnest(ARRAY['x'')); SELECT hit(); --', 'x", "y', '$1', '%s', '\', '\a']) c (name),
           unnest(ARRAY['changed_columns', 'ignore_columns', 'key_columns', 'include_columns', 'exclude_columns']) p (parameter),
           LATERAL pg_temp.refusal(format($x$
               DO $y$ BEGIN EXECUTE format('ALTER TABLE contacts ADD COLUMN %%I int', %1$L); END $y$;
               SELECT 1 / (hooks.webhook_watch('contacts', 'contact.updated', %2$I => ARRAY[%1$L]::name[]) <> '{}')::int;
               SELECT 1 / (SELECT (%2$I = ARRAY[%1$L]::name[])::int FROM hooks.webhook_watches WHERE event = 'contact.updated')
           $x$, c.name, p.parameter)) r
    WHERE r.state IS NOT NULL
$$, 'names of columns are quoted');
SELECT is((SELECT is_called FROM hits), false, 'nothing of all that has run');

-- --- all that could do it --------------------------------------------------------------------------------------------

-- Functions that execute text, and those that write text with %s, the number of times, and why that is safe. A new one is to
-- be judged.
CREATE TABLE judged (name text, executes int, pastes int, why text);
INSERT INTO judged VALUES
    ('check_columns', 0, 2, 'A message to read.'), ('check_events', 0, 1, 'A message to read.'),
    ('check_filter', 0, 1, 'A message to read.'), ('check_headers', 0, 2, 'A message to read.'),
    ('webhook_publication', 0, 4, 'Statements for the source, to be read first: quoted names only.'),
    ('ask_source', 1, 0, 'A quoted name. The question is a text of ours, whose arguments are quoted literals.'),
    ('node_table', 0, 7, 'Quoted names, types that format_type() wrote here, an expression that is exactly one.'),
    ('source_findings', 0, 12, 'Messages to read, and statements to be read first: quoted names.'),
    ('column_findings', 0, 18, 'Messages to read, and statements to be read first: quoted names, types of format_type().'),
    ('table_findings', 0, 9, 'Messages to read, and statements to be read first: quoted names.'),
    ('server_findings', 0, 4, 'Messages to read.'), ('slot_findings', 0, 4, 'Messages to read.'),
    ('membership_findings', 0, 3, 'Messages to read.'), ('raise_findings', 0, 4, 'Messages to read.'),
    ('subscribe_statements', 0, 4, 'Names of settings that are listed there, quoted names, words of its own.'),
    ('declare_statement', 0, 1, 'A word of its own.'),
    ('check_subscribable', 1, 2, 'A regclass, which is quoted, and messages to read.'),
    ('start_resynchronized', 2, 1, 'A regclass, which is quoted, and a quoted name.'),
    ('webhook_node_keep', 8, 15, 'Quoted names, a regrole and messages to read.'),
    ('webhook_node_missed', 2, 2, 'A regclass, which is quoted.'),
    ('webhook_node_resync', 0, 2, 'A regclass, which is quoted, and a message to read.'),
    ('note_missed', 3, 2, 'Regclasses, quoted names and quoted literals.'),
    ('check_sources', 0, 12, 'Messages to read; in a hint a statement, with a regclass and quoted names.'),
    ('check_texts', 0, 3, 'Messages to read.'), ('redeliver_operator', 0, 1, 'A message to read.'),
    ('make_pending', 0, 2, 'A message to read.'), ('check_deferred_operator', 0, 2, 'A message to read.'),
    ('watch_arguments', 0, 5, 'Messages to read.'), ('watch_conflicts', 0, 1, 'A message to read.'),
    ('check_server', 0, 9, 'Messages to read.'), ('check_attempts', 0, 9, 'Messages to read.'),
    ('check_deliveries', 0, 7, 'Messages to read.'), ('webhook_emit', 0, 2, 'A message to read.'),
    ('explain_event', 0, 7, 'Messages to read.'), ('webhook_filter_problem', 0, 5, 'Messages to read.'),
    ('webhook_redeliver', 0, 1, 'A message to read.'), ('check_replay', 0, 2, 'A message to read.'),
    ('start_replay_operator', 0, 1, 'A message to read.'),
    ('webhook_curl', 0, 8, 'A command for a shell, to be read first: each argument in single quotes, but a number.'),
    ('trigger_declaration', 0, 3, 'An operation of a list, a WHEN clause of one expression or none, quoted literals.'),
    ('normal_condition', 2, 1, 'A regclass, which is quoted; what trigger_declaration() wrote.'),
    ('fire_on_replicated', 1, 1, 'A regclass and a name, which are quoted.'),
    ('webhook_watch', 1, 0, 'What trigger_declaration() wrote.'),
    ('check_restorable', 1, 0, 'What pg_get_triggerdef() wrote, which pg_dump takes for a statement too.'),
    ('foreign_equality', 0, 1, 'The name of an operator, which has no letters.'),
    ('condition_of_value', 0, 1, 'What foreign_equality() wrote.'),
    ('webhook_unwatch', 1, 1, 'A quoted name and a regclass, which is quoted.'),
    ('webhook_grant', 1, 2, 'A row of privileges, which only the owner writes, and a regrole, which is quoted.'),
    ('grant_new_privileges', 1, 2, 'The same: a row of privileges, and a regrole.'),
    ('webhook_revoke', 1, 5, 'A word of a list, a regclass, regprocedure or regrole, which are quoted, and a quoted name.'),
    ('health_of_processes', 0, 14, 'Messages to read.'), ('health_of_deliveries', 0, 21, 'Messages to read.'),
    ('quiet_subscription', 0, 4, 'Names of settings that are listed there, quoted names and literals, publications and options of ours.'),
    ('webhook_home', 0, 3, 'A quoted name, and tables of ours.'), ('home_tables', 0, 1, 'The number of a segment.'),
    ('become_home', 2, 3, 'A number, and a regclass.'), ('become_node', 7, 5, 'Tables of ours, which are listed there, and numbers.'),
    ('take_rows', 2, 0, 'A table and columns of ours, which are listed there; the report is an argument.'),
    ('webhook_take_over', 1, 0, 'A quoted name.'), ('check_may_detach', 0, 1, 'A message to read.'),
    ('make_mark', 0, 4, 'A snapshot and a number, to be compared.'), ('retire_node', 0, 1, 'The name of a node with a number behind it, and a message to read.'),
    ('ask_member', 0, 1, 'A message to read. The question is a text of ours.'), ('check_node', 0, 4, 'Messages to read.'),
    ('webhook_attach_node', 0, 2, 'Messages to read.'), ('webhook_join_home', 0, 1, 'A message to read. The question is a text of ours.'),
    ('webhook_watch_crm', 0, 1, 'A name of ours, in a hint.');
SELECT set_eq($$SELECT name, executes, pastes FROM judged WHERE length(why) > 10$$, $$
    SELECT name, executes, pastes FROM (
        SELECT p.proname::text AS name,
               regexp_count(p.prosrc, '\mEXECUTE +(?!FUNCTION|ON)')::int AS executes,
               regexp_count(p.prosrc, '%s')::int AS pastes
        FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
        WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'webhook') AND d.classid = 'pg_proc'::regclass) f
    WHERE executes + pastes > 0
$$, 'whatever executes text, or puts text together, is judged here');

SELECT * FROM finish();
ROLLBACK;

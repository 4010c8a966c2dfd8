-- Names in the way: an attacker has a schema in front of pg_catalog in the search_path, and temporary tables, in which there
-- is everything that the extension's functions use: functions, operators, types, tables and catalogs. None is ever taken for
-- the real one, whoever calls, whatever runs as its owner. In one transaction, rolled back.
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
SET search_path = tap, pg_catalog;
SELECT plan(20);

CREATE VIEW tap.ours AS
    SELECT p.* FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
    WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
      AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'webhook');
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM tap.ours p JOIN pg_language l ON l.oid = p.prolang
    WHERE NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false) AND (l.lanname <> 'c' AND p.prokind <> 'a' OR p.prosecdef)
$$, 'a function pins its search_path, unless it is C, which looks up no name, and runs as its caller');

-- --- the attacker's schema -------------------------------------------------------------------------------------------

CREATE SCHEMA evil;
CREATE TABLE evil.fired (what pg_catalog.text);
CREATE SEQUENCE evil.calls;  -- counts also what is undone
CREATE FUNCTION evil.note(what pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql SET search_path = pg_catalog AS
    $$BEGIN PERFORM nextval('evil.calls'); INSERT INTO evil.fired VALUES (what); RETURN true; END$$;

-- Runs what makes one more thing; whether that is possible.
CREATE FUNCTION tap.made(statement text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN true;
EXCEPTION WHEN OTHERS THEN
    RETURN false;
END
$$;

-- What our functions use of PostgreSQL's own, and all of ours: each says that it was called, and returns nothing.
CREATE TABLE tap.in_the_way AS
    SELECT 'function' AS kind, p.oid::regprocedure::text AS name, tap.made(format(
        'CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql SET search_path = pg_catalog AS $evil$'
        'BEGIN PERFORM evil.note(%L); RETURN%s; END$evil$', p.proname, pg_get_function_arguments(p.oid),
        pg_get_function_result(p.oid), 'function ' || p.oid::regprocedure, CASE WHEN p.proretset OR p.prorettype = 'void'::regtype
        OR p.proargmodes && '{o,b,t}'::"char"[] THEN '' ELSE ' NULL' END)) AS is_made
    FROM pg_proc p
    WHERE p.prokind = 'f'
      AND (p.pronamespace IN ('hooks'::regnamespace, 'webhook_internal'::regnamespace)
           OR p.pronamespace = 'pg_catalog'::regnamespace
              AND EXISTS (SELECT FROM tap.ours o WHERE o.prosrc ~ ('\m' || p.proname || '\M')));
INSERT INTO tap.in_the_way
    SELECT 'operator', o.oid::regoperator, tap.made(format(
        'CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql SET search_path = pg_catalog AS $evil$'
        'BEGIN PERFORM evil.note(%L); RETURN NULL; END$evil$', 'operator' || o.oid,
        concat_ws(', ', nullif(o.oprleft, 0)::regtype, o.oprright::regtype), o.oprresult::regtype,
        'operator ' || o.oid::regoperator))
        AND tap.made(format('CREATE OPERATOR evil.%s (%s RIGHTARG = %s, FUNCTION = evil.%I)', o.oprname,
                            'LEFTARG = ' || nullif(o.oprleft, 0)::regtype || ',', o.oprright::regtype, 'operator' || o.oid))
    FROM pg_operator o WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprcode <> 0;
INSERT INTO tap.in_the_way
    SELECT 'type', t, tap.made(format('CREATE DOMAIN evil.%1$I AS pg_catalog.%1$I CHECK (evil.note(%2$L))', t, 'type ' || t))
    FROM unnest(ARRAY['text', 'uuid', 'json', 'jsonb', 'jsonpath', 'timestamptz', 'name', 'oid', 'regclass', 'regprocedure',
                      'regrole', 'bytea', 'int4', 'int8', 'bool', 'float8', 'numeric', 'interval', 'xid8', 'char']) t;
-- A trigger says that somebody has written there. Whoever reads there finds nothing.
CREATE FUNCTION evil.written() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS
    $$BEGIN PERFORM evil.note('table ' || TG_TABLE_NAME); RETURN NULL; END$$;
INSERT INTO tap.in_the_way
    SELECT 'table', s.place || '.' || c.relname,
           tap.made(format('CREATE %s TABLE %s.%I (LIKE %s)', CASE s.place WHEN 'pg_temp' THEN 'TEMPORARY' ELSE '' END, s.place,
                           c.relname, c.oid::regclass))
           AND tap.made(format('CREATE TRIGGER written BEFORE INSERT OR UPDATE OR DELETE ON %s.%I FOR EACH STATEMENT '
                               'EXECUTE FUNCTION evil.written()', s.place, c.relname))
    FROM pg_class c, (VALUES ('evil'), ('pg_temp')) s (place)
    WHERE c.relnamespace = 'hooks'::regnamespace AND c.relkind IN ('r', 'p', 'v')
       OR c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v')
          AND EXISTS (SELECT FROM tap.ours o WHERE o.prosrc ~ ('\m' || c.relname || '\M'));
SELECT cmp_ok(count(*), '>', least_number, format('more than %s of PostgreSQL''s and our %ss have a double', least_number, w.kind))
FROM (VALUES ('function', 250::bigint), ('operator', 500), ('type', 19), ('table', 60)) w (kind, least_number)
LEFT JOIN tap.in_the_way i ON i.kind = w.kind AND i.is_made GROUP BY w.kind, w.least_number ORDER BY w.least_number;

-- --- the callers -----------------------------------------------------------------------------------------------------

CREATE ROLE regress_webhook_read;
CREATE ROLE regress_webhook_manage;
CREATE ROLE regress_webhook_operate;
SELECT hooks.webhook_grant('regress_webhook_read', 'read'), hooks.webhook_grant('regress_webhook_manage'),
       hooks.webhook_grant('regress_webhook_operate', 'operate') \g /dev/null
INSERT INTO hooks.webhook_instance (instance, database_oid, system_identifier)
VALUES ('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 1, 1);
CREATE TABLE public.contacts (id int PRIMARY KEY, organization_id text, updated_at timestamptz);
ALTER TABLE public.contacts OWNER TO regress_webhook_operate;
INSERT INTO hooks.webhook_configurations (id, organization_id, name, url, events, secret, filter)
VALUES ('00000000-0000-0000-0000-00000000000a', 'acme', 'crm', 'https://example.com/', '{*}', 'a long secret', '$.id > 0');
INSERT INTO hooks.webhook_events (slot, id, xid, created_at, event, organization_id, data)
VALUES (0, 1, pg_current_xact_id(), now(), 'contact.created', 'acme', '{"id": 1}');
INSERT INTO hooks.webhook_logs (id, slot, created_at, configuration_id, organization_id, event_id, event, attempt, status, error)
VALUES (1, 0, now(), '00000000-0000-0000-0000-00000000000a', 'acme', 1, 'contact.created', 1, 'failed', 'no answer');
CREATE OR REPLACE FUNCTION webhook_internal.send_test(
    webhook uuid, created_at timestamptz, organization text, event text, data json, timeout_ms integer, OUT status text,
    OUT response_status integer, OUT response_body text, OUT error text, OUT duration_ms double precision, OUT log_id bigint,
    OUT url text, OUT headers text, OUT body text)
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $$SELECT 'success', 200, 'ok', NULL, 12.5::double precision, 43::bigint,
        'https://example.com/hook', E'Content-Type: application/json\r\nX-Own: ***', data::text$$;
GRANT USAGE ON SCHEMA evil, tap TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA evil TO PUBLIC;
GRANT ALL ON SEQUENCE evil.calls TO PUBLIC;
SELECT webhook_id AS public_id FROM hooks.webhook_own_events \gset

-- Statements that any caller may run, by level; nothing in them is looked up but what they qualify.
CREATE TABLE tap.statements (level int, statement text, place serial);
INSERT INTO tap.statements VALUES
    (1, 'SELECT count(*) FROM hooks.webhook_stats'), (1, 'SELECT count(*) FROM hooks.webhook_watches'),
    (1, 'SELECT count(*) FROM hooks.webhook_check(''00000000-0000-0000-0000-00000000000a'')'),
    (1, 'SELECT count(*) FROM hooks.webhook_explain(1)'), (1, 'SELECT event_id FROM hooks.webhook_find(PUBLIC_ID)'),
    (1, 'SELECT hooks.webhook_current_organization()'),
    (2, 'INSERT INTO hooks.webhook_configurations (name, url, events, secret, headers, retry_schedule, filter)
         VALUES (''new'', ''https://example.com/'', ''{contact.*,deal.created}'', ''another secret'', ''{"X-A": "b"}'', ''{1s}'', ''$.a'')
         ON CONFLICT (organization_id, name) DO UPDATE SET secret = excluded.secret RETURNING name'),
    (2, 'UPDATE hooks.webhook_configurations SET secret = ''yet another secret'', is_active = false RETURNING organization_id'),
    (2, 'UPDATE hooks.webhook_configurations SET is_active = true RETURNING organization_id'),
    (2, 'SELECT status FROM hooks.webhook_test(''00000000-0000-0000-0000-00000000000a'', ''contact.created'')'),
    (2, 'SELECT hooks.webhook_reveal_secret(''00000000-0000-0000-0000-00000000000a'')'),
    (2, 'SELECT count(hooks.webhook_rotate_secret(''00000000-0000-0000-0000-00000000000a''))'),
    (2, 'SELECT event FROM hooks.webhook_redeliver(1)'), (2, 'SELECT count(hooks.webhook_curl(1))'),
    (2, 'SELECT hooks.webhook_replay(''00000000-0000-0000-0000-00000000000a'', ''-infinity'')'),
    (2, 'SELECT hooks.webhook_cancel(''00000000-0000-0000-0000-00000000000a'')'),
    (2, 'SELECT hooks.webhook_emit(''contact.created'', ''{"id": 1}'', ''acme'')'), (2, 'SELECT hooks.webhook_flush()'),
    (2, 'DELETE FROM hooks.webhook_configurations RETURNING organization_id'),
    (3, 'SELECT hooks.webhook_pause(''attack'')'), (3, 'SELECT hooks.webhook_resume()'),
    (3, 'SELECT hooks.webhook_watch(''public.contacts'', ''contact.created'')'),
    (3, 'SELECT hooks.webhook_watch(''public.contacts'', ''contact.updated'', changed_columns => ''{id}'', condition => NULL)'),
    (3, 'SELECT hooks.webhook_watch(''public.contacts'', ''contact.deleted'', condition => ''OLD.id IS NOT NULL'')'),
    (3, 'SELECT hooks.webhook_watch(''public.contacts'', ''contact.deleted'', condition => ''OLD.id IS NOT NULL'')'),
    (3, 'SELECT hooks.webhook_unwatch(''public.contacts'', ''contact.created'')'),
    (3, 'SELECT count(*) FROM hooks.webhook_watch_crm(''public.contacts'', NULL, NULL, NULL, NULL, NULL, contact_assigned_column => ''id'')'),
    (3, 'INSERT INTO public.contacts VALUES (1, ''acme'') RETURNING id'), (3, 'SELECT hooks.webhook_reencrypt_secrets()'),
    (4, 'SELECT hooks.webhook_grant(''regress_webhook_read'', ''manage'')'), (4, 'SELECT hooks.webhook_revoke(''regress_webhook_read'')'),
    (4, 'TRUNCATE hooks.webhook_configurations');

-- The answers to all statements of a caller, in a search_path; undone.
CREATE FUNCTION tap.answers(caller text, level int, path text, public_id text) RETURNS text LANGUAGE plpgsql
    SET search_path = pg_catalog AS $$
DECLARE
    s record;
    line text;
    result text := '';
    fired text;
BEGIN
    PERFORM set_config('webhook.organization_id', 'acme', true), set_config('search_path', path, true),
            set_config('role', caller, true);
    FOR s IN SELECT * FROM tap.statements t WHERE t.level OPERATOR(pg_catalog.<=) answers.level
             ORDER BY t.place USING OPERATOR(pg_catalog.<) LOOP
        IF pg_catalog.starts_with(s.statement, 'TRUNCATE') THEN
            EXECUTE s.statement;
            CONTINUE;
        END IF;
        FOR line IN EXECUTE pg_catalog.replace(s.statement, 'PUBLIC_ID', pg_catalog.quote_literal(public_id)) LOOP
            result := pg_catalog.concat(result, s.place, ': ', line, E'\n');
        END LOOP;
    END LOOP;
    PERFORM pg_catalog.set_config('role', 'none', true), pg_catalog.set_config('search_path', 'pg_catalog', true);
    SELECT string_agg(DISTINCT what, ', ') INTO fired FROM evil.fired;
    result := result || coalesce('fired: ' || fired, 'nothing fired')
              || CASE WHEN (SELECT is_called FROM evil.calls) THEN ', or undone' ELSE '' END;
    PERFORM setval('evil.calls', 1, false);
    RAISE EXCEPTION 'undone' USING ERRCODE = 'UNDNE';
EXCEPTION
    WHEN SQLSTATE 'UNDNE' THEN
        RETURN result;
    WHEN OTHERS THEN
        RETURN pg_catalog.concat(result, 'ERROR in ', s.statement, ': ', SQLERRM);
END
$$;
GRANT SELECT ON ALL TABLES IN SCHEMA tap TO PUBLIC;
CREATE TABLE tap.runs AS
    SELECT c.caller, c.level, tap.answers(c.caller, c.level, 'pg_catalog', :'public_id') AS in_peace,
           tap.answers(c.caller, c.level, 'evil, pg_catalog', :'public_id') AS behind_evil,
           tap.answers(c.caller, c.level, 'pg_temp, evil, pg_catalog, hooks', :'public_id') AS behind_temp
    FROM (VALUES ('regress_webhook_read', 1), ('regress_webhook_manage', 2), ('regress_webhook_operate', 3),
                 (current_user::text, 4)) c (caller, level);
SELECT unalike(in_peace, '%ERROR%', format('level %s: everything works in peace', level)) FROM tap.runs ORDER BY level;
SELECT is(behind_evil, in_peace, format('level %s: and behind an attacker''s schema nothing is otherwise', level))
FROM tap.runs ORDER BY level;
SELECT is(behind_temp, in_peace, format('level %s: nor behind his temporary tables', level)) FROM tap.runs ORDER BY level;

-- The attack is one: what is not qualified meets it.
SET search_path = evil, pg_catalog;
SELECT now() \g /dev/null
SELECT 'a'::pg_catalog.text = 'b'::pg_catalog.text \g /dev/null
SELECT 'x'::text \g /dev/null
SET search_path = tap, pg_catalog;
SELECT is(array_agg(what ORDER BY what)::text,
          '{"function now()","operator =(text,text)","type text"}', 'who does not qualify gets the attacker''s')
FROM evil.fired;
SELECT is_empty('SELECT 1 FROM evil.webhook_configurations', 'and nothing of ours has been written there');
SELECT ok((SELECT count(*) FROM pg_temp.pg_extension) = 0 AND (SELECT count(*) FROM pg_catalog.pg_extension) > 1,
          'temporary tables come before the catalogs, unless a search_path says otherwise');

SELECT * FROM finish();
ROLLBACK;

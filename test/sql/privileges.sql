-- docs/security.md: what PUBLIC and each level may do, with a reason for each line, and what runs as its owner, is what the
-- catalog says. Names that an attacker puts in the way are not taken for ours.
\set ECHO none
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only true
\getenv inputdir PG_ABS_SRCDIR
\setenv SOURCE :inputdir/..
BEGIN;
SET client_min_messages = error;
CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;
CREATE SCHEMA hooks;
CREATE EXTENSION webhook SCHEMA hooks;
SET search_path = tap, pg_catalog;
SELECT plan(18);

CREATE TEMPORARY TABLE lines (place serial, line text);
\copy lines (line) FROM PROGRAM 'cat "$SOURCE/docs/security.md"' WITH (DELIMITER E'\x01', FORMAT csv, QUOTE E'\x02')

CREATE ROLE regress_webhook_monitor;
CREATE ROLE regress_webhook_read;
CREATE ROLE regress_webhook_manage;
CREATE ROLE regress_webhook_operate;
SELECT hooks.webhook_grant('regress_webhook_monitor', 'monitor'), hooks.webhook_grant('regress_webhook_read', 'read'),
       hooks.webhook_grant('regress_webhook_manage', 'manage'), hooks.webhook_grant('regress_webhook_operate', 'operate') \g /dev/null

-- The privileges of a role on a relation; in parentheses those on some columns only.
CREATE FUNCTION pg_temp.on_relation(role text, relation oid, kind "char") RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(CASE WHEN kind = 'S' OR has_table_privilege(role, relation, p) THEN p
                                    ELSE '(' || p || ')' END, ' ' ORDER BY place), '')
    FROM unnest(CASE kind WHEN 'S' THEN ARRAY['SELECT', 'USAGE', 'UPDATE']
                     ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES'] END)
         WITH ORDINALITY u (p, place)
    WHERE CASE WHEN kind = 'S' THEN has_sequence_privilege(role, relation, p)
               ELSE has_table_privilege(role, relation, p)
                 OR p IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') AND has_any_column_privilege(role, relation, p) END
$$;
-- A function of webhook_internal bears its schema.
CREATE FUNCTION pg_temp.shown(schema oid, name name) RETURNS text LANGUAGE sql AS
    $$SELECT CASE WHEN schema = 'hooks'::regnamespace THEN name::text ELSE 'webhook_internal.' || name END$$;
CREATE VIEW pg_temp.rows AS
    SELECT format('| `%s` | %s |', name, string_agg(may, ' | ' ORDER BY place)) AS line
    FROM (
        SELECT pg_temp.shown(c.relnamespace, c.relname) AS name, r.place, pg_temp.on_relation(r.role, c.oid, c.relkind) AS may
        FROM pg_class c, unnest(ARRAY['public', 'regress_webhook_monitor', 'regress_webhook_read', 'regress_webhook_manage',
                                      'regress_webhook_operate']) WITH ORDINALITY r (role, place)
        WHERE c.relnamespace IN ('hooks'::regnamespace, 'webhook_internal'::regnamespace)
          AND c.relkind IN ('r', 'p', 'v', 'S') AND NOT c.relispartition
        UNION ALL
        SELECT format('%s(%s)', pg_temp.shown(p.pronamespace, p.proname), oidvectortypes(p.proargtypes)), r.place,
               CASE WHEN has_function_privilege(r.role, p.oid, 'EXECUTE') THEN 'yes' ELSE '' END
        FROM pg_proc p, unnest(ARRAY['public', 'regress_webhook_monitor', 'regress_webhook_read', 'regress_webhook_manage',
                                     'regress_webhook_operate']) WITH ORDINALITY r (role, place)
        WHERE p.pronamespace IN ('hooks'::regnamespace, 'webhook_internal'::regnamespace)
        UNION ALL
        SELECT s.name, r.place,
               CASE WHEN has_schema_privilege(r.role, s.name, 'CREATE') THEN 'CREATE'
                    WHEN has_schema_privilege(r.role, s.name, 'USAGE') THEN 'USAGE' ELSE '' END
        FROM unnest(ARRAY['webhook_internal', 'webhook_api']) s (name), unnest(ARRAY['public', 'regress_webhook_monitor', 'regress_webhook_read', 'regress_webhook_manage',
                          'regress_webhook_operate']) WITH ORDINALITY r (role, place)) o
    GROUP BY name HAVING string_agg(may, '') <> '';
-- Five columns of privileges, and a reason.
SELECT set_eq(
    $$SELECT regexp_replace(substring(line FROM '^(.*\|) [^|]{12,} \|$'), ' +', ' ', 'g') FROM lines
      WHERE line ~ '^\| `webhook_[^|]*` \|([^|]*\|){6}$'$$,
    $$SELECT regexp_replace(line, ' +', ' ', 'g') FROM pg_temp.rows$$,
    'docs/security.md says who may use which schema, table, view, sequence and function, and why');
SELECT is((SELECT string_agg(line, ', ') FROM pg_temp.rows WHERE line !~ '` [|]  [|]'),
          '| `webhook_current_organization()` | yes | yes | yes | yes | yes |',
          'PUBLIC may execute what the policies call, and nothing else');
SELECT set_eq(
    $$SELECT substring(line FROM '^\| `(webhook_[\w.]+)` \| [^|]{20,} \|$') FROM lines
      WHERE line ~ '^\| `webhook_[\w.]+` \| [^|]{20,} \|$'$$,
    $$SELECT pg_temp.shown(pronamespace, proname) FROM pg_proc
      WHERE pronamespace IN ('hooks'::regnamespace, 'webhook_internal'::regnamespace) AND prosecdef
      UNION SELECT relname FROM pg_class WHERE relnamespace = 'hooks'::regnamespace AND relkind = 'v'
                                           AND NOT coalesce('security_invoker=true' = ANY (reloptions), false)$$,
    'docs/security.md says why each function and view that runs as its owner must');

-- pg_monitor has the level monitor, but for the schema, which may be everybody's already.
CREATE FUNCTION pg_temp.acls() RETURNS TABLE (object text, acl aclitem[]) LANGUAGE sql AS $$
    SELECT c.oid::regclass::text, c.relacl FROM pg_class c
    WHERE c.relnamespace IN ('hooks'::regnamespace, 'webhook_internal'::regnamespace, 'webhook_api'::regnamespace)
    UNION ALL
    SELECT a.attrelid::regclass || '.' || a.attname, a.attacl FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace IN ('hooks'::regnamespace, 'webhook_internal'::regnamespace, 'webhook_api'::regnamespace)
    UNION ALL
    SELECT p.oid::regprocedure::text, p.proacl FROM pg_proc p
    WHERE p.pronamespace IN ('hooks'::regnamespace, 'webhook_internal'::regnamespace, 'webhook_api'::regnamespace)
    UNION ALL
    SELECT 'schema ' || n.nspname, n.nspacl FROM pg_namespace n WHERE n.nspname IN ('hooks', 'webhook_internal', 'webhook_api')
$$;
SELECT set_eq($$
    SELECT a.object, x.privilege_type FROM pg_temp.acls() a, aclexplode(a.acl) x WHERE x.grantee = 'pg_monitor'::regrole
$$, $$
    SELECT a.object, x.privilege_type FROM pg_temp.acls() a, aclexplode(a.acl) x
    WHERE x.grantee = 'regress_webhook_monitor'::regrole AND a.object <> 'schema hooks'
$$, 'CREATE EXTENSION grants the level monitor to pg_monitor, and no right on the schema');
SELECT set_eq($$
    SELECT a.object, x.privilege_type FROM pg_temp.acls() a, aclexplode(a.acl) x WHERE x.grantee = 'pg_monitor'::regrole
$$, $$VALUES ('hooks.webhook_health()', 'EXECUTE'), ('hooks.webhook_metrics()', 'EXECUTE'), ('hooks.webhook_workers', 'SELECT'),
             ('hooks.webhook_rings', 'SELECT'), ('hooks.webhook_progress', 'SELECT'), ('webhook_internal.worker_slots()', 'EXECUTE'),
             ('webhook_internal.progress()', 'EXECUTE'), ('hooks.webhook_nodes', 'SELECT'),
             ('webhook_internal.node_states()', 'EXECUTE')$$, 'which is this, and no more');
SELECT is_empty($$
    SELECT i.initprivs FROM pg_init_privs i
    WHERE i.classoid = 'pg_namespace'::regclass AND i.objoid = 'hooks'::regnamespace
$$, 'the privileges of the schema stay its own, so pg_dump dumps them');

-- The segments are nobody's.
SELECT is_empty($$
    SELECT c.relname, r.role FROM pg_class c, unnest(ARRAY['public', 'regress_webhook_monitor', 'regress_webhook_read', 'regress_webhook_manage',
                                                           'regress_webhook_operate']) r (role)
    WHERE c.relnamespace = 'hooks'::regnamespace AND c.relispartition
      AND pg_temp.on_relation(r.role, c.oid, c.relkind) <> ''
$$, 'nobody but the owner may touch a segment');

-- --- search_path: a schema of an attacker in front of everything ------------------------------------------------------

CREATE SCHEMA evil;
CREATE TABLE evil.fired (what text);
CREATE FUNCTION evil.note(what text) RETURNS void LANGUAGE sql AS 'INSERT INTO evil.fired VALUES (what)';
CREATE FUNCTION evil.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS
    $$BEGIN PERFORM evil.note('operator ='); RETURN true; END$$;
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eq);
CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS
    $$BEGIN PERFORM evil.note('clock_timestamp'); RETURN pg_catalog.clock_timestamp(); END$$;
CREATE FUNCTION evil.has_function_privilege(oid, text) RETURNS boolean LANGUAGE plpgsql AS
    $$BEGIN PERFORM evil.note('has_function_privilege'); RETURN true; END$$;
CREATE FUNCTION evil.current_setting(text, boolean) RETURNS text LANGUAGE plpgsql AS
    $$BEGIN PERFORM evil.note('current_setting'); RETURN 'globex'; END$$;
CREATE FUNCTION evil.webhook_current_organization() RETURNS text LANGUAGE plpgsql AS
    $$BEGIN PERFORM evil.note('webhook_current_organization'); RETURN 'globex'; END$$;
CREATE TABLE evil.webhook_configurations (LIKE hooks.webhook_configurations);
CREATE TABLE evil.webhook_secrets (LIKE hooks.webhook_secrets);
CREATE TABLE evil.webhook_events (LIKE hooks.webhook_events);
CREATE TABLE evil.contacts (id int PRIMARY KEY, organization_id text);
GRANT USAGE ON SCHEMA evil, tap TO regress_webhook_manage;
GRANT ALL ON ALL TABLES IN SCHEMA evil TO regress_webhook_manage;
SELECT hooks.webhook_watch('evil.contacts', 'contact.created') \g /dev/null

SET LOCAL search_path = evil, pg_catalog, tap;
SET LOCAL webhook.organization_id = 'acme';
SET LOCAL ROLE regress_webhook_manage;
INSERT INTO hooks.webhook_configurations (name, url, events, secret)
VALUES ('crm', 'https://example.com/', '{*}', 'a long secret') RETURNING id AS hook \gset
UPDATE hooks.webhook_configurations SET secret = 'another long secret' WHERE id OPERATOR(pg_catalog.=) :'hook';
INSERT INTO evil.contacts VALUES (1, 'acme');
SELECT hooks.webhook_flush(), hooks.webhook_rotate_secret(:'hook'), hooks.webhook_reveal_secret(:'hook'),
       hooks.webhook_replay(:'hook', '-infinity'), hooks.webhook_cancel(:'hook'),
       hooks.webhook_emit('contact.created', '{}') \g /dev/null
SELECT count(*) FROM hooks.webhook_check(:'hook') \g /dev/null
RESET ROLE;
SET LOCAL search_path = tap, pg_catalog;
SELECT is((SELECT string_agg(what, ', ') FROM evil.fired), NULL, 'nothing of ours calls what an attacker puts in front');
SELECT is((SELECT count(*) FROM evil.webhook_configurations) + (SELECT count(*) FROM evil.webhook_secrets)
          + (SELECT count(*) FROM evil.webhook_events), 0::bigint, 'nor writes there');
SELECT is((SELECT count(*) FROM hooks.webhook_events WHERE organization_id OPERATOR(pg_catalog.=) 'acme'), 1::bigint,
          'the event is where it belongs');

-- --- what a tenant stores is bounded ---------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.storing(columns text, value text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO hooks.webhook_configurations (organization_id, name, url, events, is_active, %s) '
                   'VALUES (''acme'', ''x'', ''https://example.com/'', ''{*}'', false, %L)', columns, value);
    RETURN 'stored';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
SELECT is(pg_temp.storing(c, v), state, format('%s of a webhook: %s', c, what))
FROM (VALUES ('disabled_reason', repeat('x', 1001), '22023', 'too long a reason is refused'),
             ('created_at', 'infinity', '22008', 'an infinite time is refused'),
             ('created_at', '-infinity', '22008', 'in either direction'),
             ('created_at', '294276-01-01', '22008', 'and one that is beyond all use')) t (c, v, state, what);

-- --- somebody was there first ----------------------------------------------------------------------------------------

DROP EXTENSION webhook CASCADE;
CREATE FUNCTION hooks.webhook_is_operator() RETURNS boolean LANGUAGE sql AS 'SELECT true';
SELECT throws_ok('CREATE EXTENSION webhook SCHEMA hooks', '42723', NULL,
                 'CREATE EXTENSION does not take over a function that somebody has put there');
DROP FUNCTION hooks.webhook_is_operator();
CREATE TABLE hooks.webhook_secrets (configuration_id uuid, secret text);
SELECT throws_ok('CREATE EXTENSION webhook SCHEMA hooks', '42P07', NULL, 'nor a table');
DROP TABLE hooks.webhook_secrets;
CREATE SCHEMA webhook_internal AUTHORIZATION regress_webhook_manage;
SELECT throws_ok('CREATE EXTENSION webhook SCHEMA hooks', '42P06', NULL, 'nor a schema webhook_internal');
SELECT throws_ok('CREATE EXTENSION webhook SCHEMA webhook_internal', '42P06', NULL, 'not even into it');

SELECT * FROM finish();
ROLLBACK;

-- Organizations and keys are texts: those of values that their type takes for equal are equal. What cannot be compared so
-- is refused or warned of when the event is declared.
\set ECHO none
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only true
\set VERBOSITY terse
BEGIN;
SET client_min_messages = warning;
CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;
CREATE SCHEMA hooks;
CREATE EXTENSION webhook SCHEMA hooks;
CREATE EXTENSION citext SCHEMA tap;
SET search_path = public, tap;
SET webhook.capture = 'all';
SELECT plan(46);

CREATE DOMAIN padded AS char(12);
CREATE DOMAIN padded_twice AS padded;
CREATE DOMAIN price AS numeric(10, 2);
CREATE DOMAIN any_case AS citext;
CREATE TYPE plan_of AS ENUM ('acme', 'globex');
CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);

-- The organization and the key of a row with such a value; the SQLSTATE if the event is refused.
CREATE FUNCTION pg_temp.captured(type text, value text, as_key boolean DEFAULT false) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('CREATE TABLE t (value %s)', type);
    IF as_key THEN
        PERFORM hooks.webhook_watch('t', 't.created', organization_column => NULL, key_columns => '{value}');
    ELSE
        PERFORM hooks.webhook_watch('t', 't.created', organization_column => 'value');
    END IF;
    EXECUTE format('INSERT INTO t VALUES (%L)', value);
    PERFORM hooks.webhook_flush();
    SELECT coalesce(e.organization_id, e.key) INTO result FROM hooks.webhook_events e;
    RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDNE';
EXCEPTION
    WHEN SQLSTATE 'UNDNE' THEN RETURN result;
    WHEN datatype_mismatch THEN RETURN SQLERRM;
END
$$;

-- Each of these is equal to the third, by its type.
CREATE TABLE equal_values (type text, value text, expected text);
INSERT INTO equal_values VALUES
    ('text', 'acme', 'acme'), ('varchar(12)', 'acme', 'acme'), ('char(12)', 'acme', 'acme'), ('char(4)', 'acme', 'acme'),
    ('padded', 'acme', 'acme'), ('padded_twice', 'acme', 'acme'), ('name', 'acme', 'acme'), ('"char"', 'a', 'a'),
    ('plan_of', 'acme', 'acme'), ('smallint', '7', '7'), ('integer', '+7', '7'), ('bigint', '007', '7'),
    ('numeric', '7.000', '7'), ('numeric(10,2)', '7', '7'), ('price', '7.10', '7.1'), ('numeric', '700', '700'),
    ('uuid', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), ('oid', '7', '7');
SELECT is(pg_temp.captured(type, value), expected, format('an organization of type %s', type)) FROM equal_values;
SELECT is(pg_temp.captured(type, value, true), expected, format('a key of type %s', type)) FROM equal_values;
SELECT is(pg_temp.captured('float8', '-0', true), pg_temp.captured('float8', '0', true), 'zero has one sign as a key');
SELECT is(pg_temp.captured('real', '-0', true), pg_temp.captured('real', '0', true), 'whatever its size');
SELECT is(pg_temp.captured('text', 'acme  '), 'acme  ', 'blanks that are no padding count');

-- What is no organization.
SELECT is(pg_temp.captured(type, NULL), format('column "value" of table public.t cannot hold an organization: its type is %s', type),
          type || ' is refused')
FROM unnest(ARRAY['json', 'jsonb', 'text[]', 'double precision', 'timestamp with time zone', 'bytea', 'public.equal_values']) type;

-- Warnings.
\echo organization
SELECT pg_temp.captured('citext', 'Acme'), pg_temp.captured('any_case', 'Acme'), pg_temp.captured('text COLLATE folded', 'Acme');
\echo key
SELECT pg_temp.captured('citext', 'Acme', true), pg_temp.captured('text COLLATE folded', 'Acme', true),
       pg_temp.captured('interval', '24:00', true), pg_temp.captured('jsonb', '{}', true);

SELECT * FROM finish();
ROLLBACK;

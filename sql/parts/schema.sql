\echo Use "CREATE EXTENSION webhook" to load this file. \quit

-- The extension's SQL. The Makefile lists the parts in the order in which they run and concatenates them into one
-- script. Each part has one topic. An object, its comment and its privileges stand together.
--
-- All names of the extension are schema-qualified. Unqualified names resolve in pg_catalog only: in this script because
-- of the next statement, in each function because of its own SET clause. Backslashes appear only in E'' strings, which
-- standard_conforming_strings does not affect. A function is SECURITY DEFINER only if it needs webhook_secrets or
-- another object that application roles may not access. Its comment gives the reason. The text is plain ASCII, so that
-- it loads in a database of any encoding.
-- The functions in C are in src/pg/functions. Those that run for each captured row have no SET clause, which would slow
-- them down. They look up no names by search_path, and the casts of a user's types, which capture calls, must see the
-- session's.
--
-- The schema of the extension holds what users call and read. Internal objects are in webhook_internal.

SET LOCAL search_path = pg_catalog, pg_temp;

CREATE SCHEMA webhook_internal;
COMMENT ON SCHEMA webhook_internal IS
    'Internal objects of the extension webhook. They are not for users, and any of them may change in the next '
    'version.';

-- pg_dump dumps the tables that call pg_extension_config_dump(): webhooks, their secrets, the user's event types and
-- the instance. It does not dump events, deliveries, logs and checkpoints, because a copy must not deliver them again.

-- Each part inserts the privileges on its objects here: for the levels of webhook_grant(), and for PUBLIC. Objects
-- without a row are for the owner only.
CREATE TABLE webhook_internal.privileges (
    levels    text[] NOT NULL CHECK (levels <@ '{public,monitor,read,manage,operate}'),
    privilege text NOT NULL,
    PRIMARY KEY (privilege, levels)
);
COMMENT ON TABLE webhook_internal.privileges IS 'The privileges that webhook_grant() grants.';
COMMENT ON COLUMN webhook_internal.privileges.levels IS
    'The levels that have the privilege: monitor, read, manage, operate. CREATE EXTENSION grants the level monitor to '
    'pg_monitor. public: it grants the privilege to PUBLIC.';
COMMENT ON COLUMN webhook_internal.privileges.privilege IS 'The privilege and its object, as between GRANT and TO.';
INSERT INTO webhook_internal.privileges VALUES ('{monitor,read,manage,operate}', 'USAGE ON SCHEMA @extschema@');
-- Functions that run with their caller's rights call functions of that schema by name.
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'USAGE ON SCHEMA webhook_internal');

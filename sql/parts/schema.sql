\echo Use "CREATE EXTENSION webhook" to load this file. \quit

-- What the extension is in SQL. The Makefile lists the parts in the order in which they are run, and puts them together
-- to one script. Each part is about one thing; an object stands together with its comment and with who may use it.
--
-- Every name of ours is qualified, and what is not is looked up in pg_catalog alone: here by the next statement, in
-- each function by its own SET. Backslashes stand in E'' alone, which standard_conforming_strings does not change.
-- Only the functions that must touch webhook_secrets, or what else no application role may see, are SECURITY DEFINER;
-- each says why. The text is plain ASCII, so that it loads in a database of any encoding.
-- Functions in C are in src/module.cpp. They have no SET: they look no name up by the search_path, it would cost every
-- captured row, and the casts of a user's own types, which capture calls, are entitled to the session's.
--
-- The schema that the extension is created in holds what people use. Functions that only these need are in
-- webhook_internal.

SET LOCAL search_path = pg_catalog, pg_temp;

CREATE SCHEMA webhook_internal;
COMMENT ON SCHEMA webhook_internal IS
    'What the extension webhook is made of. Nothing in it is for users, and any of it may change with the next version.';

-- What pg_dump carries is said beside each table, by pg_extension_config_dump(): webhooks, their secrets, the user's event
-- types and the instance. Events, deliveries, logs and checkpoint stay behind: a copy must not deliver them again.

-- Each object's part says here who may do what with it: the levels of webhook_grant(), and PUBLIC. What is not here is the
-- owner's alone.
CREATE TABLE webhook_internal.privileges (
    levels    text[] NOT NULL CHECK (levels <@ '{public,read,manage,operate}'),
    privilege text NOT NULL,
    PRIMARY KEY (privilege, levels)
);
COMMENT ON TABLE webhook_internal.privileges IS 'What webhook_grant() grants.';
COMMENT ON COLUMN webhook_internal.privileges.levels IS
    'Which levels it grants it to: read, manage, operate. public: CREATE EXTENSION grants it to PUBLIC.';
COMMENT ON COLUMN webhook_internal.privileges.privilege IS 'What stands in GRANT ... TO.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'USAGE ON SCHEMA @extschema@');
-- Functions that run as their caller find there by its name what they may execute.
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'USAGE ON SCHEMA webhook_internal');

\echo Use "ALTER EXTENSION webhook UPDATE" to load this file. \quit

SELECT webhook_internal.require_library();
SET LOCAL search_path = pg_catalog, pg_temp;

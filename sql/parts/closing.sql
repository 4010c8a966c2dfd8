-- Applies to all objects, so it comes last: row-level security, statistics, privileges. Then a warning if nothing will
-- be delivered.

-- Row-level security is on for every table and every segment. Tables without a policy are for the owner only, such as
-- webhook_secrets and the segments, which are read through their parents. GRANT decides whether a role may use a table
-- at all: webhook_grant().
DO $$
DECLARE
    relation regclass;
BEGIN
    FOR relation IN
        SELECT c.oid FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
        WHERE d.classid = 'pg_class'::regclass
          AND d.refclassid = 'pg_extension'::regclass
          AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'webhook')
          AND c.relkind IN ('r', 'p')
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
    END LOOP;
END
$$;

-- The planner applies a leakproof operator to the rows of other organizations before the policy, and EXPLAIN shows the
-- expected number of rows: how often one of the most common values occurs. So tables with a policy for tenants keep no
-- statistics about their columns. On a partitioned table this covers the segments. Frequent queries find their index
-- without statistics.
DO $$
DECLARE
    kept record;
BEGIN
    FOR kept IN
        SELECT p.polrelid::regclass AS relation, a.attname AS name
        FROM pg_policy p JOIN pg_attribute a ON a.attrelid = p.polrelid
        WHERE p.polname = 'webhook_tenants' AND a.attnum > 0 AND NOT a.attisdropped
          AND p.polrelid IN (SELECT d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                             WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass
                               AND e.extname = 'webhook')
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 0', kept.relation, kept.name);
    END LOOP;
END
$$;

-- Default privileges may have granted rights on the objects above, to a role or to PUBLIC. They are revoked.
DO $$
DECLARE
    extension oid := (SELECT e.oid FROM pg_extension e WHERE e.extname = 'webhook');
    object text;
    privilege text;
    grantee regrole;
BEGIN
    FOR grantee IN
        SELECT acl.grantee FROM pg_depend d JOIN pg_class c ON c.oid = d.objid, aclexplode(c.relacl) acl
        WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.classid = 'pg_class'::regclass
          AND acl.grantee NOT IN (0, c.relowner)
        UNION
        SELECT acl.grantee FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid, aclexplode(p.proacl) acl
        WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.classid = 'pg_proc'::regclass
          AND acl.grantee NOT IN (0, p.proowner)
        UNION
        SELECT acl.grantee FROM pg_namespace n, aclexplode(n.nspacl) acl
        WHERE n.nspname IN ('webhook_internal', 'webhook_api') AND acl.grantee NOT IN (0, n.nspowner)
    LOOP
        PERFORM @extschema@.webhook_revoke(grantee);
    END LOOP;
    FOR object IN
        SELECT format('%s %s', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass)
        FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.classid = 'pg_class'::regclass
          AND c.relkind IN ('r', 'p', 'v', 'S')
        UNION ALL
        SELECT format('FUNCTION %s', d.objid::regprocedure) FROM pg_depend d
        WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.classid = 'pg_proc'::regclass
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', object);
    END LOOP;
    REVOKE ALL ON SCHEMA webhook_internal, webhook_api FROM PUBLIC;
    FOR privilege IN SELECT p.privilege FROM webhook_internal.privileges p WHERE 'public' = ANY (p.levels) LOOP
        EXECUTE format('GRANT %s TO PUBLIC', privilege);
    END LOOP;
    -- Not USAGE on the schema of the extension: pg_dump would take all privileges that the schema has now for the
    -- extension's, and leave them out.
    FOR privilege IN
        SELECT p.privilege FROM webhook_internal.privileges p
        WHERE 'monitor' = ANY (p.levels) AND p.privilege NOT LIKE 'USAGE ON SCHEMA %'
    LOOP
        EXECUTE format('GRANT %s TO pg_monitor', privilege);
    END LOOP;
END
$$;

DO $$
BEGIN
    IF NOT @extschema@.webhook_is_preloaded() THEN
        RAISE WARNING 'webhook is not preloaded: events are captured, but not delivered'
            USING DETAIL = 'Nothing is lost: once it is preloaded, the events captured until then are delivered.',
                  HINT = format('Set shared_preload_libraries = %L in postgresql.conf and restart the server.',
                                concat_ws(',', nullif(current_setting('shared_preload_libraries'), ''), 'webhook'));
    END IF;
END
$$;

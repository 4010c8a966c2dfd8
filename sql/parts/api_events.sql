-- webhook_api: the events that there are, where they come from, and trying patterns and filters on recent ones.

CREATE FUNCTION webhook_api.event_types() RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    WITH watched AS (SELECT DISTINCT w.event FROM @extschema@.webhook_watches w)
    SELECT json_build_object('categories', coalesce(json_agg(json_build_object('category', c.category, 'events', c.events)
                                                             ORDER BY c.category), '[]'))
    FROM (SELECT t.category,
                 json_agg(json_build_object('name', t.name, 'description', t.description, 'example', t.example,
                                            'is_builtin', t.is_builtin, 'is_watched', w.event IS NOT NULL)
                          ORDER BY t.name) AS events
          FROM @extschema@.webhook_event_types t LEFT JOIN watched w ON w.event = t.name
          GROUP BY t.category) c
$$;
COMMENT ON FUNCTION webhook_api.event_types() IS
    'The event types by category: {"categories": [{"category", "events": [{"name", "description", "example", '
    '"is_builtin", "is_watched"}]}]}.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.event_types()');

CREATE FUNCTION webhook_api.watches() RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT json_build_object('watches', coalesce(json_agg(json_build_object(
        'source', w.source::text, 'event', w.event, 'operation', w.operation, 'condition', w.condition,
        'changed_columns', w.changed_columns, 'is_enabled', w.is_enabled)
        ORDER BY w.event, w.source::text, w.operation), '[]'))
    FROM (SELECT * FROM @extschema@.webhook_watches w LIMIT 1000) w
$$;
COMMENT ON FUNCTION webhook_api.watches() IS
    'Which changes of which tables cause which events, as in webhook_watches; at most 1000: {"watches": [{"source", '
    '"event", "operation", "condition", "changed_columns", "is_enabled"}]}.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}', 'EXECUTE ON FUNCTION webhook_api.watches()');

-- The newest events by the index of ids. webhook_events has no index by organization, so the number of rows that are
-- read is what bounds the search. The last row tells how far it got: its event is null.
CREATE FUNCTION webhook_internal.recent_events_operator(organization text, read_max integer)
    RETURNS TABLE (id bigint, created_at timestamptz, event text, organization_id text, key text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH newest AS MATERIALIZED (
        SELECT e.id, e.created_at, e.event, e.organization_id, e.key FROM @extschema@.webhook_events e
        ORDER BY e.id DESC LIMIT read_max
    )
    (SELECT n.id, n.created_at, n.event, n.organization_id, n.key FROM newest n
     WHERE organization IS NULL OR n.organization_id = organization
     ORDER BY n.id DESC)
    UNION ALL
    SELECT NULL, min(n.created_at), NULL, NULL, NULL FROM newest n HAVING count(*) = read_max
$$;
COMMENT ON FUNCTION webhook_internal.recent_events_operator(text, integer) IS
    'Of the newest read_max events those of an organization (null: all), the newest first. If there are older ones, a '
    'last row without an event has the time of the oldest that was read.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.recent_events_operator(text, integer)');

-- SECURITY DEFINER, because a query by webhook_own_events reads all events to find those of a small organization.
CREATE FUNCTION webhook_internal.recent_events_tenant(read_max integer)
    RETURNS TABLE (id bigint, created_at timestamptz, event text, organization_id text, key text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT r.id, r.created_at, r.event, r.organization_id, r.key
    FROM webhook_internal.recent_events_operator((SELECT @extschema@.webhook_current_organization()),
                                                 least(read_max, 100000)) r
    WHERE (SELECT @extschema@.webhook_current_organization()) IS NOT NULL
$$;
COMMENT ON FUNCTION webhook_internal.recent_events_tenant(integer) IS
    'recent_events_operator() for the session''s organization, without the data of the events. Reads at most 100000.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.recent_events_tenant(integer)');

CREATE FUNCTION webhook_internal.recent_events(organization text, read_max integer)
    RETURNS TABLE (id bigint, created_at timestamptz, event text, organization_id text, key text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Not one expression: PostgreSQL would require the privilege on both functions.
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN QUERY SELECT r.* FROM webhook_internal.recent_events_operator(organization, read_max) r;
    ELSE
        RETURN QUERY SELECT r.* FROM webhook_internal.recent_events_tenant(read_max) r;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.recent_events(text, integer) IS
    'The newest events that the caller may see, as by recent_events_operator().';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.recent_events(text, integer)');

CREATE FUNCTION webhook_internal.check_patterns(field text, patterns text[]) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong record;
BEGIN
    IF cardinality(patterns) > 200 THEN
        PERFORM webhook_internal.raise_argument(field, 'invalid_parameter_value',
                                                field || ' can be at most 200 names and patterns');
    END IF;
    SELECT p.pattern, @extschema@.webhook_event_pattern_problem(p.pattern) AS problem INTO wrong
    FROM unnest(patterns) p (pattern)
    WHERE p.pattern IS NULL OR @extschema@.webhook_event_pattern_problem(p.pattern) IS NOT NULL LIMIT 1;
    IF FOUND THEN
        PERFORM webhook_internal.raise_argument(field, 'invalid_parameter_value',
            'invalid event "' || left(coalesce(wrong.pattern, 'null'), 100) || '": '
            || coalesce(wrong.problem, 'it is null'),
            'Give names such as contact.created, patterns such as contact.*, or * for all.');
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_patterns(text, text[]) IS
    'Raises an error (22023) unless the argument is at most 200 names and patterns of events. They need not be known.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_patterns(text, text[])');

CREATE FUNCTION webhook_internal.matches_any(patterns text[], event text) RETURNS boolean
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM unnest(patterns) p WHERE @extschema@.webhook_event_matches(p, event))
$$;
COMMENT ON FUNCTION webhook_internal.matches_any(text[], text) IS 'Whether one of the patterns matches the event.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.matches_any(text[], text)');

CREATE FUNCTION webhook_internal.read_filter(filter text) RETURNS jsonpath
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    state text; message text; detail text; hint text;
BEGIN
    IF octet_length(filter) > 1024 THEN
        PERFORM webhook_internal.raise_argument('filter', 'invalid_parameter_value',
                                                'the filter is longer than 1024 bytes');
    END IF;
    RETURN filter::jsonpath;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                            hint = PG_EXCEPTION_HINT;
    PERFORM webhook_internal.raise_argument('filter', state, message, hint);
END
$$;
COMMENT ON FUNCTION webhook_internal.read_filter(text) IS
    'A filter. Raises an error with {"field": "filter"} as DETAIL unless it is a jsonpath of at most 1024 bytes.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.read_filter(text)');

-- How many of some events a filter passes, and which it cannot judge. Each event has to be fetched and parsed. One query
-- fetches all, because beginning one costs more than finding an event.
CREATE FUNCTION webhook_internal.count_passing(ids bigint[], path jsonpath, OUT passing jsonb, OUT unjudged bigint)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    happened record;
    names text[] := '{}';
BEGIN
    unjudged := 0;
    FOR happened IN
        SELECT e.event, e.data FROM unnest(ids) i (id)
        LEFT JOIN LATERAL (SELECT o.event, o.data FROM @extschema@.webhook_own_events o WHERE o.id = i.id LIMIT 1) e ON true
    LOOP
        IF happened.data IS NULL OR @extschema@.webhook_filter_data_problem(happened.data::text) IS NOT NULL THEN
            unjudged := unjudged + 1;
            CONTINUE;
        END IF;
        BEGIN
            IF @extschema@.webhook_filter_matches(path, happened.data) THEN
                names := names || happened.event;
            END IF;
        EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
            unjudged := unjudged + 1;
        END;
    END LOOP;
    passing := (SELECT coalesce(jsonb_object_agg(n.name, n.count), '{}')
                FROM (SELECT u.name, count(*) FROM unnest(names) u (name) GROUP BY u.name) n);
END
$$;
COMMENT ON FUNCTION webhook_internal.count_passing(bigint[], jsonpath) IS
    'How many of the events a filter passes, by name of event, and how many it cannot judge.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.count_passing(bigint[], jsonpath)');

CREATE FUNCTION webhook_api.match_count(
    events text[] DEFAULT NULL, filter text DEFAULT NULL, organization text DEFAULT NULL) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off
AS $$
DECLARE
    scope text := webhook_internal.caller_scope(organization);
    day CONSTANT timestamptz := now() - interval '24 hours';
    sees_data boolean := has_column_privilege('@extschema@.webhook_own_events'::regclass, 'data', 'SELECT');
    path jsonpath;
    rows_max integer := 10000;
    recent record;
    by_event jsonb;
    unjudged bigint := 0;
BEGIN
    PERFORM webhook_internal.check_patterns('events', events);
    IF filter IS NOT NULL AND sees_data THEN
        path := webhook_internal.read_filter(filter);
        rows_max := 1000;
    END IF;
    WITH read AS MATERIALIZED (
        SELECT r.id, r.created_at, r.event FROM webhook_internal.recent_events(scope, 30000) r
    ), searched AS MATERIALIZED (
        SELECT r.id, r.created_at, r.event FROM read r
        WHERE r.id IS NOT NULL AND r.created_at >= day ORDER BY r.id DESC LIMIT rows_max
    ), named AS MATERIALIZED (  -- so that each name is compared once, and not with each event
        SELECT s.event, count(*) FROM searched s GROUP BY s.event
    ), selected AS MATERIALIZED (
        SELECT n.event, n.count FROM named n WHERE webhook_internal.matches_any(coalesce(events, '{*}'), n.event)
    )
    SELECT count(*) AS searched, count(*) = rows_max AS is_full, min(s.created_at) AS oldest,
           (SELECT r.created_at FROM read r WHERE r.id IS NULL AND r.created_at >= day) AS read_to,
           (SELECT coalesce(jsonb_object_agg(l.event, l.count), '{}') FROM selected l) AS by_event,
           CASE WHEN path IS NOT NULL
                THEN array_agg(s.id) FILTER (WHERE s.event IN (SELECT l.event FROM selected l)) END AS ids
    INTO recent FROM searched s;
    by_event := recent.by_event;
    IF path IS NOT NULL THEN
        SELECT p.passing, p.unjudged INTO by_event, unjudged FROM webhook_internal.count_passing(recent.ids, path) p;
    END IF;
    RETURN (jsonb_build_object(
        'since', CASE WHEN recent.is_full THEN recent.oldest ELSE coalesce(recent.read_to, day) END,
        'searched', recent.searched, 'is_complete', NOT recent.is_full AND recent.read_to IS NULL,
        'matched', (SELECT coalesce(sum(c.value::bigint), 0) FROM jsonb_each(by_event) c), 'by_event', by_event,
        'unjudged', unjudged)
        || CASE WHEN filter IS NOT NULL AND NOT sees_data THEN '{"filter_ignored": true}' ELSE '{}' END::jsonb)::json;
END
$$;
COMMENT ON FUNCTION webhook_api.match_count(text[], text, text) IS
    'How many of the newest events the patterns and the filter match: {"since", "searched", "is_complete", "matched", '
    '"by_event", "unjudged"}. Looks back 24 hours, and at 10000 events of the organization (1000 with a filter) among '
    'the newest 30000 of all at most. Roles that may not see data get "filter_ignored". Errors with {"field": ...}: '
    '22023, 42601.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.match_count(text[], text, text)');

CREATE FUNCTION webhook_api.try_filter(
    filter text, events text[] DEFAULT NULL, organization text DEFAULT NULL, page_size integer DEFAULT 20) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off
AS $$
DECLARE
    scope text := webhook_internal.caller_scope(organization);
    patterns text[] := coalesce(events, '{*}');
    path jsonpath := webhook_internal.read_filter(filter);
    recent record;
    payload json;
    reason text;
    tried json[] := '{}';
    matched integer := 0;
BEGIN
    PERFORM webhook_internal.check_page_size(page_size, 100);
    PERFORM webhook_internal.check_patterns('events', events);
    FOR recent IN
        WITH read AS MATERIALIZED (
            SELECT r.id, r.created_at, r.event, r.key FROM webhook_internal.recent_events(scope, 30000) r WHERE r.id IS NOT NULL
        ), named AS MATERIALIZED (
            SELECT DISTINCT r.event FROM read r
        ), selected AS MATERIALIZED (
            SELECT n.event FROM named n WHERE webhook_internal.matches_any(patterns, n.event)
        )
        SELECT r.* FROM read r WHERE r.event IN (SELECT s.event FROM selected s) ORDER BY r.id DESC LIMIT page_size
    LOOP
        SELECT e.data INTO payload FROM @extschema@.webhook_own_events e WHERE e.id = recent.id;
        reason := CASE WHEN payload IS NULL AND path IS NOT NULL
                       THEN 'its data was too large to be kept, and matches no filter'
                       ELSE @extschema@.webhook_filter_problem(path, payload) END;
        matched := matched + (reason IS NULL)::integer;
        tried := tried || json_build_object(
            'event_id', recent.id::text, 'event', recent.event, 'created_at', recent.created_at, 'key', recent.key,
            'matches', reason IS NULL, 'reason', reason, 'data', payload);
    END LOOP;
    RETURN json_build_object('tried', cardinality(tried), 'matched', matched, 'events', array_to_json(tried));
END
$$;
COMMENT ON FUNCTION webhook_api.try_filter(text, text[], text, integer) IS
    'Tries a filter on the newest events that the patterns select, among the newest 30000 of all: {"tried", "matched", '
    '"events": [{"event_id", "event", "created_at", "key", "matches", "reason", "data"}]}. Errors with {"field": ...}: '
    '22003, 22023, 42601.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.try_filter(text, text[], text, integer)');

-- Checks of what is written to webhook_configurations.

-- STABLE, because it depends on the settings webhook.allow_http and webhook.allowed_ports.
CREATE FUNCTION @extschema@.webhook_url_problem(url text) RETURNS text
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_url_problem';
COMMENT ON FUNCTION @extschema@.webhook_url_problem(text) IS
    'Why a webhook cannot have this URL, without repeating the URL; null if it can. Depends on webhook.allow_http and '
    'webhook.allowed_ports.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_url_problem(text)');

CREATE FUNCTION webhook_internal.url_form_problem(url text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_url_form_problem';
COMMENT ON FUNCTION webhook_internal.url_form_problem(text) IS
    'What is wrong with a URL under any settings; null if nothing is. Checks the webhooks of a dump.';

CREATE FUNCTION @extschema@.webhook_header_problem(name text, value text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_header_problem';
COMMENT ON FUNCTION @extschema@.webhook_header_problem(text, text) IS
    'Why the header cannot be sent (RFC 9110, section 5), without repeating its value; null if it can.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_header_problem(text, text)');

CREATE FUNCTION webhook_internal.check_range(parameter text, value integer, lowest integer, highest integer)
    RETURNS void
    LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF value NOT BETWEEN lowest AND highest THEN
        RAISE EXCEPTION '% is outside the valid range for % (% .. %)', value, parameter, lowest, highest
            USING ERRCODE = 'numeric_value_out_of_range', TABLE = 'webhook_configurations', COLUMN = parameter;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_range(text, integer, integer, integer) IS
    'Raises an error (22003) unless the value is in the range.';

CREATE FUNCTION webhook_internal.check_events(events text[]) RETURNS void
    LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    pattern text;
BEGIN
    IF cardinality(events) = 0 OR array_ndims(events) > 1 OR array_position(events, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'events must be a non-empty list of event names'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'events',
                  HINT = 'Give names such as contact.created, patterns such as contact.*, or * for all. '
                         'To switch a webhook off, set is_active = false.';
    END IF;
    IF cardinality(events) > 200 THEN
        RAISE EXCEPTION 'events can be at most 200 names and patterns'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'events',
                  DETAIL = format('The list has %s.', cardinality(events)),
                  HINT = 'A pattern such as contact.* stands for many names.';
    END IF;
    FOREACH pattern IN ARRAY events LOOP
        PERFORM webhook_internal.check_event_pattern(pattern);
    END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_events(text[]) IS
    'Raises an error (22023, 42704) unless a webhook can have these events.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_events(text[])');

CREATE FUNCTION webhook_internal.check_headers(headers jsonb) RETURNS void
    LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    header record;
    problem text;
    size record;
BEGIN
    IF jsonb_typeof(headers) <> 'object' THEN
        RAISE EXCEPTION 'headers must be a JSON object'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'headers',
                  HINT = 'An example: {"X-Api-Key": "..."}';
    END IF;
    SELECT count(*) AS headers, sum(octet_length(h.key) + octet_length(h.value)) AS bytes INTO size
    FROM jsonb_each_text(headers) h;
    IF size.headers > 32 THEN
        RAISE EXCEPTION 'a webhook can have at most 32 headers'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'headers',
                  DETAIL = format('There are %s.', size.headers);
    END IF;
    IF size.bytes > 8192 THEN
        RAISE EXCEPTION 'the headers of a webhook can have at most 8192 bytes, names and values together'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'headers',
                  DETAIL = format('They have %s.', size.bytes);
    END IF;
    -- Messages contain neither values nor malformed names, because both may hold a credential.
    FOR header IN
        SELECT h.key AS name, jsonb_typeof(h.value) = 'string' AS is_text, h.value #>> '{}' AS value,
               count(*) OVER (PARTITION BY lower(h.key)) AS times
        FROM jsonb_each(headers) h ORDER BY h.key
    LOOP
        problem := CASE WHEN NOT header.is_text THEN 'the value of a header must be a string'
                        WHEN header.times > 1 THEN 'a header is given twice, in different cases'
                        ELSE @extschema@.webhook_header_problem(header.name, header.value) END;
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION 'invalid header: %', problem
                USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'headers';
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_headers(jsonb) IS
    'Raises an error (22023) unless a webhook can have these headers.';

-- Checks the length in seconds, which the worker reads. Comparing intervals counts a year as 360 days, so that years
-- minus days could compare as one day and be centuries long.
CREATE FUNCTION webhook_internal.check_retry_schedule(retry_schedule interval[]) RETURNS void
    LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF cardinality(retry_schedule) NOT BETWEEN 1 AND 20 OR array_ndims(retry_schedule) > 1
       OR EXISTS (SELECT FROM unnest(retry_schedule) step CROSS JOIN LATERAL extract(epoch FROM step) seconds
                  WHERE step IS NULL OR seconds <= 0 OR seconds > 30 * 86400) THEN
        RAISE EXCEPTION 'retry_schedule must be a list of 1 to 20 positive intervals of at most 30 days each'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'retry_schedule',
                  HINT = 'An example: {5s,30s,5min}. Null means the setting webhook.retry_schedule.';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_retry_schedule(interval[]) IS
    'Raises an error (22023) unless a webhook can have this retry schedule.';

-- The worker evaluates the filter for every event, so its length is bounded. It has no variables to pass.
CREATE FUNCTION webhook_internal.check_filter(filter jsonpath) RETURNS void
    LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF octet_length(filter::text) > 1024 THEN
        RAISE EXCEPTION 'the filter is longer than 1024 bytes'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'filter',
                  DETAIL = format('It has %s.', octet_length(filter::text)),
                  HINT = 'Use a shorter filter, and let the receiver do the rest.';
    END IF;
    -- In normal form a variable is a dollar sign before a quoted name. The replacement empties quoted names and
    -- strings.
    IF position('$"' IN regexp_replace(filter::text, E'([$]?)"([^"\\\\]|\\\\.)*"', E'\\1"', 'g')) > 0 THEN
        RAISE EXCEPTION 'the filter uses a variable, but filters have none'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'filter',
                  HINT = '$ is the data of the event: $.amount > 5, or $ ? (@.amount > 5).';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_filter(jsonpath) IS
    'Raises an error (22023) unless a webhook can have this filter.';

CREATE FUNCTION webhook_internal.check_texts(name text, organization_id text, disabled_reason text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF btrim(name) = '' THEN
        RAISE EXCEPTION 'the name of a webhook must not be empty'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'name';
    END IF;
    IF length(name) > 200 THEN
        RAISE EXCEPTION 'the name of a webhook can have at most 200 characters'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'name',
                  DETAIL = format('It has %s.', length(name));
    END IF;
    IF octet_length(organization_id) > 1000 THEN
        -- Capture shortens longer ones.
        RAISE EXCEPTION 'the organization_id of a webhook can have at most 1000 bytes'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'organization_id',
                  DETAIL = format('It has %s.', octet_length(organization_id));
    END IF;
    IF length(disabled_reason) > 1000 THEN
        RAISE EXCEPTION 'the disabled_reason of a webhook can have at most 1000 characters'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'disabled_reason',
                  DETAIL = format('It has %s.', length(disabled_reason)), HINT = 'Shorten it.';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_texts(text, text, text) IS
    'Raises an error (22023) unless a webhook can have these texts.';

CREATE FUNCTION webhook_internal.check_limits(
    timeout_ms integer, max_in_flight integer, rate_limit_per_s double precision, ordering text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_range('timeout_ms', timeout_ms, 100, 60000);
    PERFORM webhook_internal.check_range('max_in_flight', max_in_flight, 1, 1000);
    IF rate_limit_per_s NOT BETWEEN 0.001 AND 100000 THEN
        RAISE EXCEPTION '% is outside the valid range for rate_limit_per_s (0.001 .. 100000)', rate_limit_per_s
            USING ERRCODE = 'numeric_value_out_of_range', TABLE = 'webhook_configurations',
                  COLUMN = 'rate_limit_per_s', HINT = 'Null means no limit.';
    END IF;
    IF ordering NOT IN ('relaxed', 'key', 'endpoint') THEN
        RAISE EXCEPTION 'invalid ordering "%"', left(ordering, 100)
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'ordering',
                  HINT = 'The ordering is ''relaxed'', ''key'' or ''endpoint''.';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_limits(integer, integer, double precision, text) IS
    'Raises an error (22003, 22023) unless a webhook can be delivered to in this way.';

-- Checks the URL, the events and the headers only when they change, so that a webhook stored under other settings
-- (webhook.allow_http) can still be switched off. The rows of a dump are accepted under any settings, because one
-- refused row would make all others fail. SECURITY DEFINER, so that a role that may write the table needs no rights on
-- the checks.
CREATE FUNCTION webhook_internal.configurations_check() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem text;
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.id, NEW.organization_id) IS DISTINCT FROM (OLD.id, OLD.organization_id) THEN
        -- Its deliveries and logs carry both.
        RAISE EXCEPTION 'neither the id nor the organization of a webhook can be changed'
            USING ERRCODE = 'feature_not_supported', HINT = 'Create a new webhook and delete this one.';
    END IF;
    -- Most rows pass the conditions without a call, which costs more than the rest of this function.
    IF btrim(NEW.name) = '' OR length(NEW.name) > 200 OR octet_length(NEW.organization_id) > 1000
       OR length(NEW.disabled_reason) > 1000 THEN
        PERFORM webhook_internal.check_texts(NEW.name, NEW.organization_id, NEW.disabled_reason);
    END IF;
    IF TG_OP = 'INSERT' OR NEW.url <> OLD.url THEN
        -- In a dump each row has one of these two times. Its URL is checked again when a request is made.
        problem := CASE WHEN TG_OP = 'INSERT' AND coalesce(NEW.active_since, NEW.disabled_at) IS NOT NULL
                        THEN webhook_internal.url_form_problem(NEW.url)
                        ELSE @extschema@.webhook_url_problem(NEW.url) END;
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION 'invalid URL: %', problem
                USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'url',
                      HINT = 'Give a URL such as https://example.com/hooks.';
        END IF;
    END IF;
    IF (TG_OP = 'INSERT' OR NEW.events <> OLD.events)
       AND (cardinality(NEW.events) NOT BETWEEN 1 AND 200 OR array_ndims(NEW.events) > 1
            OR EXISTS (SELECT FROM unnest(NEW.events) e (name)
                       WHERE e.name IS NULL
                          OR NOT EXISTS (SELECT FROM @extschema@.webhook_event_types t WHERE t.name = e.name))) THEN
        PERFORM webhook_internal.check_events(NEW.events);
    END IF;
    IF (TG_OP = 'INSERT' OR NEW.headers <> OLD.headers) AND NEW.headers <> '{}' THEN
        PERFORM webhook_internal.check_headers(NEW.headers);
    END IF;
    IF NEW.timeout_ms NOT BETWEEN 100 AND 60000 OR NEW.max_in_flight NOT BETWEEN 1 AND 1000
       OR NEW.rate_limit_per_s NOT BETWEEN 0.001 AND 100000 OR NEW.ordering NOT IN ('relaxed', 'key', 'endpoint') THEN
        PERFORM webhook_internal.check_limits(NEW.timeout_ms, NEW.max_in_flight, NEW.rate_limit_per_s, NEW.ordering);
    END IF;
    PERFORM webhook_internal.check_filter(NEW.filter);
    PERFORM webhook_internal.check_retry_schedule(NEW.retry_schedule);
    -- The worker does arithmetic with these times.
    IF least(NEW.active_since, NEW.disabled_at, NEW.created_at, NEW.updated_at) < '1970-01-01Z'
       OR greatest(NEW.active_since, NEW.disabled_at, NEW.created_at, NEW.updated_at) >= '10000-01-01Z' THEN
        RAISE EXCEPTION 'the times of a webhook must lie between the years 1970 and 9999'
            USING ERRCODE = 'datetime_field_overflow', TABLE = 'webhook_configurations';
    END IF;

    NEW.changed_xid := pg_current_xact_id();
    IF TG_OP = 'UPDATE' THEN
        NEW.created_at := OLD.created_at;
        NEW.updated_at := clock_timestamp();
    END IF;
    -- An INSERT may give these times, for the sake of restores. An UPDATE cannot change them. disabled_at outlives the
    -- reactivation: the webhook has missed the events between disabled_at and active_since.
    IF TG_OP = 'UPDATE' THEN
        NEW.active_since := OLD.active_since;
        NEW.disabled_at := OLD.disabled_at;
    END IF;
    IF NEW.is_active THEN
        NEW.disabled_reason := NULL;
        IF NEW.active_since IS NULL THEN
            NEW.active_since := clock_timestamp();
        END IF;
    ELSE
        NEW.active_since := NULL;
        IF NEW.disabled_at IS NULL OR TG_OP = 'UPDATE' AND OLD.is_active THEN
            NEW.disabled_at := clock_timestamp();
        END IF;
    END IF;
    NEW.switches := CASE WHEN TG_OP = 'INSERT' THEN ARRAY[webhook_internal.draw_switch()]
                         WHEN NEW.is_active <> OLD.is_active THEN webhook_internal.add_switch(OLD.switches, NEW.is_active)
                         ELSE OLD.switches END;
    NEW.last_switch := coalesce(NEW.switches[cardinality(NEW.switches)], 0);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_check() IS
    'Trigger function of webhook_configurations: checks the new values, and sets the times, changed_xid and the '
    'switches.';

CREATE TRIGGER webhook_configurations_1_check BEFORE INSERT OR UPDATE ON @extschema@.webhook_configurations
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.configurations_check();

CREATE FUNCTION webhook_internal.webhooks_max() RETURNS integer
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'webhook_limit';
COMMENT ON FUNCTION webhook_internal.webhooks_max() IS 'The setting webhook.max_webhooks_per_organization.';

-- For the owner only: until the transaction ends, nobody else can add a webhook to the organization.
CREATE FUNCTION webhook_internal.count_webhooks(organization_id text) RETURNS bigint
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'webhook_count_webhooks';
COMMENT ON FUNCTION webhook_internal.count_webhooks(text) IS
    'How many webhooks the organization has, including those that others have just committed. Until the transaction '
    'ends, others who count them wait.';

-- SECURITY DEFINER, in order to count and to lock. A caller may do so only for the session's organization.
CREATE FUNCTION webhook_internal.check_limit(organization text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF organization IS DISTINCT FROM @extschema@.webhook_current_organization() THEN
        RAISE EXCEPTION 'permission denied to create a webhook of another organization'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF webhook_internal.count_webhooks(organization) > webhook_internal.webhooks_max() THEN
        RAISE EXCEPTION 'organization "%" cannot have more than % webhooks', organization, webhook_internal.webhooks_max()
            USING ERRCODE = 'configuration_limit_exceeded',
                  HINT = 'Delete webhooks that are not needed, or have the administrator raise '
                         'webhook.max_webhooks_per_organization.';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_limit(text) IS
    'Raises an error (53400) if the session''s organization has more webhooks than '
    'webhook.max_webhooks_per_organization, and 42501 for another organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_limit(text)');

-- Operators are not limited. The check runs once per statement, on the inserted rows: the session's organization may
-- have changed since each row was checked.
CREATE FUNCTION webhook_internal.configurations_limit() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    organization text;
BEGIN
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN NULL;
    END IF;
    FOR organization IN SELECT DISTINCT i.organization_id FROM inserted i LOOP
        PERFORM webhook_internal.check_limit(organization);
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_limit() IS
    'Trigger function of webhook_configurations: enforces webhook.max_webhooks_per_organization.';

CREATE TRIGGER webhook_configurations_4_limit AFTER INSERT ON @extschema@.webhook_configurations
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.configurations_limit();

-- Filters: which events they let pass.

-- The limits are in src/core/json_bounds.h.
CREATE FUNCTION @extschema@.webhook_filter_data_problem(data text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_filter_data_problem';
COMMENT ON FUNCTION @extschema@.webhook_filter_data_problem(text) IS
    'Why no filter may see this data, which is given as text: the limit that it exceeds. Null if filters may see it.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_filter_data_problem(text)');

-- webhook_explain() calls this, and src/pg/store/filter_evaluation.cpp follows the same rule. Any result other than
-- false and null is a match, so that a predicate ($.amount > 5) and a filter expression ($ ? (@.amount > 5)) both work.
-- Errors are raised. The worker treats them as no match.
CREATE FUNCTION @extschema@.webhook_filter_matches(filter jsonpath, data json) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT filter IS NULL
           OR EXISTS (SELECT FROM jsonb_path_query(data::jsonb, filter) v WHERE v NOT IN ('false', 'null'))
$$;
COMMENT ON FUNCTION @extschema@.webhook_filter_matches(jsonpath, json) IS
    'Whether an event with this data passes the filter (webhook_configurations.filter). A null filter passes all. '
    'Raises the errors of jsonb_path_query().';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_filter_matches(jsonpath, json)');

CREATE FUNCTION @extschema@.webhook_filter_problem(filter jsonpath, data json) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem text := @extschema@.webhook_filter_data_problem(data::text);
BEGIN
    IF filter IS NOT NULL AND problem IS NOT NULL THEN
        RETURN format('filter: %s cannot be evaluated: the data is beyond what filters may see: %s', filter, problem);
    END IF;
    IF @extschema@.webhook_filter_matches(filter, data) THEN
        RETURN NULL;
    END IF;
    RETURN format('filter: %s does not match', filter);
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN format('filter: %s cannot be evaluated: %s', filter, SQLERRM);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_filter_problem(jsonpath, json) IS
    'Why an event with this data does not pass the filter, in words; null if it passes.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_filter_problem(jsonpath, json)');

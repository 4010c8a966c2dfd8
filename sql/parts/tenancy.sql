-- The organization of the session, and who is an operator.

-- Policies call it in a sub-select, so that it runs once per statement. Malformed claims are an error and do not count
-- as no claims.
CREATE FUNCTION @extschema@.webhook_current_organization() RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    by_setting text := nullif(current_setting('webhook.organization_id', true), '');
    claims jsonb := nullif(current_setting('request.jwt.claims', true), '');
    claim text := coalesce(nullif(current_setting('webhook.organization_claim', true), ''), 'organization_id');
    claimed jsonb;
    by_claim text;
BEGIN
    IF claims IS NULL OR claims = 'null' THEN
        RETURN by_setting;
    END IF;
    IF jsonb_typeof(claims) <> 'object' THEN
        RAISE EXCEPTION 'request.jwt.claims is not a JSON object'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- A claim may have dots in its own name (https://example.com/organization). Otherwise the dots separate the parts
    -- of a path.
    claimed := coalesce(claims -> claim, claims #> string_to_array(claim, '.'));
    IF jsonb_typeof(claimed) NOT IN ('string', 'number', 'null') THEN
        RAISE EXCEPTION 'claim "%" in request.jwt.claims is neither a string nor a number', claim
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'The setting webhook.organization_claim names the claim that holds the organization.';
    END IF;
    by_claim := nullif(claimed #>> '{}', '');
    IF by_claim <> by_setting THEN
        RETURN NULL;
    END IF;
    RETURN coalesce(by_claim, by_setting);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_current_organization() IS
    'The organization that the session acts for: the claim in request.jwt.claims that webhook.organization_claim '
    'names, or else the setting webhook.organization_id. Null if neither is set, or if both are set and differ. Raises '
    'an error (22023, 22P02) if the claims are malformed.';
-- The policies call it with the rights of the role that reads the table. It only reveals the organization of the
-- session itself.
INSERT INTO webhook_internal.privileges VALUES ('{public}',
    'EXECUTE ON FUNCTION @extschema@.webhook_current_organization()');

-- A role that may execute it is an operator. The policies only check the privilege.
CREATE FUNCTION @extschema@.webhook_is_operator() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'SELECT true';
COMMENT ON FUNCTION @extschema@.webhook_is_operator() IS
    'A marker: roles that may execute it see and manage all organizations. webhook_grant(role, ''operate'') grants it.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION @extschema@.webhook_is_operator()');

-- A function that changes tables that no role may write consists of three. The one to call checks the role. The one
-- with _tenant works for the webhooks of the session's organization. The one with _operator works for all webhooks, and
-- only operators may execute it. The last two are SECURITY DEFINER. _tenant checks the organization itself, for every
-- caller.

CREATE FUNCTION webhook_internal.check_tenant(webhook uuid) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_configurations c
                   WHERE c.id = webhook
                     AND c.organization_id = (SELECT @extschema@.webhook_current_organization())) THEN
        RAISE EXCEPTION 'webhook % does not exist, or belongs to another organization', webhook
            USING ERRCODE = 'undefined_object';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_tenant(uuid) IS
    'Raises an error (42704) unless the webhook belongs to the session''s organization.';

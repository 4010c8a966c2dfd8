-- Whose session it is, and who is an operator.

-- Runs once per statement: policies call it in a sub-select. Malformed claims are an error, never "no claims".
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
    -- A claim may have dots in its own name (https://example.com/organization); else they are a path.
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
    'The organization that the session acts for: the claim named by webhook.organization_claim in request.jwt.claims; '
    'if it has none, the setting webhook.organization_id; null if there is neither, or both and they differ. An error '
    'if the claims are malformed.';
-- The policies call it, as whoever reads a table that was granted to them: it tells the session's own organization.
INSERT INTO webhook_internal.privileges VALUES ('{public}',
    'EXECUTE ON FUNCTION @extschema@.webhook_current_organization()');

-- Whoever may execute it is an operator. The policies only ask whether one may.
CREATE FUNCTION @extschema@.webhook_is_operator() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'SELECT true';
COMMENT ON FUNCTION @extschema@.webhook_is_operator() IS
    'A marker: whoever may execute it sees and manages all organizations. Granted by webhook_grant(role, '
    '''operate'').';
INSERT INTO webhook_internal.privileges VALUES ('{operate}', 'EXECUTE ON FUNCTION @extschema@.webhook_is_operator()');

-- What changes tables that no role may write comes in threes: the function to call; _tenant, which does it for the webhooks
-- of the session's organization; _operator, which does it for all and is granted to operators alone. Both of these are
-- SECURITY DEFINER. That _tenant crosses no border does not depend on who calls it.

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
    'An error (42704) unless the webhook is of the session''s organization.';

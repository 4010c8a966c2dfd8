-- How a secret that is written to webhook_configurations gets into webhook_secrets, and who may see it.
--
-- Roles that may write webhook_configurations may not read webhook_secrets. So the functions that move a secret there
-- are SECURITY DEFINER. No role may call them or attach them to another table.
--
-- A BEFORE INSERT trigger does not know what happens to its row. ON CONFLICT may drop it or turn it into an UPDATE of
-- another row, and its id may be that of another organization's webhook. So the trigger only stages the secret, with
-- expires_at = -infinity: no request is signed with it. The AFTER INSERT trigger, or the BEFORE UPDATE trigger of the
-- updated row, adopts the staged secret. The end of the statement deletes the staged secrets that no row adopted.
--
-- The functions use generic plans, so that plans contain no secrets, even in the log of a server with debug_print_plan.

CREATE FUNCTION webhook_internal.configurations_stage_secret() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    plain text := NEW.secret;
BEGIN
    -- No mask is longer than whsec_...1234. A mask stays as it is: the row may be an upsert of a row that was read.
    IF length(plain) <= 13 AND webhook_internal.is_mask(plain) THEN
        RETURN NEW;
    END IF;
    -- Secrets of webhook_generate_secret() are valid, and matching them here costs less than the call.
    IF plain !~ '^whsec_([A-Za-z0-9+/]{4}){4,100}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$' THEN
        PERFORM webhook_internal.check_secret(plain);
    END IF;
    NEW.secret := webhook_internal.mask(plain);
    -- A null id fails anyway. An error of webhook_secrets would show the row in its message.
    IF NEW.id IS NOT NULL THEN
        INSERT INTO @extschema@.webhook_secrets (configuration_id, key_id, secret, expires_at)
        SELECT NEW.id, n.key_id, n.sealed, '-infinity' FROM webhook_internal.seal_secret(NEW.id, plain) n;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_stage_secret() IS
    'Trigger function of webhook_configurations: stages the secret of a row to be inserted and puts its mask in its '
    'place.';

CREATE TRIGGER webhook_configurations_2_stage_secret BEFORE INSERT ON @extschema@.webhook_configurations
    FOR EACH ROW WHEN (NEW.secret IS NOT NULL)
    EXECUTE FUNCTION webhook_internal.configurations_stage_secret();

CREATE FUNCTION webhook_internal.configurations_adopt_secrets() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    adopted tid[];
BEGIN
    -- The first one per webhook and mask: with ON CONFLICT DO NOTHING, the first row of a key is the one that is
    -- inserted.
    adopted := ARRAY(
        SELECT DISTINCT ON (i.id) s.ctid
        FROM inserted i
        JOIN @extschema@.webhook_secrets s ON s.configuration_id = i.id
        CROSS JOIN LATERAL webhook_internal.open_secret(s.configuration_id, s.key_id, s.secret) o (secret)
        WHERE s.created_xid = pg_current_xact_id_if_assigned() AND s.expires_at = '-infinity'
          AND webhook_internal.mask(o.secret) = i.secret
        ORDER BY i.id, s.created_at, s.ctid);
    -- A row with a mask but no secret. Only in a restore does the secret follow, with webhook_secrets. The scripts of
    -- pg_dump and pg_restore turn check_function_bodies off.
    IF cardinality(adopted) < (SELECT count(*) FROM inserted i WHERE i.secret IS NOT NULL)
       AND current_setting('check_function_bodies')::boolean THEN
        RAISE EXCEPTION 'the secret is the mask of a secret'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'secret',
                  DETAIL = 'Reading webhook_configurations shows only masks, so a copy of a row has no secret.',
                  HINT = '@extschema@.webhook_reveal_secret(id) shows the secret itself; '
                         '@extschema@.webhook_generate_secret() makes a new one.';
    END IF;
    IF adopted = '{}' THEN
        RETURN NULL;
    END IF;
    DELETE FROM @extschema@.webhook_secrets d
    WHERE d.expires_at IS DISTINCT FROM '-infinity'
      AND d.configuration_id IN (SELECT s.configuration_id FROM @extschema@.webhook_secrets s
                                 WHERE s.ctid = ANY (adopted));
    UPDATE @extschema@.webhook_secrets s SET expires_at = NULL WHERE s.ctid = ANY (adopted);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_adopt_secrets() IS
    'Trigger function of webhook_configurations: makes the staged secrets of inserted rows valid.';

CREATE TRIGGER webhook_configurations_3_adopt_secrets AFTER INSERT ON @extschema@.webhook_configurations
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.configurations_adopt_secrets();

CREATE FUNCTION webhook_internal.configurations_change_secret() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    plain text := NEW.secret;
BEGIN
    IF webhook_internal.is_mask(plain) THEN
        -- INSERT ... ON CONFLICT DO UPDATE SET secret = EXCLUDED.secret: the last staged secret is this row's.
        DELETE FROM @extschema@.webhook_secrets d
        WHERE d.ctid = (SELECT s.ctid
                        FROM @extschema@.webhook_secrets s
                        CROSS JOIN LATERAL webhook_internal.open_secret(s.configuration_id, s.key_id, s.secret)
                                           o (secret)
                        WHERE s.created_xid = pg_current_xact_id_if_assigned() AND s.expires_at = '-infinity'
                          AND webhook_internal.mask(o.secret) = NEW.secret
                        ORDER BY s.created_at DESC, s.ctid DESC LIMIT 1)
        RETURNING webhook_internal.open_secret(d.configuration_id, d.key_id, d.secret) INTO plain;
        IF NOT FOUND AND NEW.secret IS NOT DISTINCT FROM OLD.secret THEN
            RETURN NEW;
        END IF;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the secret is the mask of another secret'
                USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'secret',
                      HINT = '@extschema@.webhook_reveal_secret(id) shows the secret itself.';
        END IF;
    END IF;
    PERFORM webhook_internal.check_secret(plain);
    PERFORM webhook_internal.replace_secret(NEW.id, plain);
    NEW.secret := webhook_internal.mask(plain);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_change_secret() IS
    'Trigger function of webhook_configurations: replaces the secret of an updated row, unless the row has the mask of '
    'the current one.';

CREATE TRIGGER webhook_configurations_2_change_secret BEFORE UPDATE ON @extschema@.webhook_configurations
    FOR EACH ROW WHEN (NEW.secret IS NOT NULL OR OLD.secret IS NOT NULL)
    EXECUTE FUNCTION webhook_internal.configurations_change_secret();

-- SECURITY DEFINER, for webhook_secrets and wake().
CREATE FUNCTION webhook_internal.configurations_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- INSERT ... ON CONFLICT DO UPDATE fires the trigger for UPDATE first, before the inserted rows have adopted their
    -- secrets.
    IF TG_OP = 'INSERT' THEN
        DELETE FROM @extschema@.webhook_secrets s
        WHERE s.created_xid = pg_current_xact_id_if_assigned() AND s.expires_at = '-infinity';
    END IF;
    PERFORM webhook_internal.wake();
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_changed() IS
    'Trigger function of webhook_configurations: deletes staged secrets that no row adopted, and wakes the worker.';

CREATE TRIGGER webhook_configurations_5_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
    ON @extschema@.webhook_configurations
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.configurations_changed();

-- tenancy.sql explains _tenant and _operator.
CREATE FUNCTION webhook_internal.reveal_secret_operator(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.open_secret(s.configuration_id, s.key_id, s.secret) FROM @extschema@.webhook_secrets s
    WHERE s.configuration_id = webhook AND s.expires_at IS NULL
$$;
COMMENT ON FUNCTION webhook_internal.reveal_secret_operator(uuid) IS
    'webhook_reveal_secret() for operators: webhooks of any organization.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.reveal_secret_operator(uuid)');

CREATE FUNCTION webhook_internal.reveal_secret_tenant(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.reveal_secret_operator(c.id) FROM @extschema@.webhook_configurations c
    WHERE c.id = webhook AND c.organization_id = (SELECT @extschema@.webhook_current_organization())
$$;
COMMENT ON FUNCTION webhook_internal.reveal_secret_tenant(uuid) IS
    'webhook_reveal_secret() for webhooks of the session''s organization; null for others.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.reveal_secret_tenant(uuid)');

CREATE FUNCTION @extschema@.webhook_reveal_secret(configuration_id uuid) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM @extschema@.webhook_configurations c
                   WHERE c.id = webhook_reveal_secret.configuration_id) THEN
        RAISE EXCEPTION 'webhook % does not exist, or belongs to another organization', configuration_id
            USING ERRCODE = 'undefined_object';
    END IF;
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN webhook_internal.reveal_secret_operator(configuration_id);
    END IF;
    RETURN webhook_internal.reveal_secret_tenant(configuration_id);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_reveal_secret(uuid) IS
    'The secret of a webhook; null if it has none. Errors: 42704 if the webhook does not exist or belongs to another '
    'organization, 55000 if the secret cannot be decrypted.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_reveal_secret(uuid)');

-- The trigger of the UPDATE deletes the old secrets. The newest that have not expired are put back, at most kept_max:
-- each one adds a signature to the webhook-signature header.
CREATE FUNCTION webhook_internal.rotate_secret_operator(webhook uuid, overlap interval) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    kept_max CONSTANT integer := 3;
    fresh text := @extschema@.webhook_generate_secret();
    expiry timestamptz := clock_timestamp() + overlap;
    kept @extschema@.webhook_secrets[];
BEGIN
    PERFORM FROM @extschema@.webhook_configurations c WHERE c.id = webhook FOR UPDATE;
    kept := ARRAY(SELECT s FROM @extschema@.webhook_secrets s
                  WHERE s.configuration_id = webhook AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp())
                  ORDER BY s.created_at DESC LIMIT kept_max);
    UPDATE @extschema@.webhook_configurations c SET secret = fresh WHERE c.id = webhook;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'webhook % does not exist', webhook USING ERRCODE = 'undefined_object';
    END IF;
    INSERT INTO @extschema@.webhook_secrets (configuration_id, key_id, secret, created_at, expires_at)
    SELECT webhook, k.key_id, k.secret, k.created_at, least(k.expires_at, expiry) FROM unnest(kept) k
    WHERE expiry > clock_timestamp();
    RETURN fresh;
END
$$;
COMMENT ON FUNCTION webhook_internal.rotate_secret_operator(uuid, interval) IS
    'webhook_rotate_secret() for operators.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.rotate_secret_operator(uuid, interval)');

CREATE FUNCTION webhook_internal.rotate_secret_tenant(webhook uuid, overlap interval) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM webhook_internal.check_tenant(webhook);
    RETURN webhook_internal.rotate_secret_operator(webhook, overlap);
END
$$;
COMMENT ON FUNCTION webhook_internal.rotate_secret_tenant(uuid, interval) IS
    'webhook_rotate_secret() for the session''s organization.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.rotate_secret_tenant(uuid, interval)');

CREATE FUNCTION @extschema@.webhook_rotate_secret(configuration_id uuid, overlap interval DEFAULT '24 hours')
    RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF overlap IS NULL OR overlap NOT BETWEEN interval '0' AND interval '1 year' THEN
        RAISE EXCEPTION 'invalid overlap %', coalesce(overlap::text, 'null')
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'The overlap is at least 0 and at most 1 year.',
                  HINT = 'Give the time that receivers need to learn the new secret. Until then both secrets sign.';
    END IF;
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN webhook_internal.rotate_secret_operator(configuration_id, overlap);
    END IF;
    RETURN webhook_internal.rotate_secret_tenant(configuration_id, overlap);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_rotate_secret(uuid, interval) IS
    'Gives the webhook a new secret and returns it. During the overlap (0 to 1 year) webhook-signature has a signature '
    'with each secret: the new one and at most the 3 newest old ones. X-Webhook-Signature uses the new secret at once. '
    'Errors: 22023 if the overlap is out of range, 42704 if there is no such webhook.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_rotate_secret(uuid, interval)');

-- How a secret that is written into webhook_configurations gets into webhook_secrets, and who may see it.
--
-- Whoever may write webhook_configurations may not read webhook_secrets: the functions that move a secret there are
-- SECURITY DEFINER. None of them may be called, or attached to another table, by anybody.
--
-- A BEFORE INSERT trigger does not know what becomes of its row: ON CONFLICT may drop it, or turn it into an UPDATE of
-- another one, and the id it proposes may be that of somebody else's webhook. So it only stages the secret, as one that
-- expired at -infinity, which nobody signs with; the AFTER INSERT or the row's BEFORE UPDATE trigger takes it from there,
-- and what nobody took is removed at the end of the statement.
--
-- They are planned without a look at the values of their variables, so that not even a server that logs its plans
-- (debug_print_plan) logs a secret.

CREATE FUNCTION webhook_internal.configurations_stage_secret() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    plain text := NEW.secret;
BEGIN
    -- No mask is longer than whsec_...1234. What becomes of the row decides: it may be an upsert of what was read.
    IF length(plain) <= 13 AND webhook_internal.is_mask(plain) THEN
        RETURN NEW;
    END IF;
    -- What webhook_generate_secret() makes is right: a call costs more.
    IF plain !~ '^whsec_([A-Za-z0-9+/]{4}){4,100}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$' THEN
        PERFORM webhook_internal.check_secret(plain);
    END IF;
    NEW.secret := webhook_internal.mask(plain);
    -- A null id fails at once, and the message for it must not come from webhook_secrets, whose row it would show.
    IF NEW.id IS NOT NULL THEN
        INSERT INTO @extschema@.webhook_secrets (configuration_id, key_id, secret, expires_at)
        SELECT NEW.id, n.key_id, n.sealed, '-infinity' FROM webhook_internal.seal_secret(NEW.id, plain) n;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_stage_secret() IS
    'Trigger function of webhook_configurations: takes the secret out of a row to be inserted and leaves its mask.';

CREATE TRIGGER webhook_configurations_2_stage_secret BEFORE INSERT ON @extschema@.webhook_configurations
    FOR EACH ROW WHEN (NEW.secret IS NOT NULL)
    EXECUTE FUNCTION webhook_internal.configurations_stage_secret();

CREATE FUNCTION webhook_internal.configurations_adopt_secrets() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    adopted tid[];
BEGIN
    -- The first of a kind: with ON CONFLICT DO NOTHING, the first row of a key is the one that is inserted.
    adopted := ARRAY(
        SELECT DISTINCT ON (i.id) s.ctid
        FROM inserted i
        JOIN @extschema@.webhook_secrets s ON s.configuration_id = i.id
        CROSS JOIN LATERAL webhook_internal.open_secret(s.configuration_id, s.key_id, s.secret) o (secret)
        WHERE s.created_xid = pg_current_xact_id_if_assigned() AND s.expires_at = '-infinity'
          AND webhook_internal.mask(o.secret) = i.secret
        ORDER BY i.id, s.created_at, s.ctid);
    -- A mask. Only in a restore does its secret follow, with webhook_secrets: what pg_dump and pg_restore write sets this.
    IF cardinality(adopted) < (SELECT count(*) FROM inserted i WHERE i.secret IS NOT NULL)
       AND current_setting('check_function_bodies')::boolean THEN
        RAISE EXCEPTION 'the secret is the mask of a secret'
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'secret',
                  DETAIL = 'A copy of a row of webhook_configurations has no secret: reading shows the mask alone.',
                  HINT = 'The secret itself is shown by @extschema@.webhook_reveal_secret(id); '
                         '@extschema@.webhook_generate_secret() makes another one.';
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
    'Trigger function of webhook_configurations: puts the staged secrets of inserted rows into force.';

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
        -- INSERT ... ON CONFLICT DO UPDATE SET secret = EXCLUDED.secret: the last one staged is this row's.
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
            RAISE EXCEPTION 'the secret is the mask of another one'
                USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'secret',
                      HINT = 'The secret itself is shown by @extschema@.webhook_reveal_secret(id).';
        END IF;
    END IF;
    PERFORM webhook_internal.check_secret(plain);
    PERFORM webhook_internal.replace_secret(NEW.id, plain);
    NEW.secret := webhook_internal.mask(plain);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_change_secret() IS
    'Trigger function of webhook_configurations: replaces the secret of an updated row, unless it is written back as '
    'its mask.';

CREATE TRIGGER webhook_configurations_2_change_secret BEFORE UPDATE ON @extschema@.webhook_configurations
    FOR EACH ROW WHEN (NEW.secret IS NOT NULL OR OLD.secret IS NOT NULL)
    EXECUTE FUNCTION webhook_internal.configurations_change_secret();

-- SECURITY DEFINER for webhook_secrets, and for wake().
CREATE FUNCTION webhook_internal.configurations_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- INSERT ... ON CONFLICT DO UPDATE fires for its updates first, before what it has inserted has taken what is staged.
    IF TG_OP = 'INSERT' THEN
        DELETE FROM @extschema@.webhook_secrets s
        WHERE s.created_xid = pg_current_xact_id_if_assigned() AND s.expires_at = '-infinity';
    END IF;
    PERFORM webhook_internal.wake();
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.configurations_changed() IS
    'Trigger function of webhook_configurations: removes staged secrets that no row took, and wakes the worker.';

CREATE TRIGGER webhook_configurations_5_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
    ON @extschema@.webhook_configurations
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.configurations_changed();

-- See tenancy.sql about _tenant and _operator.
CREATE FUNCTION webhook_internal.reveal_secret_operator(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.open_secret(s.configuration_id, s.key_id, s.secret) FROM @extschema@.webhook_secrets s
    WHERE s.configuration_id = webhook AND s.expires_at IS NULL
$$;
COMMENT ON FUNCTION webhook_internal.reveal_secret_operator(uuid) IS
    'webhook_reveal_secret() for operators: a webhook of any organization.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.reveal_secret_operator(uuid)');

CREATE FUNCTION webhook_internal.reveal_secret_tenant(webhook uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT webhook_internal.reveal_secret_operator(c.id) FROM @extschema@.webhook_configurations c
    WHERE c.id = webhook AND c.organization_id = (SELECT @extschema@.webhook_current_organization())
$$;
COMMENT ON FUNCTION webhook_internal.reveal_secret_tenant(uuid) IS
    'webhook_reveal_secret() for a webhook of the session''s organization; null for any other.';
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
    'The secret of a webhook of the caller''s organization; null if it has none. 42704 if there is no such webhook; '
    '55000 if it cannot be decrypted.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_reveal_secret(uuid)');

-- The trigger of the UPDATE drops the old secrets. Back come the newest of them that have not expired: no more, or the
-- header with their signatures would grow.
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
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'It is at least 0 and at most 1 year.',
                  HINT = 'It is how long the old secret signs beside the new one: the time that receivers need to '
                         'learn the new one.';
    END IF;
    IF has_function_privilege('@extschema@.webhook_is_operator()'::regprocedure, 'EXECUTE') THEN
        RETURN webhook_internal.rotate_secret_operator(configuration_id, overlap);
    END IF;
    RETURN webhook_internal.rotate_secret_tenant(configuration_id, overlap);
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_rotate_secret(uuid, interval) IS
    'Gives the webhook a new secret and returns it. For the overlap (at most 1 year) the old one signs beside it in '
    'webhook-signature; X-Webhook-Signature is by the new one at once. Of several older ones the newest 3 go on.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_rotate_secret(uuid, interval)');

-- The secrets that requests are signed with: storage, encryption, masks and checks.

CREATE TABLE @extschema@.webhook_secrets (
    configuration_id uuid NOT NULL,
    key_id           text,
    secret           text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    expires_at       timestamptz,
    created_xid      xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    id               uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid()
);
COMMENT ON TABLE @extschema@.webhook_secrets IS
    'The secrets that requests are signed with. No application role may access it: triggers of webhook_configurations '
    'write it, the worker and webhook_reveal_secret() read it.';
COMMENT ON COLUMN @extschema@.webhook_secrets.configuration_id IS 'The webhook (webhook_configurations.id).';
COMMENT ON COLUMN @extschema@.webhook_secrets.key_id IS
    'The key of webhook.secret_key_file that the secret is encrypted with. Null: it is stored in clear text.';
COMMENT ON COLUMN @extschema@.webhook_secrets.secret IS
    'The secret, encrypted if it has a key_id. The base64 after whsec_ is the key (Standard Webhooks); any other text is '
    'the key itself.';
COMMENT ON COLUMN @extschema@.webhook_secrets.created_at IS
    'When the secret was stored. X-Webhook-Signature uses the newest one.';
COMMENT ON COLUMN @extschema@.webhook_secrets.expires_at IS
    'Until when an old secret signs along with newer ones. Null: the newest secret, which does not expire. -infinity: '
    'staged by an INSERT that has not finished.';
COMMENT ON COLUMN @extschema@.webhook_secrets.created_xid IS 'The top-level transaction that last wrote the row.';
COMMENT ON COLUMN @extschema@.webhook_secrets.id IS
    'By which logical replication finds the row on a node, where created_xid is another one.';

CREATE INDEX webhook_secrets_configuration_id_idx ON @extschema@.webhook_secrets (configuration_id);
COMMENT ON INDEX @extschema@.webhook_secrets_configuration_id_idx IS 'Finds the secrets of a webhook.';
CREATE UNIQUE INDEX webhook_secrets_newest_idx ON @extschema@.webhook_secrets (configuration_id)
    WHERE expires_at IS NULL;
COMMENT ON INDEX @extschema@.webhook_secrets_newest_idx IS 'Allows each webhook one secret that does not expire.';
CREATE INDEX webhook_secrets_created_xid_idx ON @extschema@.webhook_secrets (created_xid, configuration_id);
COMMENT ON INDEX @extschema@.webhook_secrets_created_xid_idx IS
    'Finds the secrets that the current transaction has staged.';

SELECT pg_extension_config_dump('@extschema@.webhook_secrets', '');

CREATE FUNCTION @extschema@.webhook_generate_secret() RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_generate_secret';
COMMENT ON FUNCTION @extschema@.webhook_generate_secret() IS
    'A new secret: whsec_ and 24 random bytes in base64 (Standard Webhooks).';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_generate_secret()');

-- Encryption at rest, by the setting webhook.secret_key_file: see src/core/secret_box.h. For the owner only: a role
-- with a dump that may call these functions needs no key.
CREATE FUNCTION webhook_internal.secret_key_id() RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_secret_key_id';
COMMENT ON FUNCTION webhook_internal.secret_key_id() IS
    'The id of the key that secrets are encrypted with: the first in webhook.secret_key_file. Null if that is not set. '
    'Raises F0000 if the file cannot be used.';

CREATE FUNCTION webhook_internal.seal_secret(configuration_id uuid, secret text, OUT key_id text, OUT sealed text)
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'webhook_seal_secret';
COMMENT ON FUNCTION webhook_internal.seal_secret(uuid, text) IS
    'key_id and secret for the row of webhook_secrets with this secret of the webhook. Raises F0000 if '
    'webhook.secret_key_file cannot be used.';

CREATE FUNCTION webhook_internal.open_secret(configuration_id uuid, key_id text, sealed text) RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_open_secret';
COMMENT ON FUNCTION webhook_internal.open_secret(uuid, text, text) IS
    'The clear text of the secret in a row of webhook_secrets. Raises 55000 if it cannot be decrypted.';

CREATE FUNCTION webhook_internal.secret_problem(configuration_id uuid, key_id text, sealed text) RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_secret_problem';
COMMENT ON FUNCTION webhook_internal.secret_problem(uuid, text, text) IS
    'Why the secret in a row of webhook_secrets cannot be decrypted; null if it can.';

CREATE FUNCTION webhook_internal.is_secret(configuration_id uuid, key_id text, sealed text, secret text)
    RETURNS boolean
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'webhook_is_secret';
COMMENT ON FUNCTION webhook_internal.is_secret(uuid, text, text, text) IS
    'Whether a row of webhook_secrets holds this secret, the last argument. False if the row cannot be decrypted.';

-- The prefix whsec_, if the secret has it, an ellipsis, and the last four characters. The mask of a mask is that mask.
CREATE FUNCTION webhook_internal.mask(secret text) RETURNS text
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_mask_secret';
COMMENT ON FUNCTION webhook_internal.mask(text) IS 'The mask that is shown instead of a secret.';

-- Recognizes masks of this database and of databases with another encoding.
CREATE FUNCTION webhook_internal.is_mask(secret text) RETURNS boolean
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT secret = webhook_internal.mask(secret) OR secret ~ '^(whsec_)?[.]{3}.{4}$'
$$;
COMMENT ON FUNCTION webhook_internal.is_mask(text) IS 'Whether the text is the mask of a secret.';

-- Refuses secrets that were pasted badly, because the receiver would have another one.
CREATE FUNCTION webhook_internal.check_secret(secret text) RETURNS void
    LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bytes text := encode(convert_to(secret, getdatabaseencoding()), 'hex');
    blanks text := chr(9) || chr(10) || chr(11) || chr(12) || chr(13) || ' ';
    problem text;
    explanation text := '';
    hint text := 'Use @extschema@.webhook_generate_secret(), or null for no signature.';
BEGIN
    IF getdatabaseencoding() = 'UTF8' THEN
        -- Unicode's White_Space, and what has no width.
        SELECT blanks || string_agg(chr(c), '') INTO blanks
        FROM unnest(ARRAY[133, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198, 8199, 8200, 8201, 8202, 8203, 8204,
                          8205, 8206, 8207, 8232, 8233, 8239, 8287, 8288, 12288]) c;
    END IF;
    IF bytes ~ '^(..)*efbbbf' OR starts_with(bytes, 'c3afc2bbc2bf') THEN  -- as it is, and as Latin-1 taken for UTF-8
        problem := 'the secret contains a byte order mark';
        hint := 'Remove it: a text editor put it at the beginning of its file.';
    ELSIF right(secret, 1) IN (chr(10), chr(13)) THEN
        problem := 'the secret ends with a line end';
        hint := 'Remove it.';
    ELSIF btrim(secret, blanks) <> secret THEN
        problem := CASE WHEN ltrim(secret, blanks) <> secret THEN 'the secret begins with a blank'
                        ELSE 'the secret ends with a blank' END;
        explanation := 'Blanks of Unicode and characters without a width count too.';
        hint := 'Remove it.';
    ELSIF bytes ~ '^(..)*([01].|7f)' THEN
        problem := 'the secret contains a line end or another control character';
        hint := 'Remove it.';
    ELSIF lower(secret) ~ 'whsec_' AND NOT starts_with(secret, 'whsec_') THEN
        problem := CASE WHEN lower(secret) ~ '^whsec_' THEN 'the secret''s prefix whsec_ is not in lower case'
                        ELSE 'the secret has something before whsec_' END;
        explanation := 'Receivers recognize a secret in base64 by its prefix whsec_ (Standard Webhooks).';
        hint := 'Begin with whsec_, without quotes, names and versions before it.';
    ELSIF lower(secret) ~ '^wh[sp]k_' THEN
        problem := 'the secret is an asymmetric key';
        explanation := 'Requests are signed with HMAC-SHA256, which needs the same secret on both sides.';
    ELSIF length(secret) < 12 THEN
        problem := 'the secret is shorter than 12 characters';
    ELSIF octet_length(secret) > 512 THEN
        problem := 'the secret is longer than 512 bytes';
    ELSIF starts_with(secret, 'whsec_')
          AND ((length(secret) - 6) % 4 <> 0 OR secret !~ '^whsec_[A-Za-z0-9+/]+={0,2}$') THEN
        problem := 'the secret begins with whsec_, but the rest is not base64';
        explanation := 'Receivers decode the rest to get the key (Standard Webhooks).';
        hint := 'Use @extschema@.webhook_generate_secret(), or a text without that prefix.';
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem
            USING ERRCODE = 'invalid_parameter_value', TABLE = 'webhook_configurations', COLUMN = 'secret',
                  DETAIL = explanation, HINT = hint;
    END IF;
    IF bytes ~ '^(..)*[89a-f]' THEN
        RAISE WARNING 'the secret has characters beyond ASCII'
            USING DETAIL = 'The key is its UTF-8 encoding. Standard Webhooks libraries that get it as text compute '
                           'another key and refuse the signatures.',
                  HINT = 'Use @extschema@.webhook_generate_secret().';
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_secret(text) IS
    'Raises an error (22023) unless the text can be a secret, and a WARNING if it is not ASCII. Messages do not repeat '
    'it.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.check_secret(text)');

CREATE FUNCTION webhook_internal.replace_secret(webhook uuid, plain text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    IF EXISTS (SELECT FROM @extschema@.webhook_secrets s
               WHERE s.configuration_id = webhook AND s.expires_at IS NULL
                 AND webhook_internal.is_secret(s.configuration_id, s.key_id, s.secret, plain)) THEN
        RETURN;
    END IF;
    DELETE FROM @extschema@.webhook_secrets s WHERE s.configuration_id = webhook;
    IF plain IS NOT NULL THEN
        INSERT INTO @extschema@.webhook_secrets (configuration_id, key_id, secret)
        SELECT webhook, n.key_id, n.sealed FROM webhook_internal.seal_secret(webhook, plain) n;
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.replace_secret(uuid, text) IS
    'Makes the text the webhook''s only secret. Null: the webhook has none.';

-- The worker finds a written secret by its created_xid, and a dump brings that of another cluster. It finds a deleted
-- secret in webhook_changes. Only the owner can delete a secret and keep its webhook.
CREATE FUNCTION webhook_internal.secrets_stamp() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.created_xid := pg_current_xact_id();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.secrets_stamp() IS
    'Trigger function of webhook_secrets: sets created_xid to the transaction that writes the row.';

CREATE TRIGGER webhook_stamp BEFORE INSERT OR UPDATE ON @extschema@.webhook_secrets
    FOR EACH ROW WHEN (NEW.created_xid IS DISTINCT FROM pg_current_xact_id())
    EXECUTE FUNCTION webhook_internal.secrets_stamp();
-- Also fires in pg_restore --data-only --disable-triggers, and in a session that has set session_replication_role.
ALTER TABLE @extschema@.webhook_secrets ENABLE ALWAYS TRIGGER webhook_stamp;

CREATE FUNCTION webhook_internal.secrets_forget() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO @extschema@.webhook_changes (configuration_id, configuration_created_at, organization_id, is_deleted)
    SELECT c.id, c.created_at, c.organization_id, false FROM @extschema@.webhook_configurations c
    WHERE c.id = OLD.configuration_id
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.secrets_forget() IS
    'Trigger function of webhook_secrets: tells the worker that a secret was deleted.';

CREATE TRIGGER webhook_forget AFTER DELETE ON @extschema@.webhook_secrets
    FOR EACH ROW WHEN (OLD.expires_at IS DISTINCT FROM '-infinity')
    EXECUTE FUNCTION webhook_internal.secrets_forget();
ALTER TABLE @extschema@.webhook_secrets ENABLE ALWAYS TRIGGER webhook_forget;

-- The worker caches secrets.
CREATE TRIGGER webhook_invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON @extschema@.webhook_secrets
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.invalidate_subscriptions();
ALTER TABLE @extschema@.webhook_secrets ENABLE ALWAYS TRIGGER webhook_invalidate;
CREATE TRIGGER webhook_invalidate_replicated AFTER INSERT OR UPDATE OR DELETE ON @extschema@.webhook_secrets
    FOR EACH ROW EXECUTE FUNCTION webhook_internal.invalidate_subscriptions();
ALTER TABLE @extschema@.webhook_secrets ENABLE REPLICA TRIGGER webhook_invalidate_replicated;

-- SKIP LOCKED: a session with a lock on the row is changing the secret, or is a worker that encrypts it. Secrets that
-- cannot be decrypted stay as they are.
CREATE FUNCTION @extschema@.webhook_reencrypt_secrets() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    current_key_id text := webhook_internal.secret_key_id();
    outdated tid[];
    total bigint := 0;
BEGIN
    outdated := ARRAY(
        SELECT s.ctid FROM @extschema@.webhook_secrets s
        WHERE s.key_id IS DISTINCT FROM current_key_id
          AND webhook_internal.secret_problem(s.configuration_id, s.key_id, s.secret) IS NULL
        FOR UPDATE SKIP LOCKED);
    IF outdated <> '{}' THEN
        UPDATE @extschema@.webhook_secrets s
        SET (key_id, secret) = (
            SELECT n.key_id, n.sealed
            FROM webhook_internal.seal_secret(
                s.configuration_id,
                webhook_internal.open_secret(s.configuration_id, s.key_id, s.secret)) n)
        WHERE s.ctid = ANY (outdated);
        GET DIAGNOSTICS total = ROW_COUNT;
    END IF;
    RETURN total;
END
$$;
COMMENT ON FUNCTION @extschema@.webhook_reencrypt_secrets() IS
    'Encrypts the secrets that are not encrypted with the first key of webhook.secret_key_file, and returns how many '
    'there were. The worker calls it when it starts and on reload. Raises F0000 if the file cannot be used.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_reencrypt_secrets()');

-- The wire format (docs/wire-format.md) for SQL.

CREATE FUNCTION @extschema@.webhook_sign(body text, secret text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_sign';
COMMENT ON FUNCTION @extschema@.webhook_sign(text, text) IS
    'The X-Webhook-Signature of a body: sha256= and the HMAC-SHA256 in hex, the key the secret''s text.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_sign(text, text)');

CREATE FUNCTION @extschema@.webhook_sign(id text, "timestamp" bigint, body text, secret text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_sign_message';
COMMENT ON FUNCTION @extschema@.webhook_sign(text, bigint, text, text) IS
    'The webhook-signature of a message (Standard Webhooks): v1, and the HMAC-SHA256 of id.timestamp.body in base64. '
    'timestamp: Unix seconds. A whsec_ secret is decoded to get the key.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_sign(text, bigint, text, text)');

CREATE FUNCTION @extschema@.webhook_verify(body text, signature text, secret text) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_verify';
COMMENT ON FUNCTION @extschema@.webhook_verify(text, text, text) IS
    'Whether an X-Webhook-Signature is the body''s. Compares in constant time.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_verify(text, text, text)');

CREATE FUNCTION @extschema@.webhook_verify(id text, "timestamp" bigint, body text, signature text, secret text)
    RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_verify_message';
COMMENT ON FUNCTION @extschema@.webhook_verify(text, bigint, text, text, text) IS
    'Whether a webhook-signature, which may hold several, is the message''s (Standard Webhooks). Compares in constant '
    'time. It does not judge how old the timestamp (Unix seconds) is: refuse what is older than 5 minutes.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_verify(text, bigint, text, text, text)');

CREATE FUNCTION webhook_internal.body(event text, created_at timestamptz, data json, previous json) RETURNS text
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_body';
COMMENT ON FUNCTION webhook_internal.body(text, timestamptz, json, json) IS 'The body of a request.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.body(text, timestamptz, json, json)');

CREATE FUNCTION webhook_internal.encode_id(instance uuid, event_id bigint, created_at timestamptz) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_encode_id';
COMMENT ON FUNCTION webhook_internal.encode_id(uuid, bigint, timestamptz) IS
    'The public id (evt_...) of an event of an instance.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.encode_id(uuid, bigint, timestamptz)');

CREATE FUNCTION webhook_internal.decode_id(instance uuid, webhook_id text, OUT event_id bigint,
                                              OUT created_at timestamptz)
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_decode_id';
COMMENT ON FUNCTION webhook_internal.decode_id(uuid, text) IS
    'The event that a public id is of, if it is of that instance: any well-formed text is decoded to something. Nulls '
    'for what is none.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.decode_id(uuid, text)');

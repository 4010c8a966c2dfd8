-- Functions for the wire format, which docs/wire-format.md describes.

CREATE FUNCTION @extschema@.webhook_sign(body text, secret text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_sign';
COMMENT ON FUNCTION @extschema@.webhook_sign(text, text) IS
    'The header X-Webhook-Signature of a body: sha256= and the HMAC-SHA256 in hex. The key is the text of the secret.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_sign(text, text)');

CREATE FUNCTION @extschema@.webhook_sign(id text, "timestamp" bigint, body text, secret text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_sign_message';
COMMENT ON FUNCTION @extschema@.webhook_sign(text, bigint, text, text) IS
    'The header webhook-signature of a message (Standard Webhooks): v1, and the HMAC-SHA256 of id.timestamp.body in '
    'base64. timestamp: Unix seconds. The key of a whsec_ secret is decoded from base64.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_sign(text, bigint, text, text)');

CREATE FUNCTION @extschema@.webhook_verify(body text, signature text, secret text) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_verify';
COMMENT ON FUNCTION @extschema@.webhook_verify(text, text, text) IS
    'Whether the value of X-Webhook-Signature matches the body. Compares in constant time.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_verify(text, text, text)');

CREATE FUNCTION @extschema@.webhook_verify(id text, "timestamp" bigint, body text, signature text, secret text)
    RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_verify_message';
COMMENT ON FUNCTION @extschema@.webhook_verify(text, bigint, text, text, text) IS
    'Whether the value of webhook-signature (Standard Webhooks), which may hold several signatures, matches the '
    'message. Compares in constant time. Does not check the age of the timestamp (Unix seconds): refuse messages older '
    'than 5 minutes.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION @extschema@.webhook_verify(text, bigint, text, text, text)');

CREATE FUNCTION webhook_internal.body(event text, created_at timestamptz, data json, previous json,
                                      backfill boolean DEFAULT NULL) RETURNS text
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_body';
COMMENT ON FUNCTION webhook_internal.body(text, timestamptz, json, json, boolean) IS 'The body of a request for an event.';
INSERT INTO webhook_internal.privileges VALUES ('{manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.body(text, timestamptz, json, json, boolean)');

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
    'The event with this public id, if the id is of this instance. Any well-formed text decodes to some event. Nulls '
    'if the text is malformed.';
INSERT INTO webhook_internal.privileges VALUES ('{operate}',
    'EXECUTE ON FUNCTION webhook_internal.decode_id(uuid, text)');

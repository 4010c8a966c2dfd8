-- webhook_api: what became of an event, finding an event, and why a receiver refuses a signature.

-- The log rows are looked for from the time of the event on, which one of the webhooks that subscribe to it tells.
CREATE FUNCTION webhook_api.explain(event_id bigint) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off SET DateStyle = 'ISO'
AS $$
DECLARE
    webhooks_max CONSTANT integer := 100;
    happened record;
    is_stored boolean := true;
    log_from bigint;
    webhooks json[];
BEGIN
    SELECT e.created_at, e.event, e.organization_id, e.known_switch, e.webhook_id, e.key INTO happened
    FROM @extschema@.webhook_own_events e WHERE e.id = explain.event_id;
    IF NOT FOUND THEN
        is_stored := false;
        SELECT d.created_at, d.event, d.organization_id, NULL::integer AS known_switch, NULL::text AS webhook_id, d.key
        INTO happened FROM @extschema@.webhook_deliveries d WHERE d.event_id = explain.event_id LIMIT 1;
    END IF;
    IF happened.event IS NULL THEN
        PERFORM webhook_internal.raise_unknown('event ' || coalesce(explain.event_id::text, 'null'));
    END IF;
    SELECT min(webhook_internal.log_id_at(c.id, happened.created_at - interval '5 s')) INTO log_from
    FROM (SELECT k.id FROM @extschema@.webhook_configurations k
          WHERE k.organization_id IS NOT DISTINCT FROM happened.organization_id
            AND webhook_internal.matches_any(k.events, happened.event)
          ORDER BY k.name LIMIT 5) c;
    webhooks := ARRAY(
        SELECT json_build_object(
                   'webhook', x.configuration_id, 'name', x.name, 'matched', x.matched, 'reason', x.reason,
                   'outcome', x.outcome, 'attempts', x.attempts, 'last_attempt_at', x.last_attempt_at,
                   'last_error', x.last_error, 'next_attempt_at', x.next_attempt_at)
        FROM webhook_internal.explain_event(
            explain.event_id, happened.created_at, happened.event, happened.organization_id, happened.known_switch,
            coalesce(log_from, 9223372036854775807), webhooks_max + 1) x);
    RETURN json_build_object(
        'event', CASE WHEN is_stored THEN json_build_object(
            'id', explain.event_id::text, 'webhook_id', happened.webhook_id, 'event', happened.event,
            'created_at', happened.created_at, 'key', happened.key) END,
        'webhooks', array_to_json(webhooks[: webhooks_max]), 'is_complete', cardinality(webhooks) <= webhooks_max);
END
$$;
COMMENT ON FUNCTION webhook_api.explain(bigint) IS
    'What became of an event, by webhook, as webhook_explain() says it: {"event", "webhooks": [{"webhook", "name", '
    '"matched", "reason", "outcome", "attempts", "last_attempt_at", "last_error", "next_attempt_at"}], "is_complete"}. At '
    'most 100 webhooks, and of each the 1000 log rows from the time of the event on. event is null if only deliveries of '
    'it are left. Raises PT404 if there is no such event.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.explain(bigint)');

CREATE FUNCTION webhook_api.find(
    webhook_id text DEFAULT NULL, source text DEFAULT NULL, key text DEFAULT NULL, organization text DEFAULT NULL)
    RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET jit = off
AS $$
DECLARE
    scope text := webhook_internal.caller_scope(organization);
    found json;
    searched_to timestamptz;
    names text[];
    ids bigint[];
BEGIN
    IF num_nonnulls(webhook_id, key) <> 1 THEN
        PERFORM webhook_internal.raise_argument('webhook_id', 'invalid_parameter_value',
                                                'either webhook_id or key must be given');
    END IF;
    IF webhook_id IS NOT NULL THEN
        IF btrim(webhook_id) !~ '^evt_[0-9a-z]{26}$' THEN
            PERFORM webhook_internal.raise_argument('webhook_id', 'invalid_parameter_value', 'invalid webhook-id',
                'A webhook-id is evt_ and 26 characters, as in the header webhook-id.');
        END IF;
        SELECT coalesce(json_agg(json_build_object(
                   'id', f.event_id::text, 'webhook_id', btrim(webhook_id), 'event', f.event, 'created_at', f.created_at,
                   'key', (SELECT e.key FROM @extschema@.webhook_own_events e WHERE e.id = f.event_id),
                   'organization', f.organization_id)), '[]') INTO found
        FROM @extschema@.webhook_find(btrim(webhook_id)) f
        WHERE scope IS NULL OR f.organization_id = scope;
        RETURN json_build_object('events', found, 'searched_to', NULL);
    END IF;
    IF source IS NOT NULL THEN
        names := ARRAY(SELECT DISTINCT w.event FROM @extschema@.webhook_watches w
                       WHERE find.source IN (w.source::text, (SELECT c.relname FROM pg_class c WHERE c.oid = w.source)));
        IF names = '{}' THEN
            PERFORM webhook_internal.raise_argument('source', 'undefined_object',
                'no event is declared on table "' || left(source, 200) || '"', 'webhook_api.watches() has the tables.');
        END IF;
    END IF;
    SELECT array_agg(r.id ORDER BY r.id DESC) FILTER (WHERE r.id IS NOT NULL), min(r.created_at) FILTER (WHERE r.id IS NULL)
    INTO ids, searched_to
    FROM webhook_internal.recent_events(scope, 30000) r
    WHERE r.id IS NULL OR r.key = find.key AND (names IS NULL OR r.event = ANY (names));
    SELECT coalesce(json_agg(json_build_object(
               'id', e.id::text, 'webhook_id', e.webhook_id, 'event', e.event, 'created_at', e.created_at, 'key', e.key,
               'organization', e.organization_id) ORDER BY e.id DESC), '[]') INTO found
    FROM unnest(ids[: 100]) i (id)
    CROSS JOIN LATERAL (SELECT o.id, o.webhook_id, o.event, o.created_at, o.key, o.organization_id
                        FROM @extschema@.webhook_own_events o WHERE o.id = i.id LIMIT 1) e;
    RETURN json_build_object('events', found, 'searched_to', searched_to);
END
$$;
COMMENT ON FUNCTION webhook_api.find(text, text, text, text) IS
    'Events by the webhook-id that a receiver got, or by the key of a row, optionally only those that the table source '
    'causes: {"events": [{"id", "webhook_id", "event", "created_at", "key", "organization"}], "searched_to"}. A search by '
    'key looks at the newest 30000 events of all and returns at most 100; searched_to is the time of the oldest that it '
    'looked at if there are older ones. Errors with {"field": ...}: 22023, 42704.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.find(text, text, text, text)');

CREATE FUNCTION webhook_internal.is_signature(id text, sent_s bigint, body text, signature text, secret text)
    RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN coalesce(CASE WHEN id IS NULL THEN @extschema@.webhook_verify(body, signature, secret)
                         ELSE @extschema@.webhook_verify(id, sent_s, body, signature, secret) END, false);
EXCEPTION WHEN data_exception THEN
    RETURN false;
END
$$;
COMMENT ON FUNCTION webhook_internal.is_signature(text, bigint, text, text, text) IS
    'Whether the signature is one of the message, or of the body if id is null; false if the secret is none.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.is_signature(text, bigint, text, text, text)');

-- What a receiver may have done to the body or to the secret, tried in turn.
CREATE FUNCTION webhook_internal.why_not_signed(
    id text, sent_s bigint, body text, signature text, secret text, other_is_right boolean) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    minified text;
    signed text := CASE WHEN id IS NULL THEN body ELSE id || '.' || sent_s || '.' || body END;
    tried record;
BEGIN
    IF octet_length(body) <= 1048576 THEN
        -- Blanks between tokens; within strings they stay. A string may lack its end, as otherwise each quotation mark in it
        -- would be tried as the beginning of one.
        minified := regexp_replace(body, E'("(?:[^"\\\\]|\\\\.)*(?:"|\\\\?$))|[[:space:]]+', E'\\1', 'g');
    END IF;
    FOR tried IN
        SELECT v.* FROM (VALUES
            (rtrim(body, E'\r\n'), secret, 'the body has a line end at its end that was not sent'),
            (btrim(body, E' \t\r\n'), secret, 'the body has blanks around it that were not sent'),
            (body || E'\n', secret, 'the body lacks a line end at its end'),
            (replace(body, E'\r\n', E'\n'), secret, 'the line ends of the body were changed'),
            (minified, secret,
             'the body was parsed and serialized again, or formatted: the signature is of the bytes as they arrived'),
            (body, btrim(secret, E' \t\r\n"'''), 'the secret has blanks or quotes around it'),
            (body, 'whsec_' || secret, 'the secret lacks its beginning whsec_'),
            (minified, 'whsec_' || secret, 'the secret lacks its beginning whsec_, and the body was formatted')
        ) v (body, secret, finding)
    LOOP
        IF (tried.body, tried.secret) IS DISTINCT FROM (body, secret)
           AND webhook_internal.is_signature(id, sent_s, tried.body, signature, tried.secret) THEN
            RETURN tried.finding;
        END IF;
    END LOOP;
    IF id IS NOT NULL AND signature LIKE '%v1,' || encode(decode(substr(
           @extschema@.webhook_sign(signed, secret), 8), 'hex'), 'base64') || '%' THEN
        RETURN 'it was made with the text of the secret as the key: what follows whsec_ must be decoded from base64';
    END IF;
    IF other_is_right THEN
        RETURN CASE WHEN id IS NULL THEN 'webhook-signature is right, so that the body and the secret are: '
                                         'X-Webhook-Signature is of another request'
                    ELSE 'X-Webhook-Signature is right, so that the body and the secret are: webhook-id, '
                         'webhook-timestamp or webhook-signature is of another request' END;
    END IF;
    BEGIN
        PERFORM body::json;
    EXCEPTION WHEN OTHERS THEN
        RETURN 'the body is not JSON: a part of it is missing, or it was decoded wrongly';
    END;
    IF minified <> body THEN
        RETURN 'the body is not as it was sent: it has blanks between its members, so it was parsed and serialized again, '
               'or formatted. Verify the bytes as they arrived';
    END IF;
    RETURN 'the secret is another one, or the body was changed';
END
$$;
COMMENT ON FUNCTION webhook_internal.why_not_signed(text, bigint, text, text, text, boolean) IS
    'Why a signature is not one of a message (of the body if id is null), in words. other_is_right: whether the other '
    'signature of the request is right. It repeats nothing of the secret.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.why_not_signed(text, bigint, text, text, text, boolean)');

CREATE FUNCTION webhook_internal.verification_step(step text, is_ok boolean, message text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('step', step, 'is_ok', is_ok, 'message', message)
$$;
COMMENT ON FUNCTION webhook_internal.verification_step(text, boolean, text) IS 'A step of webhook_api.verify().';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.verification_step(text, boolean, text)');

CREATE FUNCTION webhook_internal.verify_headers(given jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    signature text := given ->> 'webhook-signature';
    body_signature text := given ->> 'x-webhook-signature';
    missing text;
    malformed text;
    there jsonb := webhook_internal.verification_step('headers', true, 'the headers are there');
BEGIN
    IF signature IS NOT NULL OR body_signature IS NULL THEN
        missing := concat_ws(', ', CASE WHEN coalesce(given ->> 'webhook-id', given ->> 'x-webhook-id') IS NULL
                                        THEN 'webhook-id' END,
                             CASE WHEN given ->> 'webhook-timestamp' IS NULL THEN 'webhook-timestamp' END,
                             CASE WHEN signature IS NULL THEN 'webhook-signature' END);
    END IF;
    IF missing <> '' THEN
        RETURN jsonb_build_array(webhook_internal.verification_step('headers', false,
            'missing: ' || missing || '. A webhook without a secret sends no signature; a proxy may remove headers'));
    END IF;
    malformed := CASE
        WHEN signature IS NOT NULL AND given ->> 'webhook-timestamp' !~ '^[0-9]{1,12}$'
        THEN 'webhook-timestamp is not a number of seconds since 1970'
        WHEN signature IS NOT NULL AND NOT signature ~ '^v1,[A-Za-z0-9+/]{43}=( +v[0-9a-z]+,[A-Za-z0-9+/=]+)*$'
        THEN 'webhook-signature is not v1, and 44 characters of base64, or several of these with blanks between them'
        WHEN body_signature IS NOT NULL AND body_signature !~ '^sha256=[0-9a-f]{64}$'
        THEN 'X-Webhook-Signature is not sha256= and 64 hexadecimal digits' END;
    RETURN jsonb_build_array(there, webhook_internal.verification_step('form', malformed IS NULL,
                                                                       coalesce(malformed, 'the headers are well-formed')));
END
$$;
COMMENT ON FUNCTION webhook_internal.verify_headers(jsonb) IS
    'The steps headers and form of webhook_api.verify(), the second only if the first did not fail. given: the headers by '
    'names in lower case.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.verify_headers(jsonb)');

CREATE FUNCTION webhook_internal.verify_timestamp(sent_s bigint) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    age_s numeric := round(extract(epoch FROM clock_timestamp()) - sent_s);
BEGIN
    IF sent_s IS NULL THEN
        RETURN webhook_internal.verification_step('timestamp', NULL, 'without webhook-timestamp it is not known');
    END IF;
    RETURN webhook_internal.verification_step('timestamp', abs(age_s) <= 300,
        CASE WHEN abs(age_s) <= 300 THEN 'the request is ' || age_s || ' s old'
             WHEN age_s > 0 THEN 'the request is ' || age_s || ' s old: receivers refuse it after 300 s. That is as it '
                                 'should be for an old request; otherwise the clock of the receiver is wrong'
             ELSE 'the request is of ' || -age_s || ' s in the future: the clock of the receiver is wrong' END);
END
$$;
COMMENT ON FUNCTION webhook_internal.verify_timestamp(bigint) IS
    'The step timestamp of webhook_api.verify(). sent_s: seconds since 1970; null if there is no timestamp.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_internal.verify_timestamp(bigint)');

CREATE FUNCTION webhook_api.verify(body text, secret text, headers jsonb) RETURNS json
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    given jsonb;
    message_id text;
    signature text;
    body_signature text;
    sent_s bigint;
    secret_problem text;
    is_message boolean;
    is_body boolean;
    steps jsonb;
BEGIN
    IF body IS NULL OR secret IS NULL OR headers IS NULL OR jsonb_typeof(headers) <> 'object' THEN
        PERFORM webhook_internal.raise_argument(
            CASE WHEN body IS NULL THEN 'body' WHEN secret IS NULL THEN 'secret' ELSE 'headers' END,
            'invalid_parameter_value', 'body and secret must be texts, and headers a JSON object');
    END IF;
    SELECT coalesce(jsonb_object_agg(lower(btrim(h.key)), btrim(h.value)), '{}') INTO given FROM jsonb_each_text(headers) h;
    steps := webhook_internal.verify_headers(given);
    IF steps -> -1 -> 'is_ok' = 'false' THEN
        RETURN json_build_object('is_valid', false, 'steps', steps);
    END IF;
    message_id := coalesce(given ->> 'webhook-id', given ->> 'x-webhook-id');
    signature := given ->> 'webhook-signature';
    body_signature := given ->> 'x-webhook-signature';
    sent_s := (given ->> 'webhook-timestamp')::bigint;
    steps := steps || webhook_internal.verify_timestamp(sent_s);
    BEGIN
        PERFORM webhook_internal.check_secret(secret);
    EXCEPTION WHEN invalid_parameter_value THEN
        GET STACKED DIAGNOSTICS secret_problem = MESSAGE_TEXT;
    END;
    steps := steps || webhook_internal.verification_step('secret', secret_problem IS NULL, coalesce(secret_problem,
        CASE WHEN starts_with(secret, 'whsec_')
             THEN 'its key for webhook-signature is what follows whsec_, decoded from base64'
             ELSE 'its key is its text' END));

    is_message := signature IS NOT NULL
                  AND webhook_internal.is_signature(message_id, sent_s, body, signature, secret);
    is_body := body_signature IS NOT NULL AND webhook_internal.is_signature(NULL, NULL, body, body_signature, secret);
    IF signature IS NOT NULL THEN
        steps := steps || webhook_internal.verification_step('webhook-signature', is_message,
            CASE WHEN is_message THEN 'the signature is one of this id, timestamp and body'
                 ELSE webhook_internal.why_not_signed(message_id, sent_s, body, signature, secret, is_body) END);
    END IF;
    IF body_signature IS NOT NULL THEN
        steps := steps || webhook_internal.verification_step('X-Webhook-Signature', is_body,
            CASE WHEN is_body THEN 'the signature is one of this body'
                 ELSE webhook_internal.why_not_signed(NULL, NULL, body, body_signature, secret, is_message) END);
    END IF;
    RETURN json_build_object(
        'is_valid', NOT EXISTS (SELECT FROM jsonb_array_elements(steps) s WHERE s -> 'is_ok' = 'false'), 'steps', steps);
END
$$;
COMMENT ON FUNCTION webhook_api.verify(text, text, jsonb) IS
    'Why a receiver accepts or refuses a request: {"is_valid", "steps": [{"step", "is_ok", "message"}]}. Steps: headers, '
    'form, timestamp, secret, webhook-signature, X-Webhook-Signature; headers and form end it if they fail. headers: an '
    'object of names, in any case, and values. Raises 22023 with {"field": ...}.';
INSERT INTO webhook_internal.privileges VALUES ('{read,manage,operate}',
    'EXECUTE ON FUNCTION webhook_api.verify(text, text, jsonb)');

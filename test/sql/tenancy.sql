-- Who sees and may do what: the organization of a session, row-level security, and the levels of webhook_grant().
\set ECHO none
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only true
BEGIN;
SET client_min_messages = error;
CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;
CREATE SCHEMA hooks;
CREATE EXTENSION webhook SCHEMA hooks;
SET search_path = public, tap;
SELECT plan(97);

CREATE ROLE regress_webhook_none;
CREATE ROLE regress_webhook_read;
CREATE ROLE regress_webhook_manage;
CREATE ROLE regress_webhook_operate;
CREATE ROLE "regress Webhook ""odd""";
SELECT hooks.webhook_grant('regress_webhook_read', 'read'), hooks.webhook_grant('regress_webhook_manage'),
       hooks.webhook_grant('regress_webhook_operate', 'operate') \g /dev/null
GRANT USAGE ON SCHEMA hooks TO regress_webhook_none;

-- The first column of what the query returns to the role, or the error that it gets.
CREATE FUNCTION pg_temp.as_role(role text, organization text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    PERFORM set_config('webhook.organization_id', coalesce(organization, ''), true);
    PERFORM set_config('role', 'regress_webhook_' || role, true);
    EXECUTE query INTO result;
    PERFORM set_config('role', 'none', true);
    PERFORM set_config('webhook.organization_id', '', true);
    RETURN coalesce(result, 'null');
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;

-- The current organization.
SELECT is(hooks.webhook_current_organization(), NULL, 'without any setting there is no organization');
SELECT set_config('webhook.organization_id', 'acme', true) \g /dev/null
SELECT is(hooks.webhook_current_organization(), 'acme', 'the setting names it');
SELECT set_config('request.jwt.claims', '{"organization_id": "acme"}', true) \g /dev/null
SELECT is(hooks.webhook_current_organization(), 'acme', 'and a claim that says the same');
SELECT set_config('request.jwt.claims', '{"organization_id": "globex"}', true) \g /dev/null
SELECT is(hooks.webhook_current_organization(), NULL, 'if they differ, there is none');
SELECT set_config('webhook.organization_id', '', true) \g /dev/null
SELECT is(hooks.webhook_current_organization(), 'globex', 'an empty setting is none');
SELECT set_config('request.jwt.claims', '{"organization_id": 7}', true) \g /dev/null
SELECT is(hooks.webhook_current_organization(), '7', 'a claim may be a number');
SELECT set_config('request.jwt.claims', '{"organization_id": ""}', true) \g /dev/null
SELECT is(hooks.webhook_current_organization(), NULL, 'an empty claim is none');
SELECT set_config('request.jwt.claims', '{"organization_id": null}', true) \g /dev/null
SELECT is(hooks.webhook_current_organization(), NULL, 'and so is null');
SELECT set_config('webhook.organization_id', 'acme', true) \g /dev/null
SELECT set_config('request.jwt.claims', '{"sub": "1"}', true) \g /dev/null
SELECT is(hooks.webhook_current_organization(), 'acme', 'claims without an organization leave it to the setting');
SELECT set_config('request.jwt.claims', '', true) \g /dev/null
SELECT is(hooks.webhook_current_organization(), 'acme', 'and so do empty claims');
SELECT set_config('request.jwt.claims', '{"organization_id": "acme"', true) \g /dev/null
SELECT throws_ok('SELECT hooks.webhook_current_organization()', '22P02', NULL, 'malformed claims are an error');
SELECT set_config('request.jwt.claims', '"acme"', true) \g /dev/null
SELECT throws_ok('SELECT hooks.webhook_current_organization()', '22023', 'request.jwt.claims is not a JSON object',
                 'and so are claims that are no object');
SELECT set_config('request.jwt.claims', '{"organization_id": ["acme"]}', true) \g /dev/null
SELECT throws_ok('SELECT hooks.webhook_current_organization()', '22023',
                 'claim "organization_id" in request.jwt.claims is neither a string nor a number',
                 'and an organization that is no text');
SELECT set_config('request.jwt.claims', '', true), set_config('webhook.organization_id', '', true) \g /dev/null

-- Rows of two organizations and of none.
INSERT INTO hooks.webhook_configurations (organization_id, name, url, events, secret, headers)
SELECT o, 'hook', 'https://example.com/', '{*}', 'the secret of ' || coalesce(o, 'nobody'), '{"X-Key": "k"}'
FROM unnest(ARRAY['acme', 'globex', NULL]) o;
INSERT INTO hooks.webhook_logs (slot, created_at, configuration_id, organization_id, event_id, event, attempt, status)
SELECT 0, now(), id, organization_id, 1, 'contact.created', 1, 'success' FROM hooks.webhook_configurations;
INSERT INTO hooks.webhook_deliveries (event_id, configuration_id, configuration_created_at, organization_id, event, created_at,
                                      state)
SELECT 1, id, created_at, organization_id, 'contact.created', now(), 'pending' FROM hooks.webhook_configurations;
INSERT INTO hooks.webhook_events (slot, id, xid, created_at, event, organization_id, data)
SELECT 0, 1, pg_current_xact_id(), now(), 'contact.created', o, '{}' FROM unnest(ARRAY['acme', 'globex', NULL]) o;
INSERT INTO hooks.webhook_instance (instance, database_oid, system_identifier) VALUES (gen_random_uuid(), 1, 1);
SELECT id AS globex FROM hooks.webhook_configurations WHERE organization_id = 'globex' \gset

-- Seeing.
SELECT is(pg_temp.as_role(role, organization, format('SELECT count(*) FROM hooks.webhook_%s', t)), seen,
          format('%s of %s sees %s of %s', role, coalesce(organization, 'no organization'), seen, t))
FROM (VALUES ('none', 'acme', 'logs', '42501'), ('none', 'acme', 'configurations', '42501'),
             ('none', 'acme', 'watches', '42501'), ('none', 'acme', 'event_types', '42501'),
             ('read', 'acme', 'logs', '1'), ('read', 'acme', 'deliveries', '1'),
             ('read', 'acme', 'configurations', '1'),
             ('read', 'acme', 'event_types', '22'), ('read', 'acme', 'watches', '0'),
             ('read', 'acme', 'events', '42501'), ('read', 'acme', 'secrets', '42501'),
             ('read', NULL, 'logs', '0'), ('read', 'initech', 'configurations', '0'),
             ('manage', 'acme', 'configurations', '1'), ('manage', NULL, 'configurations', '0'),
             ('manage', 'acme', 'secrets', '42501'),
             ('manage', 'acme', 'events', '42501'), ('manage', 'acme', 'logs_0', '42501'),
             ('operate', NULL, 'configurations', '3'), ('operate', 'acme', 'logs', '3'),
             ('operate', NULL, 'deliveries', '3'), ('operate', NULL, 'events', '3'),
             ('operate', NULL, 'events_0', '42501'),
             ('operate', NULL, 'secrets', '42501'),
             ('operate', NULL, 'instance', '1')) c (role, organization, t, seen);
SELECT is(pg_temp.as_role('read', 'acme', 'SELECT name FROM hooks.webhook_configurations'), 'hook',
          'read sees webhooks');
SELECT is(pg_temp.as_role('read', 'acme', 'SELECT headers FROM hooks.webhook_configurations'), '42501',
          'but not their headers');
SELECT is(pg_temp.as_role('manage', 'acme', 'SELECT headers FROM hooks.webhook_configurations'), '{"X-Key": "k"}',
          'manage does');
SELECT is(pg_temp.as_role(role, 'acme', format('SELECT count(%s) FROM hooks.webhook_deliveries d', shown)), outcome,
          format('%s reads %s of deliveries: %s', role, shown, outcome))
FROM (VALUES ('read', 'last_error', '0'), ('read', 'd', '1'), ('manage', 'd', '1'), ('operate', 'd', '3')) c
     (role, shown, outcome);
SELECT is(pg_temp.as_role(role, 'acme', 'SELECT count(*) FROM webhook_internal.saved_events'), '42501',
          format('%s does not read what is saved but through webhook_own_events', role))
FROM (VALUES ('read'), ('manage'), ('operate')) c (role);

-- Doing.
CREATE FUNCTION pg_temp.creating(role text, organization text, for_organization text) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.as_role(role, organization, format(
        'INSERT INTO hooks.webhook_configurations (organization_id, name, url, events, secret)
         VALUES (%L, ''new'', ''https://example.com/'', ''{contact.*}'', ''a long secret'') RETURNING organization_id',
        for_organization))
$$;
SELECT is(pg_temp.creating('read', 'acme', 'acme'), '42501', 'read may not create a webhook');
SELECT is(pg_temp.creating('manage', 'acme', 'acme'), 'acme', 'manage may create one for its organization');
SELECT is(pg_temp.creating('manage', 'acme', 'globex'), '42501', 'but not for another');
SELECT is(pg_temp.creating('manage', 'acme', NULL), '42501', 'nor for none');
SELECT is(pg_temp.creating('manage', NULL, NULL), '42501', 'also if it has none itself');
SELECT is(pg_temp.creating('operate', 'acme', 'globex'), 'globex', 'operate may for any');
SELECT is(pg_temp.as_role('manage', 'acme', $$INSERT INTO hooks.webhook_configurations (name, url, events)
              VALUES ('mine', 'https://example.com/', '{*}') RETURNING organization_id$$), 'acme',
          'the organization is the session''s by default');
SELECT is(pg_temp.as_role('manage', 'acme', $$UPDATE hooks.webhook_configurations SET secret = 'another secret'
              WHERE organization_id = 'globex' RETURNING id$$), 'null', 'manage cannot change another''s webhook');
SELECT is(pg_temp.as_role('manage', 'acme', format($$
              INSERT INTO hooks.webhook_configurations (id, name, url, events, secret)
              VALUES (%L, 'thief', 'https://example.com/', '{*}', 'a stolen signature') ON CONFLICT DO NOTHING
              RETURNING id <> %1$L$$, :'globex')), 'true', 'nor put a secret under it by proposing its id');
SELECT is((SELECT array_agg(secret) FROM hooks.webhook_secrets WHERE configuration_id = :'globex'),
          '{the secret of globex}', 'it keeps its own');
SELECT is(pg_temp.as_role('manage', 'acme', 'SELECT hooks.webhook_reveal_secret(id) FROM hooks.webhook_configurations '
              'WHERE name = ''hook'''), 'the secret of acme', 'manage reveals its own secrets');
SELECT is(pg_temp.as_role('manage', 'acme', format('SELECT hooks.webhook_reveal_secret(%L)', :'globex')), '42704',
          'not another''s');
SELECT is(pg_temp.as_role('manage', 'acme', format('SELECT webhook_internal.reveal_secret_tenant(%L)', :'globex')), 'null',
          'not by the way round either');
SELECT is(pg_temp.as_role('manage', 'acme', format('SELECT webhook_internal.reveal_secret_operator(%L)', :'globex')), '42501',
          'nor by that of operators');
SELECT is(pg_temp.as_role('read', 'acme', 'SELECT hooks.webhook_reveal_secret(gen_random_uuid())'), '42501',
          'read reveals none');
SELECT is(pg_temp.as_role('operate', NULL, format('SELECT hooks.webhook_reveal_secret(%L)', :'globex')),
          'the secret of globex', 'operate reveals any');
SELECT is(pg_temp.as_role('manage', 'acme', 'DELETE FROM hooks.webhook_logs'), '42501', 'manage cannot delete logs');
SELECT is(pg_temp.as_role('manage', 'acme', 'UPDATE hooks.webhook_deliveries SET state = ''dead'''), '42501',
          'nor change deliveries');
SELECT is(pg_temp.as_role('manage', 'acme', 'DELETE FROM hooks.webhook_configurations WHERE name = ''mine'' '
              'RETURNING organization_id'), 'acme', 'manage deletes its own webhooks');

-- Publishing.
SELECT is(pg_temp.as_role(role, organization, 'SELECT ''done'' FROM hooks.webhook_emit(''contact.created'', ''{}'''
              || coalesce(', ' || quote_literal(target), '') || ')'), outcome,
          format('%s of %s publishes for %s: %s', role, coalesce(organization, 'none'), coalesce(target, 'itself'),
                 outcome))
FROM (VALUES ('read', 'acme', NULL, '42501'), ('manage', 'acme', NULL, 'done'), ('manage', 'acme', 'globex', '42501'),
             ('manage', NULL, NULL, '42501'), ('operate', NULL, NULL, 'done'), ('operate', 'acme', 'globex', 'done'))
     c (role, organization, target, outcome);
SELECT is(pg_temp.as_role('manage', 'acme', $$SELECT hooks.webhook_emit('contact.creatd', '{}')$$), '42704',
          'an unknown event cannot be published');
SELECT is(pg_temp.as_role('manage', 'acme', $$SELECT webhook_internal.append('contact.created', '{}', 'globex', NULL)$$),
          '42501', 'the way round is closed');

-- Operating.
SELECT is(pg_temp.as_role('manage', 'acme', 'SELECT hooks.webhook_pause()'), '42501', 'manage may not pause');
SELECT is(pg_temp.as_role('operate', NULL, 'SELECT ''done'' FROM hooks.webhook_pause()'), 'done', 'operate may');
SELECT is(pg_temp.as_role('operate', NULL, 'SELECT paused_reason FROM hooks.webhook_instance'),
          'paused by ' || session_user, 'it is noted who');
SELECT is(pg_temp.as_role('operate', NULL, $$INSERT INTO hooks.webhook_event_types (name, category)
              VALUES ('invoice.paid', 'invoice') RETURNING name$$), 'invoice.paid', 'operate registers events');
SELECT is(pg_temp.as_role('operate', NULL, $$DELETE FROM hooks.webhook_event_types
              WHERE name IN ('invoice.paid', 'deal.created') RETURNING name$$), 'invoice.paid',
          'and removes them');
SELECT is((SELECT count(*) FROM hooks.webhook_event_types), 22::bigint, 'but not the built-in ones');
CREATE TABLE invoices (id int PRIMARY KEY);
ALTER TABLE invoices OWNER TO regress_webhook_operate;
SELECT is(pg_temp.as_role('operate', NULL, $$SELECT hooks.webhook_watch('invoices', 'invoice.created',
              organization_column => NULL)$$), '{webhook_invoice_created}',
          'operate declares events on its own tables');
SELECT is(pg_temp.as_role('operate', NULL, $$SELECT hooks.webhook_unwatch('invoices', 'invoice.created')$$),
          '{webhook_invoice_created}', 'and takes them back');
CREATE TABLE payments (id int PRIMARY KEY);
SELECT is(pg_temp.as_role('operate', NULL, $$SELECT hooks.webhook_watch('payments', 'payment.created',
              organization_column => NULL)$$), '42501', 'but not on those of others');
ALTER TABLE payments OWNER TO regress_webhook_manage;
SELECT is(pg_temp.as_role('manage', NULL, $$SELECT hooks.webhook_watch('payments', 'payment.created',
              organization_column => NULL)$$), '42501', 'manage does not declare events');
SELECT is(pg_temp.as_role('manage', NULL, $$CREATE TRIGGER forge AFTER INSERT ON payments FOR EACH ROW
              EXECUTE FUNCTION hooks.webhook_capture('contact.created', 'organization_column=id')$$), '42501',
          'nor by a trigger of its own');
SELECT is(pg_temp.as_role('manage', NULL, $$CREATE TRIGGER steal BEFORE UPDATE ON payments FOR EACH ROW
              EXECUTE FUNCTION webhook_internal.configurations_change_secret()$$), '42501',
          'nor does it get hold of the functions that write secrets');

-- Levels.
SELECT hooks.webhook_grant('regress_webhook_operate', 'read') \g /dev/null
SELECT is(pg_temp.as_role('operate', NULL, 'SELECT count(*) FROM hooks.webhook_logs'), '0',
          'a lower level replaces a higher');
SELECT ok(NOT has_column_privilege('regress_webhook_operate', 'hooks.webhook_own_events', 'data', 'SELECT'),
          'and takes the payloads away');
SELECT hooks.webhook_revoke('regress_webhook_read') \g /dev/null
SELECT is_empty($$
    SELECT a.attname FROM pg_attribute a, aclexplode(a.attacl) acl WHERE acl.grantee = 'regress_webhook_read'::regrole
$$, 'what read was granted by column is taken back');
SELECT is(pg_temp.as_role('read', 'acme', 'SELECT count(*) FROM hooks.webhook_deliveries'), '42501',
          'and it sees no deliveries any more');
SELECT hooks.webhook_revoke('regress_webhook_manage') \g /dev/null
SELECT is(pg_temp.as_role('manage', 'acme', 'SELECT count(*) FROM hooks.webhook_event_types'), '42501',
          'what was granted is taken back');
SELECT is_empty($$
    SELECT c.relname FROM pg_class c, aclexplode(c.relacl) acl
    WHERE acl.grantee = 'regress_webhook_manage'::regrole AND c.relname <> 'payments'
    UNION ALL
    SELECT a.attname FROM pg_attribute a, aclexplode(a.attacl) acl WHERE acl.grantee = 'regress_webhook_manage'::regrole
    UNION ALL
    SELECT p.proname FROM pg_proc p, aclexplode(p.proacl) acl WHERE acl.grantee = 'regress_webhook_manage'::regrole
$$, 'all of it');
SELECT hooks.webhook_grant('"regress Webhook ""odd"""', 'manage') \g /dev/null
SELECT ok(has_table_privilege('regress Webhook "odd"', 'hooks.webhook_configurations', 'INSERT'),
          'a role may have any name');
SELECT throws_ok($$SELECT hooks.webhook_grant('regress_webhook_none', 'admin')$$, '22023', 'invalid level "admin"',
                 'there are three levels');
SELECT throws_ok($$SELECT hooks.webhook_grant('nobody_of_this_name')$$, '42704', NULL, 'an unknown role is an error');
SELECT is(pg_temp.as_role('none', NULL, $$SELECT hooks.webhook_grant('regress_webhook_none', 'operate')$$), '42501',
          'nobody grants himself anything');

SELECT * FROM finish();
ROLLBACK;

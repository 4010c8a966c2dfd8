-- webhook_sign(), webhook_verify(), webhook_event_matches() and the public id: the wire format as SQL shows it.
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
SET search_path = hooks, tap;
SELECT plan(48);

-- The vectors of docs/wire-format.md.
\set secret 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
\set id 'msg_p5jXN8AQM9LWM0D4loKWxJek'
\set time 1614265330
\set body '{"test": 2432232314}'
\set signature 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
\set github 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17'
SELECT is(webhook_sign('Hello, World!', 'It''s a Secret to Everybody'), :'github', 'signs as GitHub does');
SELECT is(webhook_sign(:'id', :time, :'body', :'secret'), :'signature', 'signs as Standard Webhooks does');
-- openssl dgst -sha256 -hmac SECRET
SELECT is(webhook_sign(:'body', :'secret'), 'sha256=80ec8a89ce3cd22133a1066caecb4d04fea7467657c8514d717ec42c38a5c94c',
          'GitHub''s receivers take the text of any secret for the key');
SELECT ok(webhook_verify('Hello, World!', :'github', 'It''s a Secret to Everybody'), 'verifies GitHub''s');
SELECT ok(webhook_verify(:'id', :time, :'body', :'signature', :'secret'), 'verifies Standard Webhooks''');
SELECT ok(webhook_verify(:'id', :'time', :'body', :'signature', :'secret'), 'the timestamp may be a literal');

SELECT ok(NOT webhook_verify(body, signature, secret), format('refuses: %s', what))
FROM (VALUES ('Hello, World', :'github', 'It''s a Secret to Everybody', 'another body'),
             ('Hello, World!', :'github', 'It''s a Secret to Everybody!', 'another secret'),
             ('Hello, World!', replace(:'github', 'e17', 'e18'), 'It''s a Secret to Everybody', 'another signature'),
             ('Hello, World!', substr(:'github', 8), 'It''s a Secret to Everybody', 'one without its prefix'),
             ('Hello, World!', replace(:'github', 'sha256', 'sha1'), 'It''s a Secret to Everybody', 'another prefix'),
             ('Hello, World!', :'github' || ' ', 'It''s a Secret to Everybody', 'one that is longer'),
             ('Hello, World!', left(:'github', -1), 'It''s a Secret to Everybody', 'one that is shorter'),
             ('Hello, World!', '', 'It''s a Secret to Everybody', 'an empty one'))
     c (body, signature, secret, what);
SELECT ok(NOT webhook_verify(id, at, body, signature, secret), format('refuses: %s', what))
FROM (VALUES ('msg_2', 1614265330, :'body', :'signature', :'secret', 'another id'),
             (:'id', 1614265331, :'body', :'signature', :'secret', 'another time'),
             (:'id', 1614265330, '{"test":2432232314}', :'signature', :'secret', 'another body'),
             (:'id', 1614265330, :'body', :'signature', 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'a secret as text'),
             (:'id', 1614265330, :'body', replace(:'signature', 'v1', 'v1a'), :'secret', 'another version'),
             (:'id', 1614265330, :'body', substr(:'signature', 4), :'secret', 'one without its version'),
             (:'id', 1614265330, :'body', '', :'secret', 'none'), (:'id', 1614265330, :'body', ' ', :'secret', 'a blank'))
     c (id, at, body, signature, secret, what);
SELECT ok(webhook_verify(:'id', :time, :'body', signatures, :'secret'), format('accepts it %s', what))
FROM (VALUES ('v1,AAAA ' || :'signature', 'as the second of two'), (:'signature' || ' v1,AAAA', 'as the first of two'),
             ('v1a,xyz  ' || :'signature' || ' v2,z', 'among others')) c (signatures, what);
SELECT ok(NOT webhook_verify(:'id', :time, :'body', 'v1,AAAA v1,BBBB', :'secret'), 'refuses several that are all wrong');
SELECT is(webhook_sign('body', NULL), NULL, 'without a secret there is no signature');
SELECT is(webhook_verify('body', NULL, 'secret'), NULL, 'and nothing to verify');
SELECT ok(webhook_verify(body, webhook_sign(body, secret), secret)
          AND webhook_verify('evt_1', 0, body, webhook_sign('evt_1', 0, body, secret), secret),
          format('verifies what it signs: %s', what))
FROM (VALUES ('', 'a long secret', 'an empty body'), (repeat('long ', 100000), 'a long secret', 'a long body'),
             (U&'Zo\00EB, \65E5\672C, +01F642', U&'\00E4\00F6\00FC is plain text', 'other letters'),
             ('a body', webhook_generate_secret(), 'a generated secret')) c (body, secret, what);

-- Patterns.
SELECT is(webhook_event_matches(pattern, event), expected, format('%s %s %s', pattern,
          CASE WHEN expected THEN 'matches' ELSE 'does not match' END, event))
FROM (VALUES ('contact.created', 'contact.created', true), ('contact.created', 'contact.created.twice', false),
             ('contact.*', 'contact.created', true), ('contact.*', 'contact.stage.changed', true),
             ('contact.*', 'contact', false), ('contact.*', 'contacts.created', false), ('*', 'contact.created', true),
             ('*', 'webhook.disabled', false), ('webhook.*', 'webhook.disabled', true)) c (pattern, event, expected);

-- The body and the id.
SELECT is(webhook_internal.body('contact.created', '2024-01-15 10:30:00.1239+00', '{"id": 1}', NULL),
          '{"event":"contact.created","timestamp":"2024-01-15T10:30:00.123900Z","data":{"id": 1}}', 'the body');
SELECT is(webhook_internal.body('contact.updated', '2024-01-15 10:30:00+00', '{"id":1}', '{"id":2}'),
          '{"event":"contact.updated","timestamp":"2024-01-15T10:30:00.000000Z","data":{"id":1},"previous":{"id":2}}',
          'with what it was before');
SELECT is(webhook_internal.body('contact.created', '2024-01-15 10:30:00+00', '{"id":1}', NULL, true),
          '{"event":"contact.created","timestamp":"2024-01-15T10:30:00.000000Z","backfill":true,"data":{"id":1}}', 'or that it is old');
SELECT ok((d.event_id, d.created_at) = (e.id, e.at), format('the public id of event %s is turned back', e.id))
FROM (VALUES (1::bigint, timestamptz '2024-01-15 10:30:00.123456+00'), (9223372036854775807, '1999-12-31 23:59:59+00'))
     e (id, at), webhook_internal.decode_id('00000000-0000-0000-0000-000000000001',
                                   webhook_internal.encode_id('00000000-0000-0000-0000-000000000001', e.id, e.at)) d;
SELECT ok(webhook_internal.decode_id('00000000-0000-0000-0000-000000000001', 'evt_1') IS NULL, 'what is no id is turned to null');
SELECT throws_ok($$SELECT webhook_internal.encode_id('00000000-0000-0000-0000-000000000001', 1, 'infinity')$$, '22008', NULL,
                 'an event has a finite time');

SELECT * FROM finish();
ROLLBACK;

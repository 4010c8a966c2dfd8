// The calls themselves: both hosts take and return what docs/api.md says, and refuse alike.

import fs from 'node:fs';
import path from 'node:path';
import { contract, errorBody, errorStatuses, misfits } from '../contract.mjs';
import { signJwt } from '../postgrest.mjs';
import { assert, fact, hostFact, until } from '../scenario.mjs';
import { root } from '../world.mjs';

const admin = (organization) => ({ role: 'crm_admin', organization, subject: 'zoe@example.com' });
const answer = async (host, who, name, args) => {
  const { status, body } = await host.call(who, name, args);
  assert.equal(status, 200, `${name}: ${JSON.stringify(body)}`);
  assert.deepEqual(misfits(body, contract[name].returns, name), []);
  return body;
};
const refusal = async (host, who, name, args, status) => {
  const { status: given, body } = await host.call(who, name, args);
  assert.equal(given, status, `${name}: ${JSON.stringify(body)}`);
  assert.deepEqual(misfits(body, errorBody, `the error of ${name}`), []);
  return body;
};

// In a signature of the docs: f(a, b = 50), g(), h(c) → names and parameters.
function documentedFunctions() {
  const text = fs.readFileSync(path.join(root, 'docs/api.md'), 'utf8');
  const functions = {};
  for (const [, cell] of text.matchAll(/^\| (`[a-z_]+\(.*?\)`(?:, `[a-z_]+\(.*?\)`)*) \| (?:read|manage|operate) \|/gm)) {
    for (const [, name, list] of cell.matchAll(/`([a-z_]+)\((.*?)\)`/g)) {
      functions[name] = list.split(',').map((parameter) => parameter.split('=')[0].trim()).filter(Boolean);
    }
  }
  return functions;
}

fact('the contract names the functions and parameters that docs/api.md names', () => {
  assert.deepEqual(documentedFunctions(), Object.fromEntries(Object.entries(contract).map(([name, { takes }]) => [name, takes])));
});

fact('the schema webhook_api has the functions of the contract, and no others', async ({ world }) => {
  const rows = await world.sql(`SELECT proname, coalesce(proargnames, '{}') AS names FROM pg_proc WHERE pronamespace = 'webhook_api'::regnamespace`);
  const byName = (list) => Object.fromEntries(list.map(([name, takes]) => [name, [...takes].sort()]).sort());
  assert.deepEqual(byName(rows.map(({ proname, names }) => [proname, names])),
    byName(Object.entries(contract).map(([name, { takes }]) => [name, takes])));
});

hostFact('every function answers in the shape that docs/api.md gives', async ({ world, host, tenant }) => {
  const who = admin(tenant);
  const ask = (name, args) => answer(host, who, name, args);
  const { webhook: { id, updated_at: updatedAt }, secret } = await ask('save', {
    webhook: { name: 'shapes', url: world.receiver.url('/status/500'), events: ['contact.*'], retry_schedule_s: [86400], filter: '$.name != "x"' },
  });
  assert.match(secret, /^whsec_/);
  await world.addContacts(tenant, 'Ada', 'x');
  const [attempt] = await world.attempts(id);
  const eventId = String(attempt.event_id);
  const [{ webhook_id: webhookId }] = await world.sql('SELECT webhook_id FROM webhook_own_events WHERE id = $1', [eventId]);
  await until('the delivery is stored as pending', async () => (await ask('pending', { webhook: id })).deliveries.length === 1);

  await ask('session');
  await ask('check');
  await ask('webhooks');
  await ask('webhook', { id });
  assert.equal((await ask('save', { id, webhook: { timeout_ms: 4000 }, if_updated_at: updatedAt })).secret, null);
  assert.ok((await ask('validate', { webhook: { url: 'ftp://example.com/' } })).problems.length > 0);
  assert.equal((await ask('reveal', { id })).secret, secret);
  await ask('rotate', { id, overlap_s: 60 });
  assert.ok((await ask('history', { id })).changes.length >= 2);
  await ask('event_types');
  await ask('watches');
  await ask('match_count', { events: ['contact.*'], filter: null });
  assert.equal((await ask('try_filter', { filter: '$.name == "Ada"', events: ['contact.*'] })).matched, 1);
  assert.equal((await ask('logs', { webhook: id })).logs.length, 1);
  assert.equal((await ask('logs', { after: 0 })).logs.length, 1);
  const shown = await ask('attempt', { id: String(attempt.id) });
  assert.equal(shown.delivery.state, 'pending');
  assert.match(shown.curl, /^curl /);
  await ask('series', {});
  await ask('breakdown', { webhook: id });
  assert.equal((await ask('test', { id, event: 'contact.created', payload: { id: 1 } })).response_status, 500);
  await ask('explain', { event_id: eventId });
  assert.equal((await ask('find', { webhook_id: webhookId })).events[0].id, eventId);
  await ask('cancel', { id });
  assert.deepEqual(await ask('replay', { id, since: attempt.created_at, only_failed: true, dry_run: true }).then(({ count }) => typeof count), 'number');
  const { job } = await ask('replay', { id, since: '2020-01-01T00:00:00Z' });
  assert.equal((await ask('replays', { id })).replays[0].id, job);
  assert.equal((await ask('cancel_replay', { job })).replay.id, job);
  assert.equal((await ask('redeliver', { log_ids: [String(attempt.id), '999999999'] })).problems.length, 1);
  await ask('verify', { body: '{}', secret, headers: {} });
  await ask('delete', { id });
});

hostFact('an operator pauses and resumes the database', async ({ host }) => {
  const operator = { role: 'crm_operator', organization: null, subject: 'ops@example.com' };
  assert.equal((await answer(host, operator, 'pause', { reason: 'maintenance' })).server.is_paused, true);
  assert.equal((await answer(host, operator, 'session')).server.paused_reason, 'maintenance');
  assert.equal((await answer(host, operator, 'resume')).server.is_paused, false);
});

hostFact('a wrong argument is refused with its field', async ({ host, tenant }) => {
  const error = await refusal(host, admin(tenant), 'save', { webhook: { name: 'x', url: 'nonsense', events: ['contact.*'] } }, 400);
  assert.equal(JSON.parse(error.details).field, 'url');
});

hostFact('a webhook that somebody else has changed is a conflict, with the webhook as it is now', async ({ world, host, tenant }) => {
  const id = await world.createWebhook({ organization: tenant });
  const { webhook } = await answer(host, admin(tenant), 'webhook', { id });
  await answer(host, admin(tenant), 'save', { id, webhook: { name: 'first' }, if_updated_at: webhook.updated_at });
  const error = await refusal(host, admin(tenant), 'save', { id, webhook: { name: 'second' }, if_updated_at: webhook.updated_at }, 409);
  assert.equal(error.code, 'PT409');
  const { current } = JSON.parse(error.details);
  assert.deepEqual(misfits(current, contract.save.returns.members.webhook, 'current'), []);
  assert.equal(current.name, 'first');
});

hostFact('a name that is taken is a conflict', async ({ world, host, tenant }) => {
  await world.createWebhook({ organization: tenant, name: 'taken' });
  await refusal(host, admin(tenant), 'save', { webhook: { name: 'taken', url: world.receiver.url('/ok'), events: ['*'] } }, 409);
});

hostFact('ids of another organization do not exist', async ({ world, host, tenant }) => {
  const other = world.newTenant();
  const id = await world.createWebhook({ organization: other, url: world.receiver.url('/status/500') });
  await world.addContacts(other, 'Eve');
  const [attempt] = await world.attempts(id);
  const [log, event] = [String(attempt.id), String(attempt.event_id)];
  const { job } = await answer(host, admin(other), 'replay', { id, since: '2020-01-01T00:00:00Z' });
  const stranger = admin(tenant);
  for (const [name, args] of Object.entries({
    webhook: { id }, save: { id, webhook: { name: 'mine' } }, delete: { id }, validate: { id, webhook: {} }, reveal: { id }, rotate: { id },
    history: { id }, attempt: { id: log }, pending: { webhook: id }, test: { id }, replay: { id, since: '2020-01-01T00:00:00Z' },
    replays: { id }, cancel_replay: { job }, cancel: { id }, explain: { event_id: event },
    logs: { webhook: id }, series: { webhook: id }, breakdown: { webhook: id },
  })) {
    await refusal(host, stranger, name, args, 404);
  }
  assert.equal((await answer(host, stranger, 'redeliver', { log_ids: [log] })).redelivered, 0);
  assert.deepEqual((await answer(host, stranger, 'webhooks', { organization: other })).webhooks, []);
  assert.deepEqual((await answer(host, stranger, 'logs', { organization: other })).logs, []);
  const [{ webhook_id: webhookId }] = await world.sql('SELECT webhook_id FROM webhook_own_events WHERE id = $1', [event]);
  assert.deepEqual((await answer(host, stranger, 'find', { webhook_id: webhookId })).events, []);
});

hostFact('a role that may only read is refused each writing function', async ({ world, host, tenant }) => {
  const id = await world.createWebhook({ organization: tenant });
  const reader = { ...admin(tenant), role: 'crm_reader' };
  assert.deepEqual((await answer(host, reader, 'session')).can, { write: false, see_data: false, choose_organization: false });
  for (const [name, args] of Object.entries({
    save: { id, webhook: { name: 'mine' } }, delete: { id }, reveal: { id }, rotate: { id }, test: { id }, cancel: { id },
    try_filter: { filter: '$.a == 1', events: ['*'] }, redeliver: { log_ids: ['1'] },
    replay: { id, since: '2020-01-01T00:00:00Z' }, cancel_replay: { job: '1' }, pause: { reason: 'x' }, resume: {},
  })) {
    assert.equal((await refusal(host, reader, name, args, 403)).code, '42501', name);
  }
});

hostFact('a function that does not exist is 404', async ({ host, tenant }) => {
  for (const name of ['no_such_function', 'pg_sleep', 'webhook_reveal_secret']) await refusal(host, admin(tenant), name, {}, 404);
});

hostFact('a body that is not a JSON object is refused', async ({ host, tenant }) => {
  for (const body of ['{', '[]', '"text"', '7', 'null']) await refusal(host, admin(tenant), 'session', body, 400);
});

hostFact('an expired, unsigned or foreign token, and none, are refused', async ({ host, world, tenant }) => {
  const claims = { ...host.claims(admin(tenant)) };
  const hourAgo = Math.floor(Date.now() / 1000) - 3600;
  const tokens = [
    null, 'nonsense', signJwt({ ...claims, exp: hourAgo }, world.jwtKey), signJwt(claims, 'the key of somebody else'),
    signJwt(claims, world.jwtKey, { alg: 'none' }), signJwt(claims, world.jwtKey).replace(/\.[^.]*$/, '.'),
  ];
  for (const token of tokens) {
    const { status, body } = await host.call(admin(tenant), 'session', {}, token);
    assert.equal(status, 401, `${token}: ${JSON.stringify(body)}`);
    assert.deepEqual(misfits(body, errorBody, 'the error'), []);
  }
});

// Run last: what the page's own calls were answered during the whole run, by both hosts.
export function judgeRecordedCalls() {
  fact('every answer of the whole run is in the shape that docs/api.md gives', ({ world }) => {
    assert.ok(world.calls.length > 0);
    const problems = new Set();
    for (const { host, function: name, arguments: given, status, body } of world.calls) {
      const entry = contract[name];
      if (!entry) continue;
      const found = status === 200 ? misfits(body, entry.returns, name) : misfits(body, errorBody, `the error of ${name}`);
      if (status !== 200 && !errorStatuses.includes(status)) found.push(`${name}: the status ${status} is not in docs/api.md`);
      for (const parameter of Object.keys(given ?? {})) {
        if (status === 200 && !entry.takes.includes(parameter)) found.push(`${name}: the parameter ${parameter} is not in docs/api.md`);
      }
      for (const problem of found) problems.add(`${host}: ${problem}`);
    }
    assert.deepEqual([...problems], []);
  });
}

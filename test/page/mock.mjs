#!/usr/bin/env node
// Serves the settings page with an API that lives in memory, to look at the page without a database.
//
//   mock.mjs [--port N]     prints "ready PORT"
//
// The first step of a URL's path chooses what is shown, several at once by commas: /~operator,slow/index.html
//   empty       no webhooks          error      every call but session fails        down      the session fails too
//   forbidden   every call is 403    slow       calls take 2 s                      readonly  level read
//   signedout   every call is 401    operator   level operate, three organizations  paused    deliveries are paused
//   noworker    no worker runs       standby    a standby                           hostile   names and bodies of an attacker
//   conflict    save answers 409     expired    calls after the session are 401     broken    an answer is not JSON
// State changes (save, delete, switch, rotate, replay…) last as long as the server, separately for each choice.

import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../console/page');
const port = Number(process.argv[process.argv.indexOf('--port') + 1] || 0) || 0;
const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml' };
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
  + "form-action 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'; trusted-types lit-html";

class Failure extends Error {
  constructor(status, code, message, { details = null, hint = null } = {}) {
    super(message);
    Object.assign(this, { status, body: { code, message, details, hint } });
  }
}
const fieldFailure = (field, message, hint = null) => new Failure(400, '22023', message, { details: JSON.stringify({ field }), hint });
const missing = (what) => new Failure(404, 'PT404', `${what} does not exist`, { hint: 'It may have been deleted.' });

const ago = (seconds) => new Date(Date.now() - seconds * 1000).toISOString().replace('Z', '000Z');
const ahead = (seconds) => ago(-seconds);
const evil = '<img src=x onerror=alert(1)>"\'‮gnp.exe{{7*7}}';

const examples = {
  'contact.created': { id: 4711, name: 'Ada Lovelace', email: 'ada@example.com', tags: ['lead'], created_at: '2026-11-28T14:02:11Z' },
  'contact.updated': { id: 4711, name: 'Ada King', email: 'ada@example.com', tags: ['lead', 'vip'] },
  'contact.deleted': { id: 4711 },
  'deal.created': { id: 88, title: 'Analytical engine', value: 125000, currency: 'EUR', stage: 'new', owner_id: 3 },
  'deal.updated': { id: 88, title: 'Analytical engine', value: 125000, currency: 'EUR', stage: 'qualified', owner_id: 3 },
  'deal.won': { id: 88, value: 125000, currency: 'EUR', won_at: '2026-11-28T14:02:11Z' },
  'deal.lost': { id: 88, reason: 'price' },
  'task.created': { id: 9, title: 'Call back', due_at: '2026-11-30T09:00:00Z' },
  'task.completed': { id: 9, completed_at: '2026-11-28T14:02:11Z' },
};
const descriptions = {
  'contact.created': 'A contact has been added.', 'contact.updated': 'A contact\'s fields have changed.', 'contact.deleted': 'A contact has been removed.',
  'deal.created': 'A deal has been opened.', 'deal.updated': 'A deal\'s fields or stage have changed.', 'deal.won': 'A deal has reached the stage won.',
  'deal.lost': 'A deal has been closed without a sale.', 'task.created': 'A task has been added.', 'task.completed': 'A task has been ticked off.',
};

function makeWebhook(n, changes) {
  return {
    id: uuidOf(n), organization: 'acme', name: `Webhook ${n}`, url: 'https://example.com/hook', events: ['*'], filter: null, is_active: true, has_secret: true,
    header_names: [], timeout_ms: 5000, retry_schedule_s: null, rate_limit_per_s: null, max_in_flight: 16, ordering: 'relaxed', test_event: null,
    disabled_at: null, disabled_reason: null, created_at: ago(90 * 86400), updated_at: ago(3 * 86400 + n * 811), ...changes,
  };
}

function makeTraffic(perHour, failing, { p50 = 84, p95 = 310, pending = 0, dead = 0, lastError = null } = {}) {
  const hours = Array.from({ length: 24 }, (_, i) => {
    const wave = 0.55 + 0.45 * Math.sin((i - 7) / 24 * 2 * Math.PI) + 0.13 * ((i * 7919) % 5);
    const attempts = Math.round(perHour * wave);
    const failed = typeof failing === 'function' ? Math.min(attempts, failing(i, attempts)) : Math.round(attempts * failing);
    return { hour: ago((23 - i) * 3600), attempts, successes: attempts - failed };
  });
  const attempts = hours.reduce((sum, hour) => sum + hour.attempts, 0);
  const successes = hours.reduce((sum, hour) => sum + hour.successes, 0);
  return { hours, attempts, successes, p50, p95, pending, dead, lastError };
}

// Webhooks have UUIDs; in an address of the page, '2' is short for the second.
const uuidOf = (id) => (/^\d{1,6}$/.test(String(id)) ? `00000000-0000-4000-8000-${String(id).padStart(12, '0')}` : id);
const numberOf = (id) => Number(String(id).split('-').at(-1));

class World {
  constructor(modes) {
    this.modes = modes;
    this.has = (mode) => modes.includes(mode);
    this.isPaused = this.has('paused');
    this.secrets = new Map();
    this.changes = [];
    this.webhooks = this.has('empty') ? [] : [
      makeWebhook(1, { name: 'CRM sync', url: 'https://sync.example.com/v2/webhooks/8fa2', events: ['contact.*', 'deal.*'], header_names: ['X-Api-Key'] }),
      makeWebhook(2, { name: 'Billing', url: 'https://billing.example.com:8443/hooks/deals', events: ['deal.won', 'deal.lost'], filter: '$.value >= 1000', ordering: 'key' }),
      makeWebhook(3, { name: 'Data warehouse', url: 'https://ingest.warehouse.example/rows', events: ['*'], rate_limit_per_s: 50, max_in_flight: 64 }),
      makeWebhook(4, { name: 'Slack notifications', url: 'https://hooks.slack.example/services/T0', events: ['deal.won'], is_active: true }),
      makeWebhook(5, { name: 'Old marketing tool', url: 'https://mkt.example.net/in', events: ['contact.created'], is_active: false, disabled_at: ago(2 * 86400), disabled_reason: 'failing for 72 hours: HTTP 410' }),
      ...(this.has('hostile') ? [makeWebhook(6, { name: evil + 'W'.repeat(150), url: `https://${'a'.repeat(60)}.example.com/${'x'.repeat(300)}`, events: [evil, 'contact.created'], organization: evil })] : []),
    ];
    this.traffic = new Map([
      [1, makeTraffic(420, 0.004, { pending: 3 })],
      [2, makeTraffic(38, (i, n) => (i > 20 ? n : 0), { p50: 1200, p95: 5000, pending: 41, dead: 2, lastError: 'HTTP 503 Service Unavailable' })],
      [3, makeTraffic(900, 0, { p50: 31, p95: 92 })],
      [4, makeTraffic(2, 0, { p50: 190, p95: 450 })],
      [5, makeTraffic(0, 0, { dead: 1000, lastError: 'HTTP 410 Gone' })],
      [6, makeTraffic(9, 0.5, { lastError: evil })],
    ]);
    this.logs = [];
    for (let i = 0; i < 400 && this.webhooks.length > 0; i += 1) this.logs.push(this.makeLog(i));
    this.replays = [];
    this.pendingRows = this.webhooks.length === 0 ? [] : Array.from({ length: 43 }, (_, i) => ({
      event_id: String(990000 + i), webhook: uuidOf(i % 4 === 3 ? 1 : 2), event: 'deal.won', key: String(80 + i), state: i > 40 ? 'dead' : 'pending', attempts: i > 40 ? 9 : 1 + (i % 5),
      created_at: ago(7200 + i * 60), next_attempt_at: i > 40 ? null : ahead(40 + i * 7), last_error: 'HTTP 503 Service Unavailable', updated_at: ago(120 + i),
    }));
  }

  makeLog(i) {
    const webhook = [1, 3, 1, 2, 3, 1, 3, 4][i % 8];
    const failed = webhook === 2 || i % 37 === 5;
    const names = { 1: ['contact.created', 'contact.updated', 'deal.updated'], 2: ['deal.won'], 3: ['contact.updated', 'task.created', 'deal.created'], 4: ['deal.won'] }[webhook];
    const hostile = this.has('hostile') && i % 5 === 0;
    return {
      id: String(9007199254741000n - BigInt(i)), created_at: ago(12 + i * 47), webhook: uuidOf(webhook), webhook_name: this.find(webhook)?.name ?? null,
      event: hostile ? evil : names[i % names.length], event_id: i % 29 === 7 ? null : String(1000400 - i), is_test: i % 29 === 7, attempt: failed ? 1 + (i % 4) : 1,
      status: failed ? 'failed' : 'success', response_status: failed ? (i % 3 === 0 ? null : 503) : 200,
      error: failed ? (hostile ? evil : i % 3 === 0 ? 'no response within 5000 ms' : 'HTTP 503 Service Unavailable') : null,
      duration_ms: failed ? (i % 3 === 0 ? 5000 : 840) : 30 + (i * 31) % 190, next_attempt_at: failed ? ahead(300 - (i % 200)) : null, key: String(80 + (i % 40)),
    };
  }

  find(id) {
    const wanted = uuidOf(id);
    return this.webhooks.find((webhook) => webhook.id === wanted) ?? null;
  }

  get(id) {
    const webhook = this.find(id);
    if (!webhook) throw missing(`webhook ${id}`);
    return webhook;
  }

  summary(webhook) {
    const traffic = this.traffic.get(numberOf(webhook.id)) ?? makeTraffic(0, 0);
    const url = new URL(webhook.url);
    const isOpen = webhook.id === uuidOf(2);
    return {
      id: webhook.id, organization: webhook.organization, name: webhook.name, host: url.host, events: webhook.events, is_active: webhook.is_active, updated_at: webhook.updated_at,
      hours: traffic.hours, attempts: traffic.attempts, successes: traffic.successes, success_percent: traffic.attempts ? traffic.successes / traffic.attempts * 100 : null,
      p50_ms: traffic.attempts ? traffic.p50 : null, p95_ms: traffic.attempts ? traffic.p95 : null,
      pending: { count: traffic.pending, is_more: false }, dead: { count: traffic.dead, is_more: traffic.dead >= 1000 },
      circuit: isOpen ? { state: 'open', opened_at: ago(5400), next_probe_at: ahead(40), failing_since: ago(9000) } : { state: 'closed', opened_at: null, next_probe_at: null, failing_since: null },
      last_success_at: traffic.attempts ? ago(isOpen ? 9000 : 14 * numberOf(webhook.id)) : null, last_failure_at: traffic.lastError ? ago(75) : null, last_error: traffic.lastError,
      unjudged: webhook.id === uuidOf(2) ? 4 : 0, filter_error: null, disabled_reason: webhook.disabled_reason,
    };
  }

  findings(webhook) {
    const found = [];
    if (webhook.id === uuidOf(2)) {
      found.push({ severity: 'error', finding: 'every delivery has failed for 2 h 30 min: HTTP 503 Service Unavailable', hint: 'Look at the newest attempt for what the receiver answers. Deliveries wait and are sent when it answers again.', webhook: uuidOf(2), action: 'test' });
      found.push({ severity: 'warning', finding: '2 deliveries are dead', hint: 'Replay what failed when the receiver answers again.', webhook: uuidOf(2), action: 'replay_failed' });
    }
    found.push({ severity: 'info', finding: `the last attempt, at ${ago(75)}, ${webhook.id === uuidOf(2) ? 'failed' : 'was successful'}`, hint: null, webhook: webhook.id, action: null });
    if (webhook.disabled_at) found.push({ severity: 'error', finding: `the webhook was turned off: ${webhook.disabled_reason}`, hint: 'Turn it on when the receiver answers again.', webhook: webhook.id, action: 'activate' });
    return found;
  }

  problems(webhook, id) {
    const found = [];
    const given = (name) => Object.hasOwn(webhook, name);
    if (given('name') && !String(webhook.name ?? '').trim()) found.push({ field: 'name', message: 'the name is empty', hint: 'Give the webhook a name that its owners recognize.' });
    if (given('url')) {
      let url = null;
      try { url = new URL(webhook.url); } catch { /* judged below */ }
      if (!url) found.push({ field: 'url', message: 'the URL is not valid', hint: 'Write it as https://host/path.' });
      else if (url.protocol !== 'https:') found.push({ field: 'url', message: 'the URL does not begin with https://', hint: 'Webhooks are sent by HTTPS only.' });
      else if (/^(localhost|127\.|10\.|192\.168\.)/.test(url.hostname)) found.push({ field: 'url', message: `the address ${url.hostname} is not public`, hint: 'Use a tunnel to receive on your own computer.' });
    }
    if (given('filter') && webhook.filter && !/^(strict |lax )?[$(!]/.test(webhook.filter)) found.push({ field: 'filter', message: 'syntax error at the start of the filter', hint: 'A filter compares members, such as $.value >= 1000.' });
    if (given('timeout_ms') && !(webhook.timeout_ms >= 100 && webhook.timeout_ms <= 60000)) found.push({ field: 'timeout_ms', message: 'the timeout is not between 100 and 60000 ms', hint: null });
    if (given('events') && webhook.events.length === 0) found.push({ field: 'events', message: 'no event is chosen', hint: 'Choose at least one, or all.' });
    if (!id && !given('url')) found.push({ field: 'url', message: 'the URL is missing', hint: null });
    return found;
  }
}

const like = (pattern, event) => new RegExp(`^${pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')}$`).test(event);
const selects = (patterns, event) => !patterns || patterns.length === 0 || patterns.some((pattern) => like(pattern, event));
const newSecret = () => `whsec_${Buffer.from(Array.from({ length: 32 }, (_, i) => (i * 37 + Date.now()) % 256)).toString('base64')}`;
const page = (rows, after, size) => {
  const from = Number(after ?? 0);
  return { rows: rows.slice(from, from + size), next: from + size < rows.length ? from + size : null };
};

// Each function of docs/api.md: (world, arguments) => result.
const api = {
  session(world) {
    const level = world.has('readonly') ? 'read' : world.has('operator') ? 'operate' : 'manage';
    return {
      now: ago(0), user: world.has('operator') ? 'postgres' : 'crm_app', organization: world.has('operator') ? null : 'acme', level,
      can: { write: level !== 'read', see_data: level !== 'read', choose_organization: level === 'operate' },
      organizations: level === 'operate' ? ['acme', 'globex', 'initech'] : [], database: 'app', version: '1.0',
      server: { workers: world.has('noworker') ? 0 : 1, is_preloaded: !world.has('noworker'), is_paused: world.isPaused, paused_reason: world.isPaused ? 'maintenance of the billing system' : null, is_standby: world.has('standby'), is_enabled: true },
      defaults: { timeout_ms: 5000, retry_schedule_s: [5, 30, 120, 600, 3600, 10800, 21600, 43200], max_in_flight: 16, ordering: 'relaxed' },
      limits: { name_characters: 200, url_bytes: 2048, events: 200, filter_bytes: 1024, secret_bytes: 512, headers: 32, header_bytes: 8192, retry_steps: 20, timeout_ms: [100, 60000], max_in_flight: [1, 1000], rate_limit_per_s: [0.001, 100000], max_payload_bytes: 262144, allow_http: false, allowed_ports: '443,8443' },
    };
  },
  check: (world) => ({ findings: [
    { severity: 'warning', finding: 'webhook.allowed_networks allows 10.0.0.0/8', hint: 'Anybody who may create webhooks can reach servers there.', webhook: null, action: null },
    ...world.webhooks.flatMap((webhook) => world.findings(webhook))] }),
  webhooks(world, { organization, search, status, after, page_size: size = 50 }) {
    const rows = world.webhooks.map((webhook) => world.summary(webhook)).filter((row) => (!organization || row.organization === organization)
      && (!search || `${row.name} ${row.host}`.toLowerCase().includes(search.toLowerCase()))
      && (!status || (status === 'active' ? row.is_active : status === 'inactive' ? !row.is_active : row.circuit.state === 'open')));
    const { rows: webhooks, next } = page(rows, after, size);
    return { now: ago(0), webhooks, next };
  },
  webhook(world, { id }) {
    const webhook = world.get(id);
    return { now: ago(0), webhook, summary: world.summary(webhook), findings: world.findings(webhook) };
  },
  save(world, { webhook, id, if_updated_at: since }) {
    const before = id ? world.get(id) : null;
    if (before && (world.has('conflict') || (since && since !== before.updated_at))) {
      const current = { ...before, name: `${before.name} (EU)`, timeout_ms: 8000, updated_at: world.has('conflict') ? ago(20) : before.updated_at };
      world.modes = world.modes.filter((mode) => mode !== 'conflict');
      Object.assign(before, current);
      throw new Failure(409, 'PT409', 'the webhook has been changed since it was loaded', { details: JSON.stringify({ current }), hint: 'Look at the current version and save again.' });
    }
    const [problem] = world.problems(webhook, id);
    if (problem) throw fieldFailure(problem.field, problem.message, problem.hint);
    if (world.webhooks.some((other) => other.name === webhook.name && other.id !== uuidOf(id))) throw new Failure(409, 'PT409', `the name "${webhook.name}" is taken`, { details: JSON.stringify({ field: 'name' }), hint: 'Choose another name.' });
    const { headers = {}, secret, ...rest } = webhook;
    const saved = before ?? makeWebhook(Math.max(0, ...world.webhooks.map((other) => numberOf(other.id))) + 1, { created_at: ago(0) });
    const old = { ...saved };
    const names = new Set(saved.header_names);
    for (const [name, value] of Object.entries(headers)) value === null ? names.delete(name) : names.add(name);
    Object.assign(saved, rest, { header_names: [...names], updated_at: ago(0), has_secret: true });
    if (rest.is_active) Object.assign(saved, { disabled_at: null, disabled_reason: null });
    if (!before) world.webhooks.push(saved);
    world.changes.unshift({ id: String(world.changes.length + 100), webhook: saved.id, changed_at: ago(0), operation: before ? 'UPDATE' : 'INSERT', version: world.changes.length + 4, user: 'crm_app', subject: 'ada@example.com', old: before ? pick(old, Object.keys(rest)) : null, new: rest });
    return { webhook: saved, secret: before ? null : secret ?? newSecret() };
  },
  delete(world, { id }) {
    const webhook = world.get(id);
    world.webhooks = world.webhooks.filter((other) => other !== webhook);
    return { deleted: webhook.id, pending: world.traffic.get(numberOf(webhook.id))?.pending ?? 0 };
  },
  validate: (world, { webhook, id }) => ({ problems: world.problems(webhook, id) }),
  reveal(world, { id }) {
    world.get(id);
    if (!world.secrets.has(id)) world.secrets.set(id, newSecret());
    return { secret: world.secrets.get(id) };
  },
  rotate(world, { id, overlap_s: overlap = 86400 }) {
    world.get(id);
    world.secrets.set(id, newSecret());
    return { secret: world.secrets.get(id), old_secret_until: ahead(overlap) };
  },
  history(world, { id, before, page_size: size = 50 }) {
    const rows = [...world.changes.filter((change) => change.webhook === uuidOf(id)),
      { id: '42', changed_at: ago(3 * 86400), operation: 'UPDATE', version: 3, user: 'crm_app', subject: 'grace@example.com', old: { timeout_ms: 3000, events: ['contact.created'] }, new: { timeout_ms: 5000, events: ['contact.*', 'deal.*'] } },
      { id: '41', changed_at: ago(40 * 86400), operation: 'UPDATE', version: 2, user: 'postgres', subject: null, old: { secret: '***' }, new: { secret: '***' } },
      { id: '40', changed_at: ago(90 * 86400), operation: 'INSERT', version: 1, user: 'crm_app', subject: 'ada@example.com', old: null, new: { name: 'CRM sync', url: 'https://sync.example.com/v2/webhooks/8fa2', events: ['contact.created'], is_active: true } }];
    return { changes: before ? [] : rows.slice(0, size), next: null };
  },
  event_types() {
    const categories = new Map();
    for (const name of Object.keys(examples)) {
      const category = name.split('.')[0];
      if (!categories.has(category)) categories.set(category, []);
      categories.get(category).push({ name, description: descriptions[name], example: examples[name], is_builtin: false, is_watched: name !== 'task.completed' });
    }
    return { categories: [...categories].map(([category, events]) => ({ category, events })) };
  },
  watches: () => ({ watches: [
    { source: 'crm.contacts', event: 'contact.created', operation: 'INSERT', condition: null, changed_columns: null, is_enabled: true },
    { source: 'crm.contacts', event: 'contact.updated', operation: 'UPDATE', condition: null, changed_columns: ['name', 'email', 'tags'], is_enabled: true },
    { source: 'crm.deals', event: 'deal.won', operation: 'UPDATE', condition: "new.stage = 'won' AND old.stage <> 'won'", changed_columns: ['stage'], is_enabled: true },
    { source: 'crm.deals', event: 'deal.created', operation: 'INSERT', condition: null, changed_columns: null, is_enabled: false },
  ] }),
  match_count(world, { events, filter }) {
    const counts = { 'contact.created': 312, 'contact.updated': 2840, 'contact.deleted': 9, 'deal.created': 61, 'deal.updated': 544, 'deal.won': 12, 'deal.lost': 20, 'task.created': 130, 'task.completed': 0 };
    const by = Object.fromEntries(Object.entries(counts).filter(([name]) => events?.length && selects(events, name)));
    const matched = Object.values(by).reduce((sum, n) => sum + n, 0);
    return { since: ago(86400), searched: 3928, is_complete: true, matched: filter ? Math.round(matched * 0.4) : matched, by_event: by, unjudged: filter ? 4 : 0 };
  },
  try_filter(world, { filter, events, page_size: size = 20 }) {
    const [problem] = world.problems({ filter });
    if (problem) throw fieldFailure('filter', problem.message, problem.hint);
    const rows = Object.keys(examples).filter((name) => selects(events, name)).flatMap((name, i) => [0, 1].map((n) => ({
      event_id: String(1000400 - i * 2 - n), event: name, created_at: ago(90 + i * 400 + n * 77), key: String(88 + n), matches: (i + n) % 3 !== 1,
      reason: (i + n) % 3 !== 1 ? null : 'the member "value" is 420, the filter asks for at least 1000', data: examples[name],
    }))).slice(0, size);
    return { tried: rows.length, matched: rows.filter((row) => row.matches).length, events: rows };
  },
  logs(world, { webhook, status, event, key, event_id: eventId, since, until, before, after, page_size: size = 50 }) {
    const rows = world.logs.filter((log) => (!webhook || log.webhook === uuidOf(webhook)) && (!event || like(event, log.event)) && (!key || log.key === key)
      && (!eventId || log.event_id === String(eventId)) && (!since || log.created_at >= since) && (!until || log.created_at < until)
      && (!status || (status === 'test' ? log.is_test : log.status === status)) && (!before || BigInt(log.id) < BigInt(before)) && (!after || BigInt(log.id) > BigInt(after)));
    const shown = after ? rows.slice(-size).reverse() : rows.slice(0, size);
    return { now: ago(0), logs: shown, next: !after && rows.length > size ? shown.at(-1).id : null, searched_to: null };
  },
  attempt(world, { id }) {
    const log = world.logs.find((row) => row.id === String(id));
    if (!log) throw missing(`attempt ${id}`);
    const webhook = world.get(log.webhook);
    const attempts = Array.from({ length: log.attempt }, (_, i) => ({ ...log, id: i + 1 === log.attempt ? log.id : String(BigInt(log.id) - BigInt(1000 * (log.attempt - i))), attempt: i + 1, created_at: new Date(Date.parse(log.created_at) - (log.attempt - 1 - i) * 120000).toISOString() }));
    const body = JSON.stringify({ id: `msg_${log.event_id ?? 'test'}`, event: log.event, timestamp: log.created_at, data: examples[log.event] ?? {} });
    const headers = { 'content-type': 'application/json', 'user-agent': 'webhook/1.0', 'webhook-id': `msg_${log.event_id ?? 'test'}`, 'webhook-timestamp': '1795874531', 'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=', 'x-api-key': '***' };
    const isFailed = log.status === 'failed';
    return {
      now: ago(0), attempt: { ...log, response_body: world.has('hostile') ? `<script>alert(1)</script>${evil}` : isFailed ? '{"error":"upstream unavailable"}' : '{"ok":true}', remote_ip: '203.0.113.7', response_headers: isFailed && log.response_status ? `Server: nginx\nSet-Cookie: ***\nX-Reason: ${world.has('hostile') ? evil : 'overload'}` : null, configuration_version: isFailed ? 3 : 5 },
      changed_since: isFailed, attempts, attempts_max: 9, delivery: isFailed && log.event_id ? { event_id: log.event_id, webhook: log.webhook, event: log.event, key: log.key, state: 'pending', attempts: log.attempt, created_at: log.created_at, next_attempt_at: ahead(240), last_error: log.error, updated_at: log.created_at } : null,
      request: world.has('readonly') ? null : { url: webhook.url, version: isFailed ? 3 : 5, headers, body }, curl: world.has('readonly') ? null : `curl -X POST ${webhook.url} \\\n  -H 'content-type: application/json' \\\n  --data '${body}'`,
    };
  },
  pending(world, { webhook, state = 'pending', event_id: eventId, after, page_size: size = 50 }) {
    const { rows, next } = page(world.pendingRows.filter((row) => row.state === state && (!webhook || row.webhook === uuidOf(webhook)) && (!eventId || row.event_id === String(eventId))), after, size);
    return { now: ago(0), deliveries: rows, next };
  },
  series(world, { webhook, since, until }) {
    const to = until ? Date.parse(until) : Date.now();
    const from = since ? Date.parse(since) : to - 86400000;
    const step = to - from > 3 * 86400000 ? 86400 : 3600;
    const n = Math.min(90, Math.round((to - from) / 1000 / step));
    const traffic = world.traffic.get(numberOf(webhook)) ?? makeTraffic(0, 0);
    return { step_s: step, points: Array.from({ length: n }, (_, i) => {
      const hour = traffic.hours[(24 - (n % 24) + i) % 24];
      const scale = step / 3600;
      return { at: new Date(to - (n - i) * step * 1000).toISOString(), attempts: hour.attempts * scale, successes: hour.successes * scale, p50_ms: hour.attempts ? traffic.p50 + (i * 13) % 29 : null, p95_ms: hour.attempts ? traffic.p95 + (i * 41) % 120 : null };
    }) };
  },
  breakdown(world, { webhook }) {
    const traffic = world.traffic.get(numberOf(webhook)) ?? makeTraffic(0, 0);
    const failed = traffic.attempts - traffic.successes;
    const names = world.find(webhook)?.events.includes('deal.won') ? ['deal.won', 'deal.lost'] : ['contact.updated', 'contact.created', 'deal.updated'];
    return {
      by_event: names.map((event, i) => ({ event, attempts: Math.round(traffic.attempts / (i + 1.6)), successes: Math.round(traffic.successes / (i + 1.6)) })),
      by_status: [{ response_status: 200, error: null, attempts: traffic.successes }, ...(failed ? [{ response_status: 503, error: 'HTTP 503 Service Unavailable', attempts: Math.ceil(failed * 0.7) }, { response_status: null, error: 'no response within 5000 ms', attempts: Math.floor(failed * 0.3) }] : [])].filter((row) => row.attempts),
      searched_to: null,
    };
  },
  test(world, { id, event, payload }) {
    const webhook = world.get(id);
    const isFailed = webhook.id === uuidOf(2);
    const log = { ...world.makeLog(0), id: String(9007199254742000n + BigInt(world.logs.length)), created_at: ago(0), webhook: webhook.id, webhook_name: webhook.name, event: event ?? 'webhook.test', event_id: null, is_test: true, attempt: 1, status: isFailed ? 'failed' : 'success', response_status: isFailed ? 503 : 200, error: isFailed ? 'HTTP 503 Service Unavailable' : null, duration_ms: 87, next_attempt_at: null };
    world.logs.unshift(log);
    return { status: log.status, response_status: log.response_status, response_headers: 'Content-Type: application/json\nServer: demo', response_body: isFailed ? '{"error":"upstream unavailable"}' : '{"ok":true}', error: log.error, duration_ms: 87, log_id: log.id,
      request: { url: webhook.url, headers: { 'content-type': 'application/json', 'webhook-id': 'msg_test', 'webhook-timestamp': '1795874531', 'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=' }, body: JSON.stringify({ event: event ?? 'webhook.test', data: payload ?? examples[event] ?? {} }) } };
  },
  redeliver(world, { log_ids: ids }) {
    const problems = ids.filter((id) => world.logs.find((log) => log.id === String(id))?.is_test).map((id) => ({ log_id: String(id), message: 'a test is not redelivered' }));
    return { redelivered: ids.length - problems.length, problems };
  },
  replay(world, { id, since, only_failed: onlyFailed = false, dry_run: isDry = false }) {
    world.get(id);
    const count = onlyFailed ? 43 : 2184;
    const isComplete = onlyFailed || since !== '-infinity';
    if (isDry) return { count, is_complete: isComplete, counted_to: isComplete ? null : ago(86400) };
    world.replays.unshift({ id: String(world.replays.length + 1), webhook: uuidOf(id), begunAt: Date.now(), count, since, onlyFailed, isCancelled: false });
    return { job: world.replays[0].id };
  },
  replays: (world, { id }) => ({ replays: world.replays.filter((replay) => replay.webhook === uuidOf(id)).map(replayOf), next: null }),
  cancel_replay(world, { job }) {
    const found = world.replays.find((replay) => replay.id === String(job));
    if (!found) throw missing(`replay ${job}`);
    const cancelled = replayOf(found).ended_at === null;
    if (cancelled) Object.assign(found, { isCancelled: true, endedAt: Date.now() });
    return { cancelled, replay: replayOf(found) };
  },
  cancel(world, { id, event_id: eventId }) {
    const before = world.pendingRows.length;
    world.pendingRows = world.pendingRows.filter((row) => !(row.webhook === uuidOf(id) && row.event_id === String(eventId)));
    return { cancelled: before - world.pendingRows.length };
  },
  resume(world) { world.isPaused = false; return { server: api.session(world).server }; },
  pause(world) { world.isPaused = true; return { server: api.session(world).server }; },
  explain(world, { event_id: id }) {
    if (!/^\d+$/.test(String(id))) throw fieldFailure('event_id', 'the event id is not a number');
    if (String(id) === '404') throw missing(`event ${id}`);
    return { event: { id: String(id), webhook_id: `msg_${id}`, event: 'deal.won', created_at: ago(4000), key: '88' }, webhooks: world.webhooks.map((webhook) => ({
      webhook: webhook.id, name: webhook.name, matched: selects(webhook.events, 'deal.won') && webhook.is_active, reason: !selects(webhook.events, 'deal.won') ? 'the webhook does not subscribe to deal.won' : !webhook.is_active ? 'the webhook was off' : null,
      outcome: !selects(webhook.events, 'deal.won') || !webhook.is_active ? null : webhook.id === uuidOf(2) ? 'pending' : 'delivered', attempts: webhook.id === uuidOf(2) ? 3 : 1, last_attempt_at: ago(webhook.id === uuidOf(2) ? 120 : 3999), last_error: webhook.id === uuidOf(2) ? 'HTTP 503 Service Unavailable' : null, next_attempt_at: webhook.id === uuidOf(2) ? ahead(300) : null,
    })) };
  },
  find: (world, { webhook_id: webhookId, source, key }) => ({ events: webhookId === 'none' || key === 'none' ? [] : Array.from({ length: webhookId ? 1 : 3 }, (_, i) => ({ id: String(1000400 - i), webhook_id: webhookId ?? `msg_${1000400 - i}`, event: source === 'crm.contacts' ? 'contact.updated' : 'deal.won', created_at: ago(400 + i * 4000), key: key ?? '88', organization: 'acme' })), searched_to: ago(30 * 86400) }),
  verify(world, { body, secret, headers }) {
    const id = headers?.['webhook-id'];
    const steps = [
      { step: 'headers', is_ok: Boolean(id), message: id ? 'the three headers are there' : 'the header webhook-id is missing' },
      { step: 'timestamp', is_ok: id ? true : null, message: id ? 'the timestamp is 12 s old' : 'not looked at' },
      { step: 'secret', is_ok: id ? String(secret).startsWith('whsec_') : null, message: 'the secret has 32 bytes' },
      { step: 'webhook-signature', is_ok: id ? String(body).startsWith('{"') : null, message: String(body).startsWith('{"') ? 'a signature is one of this body' : 'no signature is one of this body; it was probably parsed and serialized again' },
    ];
    return { is_valid: steps.every((step) => step.is_ok), steps };
  },
};

// Takes half a minute.
function replayOf({ id, webhook, begunAt, endedAt, count, since, onlyFailed, isCancelled }) {
  const share = Math.min(1, ((endedAt ?? Date.now()) - begunAt) / 30000);
  const state = isCancelled ? 'cancelled' : share === 1 ? 'done' : 'running';
  const time = (ms) => new Date(ms).toISOString();
  return {
    id, webhook, state, reason: null, since, until: time(begunAt), events: null, only_failed: onlyFailed, progress_percent: Math.floor(share * 100),
    examined: Math.floor(share * count * 1.2), queued: Math.floor(share * count), oldest_event_at: ago(86400), newest_event_at: ago(3600), user: 'crm_admin',
    subject: 'ada@example.com', requested_at: time(begunAt), started_at: time(begunAt), ended_at: state === 'running' ? null : time(endedAt ?? begunAt + 30000),
  };
}

function pick(object, names) {
  return Object.fromEntries(names.filter((name) => name in object).map((name) => [name, object[name]]));
}

const worlds = new Map();
function worldOf(choice) {
  if (!worlds.has(choice)) worlds.set(choice, new World(choice.split(',').filter(Boolean)));
  return worlds.get(choice);
}

function refuse(world, name) {
  if (world.has('down') || (world.has('error') && name !== 'session')) throw new Failure(500, '57P01', 'terminating connection due to administrator command');
  if (world.has('forbidden') && name !== 'session') throw new Failure(403, '42501', `permission denied for function ${name}`);
  if (world.has('signedout') || (world.has('expired') && name !== 'session')) throw new Failure(401, 'PT401', 'the token has expired');
  const writes = ['save', 'delete', 'reveal', 'rotate', 'test', 'redeliver', 'cancel', 'cancel_replay', 'resume', 'pause', 'validate', 'try_filter'];
  if (world.has('readonly') && (writes.includes(name) || name === 'replay')) throw new Failure(403, '42501', `permission denied for function ${name}`);
}

async function callFunction(world, name, request, response) {
  let text = '';
  for await (const chunk of request) text += chunk;
  let status = 200;
  let result;
  try {
    refuse(world, name);
    if (!Object.hasOwn(api, name)) throw new Failure(404, 'PGRST202', `the function ${name} does not exist`);
    if (world.has('slow') && name !== 'session') await new Promise((resolve) => { setTimeout(resolve, 2000); });
    result = api[name](world, JSON.parse(text || '{}'));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    ({ status, body: result } = error);
  }
  response.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' });
  response.end(world.has('broken') && name !== 'session' ? '<html>502 Bad Gateway</html>' : JSON.stringify(result));
}

function serveFile(name, response) {
  const file = path.join(folder, path.normalize(`/${name || 'index.html'}`));
  if (!types[path.extname(file)] || !fs.existsSync(file)) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'Content-Type': types[path.extname(file)], 'Content-Security-Policy': policy, 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff' });
  response.end(fs.readFileSync(file));
}

const server = http.createServer((request, response) => {
  const [, choice = '', rest = ''] = /^\/(?:~([a-z,]*)\/)?(.*)$/.exec(request.url.split('?')[0]) ?? [];
  const world = worldOf(choice);
  if (request.method === 'POST' && rest.startsWith('rpc/')) {
    callFunction(world, rest.slice(4), request, response).catch((error) => {
      console.error(error);
      response.writeHead(500).end('{"code":"XX000","message":"the mock has failed"}');
    });
  } else if (request.method === 'GET' && rest === 'config') {
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ sign_in: 'code', databases: world.has('operator') ? ['app', 'archive'] : ['app'], database: 'app', base: '/', version: '1.0' }));
  } else if (request.method === 'POST' && rest === 'session') {
    response.writeHead(world.has('signedout') ? 401 : 200, { 'Content-Type': 'application/json' }).end(world.has('signedout') ? '{"code":"PT401","message":"the code is not valid"}' : '{}');
  } else {
    serveFile(rest, response);
  }
});
server.listen(port, '127.0.0.1', () => console.log(`ready ${server.address().port}`));

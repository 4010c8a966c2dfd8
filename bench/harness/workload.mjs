// What all benchmarks insert and send: one table, one row, one body size.
import { createHmac, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { cpuSeconds, output, until } from './process.mjs';
import { configure, connectionString, programs, work } from './server.mjs';

export const BODY_BYTES = 500;
export const EVENT = 'contact.created';
const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

// A table of a CRM. The ids begin high so that all rows are of one length.
export const createTable = (name) => `
  CREATE TABLE ${name} (
    id              bigint GENERATED ALWAYS AS IDENTITY (START 1000000) PRIMARY KEY,
    organization_id text NOT NULL,
    name            text NOT NULL,
    email           text,
    phone           text,
    stage           text,
    amount          numeric(12, 2),
    notes           text,
    created_at      timestamptz NOT NULL DEFAULT '2026-01-01 00:00:00.123456+00',
    updated_at      timestamptz NOT NULL DEFAULT '2026-01-01 00:00:00.123456+00')`;

// The row as JSON is 250 bytes long with empty notes, as an ordinary row of a CRM is.
export const columns = 'organization_id, name, email, phone, stage, amount, notes';
export const values = (organization = `'organization-00000'`, notes = `''`) =>
  `${organization}, 'Ada Lovelace', 'ada.lovelace@example.com', '+44 20 7946 0958', 'qualified', 12500.00, ${notes}`;

// Notes that make the request's body BODY_BYTES long.
const envelope = `{"event":"${EVENT}","timestamp":"2024-01-15T10:30:00.000000Z","data":}`.length;

export async function notesFor(database) {
  const row = await database.value(`
    SELECT octet_length(replace(row_to_json(r)::text, 'Z"', '+00:00"'))
      FROM (SELECT 1000000 AS id, organization_id, name, email, phone, stage, amount, notes,
                   '2026-01-01 00:00:00.123456+00'::timestamptz AS created_at,
                   '2026-01-01 00:00:00.123456+00'::timestamptz AS updated_at
              FROM (VALUES (${values(`'organization-00000'`)})) AS v (${columns})) AS r`);
  return `repeat('n', ${BODY_BYTES - envelope - row})`;
}

// Fills the table contacts of a database with so many rows, spread over the organizations or of this one, in statements of
// 100,000.
export async function insertContacts(database, count, { organizations = 1, organization = null } = {}) {
  const notes = await notesFor(database);
  const name = organization ? `'${organization}'` : `'organization-' || to_char(i % ${organizations}, 'FM00000')`;
  for (let from = 0; from < count; from += 100_000) {
    const upTo = Math.min(count, from + 100_000) - 1;
    await database.query(`INSERT INTO contacts (${columns})
      SELECT ${values(name, notes)}
        FROM generate_series(${from}, ${upTo}) AS i`);
  }
}

// Creates a webhook for each URL. Each has an organization of its own, or all share one, which may have a name.
export async function createWebhooks(database, urls, { sharedOrganization = false, organization = null, name = 'webhook' } = {}) {
  await database.query(`
    INSERT INTO webhook_configurations (organization_id, name, url, events, secret)
    SELECT coalesce($5, 'organization-' || to_char(CASE WHEN $2 THEN 0 ELSE n - 1 END, 'FM00000')), $6 || ' ' || n, url,
           ARRAY[$3], $4
      FROM unnest($1::text[]) WITH ORDINALITY AS u (url, n)`, [urls, sharedOrganization, EVENT, secret, organization, name]);
}

export async function watchContacts(database) {
  await database.query(createTable('contacts'));
  await database.query(`SELECT webhook_watch('contacts', '${EVENT}')`);
}

// The CPU that the database's workers have used so far.
export async function cpuOfWorkers(database) {
  const seconds = await Promise.all((await database.workers()).map(cpuSeconds));
  return seconds.reduce((sum, one) => sum + one, 0);
}

// Lets the worker deliver and waits until endpoint has received count requests and all are in webhook_logs. Gives
// rate: deliveries a second; cpu_us: what one costs the workers; progress: the seconds after which each step-th request
// had been answered.
export async function drain(database, endpoint, count, { step = count, seconds = 600 } = {}) {
  await database.query('CHECKPOINT');
  const floor = await database.value('SELECT coalesce(max(id), 0) FROM webhook_logs');
  const before = await endpoint.requests();
  const cpuBefore = await cpuOfWorkers(database);
  const progress = [];
  const began = performance.now();
  let last = { done: 0, at: 0 };
  await configure({ 'webhook.enabled': 'on' });
  await until(`${count} requests`, async () => {
    const done = await endpoint.requests() - before;
    const at = (performance.now() - began) / 1000;
    for (let mark = (progress.length + 1) * step; mark <= done; mark += step) {
      progress.push(last.at + (at - last.at) * (mark - last.done) / (done - last.done));
    }
    last = { done, at };
    return done >= count;
  }, { seconds });
  await until(`${count} log rows`, async () =>
    await database.value("SELECT count(*) FROM webhook_logs WHERE id > $1 AND status = 'success'", [floor]) >= count, { seconds, pause_ms: 10 });
  const took = (performance.now() - began) / 1000;
  const cpu = await cpuOfWorkers(database) - cpuBefore;
  return { rate: count / took, cpu_us: cpu / count * 1e6, progress };
}

// A request as the extension sends it, for what it is compared with.
export function sampleRequest() {
  const data = { id: 1000000, organization_id: 'organization-00000', name: 'Ada Lovelace', notes: '' };
  const bodyOf = () => JSON.stringify({ event: EVENT, timestamp: '2024-01-15T10:30:00.000000Z', data });
  data.notes = 'n'.repeat(BODY_BYTES - bodyOf().length);
  return { body: bodyOf(), headers: headersOf(bodyOf()) };
}

const key = Buffer.from(secret.slice('whsec_'.length), 'base64');

// Signed as the extension signs: both signatures, one id.
export function headersOf(body) {
  const id = `evt_${randomBytes(16).toString('hex').slice(0, 26)}`;
  const now = new Date();
  const seconds = String(Math.floor(now / 1000));
  return {
    'Content-Type': 'application/json',
    'User-Agent': 'webhook/1.0 (PostgreSQL 15)',
    'X-Webhook-Event': EVENT,
    'X-Webhook-Id': id,
    'webhook-id': id,
    'X-Webhook-Attempt': '1',
    'X-Webhook-Timestamp': now.toISOString(),
    'X-Webhook-Signature': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
    'webhook-timestamp': seconds,
    'webhook-signature': `v1,${createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest('base64')}`,
  };
}

// Writes the request to files for the programs that send it again and again.
export function writeSampleRequest() {
  const { body, headers } = sampleRequest();
  const files = { body: `${work}/body.json`, headers: `${work}/headers.txt`, wrk: `${work}/post.lua` };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  writeFileSync(files.body, body);
  writeFileSync(files.headers, `${lines.join('\n')}\n`);
  writeFileSync(files.wrk, ['wrk.method = "POST"', `wrk.body = ${JSON.stringify(body)}`,
    ...Object.entries(headers).map(([name, value]) => `wrk.headers[${JSON.stringify(name)}] = ${JSON.stringify(value)}`),
  ].join('\n'));
  return files;
}

// What programs/latency prints; without the longest, which says nothing where nothing is thought to wait. args: idle ROUNDS |
// rate PER_SECOND SECONDS …
export async function latency(database, args, { synchronousCommit = 'on', longest = false } = {}) {
  const options = new URLSearchParams({ options: `-c synchronous_commit=${synchronousCommit}` });
  const connection = `${connectionString(database.name)}&${options.toString().replaceAll('+', '%20')}`;
  const measured = JSON.parse(await output(`${programs}/latency`, [connection, ...args]));
  delete measured.from_due_max_us;
  if (!longest) delete measured.max_us;
  return measured;
}

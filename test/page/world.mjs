// What the browser meets: a cluster with the extension and examples/crm.sql, the project's receiver, and the two hosts of
// the page: webhook-console, and a product that embeds the page and answers its calls by the stand-in for PostgREST.
//
//   const world = await startWorld('/tmp/folder');   // an empty folder; dev/environment.sh starts the cluster in it
//   const [{ tenant }] = await world.sql('SELECT …', [parameter, …]);
//   await world.stop();
//
// Everything listens on 127.0.0.1, on ports that the system chooses.

import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';
import { startConsole } from './console_host.mjs';
import { startProduct } from './product_host.mjs';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

// How long a condition may take before a test gives it up; far longer than on an idle machine.
export const patienceMs = 1000 * Number(process.env.PG_TEST_TIMEOUT_DEFAULT ?? 180);

const database = 'crm';
const settings = [
  "webhook.allow_http = on", "webhook.allowed_networks = '127.0.0.0/8'", "max_connections = 60", 'fsync = off',
  "log_min_messages = warning",
];
const roles = { crm_admin: 'manage', crm_reader: 'read', crm_operator: 'operate' };

const run = promisify(execFile);

// The functions of dev/environment.sh.
const inEnvironment = (script, ...args) =>
  run('bash', ['-c', `source ${JSON.stringify(`${root}/dev/environment.sh`)} && find_postgresql && ${script}`, 'world', ...args]);

// Waits until the condition returns what is true, and returns it.
export async function until(what, condition) {
  const deadline = Date.now() + patienceMs;
  for (let pauseMs = 5; ; pauseMs = Math.min(pauseMs * 1.5, 100)) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

class Receiver {
  #process;

  static async start(dir) {
    const receiver = new Receiver();
    const args = [`${root}/test/support/receiver.mjs`, '--record', `${dir}/requests.jsonl`, '--until-stdin-closes'];
    receiver.record = `${dir}/requests.jsonl`;
    receiver.#process = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const [line] = await once(receiver.#process.stdout, 'data');
    const { url, control_port: controlPort } = JSON.parse(line);
    return Object.assign(receiver, { origin: url, control: `http://127.0.0.1:${controlPort}` });
  }

  url(script) {
    return this.origin + script;
  }

  // Makes a path answer like a script of receiver.mjs; null undoes it.
  async set(pathname, script) {
    const response = await fetch(`${this.control}/set`, { method: 'POST', body: JSON.stringify({ path: pathname, script }) });
    if (!response.ok) throw new Error(await response.text());
  }

  // What came to a path, the query string included.
  requests(pathname) {
    const lines = fs.existsSync(this.record) ? fs.readFileSync(this.record, 'utf8').split('\n').filter(Boolean) : [];
    return lines.map((line) => JSON.parse(line)).filter((request) => request.path === pathname)
      .map((request) => ({ ...request, body: Buffer.from(request.body_base64, 'base64').toString() }));
  }

  stop() {
    this.#process.kill();
  }
}

class World {
  #pool;
  #tenants = 0;

  constructor(dir) {
    this.dir = dir;
    this.root = root;
    this.until = until;
    this.calls = []; // what the hosts were asked and answered: also a file, for who looks for a difference
    this.jwtKey = crypto.randomBytes(32).toString('base64url');
    this.database = database;
    this.#connect();
  }

  #connect() {
    this.#pool = new pg.Pool({ host: this.dir, user: 'postgres', database, max: 4 });
    this.#pool.on('error', () => {});
    this.#pool.on('connect', (client) => client.on('error', () => {}));
  }

  // As a superuser.
  async sql(text, parameters = []) {
    return (await this.#pool.query(text, parameters)).rows;
  }

  // As a role of an organization.
  async sqlAs({ role, organization, subject }, text, parameters = []) {
    const client = await this.#pool.connect();
    try {
      await client.query('BEGIN');
      await client.query("SELECT set_config('role', $1, true), set_config('request.jwt.claims', $2, true)",
        [role, JSON.stringify({ role, organization_id: organization, sub: subject })]);
      const { rows } = await client.query(text, parameters);
      await client.query('COMMIT');
      return rows;
    } catch (error) {
      await client.query('ROLLBACK');
      throw error;
    } finally {
      client.release();
    }
  }

  recordCall(call) {
    this.calls.push(call);
    fs.appendFileSync(path.join(this.dir, 'calls.jsonl'), `${JSON.stringify(call)}\n`);
  }

  // A new organization, which nothing is in.
  newTenant(name = 'tenant') {
    return `${name}-${++this.#tenants}`;
  }

  // A webhook; the other columns are those of webhook_configurations.
  async createWebhook({ organization, name = 'orders', url = this.receiver.url('/ok'), events = ['contact.*'], ...columns }) {
    const secret = `whsec_${crypto.randomBytes(24).toString('base64')}`;
    const row = { organization_id: organization, name, url, events, secret, ...columns };
    const names = Object.keys(row);
    const [{ id }] = await this.sql(
      `INSERT INTO webhook_configurations (${names.join(', ')}) VALUES (${names.map((_, i) => `$${i + 1}`).join(', ')}) RETURNING id`,
      Object.values(row));
    return id;
  }

  // Rows of contacts, each of them an event contact.created.
  async addContacts(organization, ...names) {
    for (const name of names) await this.sql('INSERT INTO contacts (organization_id, name) VALUES ($1, $2)', [organization, name]);
  }

  // Waits for log rows of a webhook, and returns them, the oldest first.
  async attempts(webhook, count = 1) {
    return until(`webhook ${webhook} has ${count} log rows`, async () => {
      const rows = await this.sql('SELECT * FROM webhook_logs WHERE configuration_id = $1 ORDER BY id', [webhook]);
      return rows.length >= count && rows;
    });
  }

  async stopDatabase() {
    await this.#pool.end();
    await inEnvironment('as_server_user "$pg_bindir/pg_ctl" -s -w -m fast -D "$1/data" stop', this.dir);
  }

  async startDatabase() {
    await inEnvironment('as_server_user "$pg_bindir/pg_ctl" -s -w -D "$1/data" -l "$1/server.log" start >/dev/null 2>&1', this.dir);
    this.#connect();
  }

  async stop() {
    await Promise.all((this.hosts ?? []).map((host) => host.stop()));
    this.receiver?.stop();
    await this.#pool.end();
    await inEnvironment('stop_server "$1/data"', this.dir);
  }
}

// The extension, the application's tables, the events of a CRM, and a role of each level.
async function prepareDatabase(world) {
  await inEnvironment(`
    start_cluster "$1" "\${@:2}" >&2
    as_server_user "$pg_bindir/createdb" -h "$1" -U postgres ${database}
    as_server_user "$pg_bindir/psql" -X -q -h "$1" -U postgres -d ${database} -v ON_ERROR_STOP=1 <"$root/examples/crm.sql"`,
  world.dir, ...settings);
  await world.sql('CREATE EXTENSION webhook');
  await world.sql('SELECT webhook_watch_crm()');
  await world.sql('CREATE ROLE authenticator LOGIN NOINHERIT');
  for (const [role, level] of Object.entries(roles)) {
    await world.sql(`CREATE ROLE ${role}`);
    await world.sql('SELECT webhook_grant($1, $2)', [role, level]);
    await world.sql(`GRANT ${role} TO authenticator`);
  }
  await until('a worker runs', async () => (await world.sql('SELECT workers FROM webhook_server_state()'))[0].workers > 0);
}

export async function startWorld(dir) {
  const world = new World(dir);
  try {
    await prepareDatabase(world);
    world.receiver = await Receiver.start(dir);
    world.hosts = [];
    for (const start of [startConsole, startProduct]) world.hosts.push(await start(world));
    return world;
  } catch (error) {
    await world.stop().catch(() => {});
    throw error;
  }
}

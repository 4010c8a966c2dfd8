import pg from 'pg';
import { endpoint } from '../harness/endpoint.mjs';
import { until } from '../harness/process.mjs';
import { configure, watchMemory, withDatabase, work } from '../harness/server.mjs';
import { cpuOfWorkers, createWebhooks, drain, insertContacts, latency, watchContacts } from '../harness/workload.mjs';
import { timeCall } from './api.mjs';

export const title = 'A million pending deliveries of one webhook whose endpoint is down, and a hundred of each of 10,000 such ' +
  'webhooks: storing them, a restart of the worker, what their tenant reads, and the deliveries once the endpoints answer. ' +
  'own is without the shared buffers that the worker has touched.';

const DOWN = 'dead 1';
const OF_DOWN = `(SELECT id FROM webhook_configurations WHERE name = '${DOWN}')`;

const CALLS = [
  ['webhook_stats', "SELECT * FROM webhook_stats"],
  ['webhook_api.webhooks', 'SELECT webhook_api.webhooks()'],
  ['webhook_api.webhook', `SELECT webhook_api.webhook(${OF_DOWN})`],
  ['webhook_api.pending', `SELECT webhook_api.pending(${OF_DOWN})`],
  ['webhook_api.series', `SELECT webhook_api.series(${OF_DOWN})`],
  ['webhook_api.check', 'SELECT webhook_api.check()'],
];

// The URLs of a port at which nothing listens: nginx has it at another address.
const deadUrl = (nginx) => nginx.url().replace('127.0.0.1', '127.0.0.99');

async function createAll(database, nginx, webhooks) {
  await createWebhooks(database, Array.from({ length: webhooks }, () => deadUrl(nginx)));
  await createWebhooks(database, [deadUrl(nginx)], { organization: 'down', name: 'dead' });
  await createWebhooks(database, [nginx.url()], { organization: 'live', name: 'live' });
}

// The worker reads the events, tries each endpoint five times, and stores the rest.
async function storePending(database, count, webhooks) {
  await insertContacts(database, count, { organizations: webhooks });
  await insertContacts(database, count, { organization: 'down' });
  await database.query('CHECKPOINT');
  const cpuBefore = await cpuOfWorkers(database);
  const began = performance.now();
  await configure({ 'webhook.enabled': 'on' });
  await until(`${2 * count} pending deliveries`, async () =>
    await database.value("SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'") >= 2 * count, { seconds: 600, pause_ms: 1000 });
  await until('open circuits', async () =>
    await database.value('SELECT count(*) FROM webhook_endpoints WHERE circuit_opened_at IS NOT NULL') > webhooks);
  const took = (performance.now() - began) / 1000;
  const cpu = await cpuOfWorkers(database) - cpuBefore;
  // As autovacuum and a checkpoint leave it, which would use a core and the disk meanwhile.
  await database.query('VACUUM ANALYZE');
  await database.query('CHECKPOINT');
  return { rate: 2 * count / took, cpu_us: cpu / (2 * count) * 1e6 };
}

async function untilDelivered(database, nginx) {
  const before = await nginx.requests();
  await insertContacts(database, 1, { organization: 'live' });
  await until('the request of the live webhook', async () => await nginx.requests() > before, { pause_ms: 1, seconds: 300 });
}

// The worker reads no event before it knows all changes that were committed before.
async function untilRead(database) {
  const attempts = () => database.value(`SELECT count(*) FROM webhook_logs
    WHERE configuration_id = (SELECT id FROM webhook_configurations WHERE name = 'live 1')`);
  const before = await attempts();
  await insertContacts(database, 1, { organization: 'live' });
  await until('the event of the live webhook', async () => await attempts() > before, { seconds: 300 });
}

// From the end of a worker to the request of an event that is inserted then.
async function restart(database, nginx) {
  const [old] = await database.workers();
  await database.query('SELECT pg_terminate_backend($1, 60000)', [old]);
  const began = performance.now();
  await untilDelivered(database, nginx);
  return { load_us: (performance.now() - began) * 1000, load_cpu_us: await cpuOfWorkers(database) * 1e6 };
}

async function timeCalls(database, repetitions) {
  const client = new pg.Client({ host: work, user: 'bench_tenant', database: database.name });
  await client.connect();
  try {
    await client.query("SET webhook.organization_id = 'down'");
    const measured = {};
    for (const [name, sql] of CALLS) measured[name] = await timeCall(client, sql, repetitions);
    return measured;
  } finally {
    await client.end();
  }
}

// The endpoints answer: the new URL closes all circuits at once. meanwhile() begins when the change is in force for all.
async function recover(database, nginx, count, condition, meanwhile = async () => {}) {
  const before = await nginx.requests();
  const cpuBefore = await cpuOfWorkers(database);
  const began = performance.now();
  await database.query(`UPDATE webhook_configurations SET url = $1 WHERE url = $2 AND ${condition}`,
    [nginx.url(), deadUrl(nginx)]);
  await until('the first requests', async () => await nginx.requests() - before > 100);
  await untilRead(database);
  const beside = meanwhile();
  await until(`${count} requests`, async () => await nginx.requests() - before >= count, { seconds: 600 });
  const took = (performance.now() - began) / 1000;
  return [{ rate: count / took, cpu_us: (await cpuOfWorkers(database) - cpuBefore) / count * 1e6 }, await beside];
}

// The same webhooks, with events that do not become pending.
async function drainFresh(database, nginx, count, to) {
  await configure({ 'webhook.enabled': 'off' });
  await insertContacts(database, count, to);
  const { rate, cpu_us } = await drain(database, nginx, count);
  return { rate, cpu_us };
}

async function measure({ count, webhooks, seconds, repetitions }) {
  const nginx = await endpoint();
  return withDatabase(async (database) => {
    await database.query('CREATE ROLE bench_tenant LOGIN').catch(() => {});
    await database.query("SELECT webhook_grant('bench_tenant')");
    await watchContacts(database);
    await createAll(database, nginx, webhooks);
    const measured = {};
    let stopWatching = watchMemory(await database.workers());
    measured.storing = await storePending(database, count, webhooks);
    measured['memory, storing'] = await stopWatching();
    measured['restart'] = await restart(database, nginx);
    stopWatching = watchMemory(await database.workers());
    Object.assign(measured, await timeCalls(database, repetitions));
    measured['latency of others, nothing due'] = await latency(database, ['rate', 200, seconds, 10]);
    [measured['recovery of many webhooks'], measured['latency of others, many recover']] = await recover(database, nginx, count,
      `name <> '${DOWN}'`, () => latency(database, ['rate', 200, seconds, 10]));
    const fresh = Math.ceil(count / 5);
    measured['the same from the log, many'] = await drainFresh(database, nginx, fresh, { organizations: webhooks });
    [measured['recovery of one webhook'], measured['latency of others, one recovers']] = await recover(database, nginx, count,
      'true', () => latency(database, ['rate', 200, seconds, 10]));
    measured['the same from the log, one'] = await drainFresh(database, nginx, fresh, { organization: 'down' });
    measured['memory after the restart'] = await stopWatching();
    return measured;
  });
}

export function variants({ quick }) {
  return [{
    name: 'pending',
    rows: {
      'storing': [],
      'memory, storing': [{ metric: 'own_MB', max: 128 }],
      'restart': [{ metric: 'load_us', max: 3_000_000 }],
      ...Object.fromEntries(CALLS.map(([name]) => [name, [{ metric: 'max_ms', max: 50 }]])),
      'latency of others, nothing due': [],
      ...Object.fromEntries(['many recover', 'one recovers'].map((what) => [`latency of others, ${what}`,
        [{ metric: 'p99_us', max: 100_000 }]])),
      'the same from the log, many': [],
      'recovery of many webhooks': [
        { metric: 'rate', to: 'the same from the log, many', min: 0.5 },
        { metric: 'cpu_us', to: 'the same from the log, many' }],
      'the same from the log, one': [],
      'recovery of one webhook': [
        { metric: 'rate', to: 'the same from the log, one', min: 0.5 },
        { metric: 'cpu_us', to: 'the same from the log, one' }],
      'memory after the restart': [{ metric: 'own_MB', max: 128 }],
    },
    run: () => measure(quick ? { count: 20_000, webhooks: 200, seconds: 3, repetitions: 5 }
      : { count: 1_000_000, webhooks: 10_000, seconds: 20, repetitions: 21 }),
  }];
}

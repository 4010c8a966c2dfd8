import { endpoint } from '../harness/endpoint.mjs';
import { cpuSeconds, until } from '../harness/process.mjs';
import { Report } from '../harness/report.mjs';
import { ask, configure, Database, withDatabase, work } from '../harness/server.mjs';
import { columns, createTable, createWebhooks, EVENT, insertContacts, notesFor, values, watchContacts } from '../harness/workload.mjs';

export const title = 'What a row of a transaction of its own costs the source in CPU (its session, and what captures, sends or ' +
  'decodes), without webhooks, with the extension there, and with a delivery node; the lag of a node; how fast it catches up; and ' +
  'one, two and three nodes that share 24 webhooks: their rate together, and what a delivery costs the home.';

// The source and its node are two databases of one server: their processes are told apart, but share the machine.
async function withNode(action) {
  return withDatabase(async (source) => {
    await source.query(createTable('contacts'));
    await source.query('CREATE PUBLICATION bench FOR TABLE contacts');
    await source.query("SELECT pg_create_logical_replication_slot('bench', 'pgoutput')");
    const node = await Database.create('bench_node');
    try {
      await node.query('CREATE EXTENSION webhook');
      await node.awaitWorkers();
      await node.query(createTable('contacts'));
      await node.query(`SELECT webhook_watch('contacts', '${EVENT}', on_replicated => true)`);
      await createWebhooks(node, [(await endpoint()).url()]);
      await node.query('UPDATE webhook_configurations SET max_in_flight = 64');
      await node.query(`CREATE SUBSCRIPTION bench CONNECTION 'host=${work} user=postgres dbname=${source.name}' PUBLICATION bench
        WITH (create_slot = false, copy_data = false, enabled = false)`);
      await configure({ 'webhook.enabled': 'on' });
      return await action(source, node);
    } finally {
      await node.query('ALTER SUBSCRIPTION bench DISABLE');
      await node.query('ALTER SUBSCRIPTION bench SET (slot_name = NONE)');
      await node.query('DROP SUBSCRIPTION bench');
      await until('the slot to be free', async () =>
        (await ask("SELECT FROM pg_replication_slots WHERE slot_name = 'bench' AND active")).length === 0);
      await ask("SELECT pg_drop_replication_slot('bench')");
      await node.drop();
    }
  }, { extension: false });
}

async function enable(node) {
  await node.query('ALTER SUBSCRIPTION bench ENABLE');
  return until('the node to stream', async () => {
    const [{ decoding, applying }] = await ask(`SELECT (SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'bench') AS decoding,
      (SELECT max(pid) FROM pg_stat_subscription WHERE subname = 'bench') AS applying`);
    return decoding && applying ? { decoding, applying } : null;
  });
}

const delivered = (database, rows) => until(`${rows} deliveries`, async () =>
  await database.value("SELECT count(*) FROM webhook_logs WHERE status = 'success'") >= rows, { seconds: 600 });

// The CPU, in microseconds a row, that each of these processes takes for what action does.
async function cpuOf(pids, rows, action) {
  const before = await Promise.all(pids.map(cpuSeconds));
  await action();
  const after = await Promise.all(pids.map(cpuSeconds));
  return after.map((seconds, i) => (seconds - before[i]) * 1e6 / rows);
}

async function insertOneByOne(database, rows) {
  const notes = await notesFor(database);
  await database.query('SET synchronous_commit = off');
  for (let i = 0; i < rows; ++i) {
    await database.query({ name: 'insert', text: `INSERT INTO contacts (${columns}) VALUES (${values(undefined, notes)})` });
  }
}

const sessionOf = (database) => database.value('SELECT pg_backend_pid()');

async function nothing(rows) {
  return withDatabase(async (database) => {
    await database.query(createTable('contacts'));
    const [session_us] = await cpuOf([await sessionOf(database)], rows, () => insertOneByOne(database, rows));
    return { source_us: session_us };
  }, { extension: false });
}

async function onTheSource(rows) {
  return withDatabase(async (database) => {
    await watchContacts(database);
    await createWebhooks(database, [(await endpoint()).url()]);
    await configure({ 'webhook.enabled': 'on' });
    const pids = [await sessionOf(database), ...await database.workers()];
    const [session_us, worker_us] = await cpuOf(pids, rows, async () => {
      await insertOneByOne(database, rows);
      await delivered(database, rows);
    });
    return { source_us: session_us + worker_us, of_which_session_us: session_us };
  });
}

async function onANode(rows) {
  return withNode(async (source, node) => {
    const { decoding, applying } = await enable(node);
    const pids = [await sessionOf(source), decoding, applying, ...await node.workers()];
    const [session_us, decoding_us, applying_us, worker_us] = await cpuOf(pids, rows, async () => {
      await insertOneByOne(source, rows);
      await delivered(node, rows);
    });
    const [lag_p50_us, lag_p99_us] = await node.value(`SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP
      (ORDER BY 1e6 * extract(epoch FROM applied_at - created_at)::float8) FROM webhook_events`);
    return { source_us: session_us + decoding_us, of_which_session_us: session_us, node_us: applying_us + worker_us,
      lag_p50_us, lag_p99_us };
  });
}

async function catchingUp(rows) {
  return withNode(async (source, node) => {
    await insertContacts(source, rows);
    const began = performance.now();
    await enable(node);
    await delivered(node, rows);
    return { rate: rows * 1000 / (performance.now() - began) };
  });
}

// --- Nodes that share webhooks --------------------------------------------------------------------------------------------

// A subscription to the server itself cannot create its slot: the slot waits for the transaction that wants it.
async function subscribe(to, from, name, publications, slot) {
  await from.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [slot]);
  await to.query(`CREATE SUBSCRIPTION ${name} CONNECTION 'host=${work} user=postgres dbname=${from.name}' PUBLICATION ${publications}
    WITH (create_slot = false, slot_name = ${slot}, copy_data = false)`);
}

async function unsubscribe(database, name, slot) {
  await database.query(`ALTER SUBSCRIPTION ${name} DISABLE`);
  await database.query(`ALTER SUBSCRIPTION ${name} SET (slot_name = NONE)`);
  await database.query(`DROP SUBSCRIPTION ${name}`);
  await until(`${slot} to be free`, async () =>
    (await ask('SELECT FROM pg_replication_slots WHERE slot_name = $1 AND active', [slot])).length === 0);
  await ask('SELECT pg_drop_replication_slot($1)', [slot]);
}

async function join(home, name) {
  const node = await Database.create(`bench_${name}`);
  await node.query('CREATE EXTENSION webhook');
  await node.awaitWorkers();
  await until('an instance', async () => Number(await node.value('SELECT count(*) FROM webhook_instance')) === 1);
  await node.query('SELECT webhook_internal.become_node($1)', [name]);
  await subscribe(node, home, 'webhook_home', 'webhook_home_events', `webhook_node_${name}`);
  await node.query('ALTER SUBSCRIPTION webhook_home ADD PUBLICATION webhook_home');
  await home.query('SELECT webhook_internal.add_node($1, $1)', [name]);
  await subscribe(home, node, `webhook_node_${name}`, 'webhook_node_reports, webhook_node_logs', `webhook_home_${name}`);
  await until(`${name} to have the webhooks`, async () =>
    home.value('SELECT settled > 0 FROM webhook_internal.nodes WHERE name = $1', [name]));
  return node;
}

async function sharing(names, rows) {
  const webhooks = 24;
  return withDatabase(async (home) => {
    await watchContacts(home);
    const url = (await endpoint()).url();
    await createWebhooks(home, Array(webhooks).fill(url), { sharedOrganization: true });
    await home.query('UPDATE webhook_configurations SET max_in_flight = 64');
    await configure({ 'webhook.enabled': 'on' });
    for (const { statement } of await home.query('SELECT s AS statement FROM webhook_home() s')) await home.query(statement);
    const nodes = [];
    for (const name of names) nodes.push(await join(home, name));
    await home.query('SELECT webhook_share($1)', [['home', ...names]]);
    const homes = await ask(`SELECT pid FROM pg_stat_activity WHERE datname = $1 AND backend_type <> 'client backend'`, [home.name]);
    const pids = homes.map((row) => row.pid);
    const cpuBefore = (await Promise.all(pids.map(cpuSeconds))).reduce((a, b) => a + b);
    const began = performance.now();
    await insertContacts(home, rows);
    await until('all deliveries', async () =>
      Number(await home.value("SELECT count(*) FROM webhook_logs WHERE status = 'success'")) >= rows * webhooks, { seconds: 600 });
    const seconds = (performance.now() - began) / 1000;
    const cpu = (await Promise.all(pids.map(cpuSeconds))).reduce((a, b) => a + b) - cpuBefore;
    for (const [i, name] of names.entries()) {
      await unsubscribe(home, `webhook_node_${name}`, `webhook_home_${name}`);
      await unsubscribe(nodes[i], 'webhook_home', `webhook_node_${name}`);
      await nodes[i].drop();
    }
    return { rate: rows * webhooks / seconds, home_us: cpu * 1e6 / (rows * webhooks) };
  });
}

export async function variants({ quick }) {
  const [{ level }] = await ask("SELECT current_setting('wal_level') AS level");
  const logical = (run) => () => {
    if (level !== 'logical') throw new Report.Skip('needs wal_level = logical, as bench/run nodes has it');
    return run();
  };
  const rows = quick ? 2_000 : 20_000;
  const capture = 'the extension on the source';
  return [
    { name: 'no webhooks', run: () => nothing(rows) },
    { name: capture, run: () => onTheSource(rows) },
    { name: 'a delivery node', goals: [{ metric: 'source_us', to: capture }], run: logical(() => onANode(rows)) },
    { name: 'a delivery node that is behind', run: logical(() => catchingUp(quick ? 20_000 : 200_000)) },
    { name: 'one node', run: logical(() => sharing([], quick ? 500 : 5_000)) },
    { name: 'two nodes share', run: logical(() => sharing(['east'], quick ? 500 : 5_000)) },
    { name: 'three nodes share', run: logical(() => sharing(['east', 'west'], quick ? 500 : 5_000)) },
  ];
}

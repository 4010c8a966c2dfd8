import { endpoint } from '../harness/endpoint.mjs';
import { until } from '../harness/process.mjs';
import { configure, withDatabase } from '../harness/server.mjs';
import { BODY_BYTES, columns, createTable, createWebhooks, insertContacts, notesFor, values, watchContacts } from '../harness/workload.mjs';
import { written } from '../harness/wal.mjs';
import { WAYS } from './capture.mjs';

export const title = `What is written, in bytes an event with a body of ${BODY_BYTES} bytes: WAL, and growth of the files. By the ` +
  'application\'s transaction, and by the worker for a delivery. The parts are those of the row above them.';

// By the names of tables, indexes and kinds of records: what the report calls them. All else is "other".
const PARTS = [
  ['table', /^(plain|subscribed|by_row|contacts)(_pkey)?$/],
  ['outbox', /^by_row_outbox$/],
  ['outbox, primary key', /^by_row_outbox_pkey$/],
  ['webhook_events', /^webhook_events$/],
  ['webhook_events, index on id', /^webhook_events_id_idx$/],
  ['webhook_events, index on xid', /^webhook_events_xid_idx$/],
  ['webhook_logs', /^webhook_logs$/],
  ['webhook_logs, index on (configuration_id, id)', /^webhook_logs_configuration_id_idx$/],
  ['webhook_logs, BRIN on id', /^webhook_logs_id_idx$/],
  ['webhook_deliveries', /^webhook_deliveries$/],
  ['webhook_deliveries, primary key', /^webhook_deliveries_pkey$/],
  ['webhook_deliveries, index of those due', /^webhook_deliveries_due_idx$/],
  ['webhook_deliveries, index by segment', /^webhook_deliveries_body_idx$/],
  ['webhook_checkpoint', /^webhook_checkpoint/],
  ['statistics', /^webhook_(minutes|hours|endpoints)/],
  ['commit', /^Transaction$/],
  ['sequence', /^sequence$/],
  ['images of pages', /^images of pages$/],
];

// The rows of the report: the sum, and its parts as far as they come to half a byte.
function rowsOf(label, parts) {
  const rows = { [label]: { wal_bytes: 0, file_bytes: 0 } };
  for (const [name, { wal_bytes, file_bytes }] of parts) {
    const part = `${label}: ${PARTS.find(([, pattern]) => pattern.test(name))?.[0] ?? 'other'}`;
    for (const row of [label, part]) {
      rows[row] ??= { wal_bytes: 0, file_bytes: 0 };
      rows[row].wal_bytes += wal_bytes;
      rows[row].file_bytes += file_bytes;
    }
  }
  return Object.fromEntries(Object.entries(rows).filter(([, row]) => row.wal_bytes >= 0.5 || row.file_bytes >= 0.5));
}

const SUITES = { 'one row a transaction': 'COMMIT', 'in bulk': '' };

// The application's transaction. The worker stands still.
function capture(ways, count, suffix) {
  return withDatabase(async (database) => {
    await createWebhooks(database, [(await endpoint()).url()]);
    const notes = await notesFor(database);
    const rows = {};
    for (const way of ways) {
      const { table, setUp } = WAYS[way];
      await database.query(createTable(table));
      if (setUp) await database.query(setUp(table));
      const insert = `INSERT INTO ${table} (${columns}) SELECT ${values(undefined, notes)}`;
      const one = `DO $$ BEGIN FOR i IN 1 .. ${count} LOOP ${insert}; COMMIT; END LOOP; END $$`;
      const sql = SUITES[suffix] ? one : `${insert} FROM generate_series(1, ${count})`;
      Object.assign(rows, rowsOf(`${way}, ${suffix}`, await written(database, count, () => database.query(sql))));
    }
    return rows;
  });
}

const countLogs = (database) => database.value("SELECT count(*) FROM webhook_logs WHERE status = 'success'");

// A delivery that succeeds at once.
function deliver(count, label, { path, logged }) {
  return withDatabase(async (database) => {
    await configure({ 'webhook.log_response_body': logged });
    try {
      await watchContacts(database);
      await createWebhooks(database, [`${(await endpoint()).url()}${path}`]);
      await insertContacts(database, count);
      return rowsOf(label, await written(database, count, async () => {
        await configure({ 'webhook.enabled': 'on' });
        await until('all log rows', async () => await countLogs(database) >= count, { pause_ms: 500 });
      }));
    } finally {
      await configure({ 'webhook.log_response_body': null });
    }
  });
}

// A delivery that becomes pending because its webhook is off, and is sent once it is on.
function deliverPending(count, stored, sent) {
  return withDatabase(async (database) => {
    await watchContacts(database);
    await createWebhooks(database, [(await endpoint()).url()]);
    await insertContacts(database, count);
    await database.query('UPDATE webhook_configurations SET is_active = false');
    const first = await written(database, count, async () => {
      await configure({ 'webhook.enabled': 'on' });
      await until('all pending', async () => await database.value('SELECT count(*) FROM webhook_deliveries') >= count, { pause_ms: 500 });
    });
    const second = await written(database, count, async () => {
      await database.query('UPDATE webhook_configurations SET is_active = true');
      await until('all log rows', async () => await countLogs(database) >= count, { pause_ms: 500 });
    });
    return { ...rowsOf(stored, first), ...rowsOf(sent, second) };
  });
}

// Autovacuum writes WAL of its own.
const withoutVacuum = (run) => async () => {
  await configure({ autovacuum: 'off' });
  return run().finally(() => configure({ autovacuum: null }));
};

export function variants({ quick }) {
  const count = quick ? 2000 : 20_000;
  const [plain, subscribed, outbox] = ['plain table', 'webhook, subscribed', 'outbox, plpgsql row trigger'];
  const byApplication = Object.keys(SUITES).map((suffix) => ({
    name: `captured, ${suffix}`,
    rows: Object.fromEntries([outbox, subscribed].map((way) => [`${way}, ${suffix}`,
      [{ metric: 'wal_bytes', to: `${plain}, ${suffix}`, how: 'difference' },
        ...(way === subscribed ? [{ metric: 'wal_bytes', to: `${outbox}, ${suffix}` }] : [])]])),
    run: withoutVacuum(() => capture([plain, outbox, subscribed], count, suffix)),
  }));
  const byWorker = [['answer', 'all'], ['answer', 'failures'], ['answer', 'none'], ['long-answer', 'all']].map(([path, logged]) => {
    const label = `delivered, answer of ${path === 'answer' ? 17 : 500} bytes, log_response_body ${logged}`;
    return { name: label, rows: {}, run: withoutVacuum(() => deliver(count, label, { path, logged })) };
  });
  return [...byApplication, ...byWorker,
    { name: 'pending', rows: {}, run: withoutVacuum(() => deliverPending(count, 'stored as pending', 'delivered out of pending')) }];
}

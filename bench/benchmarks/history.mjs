import { endpoint } from '../harness/endpoint.mjs';
import { configure, withDatabase } from '../harness/server.mjs';
import { createWebhooks, drain, insertContacts, watchContacts } from '../harness/workload.mjs';

export const title = 'Deliveries a second with a long history in webhook_logs and webhook_events, and with none.';

// Rows as capture and delivery leave them, spread over the segments, whose ring stands at the last of these.
async function fillHistory(database, rows) {
  const [webhook] = await database.query('SELECT id FROM webhook_configurations');
  // Behind the ids in use, and of transactions that have ended.
  for (let slot = 1; slot < 8; ++slot) {
    const range = `generate_series(${Math.floor(rows * (slot - 1) / 7) + 1}::bigint, ${Math.floor(rows * slot / 7)}::bigint) AS n`;
    await database.query(`INSERT INTO webhook_events (slot, id, xid, created_at, event, organization_id, key, data)
      SELECT ${slot}, n - ${rows}, '3'::xid8, now() - interval '1 hour', 'contact.created', 'organization-00000', n::text,
             json_build_object('id', n, 'notes', repeat('n', 350))
        FROM ${range}`);
    await database.query(`INSERT INTO webhook_logs (slot, id, created_at, configuration_id, organization_id, event_id, event,
                                                   attempt, status, response_status, duration_ms, remote_ip)
      SELECT ${slot}, n, now() - interval '1 hour', $1, 'organization-00000', n - ${rows}, 'contact.created', 1,
             'success', 200, 1.5, '127.0.0.1'
        FROM ${range}`, [webhook.id]);
  }
  await database.query(`SELECT setval('webhook_logs_id_seq', ${rows})`);
}

// watch: what is asked of the worker meanwhile, given the database and what drains it.
export async function measure(count, rows, watch = (database, drained) => drained()) {
  const nginx = await endpoint();
  return withDatabase(async (database) => {
    await watchContacts(database);
    await createWebhooks(database, [nginx.url()]);
    await database.query('UPDATE webhook_configurations SET max_in_flight = 64');
    // One is delivered, so that the worker has its checkpoint behind the history and not before it.
    await insertContacts(database, 1);
    await drain(database, nginx, 1);
    await configure({ 'webhook.enabled': 'off' });
    if (rows > 0) await fillHistory(database, rows);
    // As autovacuum has them: their BRIN index knows all pages.
    await database.query('VACUUM ANALYZE webhook_events');
    await database.query('VACUUM ANALYZE webhook_logs');
    await insertContacts(database, count);
    const { rate, cpu_us } = await watch(database, () => drain(database, nginx, count));
    return { rate, cpu_us };
  });
}

export function variants({ quick }) {
  const count = quick ? 10_000 : 100_000;
  const rows = quick ? 100_000 : 10_000_000;
  return [
    { name: 'no history', run: () => measure(count, 0) },
    {
      name: `${rows.toLocaleString('en')} rows of each`,
      goals: [{ metric: 'rate', to: 'no history', min: 0.9 }, { metric: 'cpu_us', to: 'no history' }],
      run: () => measure(count, rows),
    },
  ];
}

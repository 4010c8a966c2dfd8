import { endpoint } from '../harness/endpoint.mjs';
import { fillHistory } from '../harness/history.mjs';
import { configure, withDatabase } from '../harness/server.mjs';
import { createWebhooks, drain, insertContacts, watchContacts } from '../harness/workload.mjs';

export const title = 'Deliveries a second with a long history in webhook_logs and webhook_events, and with none.';

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

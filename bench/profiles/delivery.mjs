import { endpoint } from '../harness/endpoint.mjs';
import { profile } from '../harness/profile.mjs';
import { withDatabase } from '../harness/server.mjs';
import { createWebhooks, drain, insertContacts, watchContacts } from '../harness/workload.mjs';

export const title = 'The worker while it delivers a backlog to one webhook, 64 in flight.';

export async function run({ quick }) {
  const count = quick ? 20_000 : 100_000;
  const nginx = await endpoint();
  return withDatabase(async (database) => {
    await watchContacts(database);
    await createWebhooks(database, [nginx.url()]);
    await database.query('UPDATE webhook_configurations SET max_in_flight = 64');
    await insertContacts(database, count);
    const [pid] = await database.workers();
    await database.query('CREATE EXTENSION pg_stat_statements; SELECT pg_stat_statements_reset()');
    const text = await profile(pid, () => count, () => drain(database, nginx, count));
    const statements = await database.query(`
      SELECT calls, rows, round(total_exec_time::numeric) AS ms, regexp_replace(left(query, 300), '\\s+', ' ', 'g') AS query
        FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT 12`);
    return `${text}\n\nby statement, all sessions: ms, calls, rows\n` + statements.map(({ ms, calls, rows, query }) =>
      `${ms} ${calls} ${rows}  ${query.slice(0, 150)}`).join('\n');
  });
}

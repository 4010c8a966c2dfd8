import { profile } from '../harness/profile.mjs';
import { withDatabase } from '../harness/server.mjs';
import { columns, createTable, createWebhooks, values, watchContacts } from '../harness/workload.mjs';

export const title = 'The application\'s session while it inserts 1,000,000 rows in statements of 100,000: captured, and ' +
  'into a plain table.';

export async function run({ quick }) {
  const rows = quick ? 100_000 : 1_000_000;
  return withDatabase(async (database) => {
    await watchContacts(database);
    await database.query(createTable('plain'));
    await createWebhooks(database, ['http://127.0.0.1:1024/']);
    const pid = await database.value('SELECT pg_backend_pid()');
    const insert = async (table, count) => {
      for (let left = count; left > 0; left -= 100_000) {
        await database.query(`INSERT INTO ${table} (${columns}) SELECT ${values()} FROM generate_series(1, 100000)`);
      }
    };
    const texts = [];
    for (const table of ['plain', 'contacts']) {
      await insert(table, 100_000);
      texts.push(`--- ${table}\n${await profile(pid, () => rows, () => insert(table, rows))}`);
    }
    return texts.join('\n\n');
  });
}

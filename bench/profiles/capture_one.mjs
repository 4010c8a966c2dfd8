import { writeFileSync } from 'node:fs';
import { profile } from '../harness/profile.mjs';
import { until } from '../harness/process.mjs';
import { ask, pgbench, withDatabase, work } from '../harness/server.mjs';
import { columns, createTable, createWebhooks, values, watchContacts } from '../harness/workload.mjs';

export const title = 'The application\'s session while it inserts one row a transaction, synchronous_commit off: captured, ' +
  'and into a plain table.';

export async function run({ quick }) {
  const seconds = quick ? 4 : 10;
  return withDatabase(async (database) => {
    await watchContacts(database);
    await database.query(createTable('plain'));
    await createWebhooks(database, ['http://127.0.0.1:1024/']);
    const texts = [];
    for (const table of ['plain', 'contacts']) {
      const script = `${work}/profile_${table}.sql`;
      writeFileSync(script, `INSERT INTO ${table} (${columns}) VALUES (${values()});\n`);
      const running = pgbench(database, [script], { clients: 1, seconds, options: '-c synchronous_commit=off' });
      const [{ pid }] = await until('pgbench', async () => {
        const rows = await ask("SELECT pid FROM pg_stat_activity WHERE application_name = 'pgbench'");
        return rows.length > 0 ? rows : null;
      });
      const count = () => database.value(`SELECT count(*) FROM ${table}`);
      const before = await count();
      texts.push(`--- ${table}\n${await profile(pid, async () => await count() - before, () => running)}`);
    }
    return texts.join('\n\n');
  });
}

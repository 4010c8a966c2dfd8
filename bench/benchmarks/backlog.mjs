import { endpoint } from '../harness/endpoint.mjs';
import pg from 'pg';
import { withDatabase, work } from '../harness/server.mjs';
import { createTable, createWebhooks, drain, insertContacts, watchContacts } from '../harness/workload.mjs';

export const title = 'A backlog of a million: the rate at its begin and at its end, alone and while a transaction stays ' +
  'open; and a table emptied with SKIP LOCKED and DELETE, which sends nothing.';

// A transaction that stays open while action runs. writer: it has a transaction number too.
async function besideTransaction(database, kind, action) {
  if (!kind) return action();
  const client = new pg.Client({ host: work, user: 'postgres', database: database.name });
  await client.connect();
  try {
    await client.query('CREATE TABLE IF NOT EXISTS elsewhere (n int)');
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await client.query(kind === 'writer' ? 'INSERT INTO elsewhere VALUES (1)' : 'SELECT FROM elsewhere');
    return await action();
  } finally {
    await client.end();
  }
}

// progress: the seconds at the end of each tenth.
function rates(progress, count) {
  const tenth = count / 10;
  const last = progress.length - 1;
  return {
    rate: count / progress[last],
    rate_of_first_tenth: tenth / progress[0],
    rate_of_last_tenth: tenth / (progress[last] - progress[last - 1]),
  };
}

// watch: what is asked of the worker meanwhile, given the database and what drains it.
export async function ours(count, kind, watch = (database, drained) => drained()) {
  const nginx = await endpoint();
  return withDatabase(async (database) => {
    await watchContacts(database);
    await createWebhooks(database, [nginx.url()]);
    await database.query('UPDATE webhook_configurations SET max_in_flight = 64');
    return besideTransaction(database, kind, async () => {
      await insertContacts(database, count);
      const { progress, cpu_us } = await watch(database, () => drain(database, nginx, count, { step: count / 10 }));
      return { ...rates(progress, count), cpu_us };
    });
  });
}

// 500 rows a transaction, as a consumer with a local queue takes them. Stopped after limit_s: it may take hours.
async function skipLocked(count, kind, limit_s) {
  return withDatabase(async (database) => {
    await database.query(createTable('contacts'));
    await insertContacts(database, count);
    return besideTransaction(database, kind, async () => {
      const take = `DELETE FROM contacts WHERE id IN (
        SELECT id FROM contacts ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED) RETURNING id, notes`;
      const progress = [];
      const began = performance.now();
      let done = 0;
      let last = { done: 0, at: 0 };
      let now_s = 0;
      const recent = [];  // rates of spans of 10,000
      while (done < count && now_s < limit_s) {
        done += (await database.query(take)).length;
        now_s = (performance.now() - began) / 1000;
        if (done % (count / 10) === 0) progress.push(now_s);
        if (done - last.done >= count / 100) {
          recent.push((done - last.done) / (now_s - last.at));
          last = { done, at: now_s };
        }
      }
      return { rate: done / now_s, rate_of_first_tenth: (count / 10) / progress[0], rate_of_last_tenth: recent.at(-1) };
    });
  }, { extension: false });
}

export function variants({ quick }) {
  const count = quick ? 20_000 : 1_000_000;
  const limit_s = quick ? 10 : 120;
  const kinds = { alone: null, 'a reader open': 'reader', 'a writer open': 'writer' };
  return Object.entries(kinds).flatMap(([label, kind]) => [
    {
      name: `webhook: ${label}`,
      goals: [
        ...(kind ? [{ metric: 'rate', to: 'webhook: alone', min: 0.9 }, { metric: 'cpu_us', to: 'webhook: alone' }] : []),
        { metric: 'rate_of_last_tenth', to: `webhook: ${label}`, toMetric: 'rate_of_first_tenth', min: 0.9 },
      ],
      run: () => ours(count, kind),
    },
    {
      name: `SKIP LOCKED with DELETE: ${label}`,
      goals: [{ metric: 'rate_of_last_tenth', to: `SKIP LOCKED with DELETE: ${label}`, toMetric: 'rate_of_first_tenth' }],
      run: () => skipLocked(count, kind, limit_s),
    },
  ]);
}

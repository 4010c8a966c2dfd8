// pg-boss delivering a backlog.
//
//   pg_boss.mjs fill CONNECTION COUNT BODY_FILE
//   pg_boss.mjs drain CONNECTION COUNT URL default|best [CA_FILE]     prints the seconds
import PgBoss from 'pg-boss';
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { until } from '../harness/process.mjs';
import { deliverer } from './deliver.mjs';

const [command, connectionString, count, ...rest] = process.argv.slice(2);
const boss = new PgBoss({ connectionString, supervise: false, schedule: false });
boss.on('error', (error) => console.error(error.message));
await boss.start();

async function fill(bodyFile) {
  await boss.createQueue('deliver');
  const data = { body: readFileSync(bodyFile, 'utf8') };
  for (let left = Number(count); left > 0; left -= 1000) {
    await boss.insert(Array.from({ length: Math.min(left, 1000) }, () => ({ name: 'deliver', data })));
  }
  const client = new pg.Client({ connectionString });
  await client.connect();
  await client.query('VACUUM ANALYZE pgboss.job');
  await client.end();
}

// Four loops that take 500 jobs each, deliver them at once over the 64 connections, and ask for more without waiting
// for the next poll; what is fetched is completed by one statement. More loops, or larger batches, were no faster.
const BEST = { loops: 4, options: { batchSize: 500, pollingIntervalSeconds: 0.5, priority: false } };

async function drain(url, settings, caFile) {
  const deliver = deliverer(url, caFile);
  const { loops, options } = settings === 'best' ? BEST : { loops: 1, options: {} };
  let delivered = 0;
  const client = new pg.Client({ connectionString });
  await client.connect();
  const began = performance.now();
  for (let loop = 0; loop < loops; ++loop) {
    const id = await boss.work('deliver', options, async (jobs) => {
      await Promise.all(jobs.map((job) => deliver(job.data.body)));
      delivered += jobs.length;
      if (settings === 'best') boss.notifyWorker(id);
    });
  }
  await until('deliveries', () => delivered >= Number(count), { seconds: 600, pause_ms: 5 });
  await until('completed jobs', async () =>
    (await client.query("SELECT FROM pgboss.job WHERE name = 'deliver' AND state < 'completed' LIMIT 1")).rowCount === 0,
  { pause_ms: 5 });
  console.log((performance.now() - began) / 1000);
  await client.end();
}

await (command === 'fill' ? fill(...rest) : drain(...rest));
process.exit(0);

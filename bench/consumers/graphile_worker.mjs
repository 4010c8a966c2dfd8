// graphile-worker delivering a backlog.
//
//   graphile_worker.mjs fill CONNECTION COUNT BODY_FILE
//   graphile_worker.mjs drain CONNECTION COUNT URL default|best [CA_FILE]     prints the seconds
import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { until } from '../harness/process.mjs';
import { deliverer } from './deliver.mjs';

const [command, connectionString, count, ...rest] = process.argv.slice(2);
const logger = new Logger(() => (level, message) => { if (level === 'error') console.error(message); });

async function fill(bodyFile) {
  const utils = await makeWorkerUtils({ connectionString, logger });
  await utils.migrate();
  await utils.release();
  const client = new pg.Client({ connectionString });
  await client.connect();
  // Many at once: one by one, each would take close to a millisecond.
  const body = readFileSync(bodyFile, 'utf8');
  for (let left = Number(count); left > 0; left -= 1000) {
    await client.query(`SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(
                          SELECT json_populate_record(NULL::graphile_worker.job_spec,
                                   json_build_object('identifier', 'deliver', 'payload', json_build_object('body', $1::text)))
                            FROM generate_series(1, $2::int)))`, [body, Math.min(left, 1000)]);
  }
  await client.query('VACUUM ANALYZE graphile_worker._private_jobs');
  await client.end();
}

async function drain(url, settings, caFile) {
  const deliver = deliverer(url, caFile);
  let delivered = 0;
  const taskList = { deliver: async ({ body }) => { await deliver(body); delivered += 1; } };
  // What its documentation names for throughput.
  const worker = settings === 'best'
    ? { concurrentJobs: 50, localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } : {};
  const client = new pg.Client({ connectionString });
  await client.connect();
  const began = performance.now();
  const runner = await run({ preset: { worker }, connectionString, logger, noHandleSignals: true, taskList });
  await until('deliveries', () => delivered >= Number(count), { seconds: 600, pause_ms: 5 });
  await until('an empty queue', async () =>
    (await client.query('SELECT FROM graphile_worker._private_jobs LIMIT 1')).rowCount === 0, { pause_ms: 5 });
  console.log((performance.now() - began) / 1000);
  await runner.stop();
  await client.end();
}

await (command === 'fill' ? fill(...rest) : drain(...rest));
process.exit(0);

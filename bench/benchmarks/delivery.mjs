import { fileURLToPath } from 'node:url';
import { endpoint } from '../harness/endpoint.mjs';
import { output } from '../harness/process.mjs';
import { connectionString, programs, withDatabase, work } from '../harness/server.mjs';
import { createWebhooks, drain, insertContacts, watchContacts, writeSampleRequest } from '../harness/workload.mjs';

export const title = 'Deliveries a second out of a backlog, bodies of 500 bytes, to nginx on loopback, one worker.';

const caFile = `${work}/certificates/ca.crt`;
const caOf = (scheme) => (scheme === 'https' ? [caFile] : []);

// Complete: signed, answered, and written to webhook_logs. 64 in flight, as webhook.max_in_flight is.
async function ours(scheme, count) {
  const nginx = await endpoint();
  return withDatabase(async (database) => {
    await watchContacts(database);
    await createWebhooks(database, [nginx.url(scheme)]);
    await database.query('UPDATE webhook_configurations SET max_in_flight = 64');
    await insertContacts(database, count);
    const { rate, cpu_us } = await drain(database, nginx, count);
    return { rate, cpu_us };
  });
}

async function bareCurl(scheme, count) {
  const files = writeSampleRequest();
  const text = await output(`${programs}/curl_client`, [(await endpoint()).url(scheme), files.headers, files.body, count,
    64, ...caOf(scheme)]);
  const [seconds, cpu] = text.split(' ').map(Number);
  return { rate: count / seconds, cpu_us: cpu / count * 1e6 };
}

async function wrk(scheme, seconds) {
  const text = await output('wrk', ['-t', 1, '-c', 64, '-d', seconds, '-s', writeSampleRequest().wrk,
    (await endpoint()).url(scheme)]);
  if (/Non-2xx|Socket errors/.test(text)) throw new Error(`wrk: ${text}`);
  return { rate: Number(text.match(/^Requests\/sec:\s+([\d.]+)/m)[1]) };
}

async function queue(consumer, scheme, count, settings) {
  const url = (await endpoint()).url(scheme);
  const program = fileURLToPath(new URL(`../consumers/${consumer}.mjs`, import.meta.url));
  return withDatabase(async (database) => {
    const connection = connectionString(database.name);
    await output('node', [program, 'fill', connection, count, writeSampleRequest().body]);
    await database.query('CHECKPOINT');
    const seconds = Number(await output('node', [program, 'drain', connection, count, url, settings, ...caOf(scheme)]));
    return { rate: count / seconds };
  }, { extension: false });
}

export function variants({ quick }) {
  const count = quick ? 10_000 : 100_000;
  const wrkSeconds = quick ? 1 : 5;
  // The rate is the same for fewer: at their defaults they are slow.
  const few = quick ? 1000 : 10_000;
  const fewest = quick ? 2 : 10;
  return ['http', 'https'].flatMap((scheme) => [
    {
      name: `webhook: ${scheme}`,
      goals: [
        { metric: 'rate', to: `bare libcurl: ${scheme}`, min: scheme === 'http' ? 0.75 : 0.92 },
        { metric: 'rate', to: `graphile-worker, best settings: ${scheme}`, min: 2 },
        { metric: 'rate', to: `graphile-worker, defaults: ${scheme}`, min: 10 },
        { metric: 'rate', to: `pg-boss, best settings: ${scheme}`, min: 2 },
        { metric: 'rate', to: `pg-boss, defaults: ${scheme}`, min: 10 },
        { metric: 'rate', to: `wrk: ${scheme}` },
        { metric: 'cpu_us', to: `bare libcurl: ${scheme}` },
      ],
      run: () => ours(scheme, count),
    },
    { name: `bare libcurl: ${scheme}`, run: () => bareCurl(scheme, count) },
    { name: `wrk: ${scheme}`, run: () => wrk(scheme, wrkSeconds) },
    { name: `graphile-worker, best settings: ${scheme}`, run: () => queue('graphile_worker', scheme, count, 'best') },
    { name: `graphile-worker, defaults: ${scheme}`, run: () => queue('graphile_worker', scheme, few, 'default') },
    { name: `pg-boss, best settings: ${scheme}`, run: () => queue('pg_boss', scheme, count, 'best') },
    { name: `pg-boss, defaults: ${scheme}`, run: () => queue('pg_boss', scheme, fewest, 'default') },
  ]);
}

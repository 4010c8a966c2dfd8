import { endpoint } from '../harness/endpoint.mjs';
import { until } from '../harness/process.mjs';
import { configure, withDatabase } from '../harness/server.mjs';
import { cpuOfWorkers, createWebhooks, insertContacts, latency, watchContacts } from '../harness/workload.mjs';

export const title = 'The latency of ten webhooks at 200 events a second, while one of many others is edited ten times a ' +
  'second. in force: from the return of an edit that switches a webhook on, by way of an event, to its request; create: ' +
  'for each webhook of one statement that creates all; load: from the start of a worker to its first request, ' +
  'load cpu: the CPU that it has used by then.';

const EDITED = "WHERE name = 'webhook 1'";

// Until the webhook that is edited gets an event that is inserted now.
async function untilRequest(database, nginx) {
  const before = await nginx.requests();
  await insertContacts(database, 1, { organizations: 1 });
  await until('a request', async () => await nginx.requests() > before, { pause_ms: 1 });
}

async function untilInForce(database, nginx) {
  await database.query(`UPDATE webhook_configurations SET is_active = false ${EDITED}`);
  await database.query(`UPDATE webhook_configurations SET is_active = true ${EDITED}`);
  const began = performance.now();
  await untilRequest(database, nginx);
  return performance.now() - began;
}

async function edit(database, isOver) {
  for (let number = 0; !isOver(); ++number) {
    const next = performance.now() + 100;
    await database.query(`UPDATE webhook_configurations SET timeout_ms = $1 ${EDITED}`, [5000 + number % 1000]);
    await new Promise((resolve) => setTimeout(resolve, next - performance.now()));
  }
}

async function measure({ webhooks, seconds, edits }) {
  const nginx = await endpoint();
  return withDatabase(async (database) => {
    await watchContacts(database);
    await configure({ 'webhook.enabled': 'on' });
    const began = performance.now();
    await createWebhooks(database, Array.from({ length: webhooks }, () => nginx.url()));
    const create_us = (performance.now() - began) * 1000 / webhooks;
    await untilRequest(database, nginx);  // all of them are known
    await database.query('VACUUM ANALYZE webhook_configurations, webhook_secrets');

    let isOver = false;
    const editing = edits ? edit(database, () => isOver) : null;
    const measured = await latency(database, ['rate', 200, seconds, 10]).finally(() => { isOver = true; });
    await editing;
    if (!edits) return { ...measured, create_us };

    const inForce = [];
    for (let i = 0; i < 20; ++i) inForce.push(await untilInForce(database, nginx));
    inForce.sort((a, b) => a - b);

    const [old] = await database.workers();
    const restarted = performance.now();
    await database.query('SELECT pg_terminate_backend($1)', [old]);
    await untilRequest(database, nginx);
    const load_us = (performance.now() - restarted) * 1000;
    return { ...measured, in_force_p50_us: inForce[10] * 1000, in_force_max_us: inForce[19] * 1000, load_us,
      load_cpu_us: await cpuOfWorkers(database) * 1e6 };
  });
}

export function variants({ quick }) {
  const seconds = quick ? 3 : 20;
  return (quick ? [1_000] : [10_000, 100_000]).flatMap((webhooks) => {
    const name = `${webhooks.toLocaleString('en')} webhooks`;
    return [
      { name: `${name}, no edits`, goals: [{ metric: 'create_us', max: 300 }], run: () => measure({ webhooks, seconds, edits: false }) },
      {
        name: `${name}, 10 edits/s`,
        goals: [...['p50_us', 'p90_us', 'p99_us'].map((metric) =>
          ({ metric, to: `${name}, no edits`, how: 'difference', max: metric === 'p90_us' ? 10_000 : undefined })),
          { metric: 'in_force_max_us', max: 100_000 }, { metric: 'load_us', max: 3_000_000 }],
        run: () => measure({ webhooks, seconds, edits: true }),
      },
    ];
  });
}

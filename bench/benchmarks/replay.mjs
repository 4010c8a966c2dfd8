import { endpoint } from '../harness/endpoint.mjs';
import { until } from '../harness/process.mjs';
import { configure, withDatabase } from '../harness/server.mjs';
import { createWebhooks, drain, insertContacts, latency, watchContacts } from '../harness/workload.mjs';

export const title = 'The latency of one webhook at 200 events a second, while 100,000 old events are replayed to another.';

async function measure({ replayed, seconds, replay }) {
  const nginx = await endpoint();
  return withDatabase(async (database) => {
    await watchContacts(database);
    await createWebhooks(database, [nginx.url()]);
    await insertContacts(database, replayed);
    await drain(database, nginx, replayed);
    await configure({ 'webhook.enabled': 'on' });
    const before = await nginx.requests();
    const measuring = latency(database, ['rate', 200, seconds]);
    // Once the latency program has begun to send.
    await until('the first events', async () =>
      await database.value("SELECT count(*) FROM contacts WHERE organization_id = 'latency-0'") > 20);
    const asked = replay
      ? await database.value("SELECT webhook_replay(id, '-infinity') FROM webhook_configurations WHERE name = 'webhook 1'") : 0;
    const measured = await measuring;
    if (asked !== (replay ? replayed : 0)) throw new Error(`${asked} events were replayed instead of ${replayed}`);
    return { ...measured, replayed_meanwhile: (await nginx.requests()) - before };
  });
}

export function variants({ quick }) {
  const replayed = quick ? 5000 : 100_000;
  const seconds = quick ? 3 : 20;
  return [
    { name: 'no replay', run: () => measure({ replayed, seconds, replay: false }) },
    {
      name: 'beside a replay',
      goals: ['p50_us', 'p99_us'].map((metric) => ({ metric, to: 'no replay' })),
      run: () => measure({ replayed, seconds, replay: true }),
    },
  ];
}

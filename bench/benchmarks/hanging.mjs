import { endpoint, silentEndpoint } from '../harness/endpoint.mjs';
import { configure, withDatabase } from '../harness/server.mjs';
import { createWebhooks, drain, insertContacts, latency, watchContacts } from '../harness/workload.mjs';

export const title = 'The healthy webhooks among 100 when 10 never answer: the rate out of a backlog, and the latency at ' +
  '1,000 events a second.';

const WEBHOOKS = 100;

// Calls action(database, endpoint, healthy) with a backlog of count events for 100 webhooks, of which so many hang.
// healthy: how many of the events are for the others.
export async function withHanging(hanging, count, action) {
  const nginx = await endpoint();
  const silent = await silentEndpoint();
  try {
    return await withDatabase(async (database) => {
      await watchContacts(database);
      await createWebhooks(database, Array.from({ length: WEBHOOKS }, (_, i) =>
        (i < WEBHOOKS - hanging ? nginx.url() : silent.url)));
      await insertContacts(database, count, { organizations: WEBHOOKS });
      return action(database, nginx, count * (1 - hanging / WEBHOOKS));
    });
  } finally {
    await silent.stop();
  }
}

// The deliveries a second of those that answer.
const drainHealthy = (count, hanging) => withHanging(hanging, count, async (database, nginx, healthy) => {
  const { rate, cpu_us } = await drain(database, nginx, healthy);
  return { rate, cpu_us };
});

// during(database, measured): calls measured(), and gives the result.
export const latencyOfHealthy = (seconds, hanging, { silent = false, during = (_, measured) => measured() } = {}) =>
  withDatabase(async (database) => {
    await watchContacts(database);
    await configure({ 'webhook.enabled': 'on' });
    const how = silent ? ['silent'] : [];
    return during(database, () => latency(database, ['rate', 1000, seconds, WEBHOOKS, hanging, ...how], { longest: true }));
  });

export function variants({ quick }) {
  const count = quick ? 10_000 : 100_000;
  const seconds = quick ? 2 : 20;
  return [
    { name: 'rate, none hangs', run: () => drainHealthy(count, 0) },
    {
      name: 'rate, 10 hang',
      goals: [{ metric: 'rate', to: 'rate, none hangs', min: 0.95 }],
      run: () => drainHealthy(count, 10),
    },
    { name: 'latency, none hangs', run: () => latencyOfHealthy(seconds, 0) },
    {
      name: 'latency, 10 hang',
      goals: ['p50_us', 'p99_us', 'from_due_p99_us'].map((metric) =>
        ({ metric, to: 'latency, none hangs', max: metric === 'p99_us' ? 1.2 : undefined })),
      run: () => latencyOfHealthy(seconds, 10),
    },
    {
      name: 'latency, the name servers of 10 hang',
      goals: ['p50_us', 'p99_us', 'max_us'].map((metric) => ({ metric, to: 'latency, none hangs' })),
      run: () => latencyOfHealthy(seconds, 10, { silent: true }),
    },
  ];
}

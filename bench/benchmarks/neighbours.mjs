import { createServer } from 'node:http';
import { endpoint, silentEndpoint } from '../harness/endpoint.mjs';
import { configure, withDatabase } from '../harness/server.mjs';
import { createWebhooks, insertContacts, latency, watchContacts } from '../harness/workload.mjs';

export const title = 'The latency of ten organizations at 200 events a second, beside one that has 1,000 webhooks and has ' +
  'events for all of them, in one statement a second after the start.';

const WEBHOOKS = 1_000;

// Answers every request after so long.
async function lateEndpoint(delay_ms) {
  const server = createServer((request, response) => {
    request.resume().on('end', () => setTimeout(() => response.end(), delay_ms));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', 4096, resolve));
  const stop = () => new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${server.address().port}/`, stop };
}

const stopped = { stop: async () => {} };
const kinds = {
  none: async () => ({ ...stopped, url: null }),
  healthy: async () => ({ ...stopped, url: (await endpoint()).url() }),
  silent: silentEndpoint,
  late: () => lateEndpoint(900),
};

async function measure({ neighbour, events = 0, filter = null, seconds }) {
  const { url, stop } = await kinds[neighbour]();
  try {
    return await withDatabase(async (database) => {
      await watchContacts(database);
      await configure({ 'webhook.enabled': 'on' });
      if (url) {
        await createWebhooks(database, Array.from({ length: WEBHOOKS }, () => url), { sharedOrganization: true });
        await database.query('UPDATE webhook_configurations SET filter = $1::jsonpath', [filter]);
      }
      const measured = latency(database, ['rate', 200, seconds, 10], { longest: true });
      await new Promise((resolve) => setTimeout(resolve, 1000));
      if (events > 0) await insertContacts(database, events);
      return measured;
    });
  } finally {
    await stop();
  }
}

export function variants({ quick }) {
  const seconds = quick ? 5 : 30;
  const events = quick ? 100 : 1_000;
  const beside = (name, how) => ({
    name,
    goals: ['p50_us', 'p90_us', 'p99_us', 'max_us'].map((metric) => ({ metric, to: 'alone', how: 'difference' })),
    run: () => measure({ ...how, seconds }),
  });
  return [
    { name: 'alone', run: () => measure({ neighbour: 'none', seconds }) },
    beside('its endpoints never answer, 20 events', { neighbour: 'silent', events: 20 }),
    beside('they answer after 0.9 s, 300 events', { neighbour: 'late', events: 300 }),
    beside(`they answer at once, ${events.toLocaleString('en')} events`, { neighbour: 'healthy', events }),
    beside(`likewise, by a filter that matches nothing, ${events.toLocaleString('en')} events`,
      { neighbour: 'healthy', events, filter: '$.amount < 0' }),
  ];
}

import { endpoint } from '../harness/endpoint.mjs';
import { Report } from '../harness/report.mjs';
import { configure, hasSetting, watchMemory, withDatabase } from '../harness/server.mjs';
import { createWebhooks, drain, insertContacts, watchContacts } from '../harness/workload.mjs';

export const title = 'Deliveries a second, and the memory of a worker at its highest, by the number of webhooks, of ' +
  'webhooks an event goes to, and of workers. own is without the shared buffers that the worker has touched.';

// Drains deliveries spread evenly over webhooks that are each an organization of their own; with fanOut, over all
// webhooks of one. watch: what is asked of the workers meanwhile, given the database and what drains it.
export async function measure({ deliveries, webhooks = 1, fanOut = false, workers = 1, watch = (database, drained) => drained() }) {
  const nginx = await endpoint();
  if (workers > 1 && !(await hasSetting('webhook.workers'))) {
    throw new Report.Skip('this version has no setting webhook.workers');
  }
  try {
    if (workers > 1) await configure({ 'webhook.workers': workers });
    return await withDatabase(async (database) => {
      const pids = await database.awaitWorkers(workers);
      await watchContacts(database);
      await createWebhooks(database, Array.from({ length: webhooks }, () => nginx.url()), { sharedOrganization: fanOut });
      await insertContacts(database, fanOut ? deliveries / webhooks : deliveries, { organizations: fanOut ? 1 : webhooks });
      const stopWatching = watchMemory(pids);
      const { rate, cpu_us } = await watch(database, () => drain(database, nginx, deliveries));
      return { rate, cpu_us, ...(await stopWatching()) };
    });
  } finally {
    if (workers > 1) await configure({ 'webhook.workers': null });
  }
}

export function variants({ quick }) {
  const deliveries = quick ? 10_000 : 100_000;
  // So many that what each webhook costs once, its keys and its first row of statistics, is not what is measured.
  const many = 3 * deliveries;
  const bySize = [1, 100, 10_000].map((webhooks) => ({
    name: `${webhooks.toLocaleString('en')} webhook${webhooks > 1 ? 's' : ''}`,
    goals: webhooks > 100 ? [{ metric: 'rate', to: '100 webhooks', min: 0.9 }, { metric: 'cpu_us', to: '100 webhooks' }] : [],
    run: () => measure({ deliveries: many, webhooks }),
  }));
  const byFanOut = [1, 10, 100].map((webhooks) => ({
    name: `fan-out ${webhooks}`,
    goals: webhooks > 1 ? [{ metric: 'rate', to: 'fan-out 1' }] : [],
    run: () => measure({ deliveries, webhooks, fanOut: true }),
  }));
  const byWorkers = [1, 2, 4].map((workers) => ({
    name: `100 webhooks, ${workers} worker${workers > 1 ? 's' : ''}`,
    goals: workers > 1 ? [{ metric: 'rate', to: '100 webhooks, 1 worker', min: workers === 2 ? 1.4 : undefined }] : [],
    run: () => measure({ deliveries, webhooks: 100, workers }),
  }));
  return [...bySize, ...byFanOut, ...byWorkers];
}

import { endpoint } from '../harness/endpoint.mjs';
import { profileWorker, waitingShare } from '../harness/profile.mjs';
import { configure, withDatabase } from '../harness/server.mjs';
import { createWebhooks, drain, insertContacts, watchContacts } from '../harness/workload.mjs';

export const title = 'The worker while it delivers a backlog to one webhook, 64 in flight.';

export async function run({ quick }) {
  const count = quick ? 20_000 : 100_000;
  const nginx = await endpoint();
  return withDatabase(async (database) => {
    await watchContacts(database);
    await createWebhooks(database, [nginx.url()]);
    await database.query('UPDATE webhook_configurations SET max_in_flight = 64');
    await insertContacts(database, count);
    const { text } = await profileWorker(database, count, () => drain(database, nginx, count));
    await configure({ 'webhook.enabled': 'off' });
    await insertContacts(database, count);
    return `${text}\n\n${await waitingShare((await database.workers())[0], () => drain(database, nginx, count))}`;
  });
}

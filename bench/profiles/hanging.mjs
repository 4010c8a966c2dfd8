import { endpoint, silentEndpoint } from '../harness/endpoint.mjs';
import { profile } from '../harness/profile.mjs';
import { withDatabase } from '../harness/server.mjs';
import { createWebhooks, drain, insertContacts, watchContacts } from '../harness/workload.mjs';

export const title = 'The worker while it delivers to 100 webhooks of which none, and then 10, never answer.';

const WEBHOOKS = 100;

export async function run({ quick }) {
  const count = quick ? 20_000 : 100_000;
  const nginx = await endpoint();
  const silent = await silentEndpoint();
  const texts = [];
  try {
    for (const hanging of [0, 10]) {
      const text = await withDatabase(async (database) => {
        await watchContacts(database);
        await createWebhooks(database, Array.from({ length: WEBHOOKS }, (_, i) =>
          (i < WEBHOOKS - hanging ? nginx.url() : silent.url)));
        await insertContacts(database, count, { organizations: WEBHOOKS });
        const [pid] = await database.workers();
        const healthy = count * (1 - hanging / WEBHOOKS);
        return profile(pid, () => healthy, () => drain(database, nginx, healthy));
      });
      texts.push(`--- ${hanging} hang\n${text}`);
    }
  } finally {
    await silent.stop();
  }
  return texts.join('\n\n');
}

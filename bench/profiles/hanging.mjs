import { withHanging } from '../benchmarks/hanging.mjs';
import { profileWorker } from '../harness/profile.mjs';
import { drain } from '../harness/workload.mjs';

export const title = 'The worker while it delivers to 100 webhooks of which none, and then 10, never answer.';

export async function run({ quick }) {
  const count = quick ? 20_000 : 100_000;
  const texts = [];
  for (const hanging of [0, 10]) {
    texts.push(await withHanging(hanging, count, async (database, nginx, healthy) => {
      const { text } = await profileWorker(database, healthy, () => drain(database, nginx, healthy));
      return `--- ${hanging} hang\n${text}`;
    }));
  }
  return texts.join('\n\n');
}

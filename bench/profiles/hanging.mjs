import { latencyOfHealthy, withHanging } from '../benchmarks/hanging.mjs';
import { absences, profileWorker } from '../harness/profile.mjs';
import { drain } from '../harness/workload.mjs';

export const title = 'The worker while it delivers to 100 webhooks of which none, and then 10, never answer: out of a backlog, ' +
  'and for how long its loop is away at 1,000 events a second.';

export async function run({ quick }) {
  const count = quick ? 20_000 : 100_000;
  const texts = [];
  for (const hanging of [0, 10]) {
    texts.push(await withHanging(hanging, count, async (database, nginx, healthy) => {
      const { text } = await profileWorker(database, healthy, () => drain(database, nginx, healthy));
      return `--- ${hanging} hang\n${text}`;
    }));
  }
  for (const hanging of [0, 10]) {
    const during = async (database, measured) => absences((await database.awaitWorkers())[0], measured);
    texts.push(`--- ${hanging} hang, 1,000 events a second\n${await latencyOfHealthy(quick ? 2 : 20, hanging, { during })}`);
  }
  return texts.join('\n\n');
}

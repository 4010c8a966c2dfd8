import { measure } from '../benchmarks/history.mjs';
import { profiling } from '../harness/profile.mjs';

export const title = 'The worker while it delivers a backlog to one webhook, beside 10 million rows of each of logs and events.';

export async function run({ quick }) {
  const count = quick ? 20_000 : 100_000;
  let text;
  await measure(count, quick ? 100_000 : 10_000_000, profiling(count, (profiled) => { text = profiled; }));
  return text;
}

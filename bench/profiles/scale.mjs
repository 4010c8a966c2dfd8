import { measure } from '../benchmarks/scale.mjs';
import { profiling } from '../harness/profile.mjs';

export const title = 'The worker while it delivers a backlog to 100 webhooks, and then to 10,000.';

export async function run({ quick }) {
  const deliveries = quick ? 20_000 : 300_000;
  const texts = [];
  for (const webhooks of [100, 10_000]) {
    const watch = profiling(deliveries, (text) => texts.push(`--- ${webhooks} webhooks\n${text}`));
    await measure({ deliveries, webhooks, watch });
  }
  return texts.join('\n\n');
}

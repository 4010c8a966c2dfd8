import { ours } from '../benchmarks/backlog.mjs';
import { profiling } from '../harness/profile.mjs';

export const title = 'The worker while it delivers a backlog of a million: alone, beside an open transaction that reads, and ' +
  'beside one that writes.';

export async function run({ quick }) {
  const count = quick ? 20_000 : 1_000_000;
  const texts = [];
  for (const kind of [null, 'reader', 'writer']) {
    await ours(count, kind, profiling(count, (text) => texts.push(`--- ${kind ?? 'alone'}\n${text}`)));
  }
  return texts.join('\n\n');
}

import { configure, withDatabase } from '../harness/server.mjs';
import { latency, watchContacts } from '../harness/workload.mjs';

export const title = 'From the return of COMMIT to the arrival of the request; at a rate also from the moment that the ' +
  'row was due.';

const measure = (synchronousCommit, ...args) => withDatabase(async (database) => {
  await watchContacts(database);
  await configure({ 'webhook.enabled': 'on' });
  return latency(database, args, { synchronousCommit });
});

export function variants({ quick }) {
  const rounds = quick ? 100 : 1000;
  const seconds = quick ? 2 : 10;
  return ['on', 'off'].flatMap((synchronousCommit) => [
    {
      name: `idle, synchronous_commit ${synchronousCommit}`,
      goals: synchronousCommit === 'on' ? [{ metric: 'p50_us', max: 100 }, { metric: 'p99_us', max: 600 }] : [],
      run: () => measure(synchronousCommit, 'idle', rounds),
    },
    {
      name: `1,000/s, synchronous_commit ${synchronousCommit}`,
      run: () => measure(synchronousCommit, 'rate', 1000, seconds),
    },
    {
      name: `5,000/s, synchronous_commit ${synchronousCommit}`,
      goals: synchronousCommit === 'on' ? [{ metric: 'p99_us', max: 1200 }] : [],
      run: () => measure(synchronousCommit, 'rate', 5000, seconds),
    },
  ]);
}

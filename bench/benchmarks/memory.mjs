import { measure } from './scale.mjs';

export const title = 'The memory of a worker at its highest with a large backlog and 10,000 webhooks. own is without the ' +
  'shared buffers that the worker has touched.';

export function variants({ quick }) {
  return [{
    name: 'a worker',
    goals: [{ metric: 'own_MB', max: 128 }],
    run: () => measure({ deliveries: quick ? 20_000 : 1_000_000, webhooks: 10_000 }),
  }];
}

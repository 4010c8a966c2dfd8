import { measure } from './scale.mjs';

export const title = 'The memory of a worker at its highest with a large backlog and 10,000 webhooks, and with 100,000 ' +
  'webhooks of which 1,000 get an event. own is without the shared buffers that the worker has touched.';

export function variants({ quick }) {
  return [{
    name: 'a worker',
    goals: [{ metric: 'own_MB', max: 128 }],
    run: () => measure({ deliveries: quick ? 20_000 : 1_000_000, webhooks: 10_000 }),
  }, {
    name: 'a worker, most webhooks stand still',
    goals: [{ metric: 'own_MB', max: 128 }],
    run: () => measure({ deliveries: quick ? 100 : 1000, webhooks: quick ? 10_000 : 100_000 }),
  }];
}

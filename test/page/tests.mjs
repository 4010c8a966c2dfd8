// The tests of the settings page: node --test-reporter=tap tests.mjs. dev/test runs them, as the suite "page".
//
//   --test-name-pattern REGEX   runs some of them
//   PAGE_TEST_HOST              webhook-console or PostgREST: one of the hosts only
//   PAGE_TEST_DIR               an empty folder for the cluster, which is left there
//   WEBHOOK_TEST_LOGS           a folder for pictures of failed tests
//   PG_TEST_TIMEOUT_DEFAULT     how many seconds a condition may take

import { startOnce } from './scenario.mjs';

startOnce();
await import('./tests/stand_in.mjs');
const { judgeRecordedCalls } = await import('./tests/contract.mjs');
await import('./tests/json_text.mjs');
await import('./tests/console.mjs');
await import('./tests/list.mjs');
await import('./tests/form.mjs');
await import('./tests/webhook.mjs');
await import('./tests/deliveries.mjs');
await import('./tests/sending.mjs');
await import('./tests/why.mjs');
await import('./tests/trouble.mjs');
await import('./tests/accessibility.mjs');
judgeRecordedCalls();

// WCAG 2.2 AA as far as axe-core can judge, and no horizontal scrolling, in every screen and state: light and dark, at
// 1280 px, at 320 px and at 200 %. The page is the same in both hosts, so one is visited.

import { assert, behaviour, gone, isAccessible, see, until } from '../scenario.mjs';
import { hostile, prepareShowcase } from '../showcase.mjs';
import { openMenu, rowOf } from './list.mjs';

const one = { hosts: ['PostgREST'] };

const settled = async (page) => {
  await see(page.getByRole('heading', { level: 1 }));
  await until('nothing is loading', async () => (await page.getByRole('status', { name: 'Loading…' }).count()) === 0);
};

behaviour('every screen is accessible, with webhooks in every state', async ({ world, tenant, page, open }) => {
  const ids = await prepareShowcase(world, tenant);
  const [attempt] = await world.sql('SELECT id, event_id FROM webhook_logs WHERE configuration_id = $1 AND event_id > 0 AND attempt = 1 ORDER BY id DESC LIMIT 1', [ids.hostile]);
  const routes = [
    '', '/webhooks/new', ...['billing', 'desk', 'gone', 'leads', 'hostile'].map((name) => `/webhooks/${ids[name]}`),
    ...['edit', 'deliveries', 'pending', 'sources', 'history', 'test', 'replay'].map((tab) => `/webhooks/${ids.hostile}/${tab}`),
    '/deliveries', `/attempts/${attempt.id}`, `/why?event_id=${attempt.event_id}`, '/why', '/verify', '/help', '/no/such/screen',
  ];
  for (const route of routes) {
    await open(route);
    await settled(page);
    await page.locator('main details').evaluateAll((all) => all.forEach((details) => { details.open = true; }));
    await isAccessible(page, route || '/webhooks');
  }
}, one);

behaviour('an empty organization, a menu, and a dialog are accessible', async ({ world, tenant, page, open }) => {
  await open();
  await settled(page);
  await isAccessible(page, 'no webhooks');
  await open('/deliveries');
  await settled(page);
  await isAccessible(page, 'no deliveries');
  await world.createWebhook({ organization: tenant, name: hostile.name });
  await open();
  await see(rowOf(page, 'canary'));
  await openMenu(page, 'canary');
  await isAccessible(page, 'a menu');
  await page.getByRole('menuitem', { name: /^Delete/ }).click();
  await see(page.getByRole('dialog'));
  await isAccessible(page, 'a dialog');
}, one);

behaviour('a form with errors is accessible', async ({ page, open }) => {
  await open('/webhooks/new');
  await page.getByRole('textbox', { name: 'URL', exact: true }).fill('ftp://nobody@example.com');
  await page.getByRole('textbox', { name: 'URL', exact: true }).blur();
  await until('it is marked', async () => (await page.getByRole('textbox', { name: 'URL', exact: true }).getAttribute('aria-invalid')) === 'true');
  await isAccessible(page, 'a form with errors');
}, one);

behaviour('what a role may not see, and what does not exist, is accessible', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant });
  await open(`/webhooks/${id}/edit`);
  await settled(page);
  await isAccessible(page, 'forbidden');
  await open('/webhooks/00000000-0000-0000-0000-000000000000');
  await see(page.getByText('Not found').first());
  await isAccessible(page, 'not found');
}, { ...one, as: { role: 'crm_reader' } });

behaviour('loading, an error, being offline and being signed out are accessible', async ({ world, host, tenant, page, open, context }) => {
  await world.createWebhook({ organization: tenant, name: 'Billing' });
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  await page.route('**/rpc/webhooks', async (route) => { await held; await route.continue(); });
  await open();
  await see(page.getByRole('status', { name: 'Loading…' }));
  await isAccessible(page, 'loading');
  release();
  await see(rowOf(page, 'Billing'));
  await page.unroute('**/rpc/webhooks');
  await page.route('**/rpc/webhooks', (route) => route.fulfill({ status: 500, json: { code: 'XX000', message: 'out of luck', details: null, hint: 'try again' } }));
  await page.getByLabel('Status').selectOption('active');
  await see(page.getByText('XX000'));
  await isAccessible(page, 'an error');
  await open('/deliveries');
  await settled(page);
  await context.setOffline(true);
  await see(page.getByText(/offline/i).first());
  await isAccessible(page, 'offline');
  await context.setOffline(false);
  await gone(page.getByText('You are offline'));
  await host.expireSession(context);
  await open();
  await see(page.getByRole('heading', { name: 'Sign in' }));
  await isAccessible(page, 'signed out');
}, one);

behaviour('a paused database and an operator’s page are accessible', async ({ world, page, open }) => {
  await world.sql("SELECT webhook_pause('maintenance')");
  try {
    await open();
    await see(page.getByText('maintenance'));
    await isAccessible(page, 'paused');
  } finally {
    await world.sql('SELECT webhook_resume()');
  }
}, { ...one, as: { role: 'crm_operator', organization: null } });

behaviour('forced colours and more contrast leave nothing out', async ({ world, tenant, page, open }) => {
  await world.createWebhook({ organization: tenant, name: 'Billing' });
  await page.emulateMedia({ forcedColors: 'active' });
  await open();
  await see(rowOf(page, 'Billing').getByRole('switch'));
  const outlined = await rowOf(page, 'Billing').getByRole('switch').evaluate((element) => getComputedStyle(element, '::before').borderStyle);
  assert.equal(outlined, 'solid');
}, one);


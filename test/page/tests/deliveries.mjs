// Deliveries and attempts: what was sent, what was answered, and sending again.

import { assert, behaviour, see, showsText, until } from '../scenario.mjs';

const all = (page) => page.getByRole('main');
const status = (page) => page.getByRole('combobox', { name: 'Status' });
const dataRows = (page) => page.getByRole('row').filter({ has: page.getByRole('cell') });

// A webhook with one delivered and one failed delivery.
async function twoOutcomes(world, tenant) {
  await world.receiver.set(`/${tenant}`, '/ok');
  const id = await world.createWebhook({ organization: tenant, name: 'Billing', url: world.receiver.url(`/${tenant}`), events: ['contact.*', 'deal.*'], retry_schedule: '{1d}' });
  await world.addContacts(tenant, 'Ada');
  await world.attempts(id, 1);
  await world.receiver.set(`/${tenant}`, '/status/500/body/out%20of%20order');
  await world.sql("INSERT INTO deals (organization_id, title) VALUES ($1, 'Order 7')", [tenant]);
  const [delivered, failed] = await world.attempts(id, 2);
  return { id, delivered, failed };
}

behaviour('deliveries are filtered, and the filters stay in the address', async ({ world, tenant, page, open }) => {
  const { id } = await twoOutcomes(world, tenant);
  await open(`/webhooks/${id}/deliveries`);
  await until('both are shown', async () => (await dataRows(page).count()) === 2);
  await status(page).selectOption('failed');
  await until('one is shown', async () => (await dataRows(page).count()) === 1);
  await showsText(dataRows(page), 'deal.created');
  assert.ok(page.url().includes('status=failed'));
  await page.reload();
  await until('one is shown', async () => (await dataRows(page).count()) === 1);
  assert.equal(await status(page).inputValue(), 'failed');
});

behaviour('older deliveries are loaded on request', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing' });
  await world.sql("INSERT INTO contacts (organization_id, name) SELECT $1, 'contact ' || n FROM generate_series(1, 70) n", [tenant]);
  await world.attempts(id, 70);
  await open(`/webhooks/${id}/deliveries`);
  await until('a page is shown', async () => (await dataRows(page).count()) === 50);
  await page.getByRole('button', { name: 'Load older' }).click();
  await until('all are shown', async () => (await dataRows(page).count()) === 70);
});

behaviour('Follow shows new deliveries as they come', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing' });
  await world.addContacts(tenant, 'Ada');
  await world.attempts(id, 1);
  await open(`/webhooks/${id}/deliveries`);
  await until('one is shown', async () => (await dataRows(page).count()) === 1);
  await page.getByRole('button', { name: 'Follow' }).click();
  await showsText(all(page), 'Following. Nothing new yet.');
  await world.addContacts(tenant, 'Zoë');
  await until('two are shown', async () => (await dataRows(page).count()) === 2);
});

behaviour('an attempt has its own address, and says in one sentence what happened', async ({ world, tenant, page, open }) => {
  const { failed } = await twoOutcomes(world, tenant);
  await open(`/attempts/${failed.id}`);
  await see(page.getByText(/^Your server answered 500 after .*; attempt 1 of 2; next at .*\.$/));
  for (const text of ['out of order', 'Order 7', 'X-Webhook-Signature', 'Next attempt']) await showsText(all(page), text);
});

behaviour('an attempt shows the headers of its response as text', async ({ world, tenant, page, open }) => {
  await world.receiver.set(`/${tenant}`, `/status/500/header/X-Why/${encodeURIComponent('<b id="hostile">loud</b>')}/header/Set-Cookie/id%3D7`);
  const id = await world.createWebhook({ organization: tenant, name: 'Billing', url: world.receiver.url(`/${tenant}`), retry_schedule: '{1d}' });
  await world.addContacts(tenant, 'Ada');
  const [failed] = await world.attempts(id, 1);
  await open(`/attempts/${failed.id}`);
  await showsText(all(page), '<b id="hostile">loud</b>');
  const value = (name) => page.locator('dt', { hasText: new RegExp(`^${name}$`, 'i') }).locator('+ dd');
  assert.equal((await value('set-cookie').textContent()).trim(), '***');
  assert.equal(await page.locator('#hostile').count(), 0);
  await see(page.getByRole('button', { name: 'Copy response headers' }));
});

behaviour('an attempt shows the URL that it was made with, and that the webhook has been changed since', async ({ world, tenant, page, open }) => {
  const { id, failed } = await twoOutcomes(world, tenant);
  await world.sql("UPDATE webhook_configurations SET url = $2 WHERE id = $1", [id, world.receiver.url('/changed')]);
  await open(`/attempts/${failed.id}`);
  await showsText(all(page), 'This webhook has been changed since this attempt: the URL and headers shown are those of version 1.');
  await showsText(all(page), `POST ${world.receiver.url(`/${tenant}`)}`);
  await page.getByRole('link', { name: 'Show the history' }).click();
  await showsText(all(page), 'Version 2');
});

behaviour('an attempt is copied as curl', async ({ world, tenant, page, open, context, host }) => {
  const { failed } = await twoOutcomes(world, tenant);
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: host.origin });
  await open(`/attempts/${failed.id}`);
  await page.getByRole('button', { name: 'Copy as curl' }).click();
  const text = await until('it is on the clipboard', () => page.evaluate(() => navigator.clipboard.readText()));
  assert.match(text, /^curl /);
  assert.ok(text.includes(`/${tenant}`));
});

behaviour('an attempt is redelivered', async ({ world, tenant, page, open }) => {
  const { failed } = await twoOutcomes(world, tenant);
  await world.receiver.set(`/${tenant}`, '/ok');
  await open(`/attempts/${failed.id}`);
  await page.getByRole('button', { name: 'Redeliver' }).click();
  await until('it is delivered', async () =>
    (await world.sql("SELECT FROM webhook_logs WHERE event_id = $1 AND status = 'success'", [failed.event_id])).length === 1);
});

behaviour('selected deliveries are redelivered', async ({ world, tenant, page, open }) => {
  const { id } = await twoOutcomes(world, tenant);
  await world.receiver.set(`/${tenant}`, '/ok');
  await open(`/webhooks/${id}/deliveries`);
  await until('both are shown', async () => (await dataRows(page).count()) === 2);
  for (const box of await dataRows(page).getByRole('checkbox').all()) await box.check();
  await page.getByRole('region', { name: '2 selected' }).getByRole('button', { name: 'Redeliver' }).click();
  await page.getByRole('dialog', { name: 'Redeliver 2 deliveries?' }).getByRole('button', { name: 'Redeliver' }).click();
  await world.attempts(id, 4);
});

behaviour('an attempt leads to the reasons', async ({ world, tenant, page, open }) => {
  const { failed } = await twoOutcomes(world, tenant);
  await open(`/attempts/${failed.id}`);
  await page.getByRole('link', { name: 'Why?' }).click();
  await until('the address has the event', () => page.url().includes(String(failed.event_id)));
  await showsText(all(page), 'Billing');
});

behaviour('pending and dead deliveries are listed, and pending ones are cancelled', async ({ world, tenant, page, open }) => {
  const { id } = await twoOutcomes(world, tenant);
  await until('one is pending', async () => (await world.sql("SELECT FROM webhook_deliveries WHERE configuration_id = $1 AND state = 'pending'", [id])).length === 1);
  await open(`/webhooks/${id}/pending`);
  await until('it is shown', async () => (await dataRows(page).count()) === 1);
  await showsText(dataRows(page), 'deal.created');
  await page.getByRole('button', { name: 'Cancel all…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel all', exact: true }).click();
  await until('it is dead', async () => (await world.sql("SELECT FROM webhook_deliveries WHERE configuration_id = $1 AND state = 'dead'", [id])).length === 1);
  await page.getByRole('navigation', { name: 'State' }).getByRole('link', { name: /^Dead/ }).click();
  await until('it is listed as dead', async () => (await dataRows(page).count()) === 1);
  await showsText(dataRows(page), 'cancelled');
  assert.ok(page.url().includes('state=dead'));
});


behaviour('one pending delivery is cancelled, and the others wait on', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Desk', url: world.receiver.url('/status/500'), retry_schedule: '{1d}' });
  await world.addContacts(tenant, 'a', 'b');
  const states = async () => (await world.sql('SELECT state FROM webhook_deliveries WHERE configuration_id = $1 ORDER BY state', [id])).map(({ state }) => state);
  await until('two are pending', async () => (await states()).length === 2);
  await open(`/webhooks/${id}/pending`);
  await dataRows(page).first().getByRole('button', { name: /^Actions for/ }).click();
  await page.getByRole('menuitem', { name: 'Cancel' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel delivery' }).click();
  await until('one is dead', async () => (await states()).join() === 'dead,pending');
  await until('one is shown', async () => (await dataRows(page).count()) === 1);
});

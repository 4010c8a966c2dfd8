// Settings → Webhooks, the list: what each webhook is doing, and what can be done to it.

import { assert, behaviour, gone, see, showsText, until } from '../scenario.mjs';

export const rowOf = (page, name) => page.getByRole('row').filter({ hasText: name });
export const openMenu = async (page, name) => rowOf(page, name).getByRole('button', { name: /^Actions for/ }).click();

behaviour('an organization without webhooks is shown three steps and a button', async ({ page, open }) => {
  await open();
  await see(page.getByRole('heading', { name: 'Webhooks', level: 1 }));
  await see(page.getByRole('listitem').nth(2));
  await page.getByRole('link', { name: 'New webhook' }).click();
  await see(page.getByRole('textbox', { name: 'Name', exact: true }));
});

behaviour('a row shows name, host, events and numbers, and masks the path', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing', url: world.receiver.url('/body/secret-path'), events: ['contact.*'] });
  await world.addContacts(tenant, 'Ada', 'Zoë');
  await world.attempts(id, 2);
  await until('the statistics are written', async () => (await world.sql('SELECT FROM webhook_minutes WHERE configuration_id = $1', [id])).length > 0);
  await open();
  const row = rowOf(page, 'Billing');
  await showsText(row, new URL(world.receiver.origin).host);
  await showsText(row, 'contact.*');
  await showsText(row, '100');
  assert.ok(!(await row.textContent()).includes('secret-path'));
});

behaviour('the switch turns a webhook off and on again', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing' });
  const isActive = async () => (await world.sql('SELECT is_active FROM webhook_configurations WHERE id = $1', [id]))[0].is_active;
  await open();
  const control = rowOf(page, 'Billing').getByRole('switch');
  await control.click();
  await until('it is off in the database', async () => !(await isActive()));
  await until('the switch shows it', async () => (await control.getAttribute('aria-checked')) === 'false');
  await control.click();
  await until('it is on in the database', isActive);
  await until('the switch shows it', async () => (await control.getAttribute('aria-checked')) === 'true');
});

behaviour('the list is searched by name and host, and the search stays in the address', async ({ world, tenant, page, open }) => {
  await world.createWebhook({ organization: tenant, name: 'Billing' });
  await world.createWebhook({ organization: tenant, name: 'Warehouse' });
  await open();
  await see(rowOf(page, 'Warehouse'));
  await page.getByRole('searchbox').fill('bill');
  await gone(rowOf(page, 'Warehouse'));
  await see(rowOf(page, 'Billing'));
  await until('the address has the search', () => page.url().includes('search=bill'));
  await page.reload();
  await see(rowOf(page, 'Billing'));
  assert.equal(await page.getByRole('searchbox').inputValue(), 'bill');
  assert.equal(await rowOf(page, 'Warehouse').count(), 0);
});

behaviour('the list is filtered by status', async ({ world, tenant, page, open }) => {
  await world.createWebhook({ organization: tenant, name: 'Billing' });
  await world.createWebhook({ organization: tenant, name: 'Marketing', is_active: false });
  await open();
  await see(rowOf(page, 'Billing'));
  await page.getByLabel('Status').selectOption('inactive');
  await gone(rowOf(page, 'Billing'));
  await see(rowOf(page, 'Marketing'));
  await until('the address has the filter', () => page.url().includes('status=inactive'));
});

behaviour('an open circuit is told in words', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Desk', url: world.receiver.url('/status/500'), retry_schedule: '{1h}' });
  await world.addContacts(tenant, 'a', 'b', 'c', 'd', 'e', 'f');
  await until('the circuit is open', async () =>
    (await world.sql('SELECT FROM webhook_endpoints WHERE configuration_id = $1 AND circuit_opened_at IS NOT NULL', [id])).length > 0);
  await open();
  await showsText(rowOf(page, 'Desk'), 'Failing since');
  await showsText(rowOf(page, 'Desk'), 'HTTP status 500');
});

behaviour('a webhook is duplicated, with a secret of its own', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing', events: ['deal.*'], timeout_ms: 7000 });
  await open();
  await openMenu(page, 'Billing');
  await page.getByRole('menuitem', { name: 'Duplicate' }).click();
  const name = page.getByRole('textbox', { name: 'Name', exact: true });
  await until('the form is filled', async () => (await name.inputValue()) === 'Copy of Billing');
  await name.fill('Billing again');
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  const copy = await until('the copy is stored', async () =>
    (await world.sql("SELECT *, webhook_reveal_secret(id) AS revealed FROM webhook_configurations WHERE organization_id = $1 AND name = 'Billing again'", [tenant]))[0]);
  assert.deepEqual([copy.events, copy.timeout_ms], [['deal.*'], 7000]);
  const [{ revealed }] = await world.sql('SELECT webhook_reveal_secret($1) AS revealed', [id]);
  assert.notEqual(copy.revealed, revealed);
});

behaviour('deleting says what is still pending, and deletes', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Desk', url: world.receiver.url('/status/500'), retry_schedule: '{1h}' });
  await world.addContacts(tenant, 'a', 'b');
  await until('two deliveries are pending', async () =>
    (await world.sql("SELECT FROM webhook_deliveries WHERE configuration_id = $1 AND state = 'pending'", [id])).length === 2);
  await open();
  await openMenu(page, 'Desk');
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  const dialog = page.getByRole('dialog');
  await showsText(dialog, '2 deliveries are still pending.');
  await dialog.getByRole('button', { name: 'Delete webhook' }).click();
  await until('it is deleted', async () => (await world.sql('SELECT FROM webhook_configurations WHERE id = $1', [id])).length === 0);
  await gone(rowOf(page, 'Desk'));
});

behaviour('the keyboard alone turns a webhook off', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing' });
  await open();
  await see(rowOf(page, 'Billing').getByRole('switch'));
  await tabTo(page, 'switch');
  await page.keyboard.press('Space');
  await until('it is off', async () => !(await world.sql('SELECT is_active FROM webhook_configurations WHERE id = $1', [id]))[0].is_active);
});

// Presses Tab until an element of this role, and name if one is given, has the focus.
export async function tabTo(page, role, name = '') {
  for (let pressed = 0; pressed < 200; pressed++) {
    await page.keyboard.press('Tab');
    const focused = await page.evaluate(() => {
      let active = document.activeElement;
      while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
      const tags = { INPUT: active?.type === 'checkbox' ? 'checkbox' : 'textbox', BUTTON: 'button', A: 'link', TEXTAREA: 'textbox', SUMMARY: 'summary' };
      const label = active?.labels?.[0]?.textContent ?? active?.ariaLabel ?? active?.textContent ?? '';
      return { role: active?.getAttribute('role') ?? tags[active?.tagName], name: label.trim() };
    });
    if (focused.role === role && focused.name.startsWith(name)) return;
  }
  throw new Error(`Tab reaches no ${role} "${name}"`);
}

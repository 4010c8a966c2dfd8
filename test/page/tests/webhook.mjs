// One webhook: what is wrong comes first, each finding with its remedy; numbers, sources, history.

import { assert, behaviour, see, showsText, until } from '../scenario.mjs';

const main = (page) => page.getByRole('main');
const title = (page, name) => page.getByRole('heading', { name, level: 1 });

behaviour('a webhook that a 410 has switched off is turned on by the button at the finding', async ({ world, tenant, page, open }) => {
  const pathname = `/${tenant}`;
  await world.receiver.set(pathname, '/status/410');
  const id = await world.createWebhook({ organization: tenant, name: 'Old CRM', url: world.receiver.url(pathname) });
  const isActive = async () => (await world.sql('SELECT is_active FROM webhook_configurations WHERE id = $1', [id]))[0].is_active;
  await world.addContacts(tenant, 'Ada');
  await until('it is switched off', async () => !(await isActive()));
  await open(`/webhooks/${id}`);
  await showsText(main(page), '410');
  await page.getByRole('button', { name: 'Turn on' }).click();
  await until('it is on', isActive);
  await until('the button is gone', async () => (await page.getByRole('button', { name: 'Turn on' }).count()) === 0);
});

behaviour('a filter that cannot judge leads to the settings, and says why', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Leads', filter: '$.name.double() ? (@ > 1)' });
  await world.addContacts(tenant, 'not a number');
  await until('the filter has failed', async () =>
    (await world.sql('SELECT FROM webhook_endpoints WHERE configuration_id = $1 AND filter_error IS NOT NULL', [id])).length > 0);
  await open(`/webhooks/${id}`);
  await showsText(main(page), '.double()');
  await page.getByRole('link', { name: 'Open settings' }).click();
  await see(page.getByRole('textbox', { name: 'Filter' }));
});

behaviour('findings come with the gravest first, and times as the reader writes them', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Desk', url: world.receiver.url('/status/500'), retry_schedule: '{1h}' });
  await world.addContacts(tenant, 'a', 'b', 'c', 'd', 'e', 'f');
  await until('the circuit is open', async () =>
    (await world.sql('SELECT FROM webhook_endpoints WHERE configuration_id = $1 AND circuit_opened_at IS NOT NULL', [id])).length > 0);
  await open(`/webhooks/${id}`);
  const findings = page.getByRole('region', { name: 'What needs attention' });
  await showsText(findings, 'the circuit is open');
  const text = await findings.textContent();
  assert.ok(text.indexOf('Warning') < text.indexOf('Info'), text);
  assert.doesNotMatch(text, /\d\d:\d\d:\d\d\.\d/);
});

behaviour('the overview draws attempts and response times, with a table beside each', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing' });
  await world.addContacts(tenant, 'Ada', 'Zoë', 'Jun');
  await world.attempts(id, 3);
  await until('the statistics are written', async () =>
    Number((await world.sql('SELECT sum(attempts) AS n FROM webhook_minutes WHERE configuration_id = $1', [id]))[0].n) === 3);
  await open(`/webhooks/${id}`);
  await see(page.getByRole('heading', { name: 'Attempts', exact: true }));
  const table = page.getByText('Show as table').first();
  await table.click();
  await see(page.getByRole('table', { name: 'Attempts' }).getByRole('cell', { name: '3', exact: true }));
  await showsText(main(page), 'contact.created');
});

behaviour('the header’s menu turns a webhook off', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing' });
  await open(`/webhooks/${id}`);
  await see(title(page, 'Billing'));
  await page.getByRole('button', { name: 'More actions' }).click();
  await page.getByRole('menuitem', { name: 'Turn off' }).click();
  await until('it is off', async () => !(await world.sql('SELECT is_active FROM webhook_configurations WHERE id = $1', [id]))[0].is_active);
});

behaviour('the sources say which tables’ changes cause its events', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing', events: ['deal.stage.changed'] });
  await open(`/webhooks/${id}/sources`);
  await see(page.getByRole('row').filter({ hasText: 'deals' }).filter({ hasText: 'deal.stage.changed' }));
  assert.equal(await page.getByRole('row').filter({ hasText: 'contacts' }).count(), 0);
});

behaviour('the history says who changed what, without secrets', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing', headers: '{"X-Api-Key": "hush-hush"}' });
  const { revealed } = (await world.sql('SELECT webhook_reveal_secret($1) AS revealed', [id]))[0];
  await world.sqlAs({ role: 'crm_admin', organization: tenant, subject: 'jun@example.com' }, 'UPDATE webhook_configurations SET timeout_ms = 1234 WHERE id = $1', [id]);
  await open(`/webhooks/${id}/history`);
  await showsText(main(page), 'jun@example.com');
  await showsText(main(page), '1234');
  const text = await main(page).textContent();
  assert.ok(!text.includes('hush-hush') && !text.includes(revealed));
});

// New and edit: a webhook is made and changed, and nothing that was typed is lost.

import { assert, behaviour, see, showsText, until } from '../scenario.mjs';
import { tabTo } from './list.mjs';

const field = (page, name) => page.getByRole('textbox', { name, exact: true });
const saveButton = (page) => page.getByRole('button', { name: 'Save', exact: true });
const contactCreated = (page) => page.getByRole('checkbox', { name: /^contact\.created/ });
const storedIt = (page) => page.getByRole('button', { name: 'I have stored it' });
const stored = async (world, tenant, name) =>
  (await world.sql('SELECT *, webhook_reveal_secret(id) AS revealed FROM webhook_configurations WHERE organization_id = $1 AND name = $2', [tenant, name]))[0];
const editRoute = (id) => `/webhooks/${id}/edit`;

behaviour('a webhook is created, and its secret is shown once', async ({ world, tenant, page, open }) => {
  const pathname = `/ok?${tenant}`;
  await open('/webhooks/new');
  await field(page, 'Name').fill('Billing');
  await field(page, 'URL').fill(world.receiver.url(pathname));
  await contactCreated(page).check();
  await saveButton(page).click();
  const webhook = await until('it is stored', () => stored(world, tenant, 'Billing'));
  assert.deepEqual(webhook.events, ['contact.created']);
  await see(page.getByRole('dialog').getByText(webhook.revealed, { exact: true }));
  await storedIt(page).click();
  await see(page.getByRole('heading', { name: 'Billing', level: 1 }));
  await world.addContacts(tenant, 'Ada');
  await world.attempts(webhook.id);
  assert.equal(world.receiver.requests(pathname).length, 1);
  await page.goto('about:blank');
  await open(`/webhooks/${webhook.id}`);
  await see(page.getByRole('heading', { name: 'Billing', level: 1 }));
  assert.equal(await page.getByText(webhook.revealed).count(), 0);
});

behaviour('Save and test saves, and goes on to the test', async ({ world, tenant, page, open }) => {
  await open('/webhooks/new');
  await field(page, 'Name').fill('Billing');
  await field(page, 'URL').fill(world.receiver.url('/body/hello-from-the-endpoint'));
  await contactCreated(page).check();
  await page.getByRole('button', { name: 'Save and test' }).click();
  const { id } = await until('it is stored', () => stored(world, tenant, 'Billing'));
  await storedIt(page).click();
  await until('the address is the test’s', () => page.url().endsWith(`/webhooks/${id}/test`));
  await page.getByRole('button', { name: 'Send test' }).click();
  await showsText(page.getByRole('main'), 'hello-from-the-endpoint');
});

behaviour('the URL is judged when it is left', async ({ page, open }) => {
  await open('/webhooks/new');
  const url = field(page, 'URL');
  await url.fill('https://user:password@example.com/');
  await url.blur();
  await until('it is marked', async () => (await url.getAttribute('aria-invalid')) === 'true');
  const [error] = (await url.getAttribute('aria-describedby')).split(' ');
  await showsText(page.locator(`#${error}`), 'user');
  await url.fill('https://example.com/hooks');
  await url.blur();
  await until('it is not marked', async () => (await url.getAttribute('aria-invalid')) !== 'true');
});

behaviour('what the database refuses stands at its field', async ({ world, tenant, page, open }) => {
  await world.createWebhook({ organization: tenant, name: 'Taken' });
  await open('/webhooks/new');
  await field(page, 'Name').fill('Taken');
  await field(page, 'URL').fill(world.receiver.url('/ok'));
  await contactCreated(page).check();
  await saveButton(page).click();
  await until('the name is marked', async () => (await field(page, 'Name').getAttribute('aria-invalid')) === 'true');
  assert.equal(await field(page, 'URL').inputValue(), world.receiver.url('/ok'));
});

behaviour('a webhook is edited', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing', headers: '{"X-Api-Key": "k1"}' });
  await open(editRoute(id));
  await until('the form is filled', async () => (await field(page, 'Name').inputValue()) === 'Billing');
  await field(page, 'Name').fill('Invoices');
  await page.getByText('Advanced', { exact: true }).click();
  await field(page, 'Timeout').fill('7000');
  await page.getByRole('combobox', { name: 'Order' }).selectOption('key');
  await saveButton(page).click();
  const webhook = await until('it is stored', () => stored(world, tenant, 'Invoices'));
  assert.deepEqual([webhook.id, webhook.ordering, webhook.timeout_ms], [id, 'key', 7000]);
  const [{ headers }] = await world.sql('SELECT headers FROM webhook_configurations WHERE id = $1', [id]);
  assert.deepEqual(headers, { 'X-Api-Key': 'k1' });
});

behaviour('two people who edit one webhook are shown both versions', async ({ world, tenant, page, open, visit, host }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing' });
  await open(editRoute(id));
  await until('the form is filled', async () => (await field(page, 'Name').inputValue()) === 'Billing');
  const other = await visit({ subject: 'jun@example.com' });
  await other.goto(host.address(editRoute(id)));
  await until('the other form is filled', async () => (await field(other, 'Name').inputValue()) === 'Billing');
  await field(other, 'Name').fill('Jun’s name');
  await saveButton(other).click();
  await until('the other has saved', () => stored(world, tenant, 'Jun’s name'));
  await field(page, 'Name').fill('Zoe’s name');
  await saveButton(page).click();
  const dialog = page.getByRole('dialog', { name: 'Somebody else has changed this webhook' });
  await see(dialog.getByText('Jun’s name'));
  await see(dialog.getByText('Zoe’s name'));
  assert.ok(await stored(world, tenant, 'Jun’s name'));
  await dialog.getByRole('radio', { name: /Zoe’s name/ }).check();
  await dialog.getByRole('button', { name: 'Save this choice' }).click();
  await until('mine is stored', () => stored(world, tenant, 'Zoe’s name'));
});

behaviour('the form says how many of yesterday’s events match, and tries the filter on them', async ({ world, tenant, page, open }) => {
  await world.createWebhook({ organization: tenant, name: 'Keeper', events: ['*'] });
  await world.addContacts(tenant, 'Ada', 'Zoë', 'Jun');
  await until('the events are written', async () => (await world.sql('SELECT FROM webhook_events WHERE organization_id = $1', [tenant])).length === 3);
  await open('/webhooks/new');
  await contactCreated(page).check();
  await showsText(page.getByRole('main'), 'Of the 3 events of the last 24 hours, 3 would have matched.');
  await page.getByRole('textbox', { name: 'Filter' }).fill('$.name == "Ada"');
  await page.getByRole('button', { name: 'Try on recent events' }).click();
  await showsText(page.getByRole('main'), '1 of 3 recent events match.');
});

behaviour('leaving with unsaved changes is asked about', async ({ page, open }) => {
  await open('/webhooks/new');
  await field(page, 'Name').fill('Half a webhook');
  await page.getByRole('link', { name: 'Deliveries', exact: true }).click();
  const dialog = page.getByRole('dialog', { name: 'Discard your changes?' });
  await see(dialog);
  await dialog.getByRole('button', { name: 'Keep editing' }).click();
  assert.equal(await field(page, 'Name').inputValue(), 'Half a webhook');
  await page.getByRole('link', { name: 'Deliveries', exact: true }).click();
  await dialog.getByRole('button', { name: 'Discard changes' }).click();
  await see(page.getByRole('heading', { name: 'Deliveries', level: 1 }));
});

behaviour('a double click on Save makes one webhook', async ({ world, tenant, page, open }) => {
  await open('/webhooks/new');
  await field(page, 'Name').fill('Once');
  await field(page, 'URL').fill(world.receiver.url('/ok'));
  await contactCreated(page).check();
  let saves = 0;
  page.on('request', (request) => { if (request.url().endsWith('/rpc/save')) saves++; });
  await saveButton(page).dblclick();
  await until('it is stored', () => stored(world, tenant, 'Once'));
  await see(storedIt(page));
  assert.equal(saves, 1);
  assert.equal((await world.sql('SELECT FROM webhook_configurations WHERE organization_id = $1', [tenant])).length, 1);
});

behaviour('Show SQL shows what Save runs, with the secret as a placeholder', async ({ page, open }) => {
  await open('/webhooks/new');
  await field(page, 'Name').fill("Zoë's");
  await field(page, 'URL').fill('https://example.com/hooks');
  await page.getByText('Show SQL').first().click();
  await showsText(page.getByRole('region', { name: 'SQL' }), 'webhook_api.save(');
  await showsText(page.getByRole('region', { name: 'SQL' }), "Zoë''s");
});

behaviour('the secret is revealed and rotated', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing' });
  const { revealed } = await stored(world, tenant, 'Billing');
  await open(editRoute(id));
  await page.getByRole('button', { name: 'Reveal' }).click();
  await see(page.getByText(revealed));
  await page.getByRole('button', { name: 'Rotate secret…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Rotate', exact: true }).click();
  const after = await until('the secret is another', async () => {
    const now = await stored(world, tenant, 'Billing');
    return now.revealed !== revealed && now;
  });
  await see(page.getByRole('dialog').getByText(after.revealed, { exact: true }));
});

behaviour('a session that ends in the middle of a form keeps the form', async ({ world, host, tenant, page, open, context, visit }) => {
  await open('/webhooks/new');
  await field(page, 'Name').fill('Patience');
  await field(page, 'URL').fill(world.receiver.url('/ok'));
  await contactCreated(page).check();
  await host.expireSession(context);
  await saveButton(page).click();
  await see(page.getByText('Your session has expired').first());
  const other = await visit();
  await other.close();
  await page.getByRole('button', { name: 'Continue' }).click();
  assert.equal(await field(page, 'Name').inputValue(), 'Patience');
  if (!(await stored(world, tenant, 'Patience'))) await saveButton(page).click();
  await until('it is stored', () => stored(world, tenant, 'Patience'));
});

behaviour('the keyboard alone creates a webhook', async ({ world, tenant, page, open }) => {
  await open();
  await tabTo(page, 'link', 'New webhook');
  await page.keyboard.press('Enter');
  await see(field(page, 'Name'));
  await tabTo(page, 'textbox', 'Name');
  await page.keyboard.type('By keyboard');
  await tabTo(page, 'textbox', 'URL');
  await page.keyboard.type(world.receiver.url('/ok'));
  await tabTo(page, 'checkbox', 'contact.created');
  await page.keyboard.press('Space');
  await tabTo(page, 'button', 'Save');
  await page.keyboard.press('Enter');
  await until('it is stored', () => stored(world, tenant, 'By keyboard'));
});


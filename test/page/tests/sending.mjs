// Test and replay: sending on purpose.

import { assert, behaviour, see, showsText, until } from '../scenario.mjs';

const all = (page) => page.getByRole('main');
const send = (page) => page.getByRole('button', { name: 'Send test' });
const payloadField = (page) => page.getByRole('textbox', { name: 'Payload' });

behaviour('a test sends a payload of one’s own, and shows request and response', async ({ world, tenant, page, open }) => {
  const pathname = `/body/thanks-${tenant}`;
  const id = await world.createWebhook({ organization: tenant, name: 'Billing', url: world.receiver.url(pathname) });
  await open(`/webhooks/${id}/test`);
  await page.getByRole('combobox', { name: 'Event' }).selectOption('contact.created');
  await payloadField(page).fill('{"id": 7, "name": "Edited <b>by hand</b>"}');
  await send(page).click();
  await showsText(all(page), `thanks-${tenant}`);
  const [request] = world.receiver.requests(pathname);
  assert.deepEqual(JSON.parse(request.body).data, { id: 7, name: 'Edited <b>by hand</b>' });
  await showsText(all(page), 'X-Webhook-Test');
});

behaviour('a payload that is no JSON is not sent', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing', url: world.receiver.url(`/body/${tenant}`) });
  await open(`/webhooks/${id}/test`);
  await payloadField(page).fill('{"id": ');
  await send(page).click();
  await until('it is marked', async () => (await payloadField(page).getAttribute('aria-invalid')) === 'true');
  assert.equal(world.receiver.requests(`/body/${tenant}`).length, 0);
});

behaviour('a failed test shows what the endpoint answered', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing', url: world.receiver.url('/status/418/body/teapot') });
  await open(`/webhooks/${id}/test`);
  await send(page).click();
  await showsText(all(page), '418');
  await showsText(all(page), 'teapot');
});

behaviour('a replay counts first, is confirmed, and sends', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing' });
  await world.addContacts(tenant, 'Ada', 'Zoë', 'Jun');
  await world.attempts(id, 3);
  await open(`/webhooks/${id}/replay`);
  await page.getByRole('button', { name: 'Count events' }).click();
  await showsText(all(page), '3 events would be sent.');
  await page.getByRole('button', { name: /^Replay \d+ events…/ }).click();
  const dialog = page.getByRole('dialog');
  await see(dialog);
  await dialog.getByRole('button', { name: 'Replay', exact: true }).click();
  await world.attempts(id, 6);
  await showsText(all(page), 'Nothing is pending');
});

behaviour('a replay goes on when the page is closed, and shows its progress when it is opened again', async ({ world, tenant, page, open, visit, host }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing' });
  await world.sql("INSERT INTO contacts (organization_id, name) SELECT $1, 'contact ' || n FROM generate_series(1, 300) n", [tenant]);
  await world.attempts(id, 300);
  await open(`/webhooks/${id}/replay`);
  await page.getByRole('button', { name: 'Count events' }).click();
  await showsText(all(page), '300 events would be sent.');
  await page.getByRole('button', { name: /^Replay \d+ events…/ }).click();
  const answered = page.waitForResponse((response) => response.url().endsWith('/rpc/replay'));
  await page.getByRole('dialog').getByRole('button', { name: 'Replay', exact: true }).click();
  await answered;
  await page.close();
  await world.attempts(id, 600);
  const again = await visit();
  await again.goto(host.address(`/webhooks/${id}/replay`));
  await showsText(all(again), 'Nothing is pending');
});

behaviour('the data of a row that was sent can be tested with', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing', url: world.receiver.url(`/${tenant}`) });
  await world.addContacts(tenant, 'A real row');
  await world.attempts(id);
  await open(`/webhooks/${id}/test?event=contact.created`);
  const source = page.getByRole('combobox', { name: 'Data' });
  await until('the row is offered', async () => (await source.getByRole('option').count()) === 2);
  await source.selectOption({ index: 1 });
  await until('it is the payload', async () => (await payloadField(page).inputValue()).includes('A real row'));
});

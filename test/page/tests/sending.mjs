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
  await showsText(all(page), `Content-Length${`thanks-${tenant}`.length}`);
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
  await showsText(all(page), '3 events queued.');
  await showsText(all(page), 'Done');
});

behaviour('a count that is not of all events says from when on it counts, and the replay is offered', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing' });
  const answers = [{ count: 2, is_complete: false, counted_to: '2026-01-02T03:04:05Z' }, { count: 0, is_complete: false, counted_to: '2026-01-02T03:04:05Z' }];
  await page.route('**/rpc/replay', (route) => route.fulfill({ json: route.request().postDataJSON().dry_run ? answers.shift() : { job: '1' } }));
  await open(`/webhooks/${id}/replay`);
  for (const text of [/^2 events since .+ would be sent\. Older events were not counted\./, /^0 events since .+ would be sent\./]) {
    await page.getByRole('button', { name: 'Count events' }).click();
    await see(page.getByText(text));
    await page.getByRole('button', { name: 'Replay all of them…' }).click();
    await showsText(page.getByRole('dialog'), 'and older ones that were not counted');
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  }
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
  await showsText(all(again), '300 events queued.');
});

behaviour('a replay that waits says why, is shown when the page is opened again, and is cancelled', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing' });
  await world.addContacts(tenant, 'Ada');
  await world.attempts(id, 1);
  await world.sql(`INSERT INTO webhook_deliveries (event_id, configuration_id, configuration_created_at, organization_id, event, created_at, state, next_attempt_at)
    SELECT -n, id, created_at, organization_id, 'contact.created', now(), 'pending', now() + interval '1 day'
    FROM webhook_configurations, generate_series(1, 6000) n WHERE id = $1`, [id]);
  await open(`/webhooks/${id}/replay`);
  await page.getByRole('button', { name: 'Count events' }).click();
  await page.getByRole('button', { name: /^Replay \d+ event…/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Replay', exact: true }).click();
  await showsText(all(page), 'The webhook has many pending deliveries');
  await page.reload();
  await showsText(all(page), 'Waiting');
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  await showsText(all(page), 'Cancelled');
  assert.equal(await page.getByRole('button', { name: 'Cancel', exact: true }).count(), 0);
  assert.deepEqual(await world.sql('SELECT state, queued::int FROM webhook_replays WHERE configuration_id = $1', [id]), [{ state: 'cancelled', queued: 0 }]);
});

behaviour('a webhook that is off is not replayed to', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing' });
  await world.addContacts(tenant, 'Ada');
  await world.attempts(id, 1);
  await world.sql('UPDATE webhook_configurations SET is_active = false WHERE id = $1', [id]);
  await open(`/webhooks/${id}/replay`);
  await page.getByRole('button', { name: 'Count events' }).click();
  await showsText(all(page), 'The webhook is off. Turn it on to replay what it missed.');
  assert.equal(await page.getByRole('button', { name: /^Replay \d+ event/ }).count(), 0);
});

behaviour('the progress of a replay is asked for while the page is seen, and not while it is hidden', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing' });
  let asked = 0;
  let held = null; // the answer to the second question, which is what the page waits for while it is being hidden
  await page.route('**/rpc/replays', (route) => {
    asked += 1;
    const running = {
      id: '7', webhook: id, state: 'running', reason: null, since: '-infinity', until: '2024-01-15T10:30:00Z', events: null, only_failed: false,
      progress_percent: Math.min(asked, 99), examined: asked, queued: asked, oldest_event_at: null, newest_event_at: null, user: 'crm_admin', subject: null,
      requested_at: '2024-01-15T10:30:00Z', started_at: null, ended_at: null,
    };
    const answer = () => route.fulfill({ json: { replays: [running], next: null } });
    if (asked !== 2) return answer();
    held = answer;
    return undefined;
  });
  const show = (state) => page.evaluate((visibilityState) => {
    Object.defineProperty(document, 'visibilityState', { value: visibilityState, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, state);
  const progress = () => page.getByRole('progressbar').getAttribute('value');
  await page.clock.install(); // before the page sets its first timer; it runs by itself, too
  await open(`/webhooks/${id}/replay`);
  await showsText(all(page), 'Running');
  await until('it is asked for again', () => held !== null);
  await show('hidden');
  await held();
  await until('the answer is shown', async () => (await progress()) === '2');
  for (let i = 0; i < 10; i += 1) await page.clock.fastForward(2500); // in all less than what a request may take
  assert.equal(asked, 2);
  assert.equal(await progress(), '2');
  await show('visible');
  await until('it is asked for at once', async () => (await progress()) === '3');
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

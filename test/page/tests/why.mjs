// Why not?, Verify and Help: what the page explains.

import crypto from 'node:crypto';
import { assert, behaviour, see, showsText, until } from '../scenario.mjs';

const all = (page) => page.getByRole('main');
const lookUp = (page) => page.getByRole('button', { name: 'Look up' }).click();
const by = (page, way) => page.getByRole('radio', { name: way }).check();

// An event that one webhook got, another's filter refused, and a third does not subscribe to.
async function threeReasons(world, tenant) {
  const id = await world.createWebhook({ organization: tenant, name: 'Got it' });
  await world.createWebhook({ organization: tenant, name: 'Filtered', filter: '$.name == "somebody else"' });
  await world.createWebhook({ organization: tenant, name: 'Deals only', events: ['deal.*'] });
  await world.addContacts(tenant, 'Ada');
  const [attempt] = await world.attempts(id);
  const [{ webhook_id: webhookId, key }] = await world.sql('SELECT webhook_id, key FROM webhook_own_events WHERE id = $1', [attempt.event_id]);
  return { eventId: String(attempt.event_id), webhookId, key };
}

const showsThreeReasons = async (page) => {
  for (const name of ['Got it', 'Filtered', 'Deals only']) await see(page.getByText(name, { exact: true }).first());
  await showsText(all(page), 'filter');
};

behaviour('an event id is explained for each webhook', async ({ world, tenant, page, open }) => {
  const { eventId } = await threeReasons(world, tenant);
  await open('/why');
  await page.getByRole('textbox', { name: 'Event id' }).fill(eventId);
  await lookUp(page);
  await showsThreeReasons(page);
});

behaviour('a webhook-id from a mail is explained', async ({ world, tenant, page, open }) => {
  const { webhookId } = await threeReasons(world, tenant);
  await open('/why');
  await by(page, 'webhook-id');
  await page.getByRole('textbox', { name: 'webhook-id' }).fill(webhookId);
  await lookUp(page);
  await showsThreeReasons(page);
});

behaviour('a row is explained by its table and key', async ({ world, tenant, page, open }) => {
  const { key } = await threeReasons(world, tenant);
  await open('/why');
  await by(page, 'Row');
  await page.getByRole('combobox', { name: 'Table' }).selectOption({ label: 'public.contacts' });
  await page.getByRole('textbox', { name: 'Key of the row' }).fill(key);
  await lookUp(page);
  await showsThreeReasons(page);
});

behaviour('an event that does not exist is said not to exist', async ({ page, open }) => {
  await open('/why?event_id=999999999');
  await see(page.getByText(/^(Not found|No event is found)$/));
});

behaviour('help has the receivers’ code in five languages, and remembers which in the address', async ({ page, open }) => {
  await open('/help/verify');
  const languages = page.getByRole('group', { name: 'Language' });
  for (const language of ['Node', 'Python', 'Go', 'Ruby', 'PHP']) {
    await languages.getByRole('button', { name: new RegExp(`^${language}`) }).click();
    await showsText(page.getByRole('region', { name: new RegExp(language) }), 'webhook-signature');
    await until('the address has it', () => page.url().toLowerCase().includes(`language=${language.toLowerCase()}`));
  }
});

behaviour('help lists the events with their examples', async ({ page, open }) => {
  await open('/help/events');
  await page.getByText('contact.created', { exact: true }).click();
  await showsText(page.getByRole('region', { name: /contact\.created/ }), '"event": "contact.created"');
});

behaviour('help has a topic for each question', async ({ page, open }) => {
  await open('/help');
  const links = page.getByRole('navigation', { name: 'Topics' }).getByRole('link');
  await until('the topics are listed', async () => (await links.count()) === 8);
  for (const link of await links.all()) {
    const name = (await link.textContent()).trim();
    await link.click();
    await see(page.getByRole('heading', { name, level: 1 }));
  }
});

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const body = '{"test": 2432232314}';

function signedHeaders({ timestamp = Math.floor(Date.now() / 1000), id = 'msg_1', signed = body } = {}) {
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  const signature = crypto.createHmac('sha256', key).update(`${id}.${timestamp}.${signed}`).digest('base64');
  return { 'webhook-id': id, 'webhook-timestamp': String(timestamp), 'webhook-signature': `v1,${signature}` };
}

async function verify(page, headers, { given = body, key = secret } = {}) {
  await page.getByRole('textbox', { name: 'Headers' }).fill(Object.entries(headers).map(([name, value]) => `${name}: ${value}`).join('\n'));
  await page.getByRole('textbox', { name: 'Body' }).fill(given);
  await page.getByLabel('Secret', { exact: true }).fill(key);
  await page.getByRole('button', { name: 'Verify', exact: true }).click();
}

behaviour('a signature that is right is verified', async ({ page, open }) => {
  await open('/verify');
  await verify(page, signedHeaders());
  await see(page.getByText('The request is genuine'));
});

behaviour('Verify names the step that fails', async ({ page, open }) => {
  await open('/verify');
  const { 'webhook-timestamp': gone, ...incomplete } = signedHeaders();
  assert.ok(gone);
  const cases = [
    [incomplete, {}, /webhook-timestamp/],
    [signedHeaders({ timestamp: 1614265330 }), {}, /timestamp/i],
    [signedHeaders(), { key: 'whsec_%%%' }, /secret/i],
    [signedHeaders(), { given: '{"test":2432232314}' }, /signature/i],
  ];
  for (const [headers, more, message] of cases) {
    const answered = page.waitForResponse((response) => response.url().endsWith('/rpc/verify'));
    await verify(page, headers, more);
    const { is_valid: isValid, steps } = await (await answered).json();
    assert.equal(isValid, false);
    const failed = steps.find((step) => step.is_ok === false);
    assert.match(`${failed.step} ${failed.message}`, message);
    await until('the step is shown', async () => (await all(page).textContent()).toLowerCase().includes(failed.message.slice(1, 30).toLowerCase()));
  }
});

behaviour('help stands beside every screen, with the topic for it', async ({ page, open }) => {
  await open('/webhooks/new');
  await page.getByRole('button', { name: 'Help for this screen' }).click();
  const panel = page.getByRole('dialog', { name: 'Filters' });
  await see(panel);
  await page.keyboard.press('Escape');
  await until('it is closed', async () => (await panel.count()) === 0);
});

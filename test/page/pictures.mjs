// What screenshots.mjs takes: a name, an address, what is done before, and how it is shown.

import crypto from 'node:crypto';
import { see, until } from './scenario.mjs';

const narrow = { width: 320, height: 720 };

export async function pictures({ world, ids }) {
  const [attempt] = await world.sql(
    "SELECT id, event_id FROM webhook_logs WHERE configuration_id = $1 AND event_id > 0 AND status = 'failed' AND attempt = 1 AND error NOT LIKE 'cancelled%' ORDER BY id DESC LIMIT 1", [ids.desk]);
  const of = (name, tab = '') => `/webhooks/${ids[name]}${tab}`;
  return [
    { name: 'webhooks', route: '/webhooks' },
    { name: 'webhooks-dark', route: '/webhooks', scheme: 'dark' },
    { name: 'webhooks-narrow', route: '/webhooks', viewport: narrow },
    { name: 'edit', route: of('billing', '/edit'), prepare: showExample },
    { name: 'webhook', route: of('desk') },
    { name: 'webhook-dark', route: of('billing'), scheme: 'dark' },
    { name: 'deliveries', route: of('desk', '/deliveries') },
    { name: 'pending', route: of('desk', '/pending') },
    { name: 'attempt', route: `/attempts/${attempt.id}` },
    { name: 'attempt-narrow', route: `/attempts/${attempt.id}`, viewport: narrow },
    { name: 'test', route: of('billing', '/test?event=deal.stage.changed'), prepare: sendTest },
    { name: 'replay', route: of('desk', '/replay'), prepare: countEvents },
    { name: 'why', route: `/why?event_id=${attempt.event_id}` },
    { name: 'verify', route: '/verify', prepare: verifyParsedBody },
    { name: 'help', route: '/help' },
  ];
}


async function showExample(page) {
  const example = page.getByRole('button', { name: 'Example of deal.created', exact: true });
  await example.click();
  await see(page.getByRole('region', { name: 'Example of deal.created' }));
  await example.evaluate((element) => element.scrollIntoView({ block: 'center' }));
}

async function sendTest(page) {
  await page.getByRole('button', { name: 'Send test' }).click();
  await see(page.getByText(/^Your server answered 200/));
  await page.evaluate(() => scrollTo(0, 0));
}

async function countEvents(page) {
  await page.getByRole('button', { name: 'Count events' }).click();
  await see(page.getByText(/events would be sent/));
}

// A body that was parsed and serialized again: the usual mistake.
async function verifyParsedBody(page) {
  const [secret, id, timestamp] = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'evt_3k9m5r2xq8w7v1n4t6y0b3c5d7', Math.floor(Date.now() / 1000)];
  const signed = '{"event": "deal.created", "data": {"id": 1041, "amount": 1999.90}}';
  const signature = crypto.createHmac('sha256', Buffer.from(secret.slice('whsec_'.length), 'base64')).update(`${id}.${timestamp}.${signed}`).digest('base64');
  await page.getByRole('textbox', { name: 'Headers' }).fill(`webhook-id: ${id}\nwebhook-timestamp: ${timestamp}\nwebhook-signature: v1,${signature}`);
  await page.getByRole('textbox', { name: 'Body' }).fill(JSON.stringify(JSON.parse(signed)));
  await page.getByLabel('Secret', { exact: true }).fill(secret);
  await page.getByRole('button', { name: 'Verify', exact: true }).click();
  await until('the failing step is named', async () => (await page.getByText(/^It fails at:/).count()) > 0);
}

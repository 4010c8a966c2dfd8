// How an operator signs in to webhook-console: by the link that it prints.

import { startConsoleProcess } from '../console_host.mjs';
import { assert, fact, newVisitor, see, until } from '../scenario.mjs';

const linkOf = (lines) => lines.join('\n').match(/http:\/\/\S+#code=[\w-]+/g)?.at(-1);

fact('webhook-console: the printed link signs in once, and leaves no code in the address', async ({ world }) => {
  const name = world.newTenant();
  await world.createWebhook({ organization: name, name: `Of ${name}` });
  const console_ = await startConsoleProcess(world, ['--role', 'crm_operator']);
  const one = await newVisitor();
  const other = await newVisitor();
  try {
    const link = await until('the link is printed', () => linkOf(console_.lines));
    const page = await one.context.newPage();
    await page.goto(link);
    await see(page.getByRole('heading', { name: 'Webhooks', level: 1 }));
    await see(page.getByLabel('Organization'));
    assert.ok(!page.url().includes('code='), page.url());
    const [cookie] = await one.context.cookies();
    assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, 'Strict']);

    const late = await other.context.newPage();
    await late.goto(link);
    await see(late.getByRole('heading', { name: 'Sign in' }));
    await see(late.getByText('This code has been used or has expired.'));
    console_.child.kill('SIGUSR1');
    const next = await until('a new link is printed', () => linkOf(console_.lines) !== link && linkOf(console_.lines));
    await late.getByRole('textbox', { name: 'One-time code' }).fill(next);
    await late.getByRole('button', { name: 'Sign in' }).click();
    await see(late.getByRole('heading', { name: 'Webhooks', level: 1 }));
    assert.deepEqual([...one.faults, ...other.faults], []);
  } finally {
    await Promise.all([one.context.close(), other.context.close(), console_.stop()]);
  }
});

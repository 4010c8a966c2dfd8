// What goes wrong, and who may do what.

import { assert, behaviour, gone, see, showsText, until } from '../scenario.mjs';
import { hostile } from '../showcase.mjs';
import { openMenu, rowOf } from './list.mjs';

const all = (page) => page.getByRole('main');

behaviour('a role that may only read sees no control that writes', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing', url: world.receiver.url('/status/500'), retry_schedule: '{1d}' });
  await world.addContacts(tenant, 'Ada');
  const [attempt] = await world.attempts(id);
  const writing = /^(New webhook|Create|Save|Delete|Duplicate|Test|Send|Redeliver|Replay|Cancel deliver|Rotate|Reveal|Edit|Resume)/;
  for (const route of ['', `/webhooks/${id}`, `/webhooks/${id}/deliveries`, `/webhooks/${id}/pending`, `/attempts/${attempt.id}`]) {
    await open(route);
    await see(page.getByText('Billing').first());
    for (const role of ['button', 'link', 'switch', 'menuitem']) {
      const names = await page.getByRole(role).filter({ hasText: writing }).allTextContents();
      assert.deepEqual(names, [], `${role}s at ${route}`);
    }
    for (const control of await page.getByRole('switch').all()) assert.equal(await control.getAttribute('aria-disabled'), 'true');
  }
  await see(page.getByText('Read only'));
}, { as: { role: 'crm_reader' } });

behaviour('an address that the role may not use is explained', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing' });
  await open(`/webhooks/${id}/edit`);
  await see(page.getByText('Your role may not do this'));
}, { as: { role: 'crm_reader' } });

behaviour('an operator chooses the organization', async ({ world, page, open }) => {
  const [one, two] = [world.newTenant('chosen'), world.newTenant('chosen')];
  await world.createWebhook({ organization: one, name: `Of ${one}` });
  await world.createWebhook({ organization: two, name: `Of ${two}` });
  await open();
  await page.getByLabel('Organization').selectOption(one);
  await see(rowOf(page, `Of ${one}`));
  await gone(rowOf(page, `Of ${two}`));
  await page.getByLabel('Organization').selectOption(two);
  await see(rowOf(page, `Of ${two}`));
  await gone(rowOf(page, `Of ${one}`));
}, { as: { role: 'crm_operator', organization: null } });

behaviour('ids of another organization in the address are not found', async ({ world, page, open }) => {
  const other = world.newTenant();
  const id = await world.createWebhook({ organization: other, name: 'Not yours', url: world.receiver.url('/status/500') });
  await world.addContacts(other, 'Eve');
  const [attempt] = await world.attempts(id);
  for (const route of [`/webhooks/${id}`, `/webhooks/${id}/edit`, `/webhooks/${id}/deliveries`, `/webhooks/${id}/pending`, `/webhooks/${id}/test`,
    `/webhooks/${id}/replay`, `/attempts/${attempt.id}`, `/why?event_id=${attempt.event_id}`]) {
    await open('/verify'); // so that the next is not only a change of the fragment's query
    await open(route);
    await see(page.getByText(/^(Not found|No event is found)$/).first());
    assert.ok(!(await all(page).textContent()).includes('Not yours'), route);
  }
});

behaviour('hostile strings are shown as text', async ({ world, tenant, page, open }) => {
  const script = `/status/500/body/${encodeURIComponent(hostile.body)}`;
  const id = await world.createWebhook({ organization: tenant, name: hostile.name, url: world.receiver.url(script), retry_schedule: '{1d}' });
  await world.sql('INSERT INTO contacts (organization_id, name, email) VALUES ($1, $2, $2)', [tenant, hostile.body]);
  const [attempt] = await world.attempts(id);
  const shown = (text) => until(`${text} is shown as text`, () => page.evaluate((wanted) => {
    const texts = (root) => [...root.childNodes].map((node) => {
      const inner = node.shadowRoot ? texts(node.shadowRoot) : '';
      return inner + (node.nodeType === Node.TEXT_NODE ? node.data : /^(STYLE|SCRIPT)$/.test(node.nodeName) ? '' : texts(node));
    }).join('');
    return texts(document).includes(wanted);
  }, text));
  for (const [route, text] of [['', hostile.name], [`/webhooks/${id}`, hostile.name], [`/webhooks/${id}/deliveries`, hostile.name],
    [`/webhooks/${id}/pending`, hostile.name], [`/attempts/${attempt.id}`, hostile.body], [`/why?event_id=${attempt.event_id}`, hostile.name]]) {
    await open('/verify');
    await open(route);
    await shown(text);
    // None of the elements that the strings would make.
    const strange = await page.evaluate(() => {
      const found = [];
      const look = (root) => {
        for (const element of root.querySelectorAll('*')) {
          if (/^(IMG|IFRAME|OBJECT|EMBED)$/.test(element.tagName) || /^javascript:/i.test(element.getAttribute('href') ?? '')) found.push(element.outerHTML);
          if (element.tagName === 'SCRIPT' && !element.src) found.push(element.outerHTML);
          for (const { name } of element.attributes) if (name.startsWith('on')) found.push(element.outerHTML);
          if (element.shadowRoot) look(element.shadowRoot);
        }
      };
      look(document);
      return found;
    });
    assert.deepEqual(strange, [], route);
  }
});

behaviour('offline, the page keeps what it shows and says so', async ({ world, tenant, page, open, context }) => {
  await world.createWebhook({ organization: tenant, name: 'Billing' });
  await open();
  await see(rowOf(page, 'Billing'));
  await context.setOffline(true);
  await see(page.getByText(/offline/i).first());
  await see(rowOf(page, 'Billing'));
  await context.setOffline(false);
  await gone(page.getByText('You are offline'));
});

behaviour('a pause is said on every screen, and an operator resumes', async ({ world, page, open }) => {
  await world.sql("SELECT webhook_pause('the receiver is being moved')");
  try {
    await open();
    await see(page.getByText('the receiver is being moved'));
    await page.getByRole('button', { name: 'Resume deliveries' }).click();
    await until('it is resumed', async () => !(await world.sql('SELECT is_paused FROM webhook_instance'))[0].is_paused);
    await gone(page.getByText('the receiver is being moved'));
  } finally {
    await world.sql('SELECT webhook_resume()');
  }
}, { as: { role: 'crm_operator', organization: null } });

behaviour('a tenant is told of a pause, and has no button to end it', async ({ world, page, open }) => {
  await world.sql("SELECT webhook_pause('the receiver is being moved')");
  try {
    await open();
    await see(page.getByText(/Deliveries are paused/));
    assert.equal(await page.getByRole('button', { name: 'Resume deliveries' }).count(), 0);
  } finally {
    await world.sql('SELECT webhook_resume()');
  }
});

behaviour('while the database is down the old data stays, with the error and Try again', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing' });
  await open();
  await see(rowOf(page, 'Billing'));
  await world.stopDatabase();
  try {
    await rowOf(page, 'Billing').getByRole('switch').click();
    await see(page.getByRole('dialog').or(page.getByRole('alert')).first());
    await page.keyboard.press('Escape');
    await see(rowOf(page, 'Billing'));
    await page.getByLabel('Status').selectOption('active');
    await see(page.getByRole('button', { name: 'Try again' }).first());
  } finally {
    await world.startDatabase();
  }
  await until('the list is back', async () => {
    await page.getByRole('button', { name: 'Try again' }).first().click({ timeout: 1000 }).catch(() => {});
    return rowOf(page, 'Billing').isVisible();
  });
  assert.equal((await world.sql('SELECT is_active FROM webhook_configurations WHERE id = $1', [id]))[0].is_active, true);
});

behaviour('a webhook that is deleted meanwhile is said not to exist', async ({ world, tenant, page, open }) => {
  const id = await world.createWebhook({ organization: tenant, name: 'Billing' });
  await open();
  await see(rowOf(page, 'Billing'));
  await world.sql('DELETE FROM webhook_configurations WHERE id = $1', [id]);
  await openMenu(page, 'Billing');
  await page.getByRole('menuitem', { name: /^(Test|Send a test)/ }).click();
  await see(page.getByText('Not found').first());
});

behaviour('an address that is no screen is said so', async ({ page, open }) => {
  await open('/nothing/here');
  await see(page.getByText('No such page'));
  await showsText(all(page), 'Go to the list of webhooks');
});

// Takes the pictures of docs/page.md: node screenshots.mjs [FOLDER], into docs/page unless another folder is named. The
// pictures are compressed by pngquant if it is there.
//
//   CHROMIUM   the browser, otherwise /usr/bin/chromium
//   FONT       the font, otherwise the system's

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import { launchBrowser, newVisitor, see, until } from './scenario.mjs';
import { pictures } from './pictures.mjs';
import { prepareShowcase } from './showcase.mjs';
import { root, startWorld } from './world.mjs';

const organization = 'acme';

// The addresses that a tenant would have, in place of the receiver's on 127.0.0.1.
const addresses = {
  '/billing': 'https://billing.acme.example/hooks/crm', '/warehouse': 'https://ingest.acme.example/v2/events',
  '/notifications': 'https://hooks.chat.example/services/T02/B81', '/desk': 'https://desk.acme.example/webhooks',
  '/gone': 'https://old-crm.example/import', '/marketing': 'https://flows.mail.example/in/41', '/leads': 'https://leads.acme.example/large',
};

function withAddresses(text, world, ids) {
  const hosts = Object.fromEntries(Object.entries(ids).map(([name, id]) => [id, addresses[`/${name}`] && new URL(addresses[`/${name}`]).host]));
  const replaced = JSON.parse(text, (key, value) => {
    if (value !== null && typeof value === 'object' && 'host' in value && hosts[value.id]) return { ...value, host: hosts[value.id] };
    if (key === 'remote_ip' && value) return '198.51.100.17';
    if (typeof value !== 'string') return value;
    return value.replaceAll(new RegExp(`${world.receiver.origin}(/[a-z]+)`, 'g'), (whole, pathname) => addresses[pathname] ?? whole);
  });
  return JSON.stringify(replaced);
}

async function visitor(world, host, browser, ids, options = {}) {
  const { context } = await newVisitor({ browser, context: { colorScheme: options.scheme ?? 'light', viewport: options.viewport ?? { width: 1280, height: 800 } } });
  await host.signIn(context, { role: 'crm_admin', organization, subject: 'zoe@acme.example' });
  if (process.env.FONT) {
    await context.addInitScript((font) => {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(`webhook-settings { --webhook-font: "${font}"; }`);
      document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
    }, process.env.FONT);
  }
  await context.route('**/rpc/*', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: withAddresses(await response.text(), world, ids) });
  });
  return context.newPage();
}

async function shoot(page, host, dir, { name, route, prepare, fullPage = false }) {
  await page.goto('about:blank');
  await page.goto(host.address(route));
  await see(page.getByRole('heading', { level: 1 }));
  await until('nothing is loading', async () => (await page.getByRole('status', { name: 'Loading…' }).count()) === 0);
  await prepare?.(page);
  await page.mouse.move(0, 0);
  const file = path.join(dir, `${name}.png`);
  await page.screenshot({ path: file, fullPage, caret: 'hide', animations: 'disabled' });
  spawnSync('pngquant', ['--force', '--skip-if-larger', '--strip', '--output', file, '--', file]);
}

export async function takePictures(dir) {
  const work = fs.mkdtempSync(path.join(os.tmpdir(), 'webhook-page.'));
  fs.chmodSync(work, 0o777);
  const [world, browser] = await Promise.all([startWorld(work), launchBrowser()]);
  try {
    const host = world.hosts.find(({ name }) => name === 'PostgREST');
    const ids = await prepareShowcase(world, organization, { withHostileStrings: false });
    fs.mkdirSync(dir, { recursive: true });
    const pages = new Map();
    for (const picture of await pictures({ world, ids })) {
      if (process.env.ONLY && !new RegExp(process.env.ONLY).test(picture.name)) continue;
      const key = JSON.stringify([picture.scheme, picture.viewport]);
      if (!pages.has(key)) pages.set(key, await visitor(world, host, browser, ids, picture));
      await shoot(pages.get(key), host, dir, picture);
      console.log(picture.name);
    }
  } finally {
    await browser.close();
    await world.stop();
    fs.rmSync(work, { recursive: true, force: true });
  }
}

await takePictures(process.argv[2] ?? path.join(root, 'docs/page'));

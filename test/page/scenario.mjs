// What a test of the page is made of: a new organization, a browser context of its own, and faults that no test may cause.
//
//   behaviour('a webhook is created', async ({ world, host, tenant, page, signIn }) => { … });
//
// makes one test for each host. Nothing waits for a fixed time: locators and until() wait for a condition, with a bound.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test, { after, before } from 'node:test';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';
import { patienceMs, startWorld, until } from './world.mjs';

export { assert, until };

const hostNames = ['webhook-console', 'PostgREST'].filter((name) => !process.env.PAGE_TEST_HOST || name === process.env.PAGE_TEST_HOST);
const axeSource = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let world;
let browser;

export async function launchBrowser() {
  const args = ['--disable-dev-shm-usage', '--disable-gpu'];
  // Chromium's sandbox cannot start as root.
  if (process.getuid() === 0) args.push('--no-sandbox');
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args });
}

// A browser context for one visitor. faults collects what no page may cause.
export async function newVisitor(options = {}) {
  const context = await (options.browser ?? browser).newContext({
    viewport: { width: 1280, height: 800 }, locale: 'en-GB', timezoneId: 'Europe/Paris', reducedMotion: 'reduce', ...options.context,
  });
  context.setDefaultTimeout(patienceMs);
  const faults = [];
  await context.exposeBinding('reportFault', (_, text) => faults.push(text));
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sourceFile, lineNumber, sample }) =>
      reportFault(`content security policy: ${violatedDirective} ${blockedURI} ${sourceFile}:${lineNumber} ${sample}`));
    // Hostile strings call it.
    Object.defineProperty(globalThis, 'canary', { value: () => reportFault('a script of a hostile string ran') });
  });
  context.on('weberror', (error) => faults.push(`exception: ${error.error().stack ?? error.error()}`));
  context.on('console', (message) => {
    // The browser itself reports each status from 400 on, and each connection that fails.
    const isNetwork = message.text().startsWith('Failed to load resource');
    if (['error', 'warning'].includes(message.type()) && !isNetwork) faults.push(`console: ${message.text()}`);
  });
  context.on('dialog', () => faults.push('a dialog of the browser opened'));
  return { context, faults };
}

export function startOnce() {
  before(async () => {
    const dir = process.env.PAGE_TEST_DIR ?? makeDir();
    [world, browser] = await Promise.all([startWorld(dir), launchBrowser()]);
  });
  after(async () => {
    await browser?.close();
    await world?.stop();
  });
}

// dev/test gives a folder, and removes it.
function makeDir() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'webhook-page.'));
  fs.chmodSync(dir, 0o777);
  return dir;
}

// A test without a browser.
export function fact(name, body) {
  test(name, () => body({ world }));
}

// A test of each host's calls, without a browser.
export function hostFact(name, body) {
  for (const hostName of hostNames) {
    test(`${hostName}: ${name}`, () => {
      const host = world.hosts.find((each) => each.name === hostName);
      return body({ world, host, tenant: world.newTenant() });
    });
  }
}

// options: hosts, those that matter; role and organization of the visitor, otherwise crm_admin and a new one.
export function behaviour(name, body, options = {}) {
  for (const hostName of hostNames.filter((each) => !options.hosts || options.hosts.includes(each))) {
    test(`${hostName}: ${name}`, async () => {
      const host = world.hosts.find((each) => each.name === hostName);
      const tenant = world.newTenant();
      const visitor = await newVisitor(options);
      const visit = async (who = {}) => {
        await host.signIn(visitor.context, { role: 'crm_admin', organization: tenant, subject: 'zoe@example.com', ...options.as, ...who });
        return visitor.context.newPage();
      };
      try {
        const page = await visit();
        const open = async (route = '') => {
          await page.goto(host.address(route));
          return page;
        };
        await body({ world, host, tenant, page, open, visit, context: visitor.context, faults: visitor.faults });
        assert.deepEqual(visitor.faults, []);
      } catch (error) {
        await keepPicture(visitor.context, `${hostName} ${name}`);
        if (visitor.faults.length > 0) error.message += `\nfaults of the page: ${visitor.faults.join('\n')}`;
        throw error;
      } finally {
        await visitor.context.close();
      }
    });
  }
}

// Of a test that failed, for who looks for the reason.
async function keepPicture(context, name) {
  const dir = process.env.WEBHOOK_TEST_LOGS;
  const page = context.pages().at(-1);
  if (!dir || !page) return;
  fs.mkdirSync(dir, { recursive: true });
  await page.screenshot({ path: path.join(dir, `${name.replace(/[^\w]+/g, '-')}.png`), fullPage: true }).catch(() => {});
}

// --- what is seen ---------------------------------------------------------------------------------------------------

export const see = (locator) => locator.first().waitFor({ state: 'visible' });
export const gone = (locator) => locator.first().waitFor({ state: 'hidden' });

export const showsText = (locator, text) =>
  until(`"${text}" is shown`, async () => (await locator.first().textContent().catch(() => ''))?.includes(text));

// --- accessibility --------------------------------------------------------------------------------------------------

const appearances = [
  { name: 'light, 1280 px', scheme: 'light', width: 1280, height: 800, scale: 1 },
  { name: 'dark, 1280 px', scheme: 'dark', width: 1280, height: 800, scale: 1 },
  { name: 'light, 320 px', scheme: 'light', width: 320, height: 640, scale: 1 },
  { name: 'dark, 320 px', scheme: 'dark', width: 320, height: 640, scale: 1 },
  { name: 'light, 1280 px at 200 %', scheme: 'light', width: 640, height: 400, scale: 2 },
];

const axeOptions = { runOnly: { type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }, resultTypes: ['violations'] };

// No violation of WCAG 2.2 AA that axe-core finds, and no horizontal scrolling, in any appearance.
export async function isAccessible(page, screen) {
  const browserSession = await page.context().newCDPSession(page);
  const problems = [];
  for (const { name, scheme, width, height, scale } of appearances) {
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
    await browserSession.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: scale, mobile: false });
    if (!(await page.evaluate(() => 'axe' in globalThis))) await page.evaluate(axeSource);
    const { violations, overflow } = await page.evaluate(async (options) => {
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      const { scrollWidth, clientWidth } = document.scrollingElement;
      return { violations: (await axe.run(document, options)).violations, overflow: scrollWidth - clientWidth };
    }, axeOptions);
    for (const { id, help, nodes } of violations) {
      for (const node of nodes.slice(0, 5)) problems.push(`${screen} (${name}): ${id}, ${help}: ${node.target.flat().join(' ')}: ${node.html.slice(0, 200)}: ${node.failureSummary.replace(/\s+/g, ' ').slice(0, 300)}`);
    }
    if (overflow > 0) problems.push(`${screen} (${name}): ${overflow} px wider than the window`);
  }
  await browserSession.send('Emulation.clearDeviceMetricsOverride');
  await browserSession.detach();
  await page.emulateMedia({ colorScheme: 'light' });
  assert.deepEqual(problems, []);
}

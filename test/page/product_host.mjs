// A product that embeds the page: it serves the page's files beside a document of its own, and answers the page's calls by
// the stand-in for PostgREST, with a token for whoever is signed in (a cookie of the product's says who that is).

import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { once } from 'node:events';
import { Postgrest, signJwt } from './postgrest.mjs';

const apiBase = '/rest/v1';

// As strict as webhook-console's, so that the page is seen to need no more.
const contentSecurityPolicy = [
  "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self'", "base-uri 'none'",
  "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'", 'trusted-types lit-html',
].join('; ');

const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.json': 'application/json' };

class Product {
  name = 'PostgREST';
  #world;
  #api;
  #server;
  #sessions = new Map(); // cookie → claims, or null once it has expired

  constructor(world) {
    this.#world = world;
    const connection = { host: world.dir, user: 'authenticator', database: world.database };
    this.#api = new Postgrest({
      connection, schema: 'webhook_api', secret: world.jwtKey, onCall: (call) => world.recordCall({ host: this.name, ...call }),
    });
  }

  async start() {
    this.#server = http.createServer((request, response) => this.#answer(request, response));
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.origin = `http://127.0.0.1:${this.#server.address().port}`;
    return this;
  }

  // Of a screen: '/webhooks/new'.
  address(route) {
    return `${this.origin}/settings${route}`;
  }

  async signIn(context, who) {
    const session = crypto.randomUUID();
    this.#sessions.set(session, claimsOf(who));
    await context.addCookies([{ name: 'session', value: session, url: this.origin }]);
  }

  // The visitor's session ends: tokens that it gets from now on are refused.
  async expireSession(context) {
    const [{ value }] = await context.cookies(this.origin);
    this.#sessions.set(value, null);
  }

  claims(who) {
    return claimsOf(who);
  }

  // A call without a browser. token: in place of the one that who would have.
  async call(who, name, args = {}, token = this.tokenFor(claimsOf(who))) {
    const response = await fetch(`${this.origin}${apiBase}/rpc/${name}`, {
      method: 'POST', body: typeof args === 'string' ? args : JSON.stringify(args),
      headers: { 'Content-Type': 'application/json', ...(token === null ? {} : { Authorization: `Bearer ${token}` }) },
    });
    return { status: response.status, body: await response.json() };
  }

  // claims: null for a session that has expired.
  tokenFor(claims) {
    const nowS = Math.floor(Date.now() / 1000);
    return signJwt({ exp: nowS + 3600, ...claims, ...(claims === null && { role: 'crm_reader', exp: nowS - 3600 }) }, this.#world.jwtKey);
  }

  async stop() {
    this.#server.close();
    this.#server.closeAllConnections();
    await this.#api.close();
  }

  #answer(request, response) {
    const { pathname } = new URL(request.url, this.origin);
    if (pathname.startsWith(`${apiBase}/`)) {
      this.#api.handle(request, response, pathname.slice(apiBase.length));
    } else if (pathname === '/token') {
      const session = /(?:^|; )session=([^;]+)/.exec(request.headers.cookie ?? '')?.[1];
      response.writeHead(200, { 'Content-Type': 'text/plain', 'Cache-Control': 'no-store' });
      response.end(this.tokenFor(this.#sessions.get(session) ?? null));
    } else {
      this.#serveFile(/^\/settings(\/|$)/.test(pathname) ? '/product/settings.html' : pathname, response);
    }
  }

  #serveFile(pathname, response) {
    const [folder, name] = pathname.startsWith('/product/') ? ['test/page/product', pathname.slice('/product'.length)] : ['console/page', pathname];
    const dir = path.join(this.#world.root, folder);
    const file = path.join(dir, path.normalize(name));
    const type = types[path.extname(file)];
    if (!type || !file.startsWith(dir) || !fs.existsSync(file)) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, {
      'Content-Type': `${type}; charset=utf-8`, 'Content-Security-Policy': contentSecurityPolicy, 'X-Content-Type-Options': 'nosniff',
    });
    response.end(fs.readFileSync(file));
  }
}

const claimsOf = ({ role, organization, subject }) => ({ role, organization_id: organization, sub: subject });

export const startProduct = (world) => new Product(world).start();

// webhook-console, as it is used behind a product: a proxy of the product's knows who is signed in, and tells the console
// by a header that only it may set. Calls without a browser go to a second console, which takes the same JWTs as PostgREST.

import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { signJwt } from './postgrest.mjs';

const audience = 'crm';
const claimsHeader = 'x-crm-claims';
const roles = ['crm_admin', 'crm_reader', 'crm_operator'];

// Starts build/console/webhook-console on a free port. lines: what it has printed.
export async function startConsoleProcess(world, options, user = 'authenticator') {
  const program = path.join(world.root, 'build/console/webhook-console');
  const conninfo = `host=${world.dir} user=${user} dbname=${world.database}`;
  const child = spawn(program, [conninfo, '--listen', '127.0.0.1:0', ...options], { stdio: ['pipe', 'pipe', 'pipe'] });
  const lines = [];
  const log = fs.createWriteStream(path.join(world.dir, 'console.log'), { flags: 'a' });
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => { lines.push(...data.toString().split('\n').filter(Boolean)); log.write(data); });
  }
  await world.until('webhook-console listens', () => {
    if (child.exitCode !== null) throw new Error(`webhook-console ended: ${lines.join('\n')}`);
    return lines.some((line) => /http:\/\/[^ ]*:\d+/.test(line));
  });
  const [, origin] = /(http:\/\/127\.0\.0\.1:\d+)/.exec(lines.join('\n'));
  return { origin, lines, child, stop: async () => { child.kill(); if (child.exitCode === null) await once(child, 'exit'); log.end(); } };
}

class ConsoleHost {
  name = 'webhook-console';
  #world;
  #proxy;
  #sessions = new Map(); // cookie → claims, or null once it has expired

  constructor(world) {
    this.#world = world;
  }

  async start() {
    this.#proxy = http.createServer((request, response) => this.#forward(request, response)).listen(0, '127.0.0.1');
    await once(this.#proxy, 'listening');
    this.origin = `http://127.0.0.1:${this.#proxy.address().port}`;
    const roleOptions = roles.flatMap((role) => ['--role', role]);
    this.behindProxy = await startConsoleProcess(this.#world, [
      ...roleOptions, '--trusted-proxy', '127.0.0.1', '--trusted-header', claimsHeader, '--public-host', new URL(this.origin).host,
      '--base-path', '/settings/webhooks',
    ]);
    const keyFile = path.join(this.#world.dir, 'jwt.key');
    fs.writeFileSync(keyFile, this.#world.jwtKey, { mode: 0o600 });
    this.withTokens = await startConsoleProcess(this.#world, [
      ...roleOptions, '--jwt-key-file', keyFile, '--jwt-algorithm', 'HS256', '--jwt-audience', audience,
    ]);
    return this;
  }

  address(route) {
    return `${this.origin}/settings/webhooks/${route === '' ? '' : `#${route}`}`;
  }

  async signIn(context, who) {
    const session = crypto.randomUUID();
    this.#sessions.set(session, this.claims(who));
    await context.addCookies([{ name: 'session', value: session, url: this.origin }]);
  }

  // The visitor's session ends.
  async expireSession(context) {
    const [{ value }] = await context.cookies(this.origin);
    this.#sessions.set(value, null);
  }

  claims({ role, organization, subject }) {
    return { role, organization_id: organization, sub: subject, aud: audience, exp: Math.floor(Date.now() / 1000) + 3600 };
  }

  // A call without a browser. token: in place of the one that who would have; null: none.
  async call(who, name, args = {}, token = signJwt(this.claims(who), this.#world.jwtKey)) {
    const response = await fetch(`${this.withTokens.origin}/rpc/${name}`, {
      method: 'POST', body: typeof args === 'string' ? args : JSON.stringify(args),
      headers: {
        'Content-Type': 'application/json', Origin: this.withTokens.origin, ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
      },
    });
    const body = await response.json();
    this.#world.recordCall({ host: this.name, function: name, arguments: typeof args === 'string' ? null : args, status: response.status, body });
    return { status: response.status, body };
  }

  async stop() {
    await Promise.all([this.behindProxy?.stop(), this.withTokens?.stop()]);
    this.#proxy.close();
    this.#proxy.closeAllConnections();
  }

  // Passes a request on, with the claims of the session in place of any that the client sent.
  #forward(request, response) {
    const session = /(?:^|; )session=([^;]+)/.exec(request.headers.cookie ?? '')?.[1];
    const claims = this.#sessions.get(session);
    const headers = { ...request.headers, [claimsHeader]: claims ? JSON.stringify(claims) : undefined };
    if (!claims) delete headers[claimsHeader];
    const onward = http.request(this.behindProxy.origin, { method: request.method, path: request.url, headers, setHost: false }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      this.#record(request, answer);
      answer.pipe(response);
    });
    onward.on('error', () => response.writeHead(502).end());
    this.#keepBody(request);
    request.pipe(onward);
  }

  #keepBody(request) {
    request.sent = [];
    request.on('data', (chunk) => request.sent.push(chunk));
  }

  #record(request, answer) {
    const [, name] = /\/rpc\/(\w+)$/.exec(request.url) ?? [];
    if (!name) return;
    const chunks = [];
    answer.on('data', (chunk) => chunks.push(chunk));
    answer.on('end', () => this.#world.recordCall({
      host: this.name, function: name, arguments: parsed(request.sent), status: answer.statusCode, body: parsed(chunks),
    }));
  }
}

function parsed(chunks) {
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    return null;
  }
}

export const startConsole = (world) => new ConsoleHost(world).start();

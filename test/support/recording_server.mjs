// What the servers of this folder share: their options, the record of what came to them, and their beginning and end.
//
// A server listens on 127.0.0.1. When it does it prints one line, {"port":…,"control_port":…,"url":"http://127.0.0.1:…"}.
//
// The record is a file with one line of JSON a request. A line begins with received_us (arrival of the request's headers,
// µs since 1970), webhook_id and path, in this order; then come method and what a server adds, headers (name, value, name,
// value, … as they came), and at its end body_base64.

import fs from 'node:fs';
import path from 'node:path';
import { once } from 'node:events';
import { parseArgs } from 'node:util';

export const tlsOptions = { tls: { type: 'string' }, certificate: { type: 'string', default: 'server' } };

// The values of a program's options: of those that all have, and more, as parseArgs() takes them.
export function readOptions(program, more = {}) {
  const { values } = parseArgs({
    options: {
      record: { type: 'string' },
      port: { type: 'string', default: '0' },
      'until-stdin-closes': { type: 'boolean', default: false },
      ...more,
    },
  });
  if (!values.record) {
    console.error(`${program}: --record FILE is missing`);
    process.exit(2);
  }
  return values;
}

// Of those that make_certificates made, for a server of https or tls.
export function readCertificate(options) {
  const read = (suffix) => fs.readFileSync(path.join(options.tls, options.certificate + suffix));
  return { cert: read('.crt'), key: read('.key') };
}

export const nowUs = () => Math.round((performance.timeOrigin + performance.now()) * 1000);

export class Record {
  #file;

  constructor(options) {
    this.#file = fs.openSync(options.record, 'a', 0o644);
  }

  // body: a Buffer
  static line({ receivedUs, webhookId, path: requested, method, headers, body, ...more }) {
    const first = { received_us: receivedUs, webhook_id: webhookId ?? null, path: requested };
    return JSON.stringify({ ...first, method, ...more, headers, body_base64: body.toString('base64') }) + '\n';
  }

  write(...lines) {
    fs.writeSync(this.#file, lines.join(''));
  }
}

async function listen(server, port) {
  // No timeout of ours may end a connection that a test wants to last.
  Object.assign(server, { keepAliveTimeout: 0, headersTimeout: 0, requestTimeout: 0, timeout: 0 });
  server.listen({ host: '127.0.0.1', port, backlog: 4096 });
  await once(server, 'listening');
  return server.address().port;
}

// Listens, by the control server too if there is one, and says so; ends by a signal, or with its stdin if it was told to.
export async function serve(options, server, control) {
  const port = await listen(server, Number(options.port));
  const controlPort = control ? await listen(control, 0) : port;
  console.log(JSON.stringify({ port, control_port: controlPort, url: `${options.tls ? 'https' : 'http'}://127.0.0.1:${port}` }));
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
  if (options['until-stdin-closes']) process.stdin.resume().on('close', () => process.exit(0));
}

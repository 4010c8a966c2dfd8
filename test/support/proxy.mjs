#!/usr/bin/env node
// An HTTP proxy on 127.0.0.1, as an egress proxy is one: tunnels by CONNECT, and plain requests by their absolute URL. It
// connects to whatever it is asked for, but to a host whose name begins with "closed" or "silent": asked for that by
// CONNECT, it closes the connection, or never answers. It needs Node 18 and nothing else.
//
//   proxy.mjs --record FILE [--port N] [--until-stdin-closes]
//
// It prints and records what receiver.mjs does; the path of a request is what the proxy was asked for.

import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { once } from 'node:events';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    record: { type: 'string' },
    port: { type: 'string', default: '0' },
    'until-stdin-closes': { type: 'boolean', default: false },
  },
});
if (!options.record) {
  console.error('proxy.mjs: --record FILE is missing');
  process.exit(2);
}

const recordFile = fs.openSync(options.record, 'a', 0o644);

function record(request) {
  const line = {
    received_us: Math.round((performance.timeOrigin + performance.now()) * 1000),
    webhook_id: request.headers['webhook-id'] ?? null,
    path: request.url,
    method: request.method,
    headers: request.rawHeaders,
    body_base64: '',
  };
  fs.writeSync(recordFile, JSON.stringify(line) + '\n');
}

const server = http.createServer((request, response) => {
  record(request);
  const onward = http.request(request.url, { method: request.method, headers: request.headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  request.pipe(onward);
});

server.on('connect', (request, client, head) => {
  record(request);
  client.on('error', () => client.destroy());
  if (request.url.startsWith('closed')) client.destroy();
  if (/^(closed|silent)/.test(request.url)) return;
  const target = new URL(`http://${request.url}`);
  const onward = net.connect(Number(target.port || 80), target.hostname, () => {
    client.write('HTTP/1.1 200 Connection established\r\n\r\n');
    onward.write(head);
    onward.pipe(client);
    client.pipe(onward);
  });
  for (const [socket, other] of [[onward, client], [client, onward]]) {
    socket.on('error', () => other.destroy());
    socket.on('close', () => other.destroy());
  }
});

server.listen({ host: '127.0.0.1', port: Number(options.port), backlog: 4096 });
await once(server, 'listening');
const { port } = server.address();
console.log(JSON.stringify({ port, control_port: port, url: `http://127.0.0.1:${port}` }));

for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
if (options['until-stdin-closes']) process.stdin.resume().on('close', () => process.exit(0));

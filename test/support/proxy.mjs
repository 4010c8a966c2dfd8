#!/usr/bin/env node
// An HTTP proxy on 127.0.0.1, as an egress proxy is one: tunnels by CONNECT, and plain requests by their absolute URL. It
// connects to whatever it is asked for, but to a host whose name begins with "closed" or "silent": asked for that by
// CONNECT, it closes the connection, or never answers. It needs Node 18 and nothing else.
//
//   proxy.mjs --record FILE [--port N] [--until-stdin-closes]
//
// recording_server.mjs says what it prints and records; the path of a request is what the proxy was asked for.

import http from 'node:http';
import net from 'node:net';
import { Record, nowUs, readOptions, serve } from './recording_server.mjs';

const options = readOptions('proxy.mjs');
const record = new Record(options);

function recordRequest({ url: path, method, headers, rawHeaders }) {
  const webhookId = headers['webhook-id'];
  record.write(Record.line({ receivedUs: nowUs(), webhookId, path, method, headers: rawHeaders, body: Buffer.alloc(0) }));
}

const server = http.createServer((request, response) => {
  recordRequest(request);
  const onward = http.request(request.url, { method: request.method, headers: request.headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  request.pipe(onward);
});

server.on('connect', (request, client, head) => {
  recordRequest(request);
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

await serve(options, server);

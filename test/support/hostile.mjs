#!/usr/bin/env node
// A server on 127.0.0.1 that does not keep to HTTP, which receiver.mjs, built on Node's own server, cannot but do: it
// writes to the socket what the first step of a URL's path says. It needs Node 18 and nothing else.
//
//   hostile.mjs --record FILE [--port N] [--tls DIR [--certificate NAME]] [--until-stdin-closes]
//
// It prints and records what receiver.mjs does. The control port answers GET /sent by {"bytes":…}: what the kernel has
// taken from it, on all connections that have ended.

import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import zlib from 'node:zlib';
import { once } from 'node:events';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    record: { type: 'string' },
    port: { type: 'string', default: '0' },
    tls: { type: 'string' },
    certificate: { type: 'string', default: 'server' },
    'until-stdin-closes': { type: 'boolean', default: false },
  },
});
if (!options.record) {
  console.error('hostile.mjs: --record FILE is missing');
  process.exit(2);
}

const recordFile = fs.openSync(options.record, 'a', 0o644);
let bytesSent = 0;

// --- what it may send ------------------------------------------------------------------------------------------------

// Writes what next() gives for as long as somebody reads it.
function pourForever(socket, next) {
  const pour = () => {
    while (!socket.destroyed) {
      if (!socket.write(next())) {
        socket.once('drain', pour);
        return;
      }
    }
  };
  pour();
}

function drip(socket, text) {
  let position = 0;
  const timer = setInterval(() => socket.write(text[position++ % text.length]), 1000);
  socket.once('close', () => clearInterval(timer));
}

const kilobytes = Buffer.alloc(65536, 'x');
const manyHeaders = Array.from({ length: 1000 }, (_, i) => `X-Endless-${i}: ${'x'.repeat(60)}\r\n`).join('');
const informational = 'HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n'.repeat(1000);

// 58 kB that 60 MB of "x" come out of.
const bomb = zlib.gzipSync(Buffer.alloc(60_000_000, 'x'));
const chunked = (bytes) => Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n0\r\n\r\n')]);
const end = (socket, ...parts) => socket.end(Buffer.concat(parts.map((part) => Buffer.from(part))));

const manners = {
  'endless-body': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    pourForever(socket, () => kilobytes);
  },
  'endless-chunks': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
    pourForever(socket, () => Buffer.concat([Buffer.from('10000\r\n'), kilobytes, Buffer.from('\r\n')]));
  },
  'endless-chunk-extension': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;');
    pourForever(socket, () => kilobytes);
  },
  'endless-trailers': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n');
    pourForever(socket, () => manyHeaders);
  },
  'endless-headers': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n');
    pourForever(socket, () => manyHeaders);
  },
  'endless-header-line': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nX-Endless: ');
    pourForever(socket, () => kilobytes);
  },
  'endless-status-line': (socket) => {
    socket.write('HTTP/1.1 200 ');
    pourForever(socket, () => kilobytes);
  },
  'endless-1xx': (socket) => pourForever(socket, () => informational),
  'byte-a-second': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    drip(socket, 'x');
  },
  'byte-a-second-of-headers': (socket) => drip(socket, 'HTTP/1.1 200 OK\r\nX-Drip: '),
  'byte-a-second-of-1xx': (socket) => drip(socket, 'HTTP/1.1 103 Early Hints\r\n\r\n'),
  bomb: (socket) => end(socket, `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n\r\n`, bomb),
  'bomb-of-bombs': (socket) => {
    const bombs = zlib.gzipSync(bomb);
    end(socket, `HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\nContent-Length: ${bombs.length}\r\n\r\n`, bombs);
  },
  'bomb-in-transfer': (socket) => end(socket, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n', chunked(bomb)),
  nul: (socket) => end(socket, 'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n', Buffer.from('a\0b\xff\xc3(c', 'latin1')),
  'nul-in-header': (socket) => end(socket, 'HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\nok'),
  'raw-bytes-in-header': (socket) =>
    end(socket, Buffer.from('HTTP/1.1 503 \xff\xfe\r\nRetry-After: \xff\xfe\r\nContent-Length: 2\r\n\r\nok', 'latin1')),
  'length-too-long': (socket) => end(socket, 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort'),
  // What is beyond must not become the answer to the next request.
  'length-too-short': (socket) =>
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled'),
  'length-negative': (socket) => end(socket, 'HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello'),
  'length-beyond-numbers': (socket) => end(socket, 'HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello'),
  'length-twice': (socket) => end(socket, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\nhello'),
  'length-and-chunks': (socket) =>
    end(socket, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n', chunked(Buffer.from('hello'))),
  'chunk-of-no-number': (socket) => end(socket, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n'),
  'chunk-beyond-numbers': (socket) =>
    end(socket, `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${'f'.repeat(40)}\r\nhello\r\n`),
  'no-http': (socket) => end(socket, 'SSH-2.0-OpenSSH_9.2\r\n'),
  'close-before-response': (socket) => socket.destroy(),
  'close-in-headers': (socket) => end(socket, 'HTTP/1.1 200 OK\r\nContent-Le'),
  reset: (socket) => socket.resetAndDestroy(),
  // TLS 1.2 alone knows it; the server asks for another handshake whenever one is through, and never answers.
  'renegotiate-forever': (socket) => {
    const again = () => !socket.destroyed && socket.renegotiate({}, again);
    again();
  },
  'renegotiate-once': (socket) =>
    socket.renegotiate({}, (error) => end(socket, `HTTP/1.1 ${error ? 500 : 200} OK\r\nContent-Length: 2\r\n\r\nok`)),
};

// --- connections -----------------------------------------------------------------------------------------------------

function record(head, body, receivedUs, connectionNumber) {
  const [requestLine, ...lines] = head.split('\r\n');
  const [method, url] = requestLine.split(' ');
  const headers = lines.flatMap((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]);
  const id = headers[headers.findIndex((text, i) => i % 2 === 0 && text.toLowerCase() === 'webhook-id') + 1];
  const line = { received_us: receivedUs, webhook_id: id ?? null, path: url, method, connection: connectionNumber, headers };
  fs.writeSync(recordFile, JSON.stringify({ ...line, body_base64: body.toString('base64') }) + '\n');
  return url.split(/[/?]/)[1];
}

let connectionCount = 0;

function onConnection(socket) {
  const number = ++connectionCount;
  let received = Buffer.alloc(0);
  socket.on('error', () => socket.destroy());
  // Not what Node itself still holds.
  socket.on('close', () => (bytesSent += socket.bytesWritten - socket.writableLength));
  socket.on('data', (bytes) => {
    received = Buffer.concat([received, bytes]);
    for (;;) {
      const headEnd = received.indexOf('\r\n\r\n');
      if (headEnd < 0) return;
      const head = received.subarray(0, headEnd).toString('latin1');
      const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
      if (received.length < headEnd + 4 + length) return;
      const body = received.subarray(headEnd + 4, headEnd + 4 + length);
      received = received.subarray(headEnd + 4 + length);
      const manner = record(head, body, Math.round((performance.timeOrigin + performance.now()) * 1000), number);
      (manners[manner] ?? (() => end(socket, 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n')))(socket);
    }
  });
}

function createServer() {
  if (!options.tls) return net.createServer(onConnection);
  const read = (suffix) => fs.readFileSync(path.join(options.tls, options.certificate + suffix));
  tls.CLIENT_RENEG_LIMIT = Infinity;
  return tls.createServer({ cert: read('.crt'), key: read('.key'), maxVersion: 'TLSv1.2' }, onConnection);
}

async function listen(server, port) {
  server.listen({ host: '127.0.0.1', port, backlog: 4096 });
  await once(server, 'listening');
  return server.address().port;
}

const port = await listen(createServer(), Number(options.port));
const control = http.createServer((request, response) => response.end(JSON.stringify({ bytes: bytesSent })));
const controlPort = await listen(control, 0);
console.log(JSON.stringify({ port, control_port: controlPort, url: `${options.tls ? 'https' : 'http'}://127.0.0.1:${port}` }));

for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
if (options['until-stdin-closes']) process.stdin.resume().on('close', () => process.exit(0));

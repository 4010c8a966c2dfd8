#!/usr/bin/env node
// A server on 127.0.0.1 that does not keep to HTTP, which receiver.mjs, built on Node's own server, cannot but do: it
// writes to the socket what the first step of a URL's path says. It needs Node 18 and nothing else.
//
//   hostile.mjs --record FILE [--port N] [--tls DIR [--certificate NAME]] [--until-stdin-closes]
//
// recording_server.mjs says what it prints and records. The control port answers GET /sent by {"bytes":…}: what the kernel
// has taken from it, on all connections that have ended.

import http from 'node:http';
import net from 'node:net';
import tls from 'node:tls';
import zlib from 'node:zlib';
import { Record, nowUs, readCertificate, readOptions, serve, tlsOptions } from './recording_server.mjs';

const options = readOptions('hostile.mjs', tlsOptions);
const record = new Record(options);
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
  // A name that lies in wait for whoever masks by names, what is no text, and more than anybody keeps.
  'headers-of-all-kinds': (socket) =>
    end(socket, Buffer.from(`HTTP/1.1 100 Continue\r\nX-Early: e\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 2\r\nsET-cookie: confidential=${'c'.repeat(3000)}\r\n` +
      `Set-Cookie2: a\r\n confidential\r\nX-Raw: \xff\xfe\x1b[2J\r\nX-Long: ${'l'.repeat(5000)}\r\n` +
      `${Array.from({ length: 200 }, (_, i) => `X-${i}: \xe9\r\n`).join('')}\r\nno`, 'latin1')),
  'return-in-header': (socket) =>
    end(socket, 'HTTP/1.1 500 No\r\nContent-Length: 2\r\nX-Return: a\rSet-Cookie: b\r\nX-After: a\r\n\r\nno'),
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

// Returns the first step of the path.
function recordRequest(head, body, connection) {
  const [requestLine, ...lines] = head.split('\r\n');
  const [method, path] = requestLine.split(' ');
  const headers = lines.flatMap((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]);
  const webhookId = headers[headers.findIndex((text, i) => i % 2 === 0 && text.toLowerCase() === 'webhook-id') + 1];
  record.write(Record.line({ receivedUs: nowUs(), webhookId, path, method, connection, headers, body }));
  return path.split(/[/?]/)[1];
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
      const manner = recordRequest(head, body, number);
      (manners[manner] ?? (() => end(socket, 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n')))(socket);
    }
  });
}

function createServer() {
  if (!options.tls) return net.createServer(onConnection);
  tls.CLIENT_RENEG_LIMIT = Infinity;
  return tls.createServer({ ...readCertificate(options), maxVersion: 'TLSv1.2' }, onConnection);
}

const control = http.createServer((request, response) => response.end(JSON.stringify({ bytes: bytesSent })));
await serve(options, createServer(), control);

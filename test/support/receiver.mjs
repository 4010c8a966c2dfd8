#!/usr/bin/env node
// The receiver that tests and the demo talk to: an HTTP or HTTPS server on 127.0.0.1 whose URL paths say how it answers.
// It needs Node 18 and nothing else.
//
//   receiver.mjs --record FILE [--port N] [--tls DIR [--certificate NAME] [--tls-version TLSv1.1]] [--until-stdin-closes]
//
// Every complete request is recorded before it is answered, so that what a sender holds for delivered has been recorded
// even if the receiver is killed. recording_server.mjs says what it prints, and what a line of the record holds; status,
// connection and tls are added.
//
// A path is a row of steps; the query string is the caller's, to tell requests apart:
//
//   /ok                    200
//   /status/N              that status
//   /retry-after/V         a Retry-After header
//   /location/URL          a Location header (URL percent-encoded)
//   /header/NAME/VALUE     any header (VALUE percent-encoded)
//   /body/TEXT             that body (percent-encoded bytes)
//   /delay/MS              waits so long before it answers
//   /delay-up-to/MS        waits at random, up to so long
//   /percent/N             all of this for N of 100 requests, at random, else 200, after /delay-up-to alone
//   /times/N               all of this for the first N requests of each webhook-id to this path and query, then 200
//   /hang                  never answers
//   /close                 closes the connection instead of answering
//   /close-mid-response    closes it after half of the body that Content-Length announces
//   /endless-body          a body without an end, as fast as it is read
//   /endless-headers       headers without an end
//   /drip                  one byte of the body every 50 ms, without an end
//
// The control port speaks HTTP: GET /count gives {"requests":…,"webhook_ids":…}, GET /requests the recorded lines, and
// POST /set {"path":"/a","script":"/status/503"} makes /a answer like /status/503, null undoes it.

import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { Record, nowUs, readCertificate, readOptions, serve, tlsOptions } from './recording_server.mjs';

const options = readOptions('receiver.mjs', {
  ...tlsOptions,
  'tls-version': { type: 'string' }, // that one alone
});
const record = new Record(options);
const scripts = new Map(); // path → the script set for it
const webhookIds = new Set();
const requestsByUrlAndId = new Map(); // for /times
let requestCount = 0;
let connectionCount = 0;

// --- what a path asks for ------------------------------------------------------------------------------------------

const plain = { status: 200, headers: {}, body: Buffer.from('ok'), delayMs: 0, delayUpToMs: 0, percent: 100, times: Infinity, manner: 'answer' };
const manners = ['hang', 'close', 'close-mid-response', 'endless-body', 'endless-headers', 'drip'];

// Percent-decoding to bytes: %FF stays one byte.
function decodeBytes(text) {
  return Buffer.from(text.replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16))), 'latin1');
}

function number(text) {
  if (!/^\d+$/.test(text ?? '')) throw new Error(`a number was expected, not "${text}"`);
  return Number(text);
}

function parseScript(script) {
  const behaviour = { ...plain, headers: {} };
  const steps = script.split('/').slice(1);
  while (steps.length > 0) {
    const step = steps.shift();
    if (step === 'ok') continue;
    else if (step === 'status') behaviour.status = number(steps.shift());
    else if (step === 'retry-after') behaviour.headers['Retry-After'] = decodeURIComponent(steps.shift() ?? '');
    else if (step === 'location') behaviour.headers['Location'] = decodeURIComponent(steps.shift() ?? '');
    else if (step === 'header') behaviour.headers[steps.shift() ?? ''] = decodeURIComponent(steps.shift() ?? '');
    else if (step === 'body') behaviour.body = decodeBytes(steps.shift() ?? '');
    else if (step === 'delay') behaviour.delayMs = number(steps.shift());
    else if (step === 'delay-up-to') behaviour.delayUpToMs = number(steps.shift());
    else if (step === 'percent') behaviour.percent = number(steps.shift());
    else if (step === 'times') behaviour.times = number(steps.shift());
    else if (manners.includes(step)) behaviour.manner = step;
    else throw new Error(`"${step}" is no step of a script`);
  }
  return behaviour;
}

const parsed = new Map(); // script → behaviour, so that a path is parsed once
function behaviourOf(pathname) {
  const script = scripts.get(pathname) ?? pathname;
  let behaviour = parsed.get(script);
  if (!behaviour) {
    try {
      behaviour = parseScript(script);
    } catch (error) {
      behaviour = { ...plain, status: 404, body: Buffer.from(`receiver.mjs: ${error.message}\n`) };
    }
    if (parsed.size < 10_000) parsed.set(script, behaviour);
  }
  return behaviour;
}

// --- recording -----------------------------------------------------------------------------------------------------

// Requests of one turn of the event loop share one write; each is answered after it.
let waiting = [];

function flush() {
  const batch = waiting;
  waiting = [];
  record.write(...batch.map((item) => item.line));
  for (const item of batch) item.answer();
}

function recordAndThen(answer, request, receivedUs, status, chunks) {
  const line = Record.line({
    receivedUs,
    webhookId: request.headers['webhook-id'],
    path: request.url,
    status,
    method: request.method,
    connection: request.socket.connectionNumber, // counts from 1
    tls: request.socket.getProtocol?.() ?? null, // TLSv1.3
    headers: request.rawHeaders,
    body: Buffer.concat(chunks),
  });
  if (waiting.length === 0) setImmediate(flush);
  waiting.push({ line, answer });
}

// --- answering -----------------------------------------------------------------------------------------------------

// Writes what next() gives for as long as somebody reads it.
function pourForever(stream, next) {
  const pour = () => {
    while (!stream.destroyed) {
      if (!stream.write(next())) {
        stream.once('drain', pour);
        return;
      }
    }
  };
  pour();
}

const kilobytes = Buffer.alloc(65536, 'x');
let headerNumber = 0;

function answer(request, response, behaviour) {
  const { status, headers } = behaviour;
  const body = [204, 304].includes(status) ? '' : behaviour.body;
  const socket = request.socket;
  if (socket.destroyed) return;
  switch (behaviour.manner) {
    case 'answer':
      response.writeHead(status, { 'Content-Length': body.length, ...headers });
      response.end(body);
      break;
    case 'hang':
      break;
    case 'close':
      socket.destroy();
      break;
    case 'close-mid-response':
      response.writeHead(status, { 'Content-Length': 1000, ...headers });
      response.write(kilobytes.subarray(0, 500), () => socket.destroy());
      break;
    case 'endless-body':
      response.writeHead(status, headers);
      pourForever(response, () => kilobytes);
      break;
    case 'endless-headers':
      socket.write(`HTTP/1.1 ${status} OK\r\n`);
      pourForever(socket, () => `X-Endless-${headerNumber++}: ${'x'.repeat(1000)}\r\n`);
      break;
    case 'drip': {
      response.writeHead(status, headers);
      const timer = setInterval(() => response.write('x'), 50);
      socket.once('close', () => clearInterval(timer));
      break;
    }
  }
}

function countOneMore(key) {
  const count = (requestsByUrlAndId.get(key) ?? 0) + 1;
  requestsByUrlAndId.set(key, count);
  return count;
}

function onRequest(request, response) {
  const receivedUs = nowUs();
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const id = request.headers['webhook-id'] ?? '';
    const pathname = request.url.split('?')[0];
    webhookIds.add(id);
    requestCount++;
    let behaviour = behaviourOf(pathname);
    if (behaviour.times !== Infinity && countOneMore(`${request.url} ${id}`) > behaviour.times) behaviour = plain;
    if (Math.random() * 100 >= behaviour.percent) behaviour = { ...plain, delayUpToMs: behaviour.delayUpToMs };
    const delayMs = behaviour.delayMs + Math.random() * behaviour.delayUpToMs;
    const then = () => {
      if (delayMs === 0) answer(request, response, behaviour);
      else setTimeout(answer, delayMs, request, response, behaviour);
    };
    recordAndThen(then, request, receivedUs, behaviour.status, chunks);
  });
}

// --- control -------------------------------------------------------------------------------------------------------

async function onControl(request, response) {
  const reply = (status, type, text) => response.writeHead(status, { 'Content-Type': type }).end(text);
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  if (request.method === 'GET' && request.url === '/count') {
    reply(200, 'application/json', JSON.stringify({ requests: requestCount, webhook_ids: webhookIds.size }));
  } else if (request.method === 'GET' && request.url === '/requests') {
    response.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
    fs.createReadStream(options.record).pipe(response);
  } else if (request.method === 'POST' && request.url === '/set') {
    try {
      const { path: pathname, script } = JSON.parse(Buffer.concat(chunks).toString());
      if (script === null) scripts.delete(pathname);
      else {
        parseScript(script);
        scripts.set(pathname, script);
      }
      reply(200, 'text/plain', 'set\n');
    } catch (error) {
      reply(400, 'text/plain', `${error.message}\n`);
    }
  } else {
    reply(404, 'text/plain', 'GET /count, GET /requests or POST /set\n');
  }
}

// --- listening -----------------------------------------------------------------------------------------------------

function createServer() {
  if (!options.tls) return http.createServer(onRequest);
  const version = options['tls-version'];
  // OpenSSL offers what is older than TLS 1.2 at its lowest level of security only.
  const only = version && { minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' };
  return https.createServer({ ...readCertificate(options), ...only }, onRequest);
}

const server = createServer();
server.on(options.tls ? 'secureConnection' : 'connection', (socket) => {
  socket.connectionNumber = ++connectionCount;
  socket.on('error', () => socket.destroy()); // the sender has gone: nothing to answer any more
});
await serve(options, server, http.createServer(onControl));

// What the tools in this folder need to read recorded requests and to judge their signatures with OpenSSL (node:crypto),
// written from the specifications, not from our C++: https://www.standardwebhooks.com and GitHub's "Validating webhook
// deliveries".

import { createHmac, timingSafeEqual } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

// The requests that receiver.mjs recorded in a file: {…as recorded, headers: Map by lower-case name, body: Buffer}.
// A last line that its writer did not finish is left out.
export async function* readRequests(file) {
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
    if (!line.endsWith('}')) continue;
    const request = JSON.parse(line);
    const pairs = request.headers;
    const headers = new Map();
    for (let i = 0; i < pairs.length; i += 2) headers.set(pairs[i].toLowerCase(), pairs[i + 1]);
    yield { ...request, rawHeaders: pairs, headers, body: Buffer.from(request.body_base64, 'base64') };
  }
}

function equal(a, b) {
  const [left, right] = [Buffer.from(a ?? ''), Buffer.from(b ?? '')];
  return left.length === right.length && timingSafeEqual(left, right);
}

// X-Webhook-Signature: the key is the secret's text.
export function verifyGithubSignature(request, secret) {
  const expected = `sha256=${createHmac('sha256', secret).update(request.body).digest('hex')}`;
  return equal(request.headers.get('x-webhook-signature'), expected);
}

// webhook-signature: the key of a "whsec_" secret is what its base64 decodes to. One of several signatures will do.
export function verifyStandardSignature(request, secret) {
  const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice('whsec_'.length), 'base64') : secret;
  const signed = `${request.headers.get('webhook-id')}.${request.headers.get('webhook-timestamp')}.`;
  const expected = `v1,${createHmac('sha256', key).update(signed).update(request.body).digest('base64')}`;
  const signatures = (request.headers.get('webhook-signature') ?? '').split(' ');
  return signatures.some((signature) => equal(signature, expected));
}

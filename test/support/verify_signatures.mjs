#!/usr/bin/env node
// Verifies recorded requests as three receivers would: with the npm packages standardwebhooks and
// @octokit/webhooks-methods, and with OpenSSL.
//
//   verify_signatures.mjs RECORD SECRET [PATH]
//
// PATH: only the requests to this path. Prints {"requests":N,"standardwebhooks":N,"octokit":N,"openssl":N,
// "failures":[…]}: how many there are, how many each verified, and why the first ten that failed did. Ends with
// status 1 if one failed or there was none.

import { readRequests, verifyGithubSignature, verifyStandardSignature } from './signatures.mjs';
import { verify as octokitVerify } from '@octokit/webhooks-methods';
import { Webhook } from 'standardwebhooks';

const [file, secret, path] = process.argv.slice(2);
if (!file || !secret) {
  console.error('usage: verify_signatures.mjs RECORD SECRET [PATH]');
  process.exit(2);
}

// Of a secret that is plain text, its UTF-8 is the key.
const webhook = secret.startsWith('whsec_') ? new Webhook(secret) : new Webhook(Buffer.from(secret), { format: 'raw' });
const realNow = Date.now;

// The package compares webhook-timestamp, with a tolerance of five minutes, to the clock, which shall stand where it
// stood when the request arrived.
function standardWebhooksVerifies(request) {
  Date.now = () => request.received_us / 1000;
  try {
    webhook.verify(request.body.toString(), Object.fromEntries(request.headers));
  } finally {
    Date.now = realNow;
  }
  return true;
}

const verifiers = {
  standardwebhooks: standardWebhooksVerifies,
  octokit: (request) => octokitVerify(secret, request.body.toString(), request.headers.get('x-webhook-signature')),
  openssl: (request) => verifyGithubSignature(request, secret) && verifyStandardSignature(request, secret),
};

const summary = { requests: 0, standardwebhooks: 0, octokit: 0, openssl: 0, failures: [] };
let failed = 0;

for await (const request of readRequests(file)) {
  if (path && request.path !== path) continue;
  summary.requests++;
  for (const [name, verifies] of Object.entries(verifiers)) {
    let reason = 'the signature does not match';
    const verified = await Promise.resolve()
      .then(() => verifies(request))
      .catch((error) => {
        reason = error.message;
        return false;
      });
    if (verified) summary[name]++;
    else if (failed++ < 10) summary.failures.push({ verifier: name, webhook_id: request.webhook_id, reason });
  }
}

console.log(JSON.stringify(summary));
process.exit(failed === 0 && summary.requests > 0 ? 0 : 1);

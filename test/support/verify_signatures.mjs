#!/usr/bin/env node
// Verifies recorded requests as receivers would: with the npm packages standardwebhooks, svix and
// @octokit/webhooks-methods, and with OpenSSL.
//
//   verify_signatures.mjs RECORD SECRET [PATH]
//
// PATH: only the requests to this path. Prints {"requests":N,"standardwebhooks":N,"svix":N,"octokit":N,"openssl":N,
// "as_text":N,"as_raw_text":N,"failures":[…]}: how many there are, how many each verified, and why the first ten that
// failed did. as_text and as_raw_text: how many both packages for Standard Webhooks verify that are given the secret's
// text, without and with {format: 'raw'}; these may fail. Ends with status 1 if another one failed or there was none.

import { readRequests, verifyGithubSignature, verifyStandardSignature } from './signatures.mjs';
import { verify as octokitVerify } from '@octokit/webhooks-methods';
import { Webhook as StandardWebhook } from 'standardwebhooks';
import { Webhook as SvixWebhook } from 'svix';

const [file, secret, path] = process.argv.slice(2);
if (!file || !secret) {
  console.error('usage: verify_signatures.mjs RECORD SECRET [PATH]');
  process.exit(2);
}

// Of a secret that is plain text, its UTF-8 is the key.
const [key, options] = secret.startsWith('whsec_') ? [secret, {}] : [Buffer.from(secret), { format: 'raw' }];
const realNow = Date.now;

// The package compares webhook-timestamp, with a tolerance of five minutes, to the clock, which shall stand where it
// stood when the request arrived.
function standardVerifies(Webhook, request, ...theKey) {
  Date.now = () => request.received_us / 1000;
  try {
    new Webhook(...theKey).verify(request.body.toString(), Object.fromEntries(request.headers));
  } finally {
    Date.now = realNow;
  }
  return true;
}

const verifiers = {
  standardwebhooks: (request) => standardVerifies(StandardWebhook, request, key, options),
  svix: (request) => standardVerifies(SvixWebhook, request, key, options),
  octokit: (request) => octokitVerify(secret, request.body.toString(), request.headers.get('x-webhook-signature')),
  openssl: (request) => verifyGithubSignature(request, secret) && verifyStandardSignature(request, secret),
};
const bothVerify = (request, ...theKey) =>
  [StandardWebhook, SvixWebhook].every((Webhook) => standardVerifies(Webhook, request, ...theKey));
const trials = {
  as_text: (request) => bothVerify(request, secret),
  as_raw_text: (request) => bothVerify(request, secret, { format: 'raw' }),
};

const summary = {
  requests: 0, standardwebhooks: 0, svix: 0, octokit: 0, openssl: 0, as_text: 0, as_raw_text: 0, failures: []
};
let failed = 0;

for await (const request of readRequests(file)) {
  if (path && request.path !== path) continue;
  summary.requests++;
  for (const [name, verifies] of Object.entries(trials)) {
    try {
      if (verifies(request)) summary[name]++;
    } catch {
      // It may.
    }
  }
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

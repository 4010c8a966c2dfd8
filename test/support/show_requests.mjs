#!/usr/bin/env node
// Shows recorded requests to a human reader, each with its headers, its body and what became of its signatures.
//
//   show_requests.mjs RECORD SECRET
//
// Ends with status 1 if a signature is wrong.

import { readRequests, verifyGithubSignature, verifyStandardSignature } from './signatures.mjs';

const [file, secret] = process.argv.slice(2);
if (!file || !secret) {
  console.error('usage: show_requests.mjs RECORD SECRET');
  process.exit(2);
}

let allVerified = true;
for await (const request of readRequests(file)) {
  const verdict = (header, verified) => {
    allVerified &&= verified;
    return `    ${header}: ${verified ? 'signature verified ✓' : 'WRONG SIGNATURE ✗'}`;
  };
  console.log(`\n    ${request.method} ${request.path}   (${request.tls})`);
  for (let i = 0; i < request.rawHeaders.length; i += 2)
    console.log(`    ${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
  console.log(`\n    ${request.body.toString()}\n`);
  console.log(verdict('X-Webhook-Signature', verifyGithubSignature(request, secret)));
  console.log(verdict('webhook-signature', verifyStandardSignature(request, secret)));
}
process.exit(allVerified ? 0 : 1);

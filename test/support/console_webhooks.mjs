// Signs in to webhook-console with the link that it printed, and prints the webhooks that it shows, one a line:
//
//   node console_webhooks.mjs LINK

import http from 'node:http';

const [base, code] = process.argv[2].split('#code=');

function post(path, body, headers) {
  return new Promise((resolve, reject) => {
    const request = http.request(new URL(path, base), {
      method: 'POST', headers: { Origin: new URL(base).origin, 'Content-Type': 'application/json', ...headers },
    }, async (response) => {
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) text += chunk;
      if (response.statusCode >= 300) reject(new Error(`${path}: ${response.statusCode} ${text}`));
      else resolve({ headers: response.headers, text });
    });
    request.on('error', reject);
    request.end(JSON.stringify(body));
  });
}

const session = await post('session', { code });
const cookie = session.headers['set-cookie'][0].split(';')[0];
const answer = await post('rpc/webhooks', {}, { cookie });
for (const { name, attempts, success_percent: percent } of JSON.parse(answer.text).webhooks) {
  console.log(`${name}: ${attempts} attempts, ${percent} %`);
}

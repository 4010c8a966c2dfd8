import { endpoint } from '../harness/endpoint.mjs';
import { profile } from '../harness/profile.mjs';
import { start } from '../harness/process.mjs';
import { programs } from '../harness/server.mjs';
import { writeSampleRequest } from '../harness/workload.mjs';
import { once } from 'node:events';

export const title = 'A bare libcurl client that sends the same requests, 64 in flight: what of a delivery is libcurl\'s.';

export async function run({ quick }) {
  const count = quick ? 50_000 : 200_000;
  const files = writeSampleRequest();
  const client = start(`${programs}/curl_client`, [(await endpoint()).url(), files.headers, files.body, count, 64],
    { stdio: ['ignore', 'ignore', 'inherit'] });
  return profile(client.pid, () => count, () => once(client, 'exit'));
}

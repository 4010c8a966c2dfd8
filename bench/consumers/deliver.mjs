// The job itself, for the queues that we are compared with: signs the body as the extension does and POSTs it by
// undici, over keep-alive connections. They write no delivery log, which is in their favour.
import { Agent } from 'undici';
import { readFileSync } from 'node:fs';
import { headersOf } from '../harness/workload.mjs';

export function deliverer(url, caFile) {
  const target = new URL(url);
  const agent = new Agent({ connections: 64, pipelining: 1, connect: caFile ? { ca: readFileSync(caFile) } : {} });
  return async (body) => {
    const answer = await agent.request({ origin: target.origin, path: target.pathname, method: 'POST', body,
      headers: headersOf(body) });
    await answer.body.dump();
    if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode}`);
  };
}

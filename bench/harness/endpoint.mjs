// nginx as the endpoint: it answers every POST with an empty 200, or with a body at /answer and /long-answer, over HTTP and
// HTTPS (HTTP/1.1), and counts them.
import { createServer } from 'node:net';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { spawnSync } from 'node:child_process';
import { start, stop, until } from './process.mjs';
import { work } from './server.mjs';

// A port that is free now; nginx takes it a moment later.
async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const configuration = (prefix, ports) => `
daemon off;
worker_processes 1;
pid ${prefix}/nginx.pid;
error_log ${prefix}/error.log;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_body_temp_path ${prefix}/body;
  proxy_temp_path ${prefix}/proxy;
  fastcgi_temp_path ${prefix}/fastcgi;
  uwsgi_temp_path ${prefix}/uwsgi;
  scgi_temp_path ${prefix}/scgi;
  ssl_certificate ${work}/certificates/server.crt;
  ssl_certificate_key ${work}/certificates/server.key;
  ssl_session_cache shared:tls:10m;
  server {
    listen 127.0.0.1:${ports.http} backlog=4096;
    listen 127.0.0.1:${ports.https} ssl backlog=4096;
    location / { return 200; }
    location /answer { return 200 '{"received":true}'; }
    location /long-answer { return 200 '${'x'.repeat(500)}'; }
  }
  server {
    listen 127.0.0.1:${ports.status};
    location / { stub_status; }
  }
}
`;

export class Endpoint {
  static async start() {
    const endpoint = new Endpoint();
    const prefix = `${work}/nginx`;
    await mkdir(prefix, { recursive: true });
    endpoint.ports = { http: await freePort(), https: await freePort(), status: await freePort() };
    await writeFile(`${prefix}/nginx.conf`, configuration(prefix, endpoint.ports));
    const args = ['-p', prefix, '-c', `${prefix}/nginx.conf`, '-e', `${prefix}/error.log`];
    const test = spawnSync('nginx', [...args, '-t'], { encoding: 'utf8' });
    if (test.status !== 0) throw new Error(`nginx: ${test.stderr}`);
    endpoint.child = start('nginx', args);
    endpoint.asked = 0;
    await until('nginx', () => endpoint.requests().then(() => true, () => false));
    return endpoint;
  }

  url(scheme = 'http') {
    return `${scheme}://127.0.0.1:${this.ports[scheme]}/`;
  }

  // How many requests it has answered, those of this method left out.
  async requests() {
    const response = await fetch(`http://127.0.0.1:${this.ports.status}/`);
    const text = await response.text();
    this.asked += 1;
    return Number(text.match(/^ (\d+) (\d+) (\d+)/m)[3]) - this.asked;
  }

  stop() {
    return stop(this.child);
  }
}

let shared;

// One for the whole run; stopAll() ends it.
export async function endpoint() {
  shared ??= await Endpoint.start();
  return shared;
}

// Accepts connections and never answers.
export async function silentEndpoint() {
  const sockets = new Set();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket)).resume();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    stop: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

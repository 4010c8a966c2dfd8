// The cluster that bench/run has started, and a fresh database of it for each measurement.
import pg from 'pg';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { output, until } from './process.mjs';

export const work = process.env.BENCH_WORK;
export const bindir = process.env.BENCH_BINDIR;
export const programs = process.env.BENCH_PROGRAMS;
export const connectionString = (database) => `postgresql://postgres@/${database}?host=${work}`;

pg.types.setTypeParser(pg.types.builtins.INT8, Number);

let admin;

async function administrator() {
  if (!admin) {
    admin = new pg.Client({ host: work, user: 'postgres', database: 'postgres' });
    await admin.connect();
  }
  return admin;
}

export async function closeServer() {
  await admin?.end();
}

export async function ask(sql, parameters) {
  const answer = await (await administrator()).query(sql, parameters);
  return answer.rows;
}

// The first touch of each page of shared memory is a page fault: a server that has run for a while has them behind it.
export async function touchBuffers() {
  const [{ pages }] = await ask("SELECT setting::int AS pages FROM pg_settings WHERE name = 'shared_buffers'");
  await ask(`CREATE UNLOGGED TABLE touched (filler char(7000));
    ALTER TABLE touched ALTER COLUMN filler SET STORAGE PLAIN;
    INSERT INTO touched SELECT 'x' FROM generate_series(1, ${pages});
    DROP TABLE touched`);
}

// Sets server-wide settings; null: back to the default.
export async function configure(settings) {
  for (const [name, value] of Object.entries(settings)) {
    await ask(value === null ? `ALTER SYSTEM RESET ${name}` : `ALTER SYSTEM SET ${name} = '${value}'`);
  }
  await ask('SELECT pg_reload_conf()');
}

export async function hasSetting(name) {
  return (await ask('SELECT FROM pg_settings WHERE name = $1', [name])).length > 0;
}

export class Database {
  // The programs take it from here.
  static async create(name = 'bench') {
    await ask(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    await ask(`CREATE DATABASE ${name}`);
    const database = new Database();
    database.name = name;
    database.client = new pg.Client({ host: work, user: 'postgres', database: name });
    await database.client.connect();
    return database;
  }

  async query(sql, parameters) {
    return (await this.client.query(sql, parameters)).rows;
  }

  async value(sql, parameters) {
    return Object.values((await this.query(sql, parameters))[0])[0];
  }

  // How long the statement takes, as the client sees it.
  async time_s(sql) {
    const before = performance.now();
    await this.client.query(sql);
    return (performance.now() - before) / 1000;
  }

  // Their process ids.
  async workers() {
    return (await ask(`SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'webhook worker%' AND datname = $1`,
      [this.name])).map((row) => row.pid);
  }

  async awaitWorkers(count = 1) {
    return until(`${count} workers`, async () => {
      const pids = await this.workers();
      return pids.length >= count ? pids : null;
    });
  }

  async drop() {
    await this.client.end();
    await ask(`DROP DATABASE IF EXISTS ${this.name} WITH (FORCE)`);
  }
}

// Calls action with a database of its own, in which the extension is if it is asked for and nothing is delivered yet.
export async function withDatabase(action, { extension = true } = {}) {
  await configure({ 'webhook.enabled': 'off' });
  const database = await Database.create();
  try {
    if (extension) {
      await database.query('CREATE EXTENSION webhook');
      await database.awaitWorkers();
    }
    return await action(database);
  } finally {
    await database.drop();
  }
}

// What a process has in memory, in MB. own: without the pages of shared_buffers that it has touched.
export async function memoryOf(pid) {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
  const megabytes = (name) => Number(text.match(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm'))?.[1] ?? 0) / 1024;
  return { rss_MB: megabytes('Rss'), pss_MB: megabytes('Pss'), own_MB: megabytes('Pss') - megabytes('Pss_Shmem') };
}

// Samples the workers' memory until stopped; gives the highest of each kind.
export function watchMemory(pids) {
  const peak = { rss_MB: 0, pss_MB: 0, own_MB: 0 };
  const sample = async () => {
    for (const memory of await Promise.all(pids.map(memoryOf))) {
      for (const kind of Object.keys(peak)) peak[kind] = Math.max(peak[kind], memory[kind]);
    }
  };
  const timer = setInterval(sample, 200);
  return async () => {
    clearInterval(timer);
    await sample();
    return peak;
  };
}

export const hasExtension = async (name) =>
  (await ask('SELECT FROM pg_available_extensions WHERE name = $1', [name])).length > 0;

const ALL_CORES = `0-${availableParallelism() - 1}`;

// Where the sessions run that begin from now on.
async function pinServer(cores) {
  const pid = (await readFile(`${work}/data/postmaster.pid`, 'utf8')).split('\n')[0];
  await output('taskset', ['-c', '-p', cores, pid]);
}

// Runs the scripts, each transaction one of them drawn by lot, so that all see the same machine at the same time. Gives
// for each the microseconds a transaction takes the client: the mean of the middle half, so that the moments in which
// the machine did something else do not count. One client and its session share a core: between two, the wake-ups cost several times
// what is to be measured.
export async function pgbench(database, scripts, { clients, seconds, options = '' }) {
  const folder = await mkdtemp(`${work}/pgbench-`);
  const one = clients === 1;
  try {
    if (one) await pinServer('0');
    await output('taskset', ['-c', one ? '0' : ALL_CORES, `${bindir}/pgbench`, '-n', '-M', 'prepared', '-c', clients, '-j', clients, '-T', seconds,
      ...scripts.flatMap((script) => ['-f', script]), '--log', `--log-prefix=${folder}/log`, '-h', work, '-U', 'postgres',
      database.name], { env: { ...process.env, PGOPTIONS: options } });
    const times = scripts.map(() => []);
    for (const file of await readdir(folder)) {
      const text = await readFile(`${folder}/${file}`, 'utf8');
      // client, transaction, microseconds, script, when
      for (const line of text.split('\n')) {
        const fields = line.split(' ');
        if (fields.length >= 4) times[Number(fields[3])].push(Number(fields[2]));
      }
    }
    return times.map((all) => {
      all.sort((a, b) => a - b);
      const middle = all.slice(all.length >> 2, Math.ceil(all.length * 3 / 4));
      return middle.reduce((sum, value) => sum + value, 0) / middle.length;
    });
  } finally {
    if (one) await pinServer(ALL_CORES);
    await rm(folder, { recursive: true });
  }
}

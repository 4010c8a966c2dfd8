// perf on one process, as a table of where its time on a CPU goes. By the clock, as virtual machines have no counters.
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { output, start } from './process.mjs';
import { work } from './server.mjs';

const data = `${work}/perf.data`;

// Runs perf record with these options while action runs. It writes to data.
async function record(options, action) {
  const perf = start('perf', ['record', '-q', '-o', data, ...options], { stdio: ['ignore', 'ignore', 'inherit'] });
  // It ends by itself when the process does.
  const ended = once(perf, 'exit');
  await new Promise((resolve) => setTimeout(resolve, 300));
  try {
    await action();
  } finally {
    perf.kill('SIGINT');
    await ended;
  }
}

// Records while action runs. count: gives how many units of work were done, for the microseconds of CPU of each.
export async function profile(pid, count, action) {
  let seconds;
  await record(['-e', 'cpu-clock', '-F', '2500', '-g', '-p', pid], async () => {
    const began = performance.now();
    await action();
    seconds = (performance.now() - began) / 1000;
  });
  const per = await count();
  const report = (...options) => output('perf', ['report', '-i', data, '--stdio', '--percent-limit', '0.6', '-g', 'none',
    '-w', '0', ...options], { maxBuffer: 1 << 28 });
  const clean = (text) => text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#')
    // Frames without a name, and those that are everybody's.
    && !/0x0000|0000000000|PostmasterMain|__libc_start|\] main|PostgresMain/.test(line))
    .map((line) => line.replace(/( +-)+ *$/, '')).slice(0, 70).join('\n');
  const samples = (await output('perf', ['script', '-i', data, '-F', 'ip', '-G'], { maxBuffer: 1 << 30 }))
    .split('\n').filter((line) => line.trim() !== '').length;
  const text = [
    `${(samples / 2500).toFixed(2)} s of CPU in ${seconds.toFixed(2)} s, ${(samples / 2500 * 1e6 / per).toFixed(2)} µs for each of ${per}`,
    '', 'by library', clean(await report('--no-children', '--sort', 'dso')),
    '', 'itself', clean(await report('--no-children', '--sort', 'dso,symbol')),
    '', 'with what it calls', clean(await report('--children', '--sort', 'symbol')),
  ].join('\n');
  await rm(data);
  return text;
}

// What the sessions of a database did while action ran, the statements that took longest first. It costs some time itself.
export async function statementsOf(database, action) {
  await database.query('CREATE EXTENSION IF NOT EXISTS pg_stat_statements; SELECT pg_stat_statements_reset()');
  await action();
  const rows = await database.query(`
    SELECT calls, rows, round(total_exec_time::numeric) AS ms, regexp_replace(left(query, 300), '\\s+', ' ', 'g') AS query
      FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT 12`);
  return ['by statement, all sessions: ms, calls, rows', ...rows.map(({ ms, calls, rows: count, query }) =>
    `${ms} ${calls} ${count}  ${query.slice(0, 150)}`)].join('\n');
}

// What one worker's time goes to while action, which gives its result, makes it deliver count; and its statements.
export async function profileWorker(database, count, action) {
  const [pid] = await database.workers();
  let text;
  let result;
  const statements = await statementsOf(database, async () => {
    text = await profile(pid, () => count, async () => { result = await action(); });
  });
  return { text: `${text}\n\n${statements}`, result };
}

// For the benchmarks that can be watched: profiles the worker while they make it deliver count, and hands the text to told.
export const profiling = (count, told) => async (database, drained) => {
  const { text, result } = await profileWorker(database, count, drained);
  told(text);
  return result;
};

// The calls with which a process's loop waits, while action runs: when each began and ended, in seconds. Other calls of
// epoll_wait never wait.
async function waits(pid, action) {
  const calls = ['enter', 'exit'].map((side) => `syscalls:sys_${side}_epoll_wait`).join(',');
  await record(['-e', calls, '-c', '1', '-t', pid], action);
  const text = await output('perf', ['script', '-i', data, '-F', 'time,event,trace', '--ns'], { maxBuffer: 1 << 30 });
  await rm(data);
  const events = [...text.matchAll(/^ *([\d.]+): *syscalls:sys_(enter|exit)_epoll_wait: *(?:epfd: (\w+).*timeout: (\w+))?/gm)]
    .map(([, time, side, epoll, timeout]) => ({ time: Number(time), side, epoll, waits: Number(timeout) > 0 }));
  const waitingPlace = events.find((event) => event.waits)?.epoll;
  const found = [];
  let began = null;
  for (const { time, side, epoll } of events) {
    if (side === 'enter') {
      began = epoll === waitingPlace ? time : null;
    } else if (began !== null) {
      found.push({ began, ended: time });
    }
  }
  return found;
}

// For how long a process's loop was away from where it waits, while action ran: quantiles of its turns, and the longest.
export async function absences(pid, action) {
  const found = await waits(pid, action);
  const turns_ms = found.slice(1).map(({ began }, i) => (began - found[i].ended) * 1000);
  turns_ms.sort((a, b) => a - b);
  const quantile = (q) => turns_ms[Math.min(turns_ms.length - 1, Math.floor(q * turns_ms.length))].toFixed(2);
  return `away from epoll_wait in ${turns_ms.length} turns, ms: p50 ${quantile(0.5)}, p99 ${quantile(0.99)}, p99.9 ` +
    `${quantile(0.999)}; the longest: ${turns_ms.slice(-10).reverse().map((ms) => ms.toFixed(1)).join(', ')}`;
}

// The share of the time in which a process's loop waits though action gives it work all the time: in the middle half of
// its turns, because action begins and ends without work.
export async function waitingShare(pid, action) {
  const found = await waits(pid, action);
  const middle = found.slice(found.length >> 2, Math.ceil(found.length * 3 / 4));
  const waited = middle.reduce((sum, { began, ended }) => sum + ended - began, 0);
  return `waits for ${(100 * waited / (middle.at(-1).ended - middle[0].began)).toFixed(2)} % of the time, while ` +
    `deliveries are left, in ${middle.length} turns`;
}

// Starts programs and sees that none outlives the run.
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const running = new Set();

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    for (const child of running) child.kill();
    process.exit(1);
  });
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// What the program writes to its standard output. Throws with what it wrote to the other if it fails.
export async function output(program, args, options = {}) {
  try {
    const { stdout } = await promisify(execFile)(program, args, { maxBuffer: 1 << 26, ...options });
    return stdout;
  } catch (error) {
    throw new Error(`${program} failed: ${error.stderr?.trim() || error.message}`, { cause: error });
  }
}

export function start(program, args, options = {}) {
  const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'], ...options });
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

export async function stop(child, signal = 'SIGTERM') {
  if (!running.has(child)) return;
  const ended = once(child, 'exit');
  child.kill(signal);
  await ended;
}

export async function stopAll() {
  await Promise.all([...running].map((child) => stop(child)));
}

// Waits until the condition gives something; its value.
export async function until(what, condition, { seconds = 60, pause_ms = 20 } = {}) {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > deadline) throw new Error(`waited ${seconds} s in vain for ${what}`);
    await sleep(pause_ms);
  }
}

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

// The CPU that a process has used so far, in user space and in the kernel (proc_pid_stat(5)).
export async function cpuSeconds(pid) {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const [utime, stime] = stat.slice(stat.lastIndexOf(')') + 2).split(' ').slice(11, 13).map(Number);
  return (utime + stime) / TICKS_PER_SECOND;
}

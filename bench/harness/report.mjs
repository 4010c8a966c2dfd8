// Collects what was measured, and writes the table: medians, spread, and the ratio to the yardstick of the same round.
import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { ask } from './server.mjs';

const root = new URL('../../', import.meta.url);

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function format(value) {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en');
  return value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2);
}

// rate → '/s', p99_us → 'µs', p50_ms → 'ms', own_MB → 'MB'
function unitOf(metric) {
  if (metric.startsWith('rate')) return '/s';
  return metric.match(/_(us|ms|MB|percent|bytes)$/)?.[1].replace('us', 'µs').replace('percent', '%') ?? '';
}

const labelOf = (metric) => metric.replace(/_(us|ms|MB|percent|bytes)$/, '').replaceAll('_', ' ');

class Section {
  constructor(name, title) {
    this.name = name;
    this.title = title;
    this.variants = new Map();  // by name: { goals, skipped, metrics: name → values, one a round }
  }

  entry(name) {
    if (!this.variants.has(name)) this.variants.set(name, { goals: [], metrics: new Map() });
    return this.variants.get(name);
  }

  add(name, goals, measured) {
    const entry = this.entry(name);
    entry.goals = goals ?? [];
    for (const [metric, value] of Object.entries(measured)) {
      entry.metrics.set(metric, [...(entry.metrics.get(metric) ?? []), value]);
    }
  }

  skip(name, reason) {
    this.entry(name).skipped = reason;
  }

  brief(measured) {
    return Object.entries(measured).map(([metric, value]) => `${labelOf(metric)} ${format(value)} ${unitOf(metric)}`)
      .join(', ');
  }

  // A goal compares the metric with that of another variant, round by round: as a ratio or as a difference. Without
  // another variant, or with one that was not measured as often, there is the value alone or nothing.
  judge(goal, values) {
    let compared = values;
    let text = '';
    if (goal.to) {
      const others = this.variants.get(goal.to)?.metrics.get(goal.toMetric ?? goal.metric);
      if (others?.length !== values.length) return null;
      compared = values.map((value, i) => (goal.how === 'difference' ? value - others[i] : value / others[i]));
      text = goal.how === 'difference' ? `${format(median(compared))} over ${goal.label ?? goal.to}`
        : `${format(median(compared))} × ${goal.label ?? goal.to}`;
    }
    const value = median(compared);
    if (goal.max !== undefined) {
      text += ` (goal ≤ ${goal.max}: ${value <= goal.max ? 'reached' : '**missed**'})`;
    } else if (goal.min !== undefined) {
      text += ` (goal ≥ ${goal.min}: ${value >= goal.min ? 'reached' : '**missed**'})`;
    }
    return { to: goal.to, how: goal.to ? goal.how ?? 'ratio' : 'value', value, text: text.trim() };
  }

  rows() {
    const rows = [];
    for (const [variant, { goals, metrics, skipped }] of this.variants) {
      if (skipped) rows.push({ variant, skipped });
      for (const [metric, values] of metrics) {
        const verdicts = goals.filter((goal) => goal.metric === metric).map((goal) => this.judge(goal, values))
          .filter((verdict) => verdict !== null);
        rows.push({ variant, metric, unit: unitOf(metric), values, median: median(values), verdicts });
      }
    }
    return rows;
  }

  markdown() {
    const lines = [`## ${this.name}`, '', this.title, '', '| what | | median | spread | compared |', '|---|---|---:|---|---|'];
    for (const row of this.rows()) {
      if (row.skipped) {
        lines.push(`| ${row.variant} | | | | not measured: ${row.skipped.replaceAll('|', '\\|').replaceAll('\n', ' ')} |`);
        continue;
      }
      const spread = `${format(Math.min(...row.values))} – ${format(Math.max(...row.values))}`;
      lines.push(`| ${row.variant} | ${labelOf(row.metric)} | ${format(row.median)} ${row.unit} | ${spread} | ` +
        `${row.verdicts.map((verdict) => verdict.text).join('; ')} |`);
    }
    return lines.join('\n');
  }
}

// Where the run took place: what a reader needs to judge the figures.
async function describeMachine() {
  const git = (...args) => execFileSync('git', ['-C', fileURLToPath(root), ...args], { encoding: 'utf8' }).trim();
  const [version] = await ask("SELECT current_setting('server_version') AS version");
  const lock = JSON.parse(await readFile(new URL('bench/package-lock.json', root), 'utf8'));
  const package_ = (name) => `${name} ${lock.packages[`node_modules/${name}`].version}`;
  const curl = execFileSync('pkg-config', ['--modversion', 'libcurl'], { encoding: 'utf8' }).trim();
  const nginx = execFileSync('sh', ['-c', 'nginx -v 2>&1 | sed s,.*/,,'], { encoding: 'utf8' }).trim();
  let commit = git('rev-parse', '--short=10', 'HEAD');
  if (git('status', '--porcelain', '--untracked-files=no') !== '') commit += ' with changes';
  return {
    date: new Date().toISOString().slice(0, 16).replace('T', ' ') + ' UTC',
    commit,
    machine: `${cpus().length} cores, ${cpus()[0].model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GB, Linux ${release()}`,
    software: `PostgreSQL ${version.version}, libcurl ${curl}, nginx ${nginx}, Node ${process.versions.node}, ` +
      ['graphile-worker', 'pg-boss', 'undici', 'pg'].map(package_).join(', '),
    settings: process.env.BENCH_SETTINGS,
  };
}

export class Report {
  // Thrown by a variant that cannot be measured here, and need not.
  static Skip = class extends Error {};

  constructor({ rounds, quick, command }) {
    this.rounds = rounds;
    this.quick = quick;
    this.command = ['bench/run', ...command].join(' ');
    this.sections = [];
  }

  section(name, title) {
    this.sections.push(new Section(name, title));
    return this.sections.at(-1);
  }

  async write(folder) {
    const about = { command: this.command, rounds: this.rounds, ...await describeMachine() };
    const heading = [`# ${this.command}`, '',
      ...(this.quick ? ['**Quick: small amounts, to see that it works. Not to be quoted.**', ''] : []),
      ...Object.entries(about).slice(1).map(([key, value]) => `- ${key}: ${value}`)];
    const text = [heading.join('\n'), ...this.sections.map((section) => section.markdown())].join('\n\n') + '\n';
    const names = this.sections.map((section) => section.name);
    const base = [about.date.slice(0, 16).replaceAll(/[: ]/g, '-'), about.commit.split(' ')[0],
      ...(names.length > 2 ? [] : names), ...(this.quick ? ['quick'] : [])].join('_');
    await mkdir(folder, { recursive: true });
    await writeFile(new URL(`${base}.md`, folder), text);
    const sections = this.sections.map((section) => ({ name: section.name, title: section.title, rows: section.rows() }));
    await writeFile(new URL(`${base}.json`, folder), JSON.stringify({ ...about, sections }, null, 1) + '\n');
    console.log(`\n${text}\nwritten to bench/results/${base}.md`);
  }
}

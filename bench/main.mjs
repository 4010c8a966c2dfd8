// The driver behind bench/run, which checks the arguments: chooses the benchmarks, runs each one's variants in turn, round by
// round, and reports.
import { parseArgs } from 'node:util';
import { stopAll } from './harness/process.mjs';
import { Report } from './harness/report.mjs';
import { closeServer, touchBuffers } from './harness/server.mjs';

// In the order in which they are run and reported.
const NAMES = ['capture', 'bytes', 'delivery', 'latency', 'backlog', 'scale', 'hanging', 'neighbours', 'edits', 'history', 'replay',
  'memory', 'pending', 'api', 'nodes'];

// Where the time goes, by perf; run only when named: bench/run --profile NAME.
const PROFILES = ['capture', 'capture_one', 'delivery', 'bare', 'backlog', 'hanging', 'history', 'scale'];

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string' }, quick: { type: 'boolean' }, profile: { type: 'boolean' },
    only: { type: 'string' } },
});
const known = options.profile ? PROFILES : NAMES;
const rounds = Number(options.rounds ?? (options.quick ? 1 : 5));

let failed = false;

// A variant is one row of the report; or, with rows, several that can only be measured together: then run() gives what
// was measured by the row's name.
async function measure(section, variant, prefix) {
  const note = (name, text) => console.log(`${prefix}${name}: ${text}`);
  try {
    const measured = await variant.run();
    for (const [name, values] of Object.entries(variant.rows ? measured : { [variant.name]: measured })) {
      section.add(name, variant.rows ? variant.rows[name] : variant.goals, values);
      note(name, section.brief(values));
    }
  } catch (error) {
    if (!(error instanceof Report.Skip)) failed = true;
    section.skip(variant.name, error.message);
    note(variant.name, process.env.BENCH_DEBUG ? error.stack : error.message);
  }
}

const chosen = known.filter((name) => positionals.length === 0 || positionals.includes(name));
const report = new Report({ rounds, quick: options.quick ?? false, command: process.argv.slice(2) });
try {
  if (!options.quick) await touchBuffers();
  for (const name of options.profile ? chosen : []) {
    const { title, run } = await import(`./profiles/${name}.mjs`);
    console.log(`==> ${title}\n\n${await run({ quick: options.quick ?? false })}\n`);
  }
  for (const name of options.profile ? [] : chosen) {
    const { title, variants } = await import(`./benchmarks/${name}.mjs`);
    const section = report.section(name, title);
    console.log(`==> ${name}: ${title}`);
    const all = (await variants({ quick: options.quick ?? false }))
      .filter((variant) => new RegExp(options.only ?? '').test(variant.name));
    for (let round = 1; round <= rounds; ++round) {
      // Every other round backwards, so that what drifts with time favours nobody.
      for (const variant of round % 2 === 1 ? all : all.toReversed()) {
        await measure(section, variant, `    ${round}/${rounds}  `);
      }
    }
  }
} finally {
  await stopAll();
  if (!options.profile) await report.write(new URL('results/', import.meta.url));
  await closeServer();
}
process.exitCode = failed ? 1 : 0;

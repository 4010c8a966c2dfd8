import { writeFileSync } from 'node:fs';
import { endpoint } from '../harness/endpoint.mjs';
import { configure, hasExtension, pgbench, withDatabase, work } from '../harness/server.mjs';
import { columns, createTable, createWebhooks, EVENT, values } from '../harness/workload.mjs';

export const title = 'What an INSERT costs the application: microseconds a row in a statement of many, and a transaction ' +
  'of one row.';

const PLAIN = 'plain table';
const UNHEARD = 'webhook, no subscriber';
const SUBSCRIBED = 'webhook, subscribed';
const DELIVERING = 'webhook, subscribed and delivering';

const outbox = (name) => `CREATE TABLE ${name}_outbox (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(),
  event text NOT NULL, organization_id text, payload json NOT NULL);`;

const pgq = (trigger) => ({
  extension: 'pgq',
  setUp: (name) => `SELECT pgq.create_queue('${name}');
    CREATE TRIGGER capture AFTER INSERT ON ${name} FOR EACH ROW EXECUTE FUNCTION pgq.${trigger}('${name}')`,
  captured: (name) => `SELECT count(*) FROM pgq.event_template WHERE ev_extra1 = 'public.${name}'`,
});

const subscribed = {
  setUp: (name) => `SELECT webhook_watch('${name}', '${EVENT}')`,
  captured: () => `SELECT count(*) FROM webhook_events WHERE event = '${EVENT}'`,
};

// The ways to capture the rows of a table, each with a table of its own of that name. setUp: what prepares it. captured:
// how many rows it has captured, to see that it did.
export const WAYS = {
  [PLAIN]: { table: 'plain' },
  [UNHEARD]: { table: 'unheard', setUp: (name) => `SELECT webhook_watch('${name}', 'bench.unheard', 'INSERT')` },
  [SUBSCRIBED]: { table: 'subscribed', ...subscribed },
  [DELIVERING]: { table: 'delivering', ...subscribed },
  'outbox, plpgsql row trigger': {
    table: 'by_row',
    setUp: (name) => `${outbox(name)}
      CREATE FUNCTION ${name}_capture() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        INSERT INTO ${name}_outbox (event, organization_id, payload)
        VALUES ('${EVENT}', NEW.organization_id, row_to_json(NEW));
        RETURN NULL;
      END $$;
      CREATE TRIGGER capture AFTER INSERT ON ${name} FOR EACH ROW EXECUTE FUNCTION ${name}_capture()`,
    captured: (name) => `SELECT count(*) FROM ${name}_outbox`,
  },
  'outbox, plpgsql statement trigger': {
    table: 'by_statement',
    setUp: (name) => `${outbox(name)}
      CREATE FUNCTION ${name}_capture() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        INSERT INTO ${name}_outbox (event, organization_id, payload)
        SELECT '${EVENT}', n.organization_id, row_to_json(n) FROM new_rows AS n;
        RETURN NULL;
      END $$;
      CREATE TRIGGER capture AFTER INSERT ON ${name} REFERENCING NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION ${name}_capture()`,
    captured: (name) => `SELECT count(*) FROM ${name}_outbox`,
  },
  'PgQ, logutriga': { table: 'logutriga', ...pgq('logutriga') },
  'PgQ, jsontriga': { table: 'jsontriga', ...pgq('jsontriga') },
};

// Calls measure with the ways' tables in a fresh database; what it gives is in the ways' order. With delivering, the
// webhook's worker is at work meanwhile.
async function compare(ways, suffix, metric, measure, { delivering = false } = {}) {
  return withDatabase(async (database) => {
    for (const name of new Set(ways.map((way) => WAYS[way].extension))) {
      if (name) await database.query(`CREATE EXTENSION ${name}`);
    }
    await createWebhooks(database, [(await endpoint()).url()]);
    for (const { table, setUp } of ways.map((way) => WAYS[way])) {
      await database.query(createTable(table));
      if (setUp) await database.query(setUp(table));
    }
    if (delivering) await configure({ 'webhook.enabled': 'on' });
    await database.query('CHECKPOINT');
    const measured = await measure(database, ways.map((way) => WAYS[way].table));
    for (const { table, captured } of ways.map((way) => WAYS[way])) {
      const rows = await database.value(`SELECT count(*) FROM ${table}`);
      const events = captured ? await database.value(captured(table)) : rows;
      if (rows === 0 || events !== rows) throw new Error(`${table}: ${events} of ${rows} rows were captured`);
    }
    return Object.fromEntries(ways.map((way, i) => [`${way}: ${suffix}`, { [metric]: measured[i] }]));
  });
}

// One session, one statement after the other, each way in its turn. The first turn reads the catalogs and makes the
// files, and does not count; of the others the fastest.
async function inBulk(database, tables, rows, turns) {
  const fastest = tables.map(() => Infinity);
  for (let turn = 0; turn <= turns; ++turn) {
    for (const [i, table] of tables.entries()) {
      const seconds = await database.time_s(
        `INSERT INTO ${table} (${columns}) SELECT ${values()} FROM generate_series(1, ${rows})`);
      if (turn > 0) fastest[i] = Math.min(fastest[i], seconds * 1e6 / rows);
    }
  }
  return fastest;
}

function oneByOne(database, tables, options) {
  return pgbench(database, tables.map((table) => {
    const script = `${work}/insert_${table}.sql`;
    writeFileSync(script, `INSERT INTO ${table} (${columns}) VALUES (${values()});\n`);
    return script;
  }), options);
}

export async function variants({ quick }) {
  const rows = quick ? 20_000 : 100_000;
  const seconds = quick ? 3 : 15;
  const suites = [{
    suffix: 'in bulk', metric: 'row_us', limit: 4, unheardLimit: 1,
    measure: (database, tables) => inBulk(database, tables, rows, quick ? 2 : 4),
  }];
  for (const synchronousCommit of ['off', 'on']) {
    for (const clients of [1, 2]) {
      suites.push({
        suffix: `${clients} client${clients > 1 ? 's' : ''}, synchronous_commit ${synchronousCommit}`,
        metric: 'transaction_us',
        limit: synchronousCommit === 'off' ? 8 : undefined,
        unheardLimit: synchronousCommit === 'off' ? 1 : undefined,
        measure: (database, tables) =>
          oneByOne(database, tables, { clients, seconds, options: `-c synchronous_commit=${synchronousCommit}` }),
      });
    }
  }
  const available = await hasExtension('pgq');
  if (!available) console.log('    this PostgreSQL has no pgq: left out');
  const idle = Object.keys(WAYS).filter((way) => way !== DELIVERING && (available || WAYS[way].extension !== 'pgq'));
  return suites.flatMap(({ suffix, metric, limit, unheardLimit, measure }) => {
    const goals = (way, plain) => (way === PLAIN ? [] : [{
      metric, to: plain, how: 'difference', label: 'plain', max: { [UNHEARD]: unheardLimit, [SUBSCRIBED]: limit }[way],
    }]);
    const rowsOf = (ways, label) => Object.fromEntries(ways.map((way) =>
      [`${way}: ${label}`, goals(way, `${PLAIN}: ${label}`)]));
    const beside = `${suffix}, worker busy`;
    return [
      { name: suffix, rows: rowsOf(idle, suffix), run: () => compare(idle, suffix, metric, measure) },
      {
        name: beside,
        rows: rowsOf([PLAIN, DELIVERING], beside),
        run: () => compare([PLAIN, DELIVERING], beside, metric, measure, { delivering: true }),
      },
    ];
  });
}

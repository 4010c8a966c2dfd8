import pg from 'pg';
import { fillHistory } from '../harness/history.mjs';
import { withDatabase, work } from '../harness/server.mjs';

export const title = 'How long a call of webhook_api takes a tenant with the level manage and 1,000 webhooks, beside another ' +
  '1,000 of others, with a long log. Calls that say how far they looked have no goal.';

const WEBHOOKS = 1000;

// name, SQL, and whether the answer says how far the call looked. $webhook is a webhook of the tenant, $log an attempt of it,
// $hundred a hundred of them, $event its event, $place an id in the middle of the log, $newest one near its end.
const CALLS = [
  ['session', 'session()'],
  ['check', 'check()', true],
  ['webhooks', 'webhooks()'],
  ['webhooks, 200', 'webhooks(page_size => 200)'],
  ['webhooks, search that finds none', "webhooks(search => 'nosuch')"],
  ['webhook', 'webhook($webhook)'],
  ['history', 'history($webhook)'],
  ['validate', `validate('{"name": "x", "url": "https://x.example/", "events": ["*"]}')`],
  ['event_types', 'event_types()'],
  ['match_count', "match_count('{contact.*}')", true],
  ['match_count, filter', "match_count(filter => '$.id > 0')", true],
  ['try_filter', "try_filter('$.id > 0')", true],
  ['try_filter, pattern of none', "try_filter('$.id > 0', '{deal.*}')", true],
  ['logs', 'logs()'],
  ['logs, 200', 'logs(page_size => 200)'],
  ['logs, older', 'logs(before => $place)'],
  ['logs, of a webhook', 'logs($webhook)'],
  ['logs, failed', "logs(status => 'failed')", true],
  ['logs, event of none', "logs(event => 'deal.*')", true],
  ['logs, key of none', "logs(key => 'nosuch')", true],
  ['logs, event of none, of a webhook', "logs($webhook, event => 'deal.*')", true],
  ['logs, an hour', "logs(since => now() - interval '6 h', until => now() - interval '5 h')", true],
  ['logs, after the newest', 'logs(after => $newest)'],
  ['logs, after the oldest', 'logs(after => 10)'],
  ['attempt', 'attempt($log)'],
  ['pending', 'pending($webhook)'],
  ['dead', "pending($webhook, 'dead')"],
  ['series', 'series()', true],
  ['series, of a webhook', 'series($webhook)'],
  ['breakdown', 'breakdown()', true],
  ['breakdown, of a webhook', 'breakdown($webhook)', true],
  ['explain', 'explain($event)', true],
  ['find, key', "find(key => 'nosuch')", true],
  ['redeliver, 100', 'redeliver($hundred)'],
  ['cancel', 'cancel($webhook)'],
  ['delete', 'delete($webhook)'],
];

// 1,000 webhooks of acme and as many of 100 others. Each of acme's has had attempts in each minute, and has deliveries that are
// pending or dead.
async function fill(database, rows) {
  await database.query('CREATE ROLE bench_tenant LOGIN').catch(() => {});
  await database.query("SELECT webhook_grant('bench_tenant')");
  await database.query(`INSERT INTO webhook_configurations (organization_id, name, url, events)
    SELECT CASE WHEN n <= ${WEBHOOKS} THEN 'acme' ELSE 'other ' || n % 100 END, 'webhook ' || n,
           'https://host' || n || '.example/hook', ARRAY['contact.*']
      FROM generate_series(1, ${2 * WEBHOOKS}) AS n`);
  await fillHistory(database, rows, { firstEvent: 1, age: '0 s', span: '24 hours', failedEvery: 50 });
  await database.query("UPDATE webhook_rings SET slot = 7 WHERE ring IN ('events', 'logs')");
  await database.query(`INSERT INTO webhook_minutes (configuration_id, slot, configuration_created_at, organization_id, minute,
                                                     attempts, successes, durations)
    SELECT c.id, extract(epoch FROM m - date_trunc('day', m, 'UTC')) / 60, c.created_at, c.organization_id, m, 10, 9,
           array_fill(0, ARRAY[47]) || 10
      FROM webhook_configurations AS c,
           generate_series(date_trunc('minute', now()) - interval '1439 min', date_trunc('minute', now()), interval '1 min') AS m
     WHERE c.organization_id = 'acme'`);
  await database.query(`INSERT INTO webhook_deliveries (event_id, configuration_id, configuration_created_at, organization_id,
                                                        event, key, created_at, state, attempts, next_attempt_at, last_error)
    SELECT n, c.id, c.created_at, c.organization_id, 'contact.created', n::text, now() - interval '1 hour',
           CASE WHEN n % 2 = 0 THEN 'pending' ELSE 'dead' END, 1, CASE WHEN n % 2 = 0 THEN now() + n * interval '1 s' END,
           'HTTP 500'
      FROM webhook_configurations AS c, generate_series(1, ${Math.min(300, rows)}) AS n
     WHERE c.organization_id = 'acme'`);
  await database.query('VACUUM ANALYZE');
}

// The values that stand for the names in CALLS.
async function findPlaces(database, rows) {
  const [log] = await database.query(`SELECT l.id, l.event_id, l.configuration_id FROM webhook_logs AS l
    WHERE l.organization_id = 'acme' AND l.id > ${Math.floor(rows / 2)} ORDER BY l.id LIMIT 1`);
  const attempts = await database.query(`SELECT l.id FROM webhook_logs AS l WHERE l.configuration_id = '${log.configuration_id}'
    LIMIT 100`);
  return { $webhook: `'${log.configuration_id}'`, $log: log.id, $hundred: `'{${attempts.map((attempt) => attempt.id)}}'`,
    $event: log.event_id, $place: Math.floor(rows / 2), $newest: rows - 10 };
}

// What the call takes, in a session that has made it once before. Each time is undone.
export async function timeCall(client, sql, repetitions) {
  const times = [];
  for (let i = 0; i <= repetitions; ++i) {
    await client.query('BEGIN');
    const before = performance.now();
    await client.query(sql);
    if (i > 0) times.push(performance.now() - before);
    await client.query('ROLLBACK');
  }
  times.sort((a, b) => a - b);
  return { p50_ms: times[times.length >> 1], max_ms: times.at(-1) };
}

async function measure(rows, repetitions) {
  return withDatabase(async (database) => {
    await fill(database, rows);
    const places = await findPlaces(database, rows);
    const client = new pg.Client({ host: work, user: 'bench_tenant', database: database.name });
    await client.connect();
    try {
      await client.query("SET webhook.organization_id = 'acme'");
      const measured = {};
      for (const [name, call] of CALLS) {
        const sql = call.replace(/\$[a-z]+/g, (place) => places[place] ?? place);
        measured[name] = await timeCall(client, `SELECT webhook_api.${sql}`, repetitions);
      }
      return measured;
    } finally {
      await client.end();
    }
  });
}

export function variants({ quick }) {
  const rows = quick ? 100_000 : 10_000_000;
  const goals = CALLS.map(([name, , says]) => [name, says ? [] : [{ metric: 'max_ms', max: 50 }]]);
  return [{
    name: `${rows.toLocaleString('en')} log rows`,
    rows: Object.fromEntries(goals),
    run: () => measure(rows, quick ? 5 : 21),
  }];
}

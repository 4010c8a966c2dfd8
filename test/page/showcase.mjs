// An organization with webhooks in every state, for the pictures of docs/page.md and the tests of accessibility: healthy,
// failing with an open circuit, switched off after a 410, inactive, with dead and pending deliveries, with a filter that
// cannot judge, and with hostile names and answers.
//
// Deliveries and states are real. The past day's statistics and log rows are written beside them.

import { until } from './world.mjs';

export const hostile = {
  name: '"><script>canary()</script>\u202Egnp.live\u202C \u{1F4A3} &lt;b&gt; \' " `${canary()}`',
  body: '<img src=x onerror=canary()><script>canary()</script>\u202Egnp.live \u{1F4A3} <a href="javascript:canary()">click</a> {{7*7}} ${canary()}',
  key: '<svg onload=canary()>\u202E\u{1F4A3}',
};

// What the receiver answers at a path of each webhook.
const scripts = {
  '/billing': '/ok', '/warehouse': '/body/%7B%22ok%22%3Atrue%7D', '/notifications': '/ok', '/marketing': '/ok', '/leads': '/ok',
  '/desk': '/status/503/body/upstream%20connect%20error', '/gone': '/status/410/body/this%20endpoint%20has%20moved',
  '/hostile': `/status/500/body/${encodeURIComponent(hostile.body)}`,
};

// perHour: attempts; failing: of a hundred; fastMs: of most.
const traffic = {
  billing: { perHour: 120, failing: 0.3, fastMs: 38 },
  warehouse: { perHour: 900, failing: 0.05, fastMs: 12 },
  notifications: { perHour: 35, failing: 1.2, fastMs: 95 },
  desk: { perHour: 60, failing: 18, fastMs: 240 },
};

// A number from 0 to 1 that is the same in every run.
function* randomNumbers(seed) {
  for (let state = seed; ; ) {
    state = (state * 1103515245 + 12345) % 2147483648;
    yield state / 2147483648;
  }
}

async function writeStatistics(world, webhook, { perHour, failing, fastMs }) {
  const random = randomNumbers(perHour);
  const rows = [];
  for (let minutesAgo = 24 * 60 - 10; minutesAgo > 2; minutesAgo -= 7) {
    const ofDay = 0.55 + 0.45 * Math.sin(((24 * 60 - minutesAgo) / 1440) * 2 * Math.PI);
    const attempts = Math.max(1, Math.round((perHour / 60) * 7 * ofDay * (0.7 + 0.6 * random.next().value)));
    const failures = Math.min(attempts, Math.round((attempts * failing * 2 * random.next().value) / 100));
    const durations = Array(48).fill(0);
    for (let i = 0; i < attempts; i++) {
      const ms = fastMs * (0.6 + 0.8 * random.next().value) * (random.next().value > 0.96 ? 6 : 1);
      durations[Math.max(0, Math.ceil(2 * Math.log2(ms / 0.25)))]++;
    }
    rows.push({ minutesAgo, attempts, successes: attempts - failures, durations });
  }
  await world.sql(
    `INSERT INTO webhook_minutes (configuration_id, slot, configuration_created_at, organization_id, minute, attempts, successes, durations)
     SELECT c.id, extract(epoch FROM m.minute)::bigint / 60 % 1440, c.created_at, c.organization_id, m.minute, r.attempts, r.successes, r.durations
     FROM webhook_configurations c, jsonb_to_recordset($2) AS r("minutesAgo" integer, attempts integer, successes integer, durations integer[]),
          date_trunc('minute', now() - r."minutesAgo" * interval '1 min') AS m(minute)
     WHERE c.id = $1 ON CONFLICT DO NOTHING`, [webhook, JSON.stringify(rows)]);
  await world.sql(
    `INSERT INTO webhook_hours (configuration_id, slot, configuration_created_at, organization_id, hour, attempts, successes, durations, unjudged, events, statuses)
     SELECT configuration_id, webhook_internal.hour_slot(minute), configuration_created_at, organization_id, date_trunc('hour', minute, 'UTC'),
            sum(attempts), sum(successes), webhook_internal.sum_durations(durations)::integer[], 0,
            jsonb_build_object('contact.created', jsonb_build_array(sum(attempts), sum(successes))),
            jsonb_build_object('200', jsonb_build_array(sum(successes), sum(successes)), '500', jsonb_build_array(sum(attempts - successes), 0))
     FROM webhook_minutes WHERE configuration_id = $1 GROUP BY 1, 2, 3, 4, 5 ON CONFLICT DO NOTHING`, [webhook]);
}

// Log rows of the past hours, before any that the worker writes.
async function writePast(world, webhook, events, { failing, fastMs }) {
  const random = randomNumbers(events.length + fastMs);
  const rows = Array.from({ length: 80 }, (_, i) => {
    const failed = random.next().value * 100 < failing * 1.5;
    return {
      minutesAgo: (80 - i) * 4 + random.next().value * 3, event: events[Math.floor(random.next().value * events.length)], failed,
      ms: Math.round(fastMs * (0.6 + 0.8 * random.next().value) * 10) / 10,
    };
  });
  await world.sql(
    `INSERT INTO webhook_logs (slot, created_at, configuration_id, organization_id, event_id, event, attempt, status, response_status,
                               response_body, error, duration_ms, remote_ip)
     SELECT g.slot, now() - r."minutesAgo" * interval '1 min', c.id, c.organization_id, nextval('webhook_events_id_seq'), r.event, 1,
            CASE WHEN r.failed THEN 'failed' ELSE 'success' END, CASE WHEN r.failed THEN 503 ELSE 200 END,
            CASE WHEN r.failed THEN 'upstream connect error' ELSE '{"ok":true}' END,
            CASE WHEN r.failed THEN 'the endpoint answered 503' END, r.ms, '198.51.100.17'
     FROM webhook_configurations c, webhook_rings g, jsonb_to_recordset($2) AS r("minutesAgo" float8, event text, failed boolean, ms float8)
     WHERE c.id = $1 AND g.ring = 'logs' ORDER BY r."minutesAgo" DESC`, [webhook, JSON.stringify(rows)]);
}

async function workAsAnApplication(world, organization) {
  const names = ['Zoë Martin', 'Ada Osei', 'Jun Tanaka', 'Lena Fischer', 'Noor Haddad', 'Mateo Ruiz'];
  for (const [i, name] of names.entries()) {
    await world.sql('INSERT INTO contacts (organization_id, name, email) VALUES ($1, $2, $3)', [organization, name, `${name.split(' ')[0].toLowerCase()}@example.com`]);
    await world.sql('INSERT INTO deals (organization_id, title, amount) VALUES ($1, $2, $3)', [organization, `Order ${1041 + i}`, 1999.9 + 250 * i]);
  }
  await world.sql("UPDATE deals SET stage = 'qualified' WHERE organization_id = $1", [organization]);
  await world.sql("INSERT INTO messages (organization_id, direction, status, body) VALUES ($1, 'inbound', 'received', 'Where is my order?')", [organization]);
}

// Returns the ids of the webhooks by short names.
export async function prepareShowcase(world, organization, { withHostileStrings = true } = {}) {
  const { receiver } = world;
  const create = (name, pathname, events, columns = {}) =>
    world.createWebhook({ organization, name, url: receiver.url(pathname), events, ...columns });
  for (const [pathname, script] of Object.entries(scripts)) await receiver.set(pathname, script);
  const ids = { gone: await create('Old CRM import', '/gone', ['contact.created']) };
  await world.addContacts(organization, 'Before the move');
  await until('the webhook whose endpoint is gone is switched off', async () =>
    (await world.sql('SELECT FROM webhook_configurations WHERE id = $1 AND NOT is_active', [ids.gone])).length > 0);
  Object.assign(ids, {
    billing: await create('Billing', '/billing', ['deal.*', 'contact.updated'], { ordering: 'key', headers: '{"X-Api-Key": "k1"}' }),
    warehouse: await create('Data warehouse', '/warehouse', ['*'], { max_in_flight: 64 }),
    notifications: await create('Team notifications', '/notifications', ['deal.stage.changed', 'message.failed', 'webhook.disabled']),
    desk: await create('Support desk', '/desk', ['contact.created', 'deal.created', 'message.*'], { retry_schedule: '{5min,30min,2h}' }),
    marketing: await create('Marketing', '/marketing', ['contact.*', 'broadcast.response'], { is_active: false }),
    leads: await create('Large leads', '/leads', ['deal.created'], { filter: '$.title.double() ? (@ > 1000)' }),
  });
  if (withHostileStrings) {
    ids.hostile = await create(hostile.name, '/hostile', ['contact.created'], { retry_schedule: '{1d}' });
  }
  for (const [name, each] of Object.entries(traffic)) {
    const [{ events }] = await world.sql(
      `SELECT array_agg(t.name) AS events FROM webhook_configurations c JOIN webhook_event_types t
       ON EXISTS (SELECT FROM unnest(c.events) p WHERE webhook_event_matches(p, t.name)) WHERE c.id = $1`, [ids[name]]);
    await writePast(world, ids[name], events, each);
    await writeStatistics(world, ids[name], each);
  }
  await workAsAnApplication(world, organization);
  await until('the circuit of the failing webhook is open', async () =>
    (await world.sql('SELECT FROM webhook_endpoints WHERE configuration_id = $1 AND circuit_opened_at IS NOT NULL', [ids.desk])).length > 0);
  await until('the filter that cannot judge has said so', async () =>
    (await world.sql('SELECT FROM webhook_endpoints WHERE configuration_id = $1 AND filter_error IS NOT NULL', [ids.leads])).length > 0);
  await giveUpSome(world, ids.desk);
  if (withHostileStrings) await world.attempts(ids.hostile, 5);
  return ids;
}

// Two of the deliveries that wait become dead.
async function giveUpSome(world, webhook) {
  const pending = await until('deliveries wait for the open circuit', async () => {
    const rows = await world.sql("SELECT event_id FROM webhook_deliveries WHERE configuration_id = $1 AND state = 'pending' ORDER BY event_id", [webhook]);
    return rows.length > 4 && rows;
  });
  for (const { event_id: event } of pending.slice(0, 2)) await world.sql('SELECT webhook_cancel($1, $2)', [webhook, event]);
}

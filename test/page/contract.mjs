// The contract of docs/api.md as data: what each function takes and returns. Both hosts are held to it.
//
// A shape is one of
//   'text', 'number', 'bool', 'time', 'bound', 'digits', 'uuid', 'json'   a value of that kind; with ? at its end, or null.
//                                                                a bound is a time, infinity or -infinity
//   ['a', 'b']                                                   one of these texts
//   list(shape), map(shape), orNull(shape), oneOf(shape, …)
//   { member: shape, … }                                         an object with exactly these members
//   part({ member: shape, … })                                   an object that has these members, some of them or none

export const list = (items) => ({ kind: 'list', items });
export const map = (values) => ({ kind: 'map', values });
export const orNull = (shape) => ({ kind: 'orNull', shape });
export const oneOf = (...shapes) => ({ kind: 'oneOf', shapes });
export const part = (members) => ({ kind: 'part', members });
const object = (members) => ({ kind: 'object', members });

const kinds = {
  text: (value) => typeof value === 'string',
  number: (value) => typeof value === 'number',
  bool: (value) => typeof value === 'boolean',
  time: (value) => typeof value === 'string' && /^\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d(:?\d\d)?)$/.test(value),
  bound: (value) => /^-?infinity$/.test(value) || kinds.time(value),
  digits: (value) => typeof value === 'string' && /^-?\d+$/.test(value),
  uuid: (value) => typeof value === 'string' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value),
  json: () => true,
};

const shown = (value) => (JSON.stringify(value) ?? 'nothing').slice(0, 80);

// The places where the value is not of the shape, in words; none if it fits.
export function misfits(value, shape, where = 'the answer') {
  if (typeof shape === 'string') {
    const isNullable = shape.endsWith('?');
    if (isNullable && value === null) return [];
    return kinds[isNullable ? shape.slice(0, -1) : shape](value) ? [] : [`${where}: ${shown(value)} is no ${shape}`];
  }
  if (Array.isArray(shape)) return shape.includes(value) ? [] : [`${where}: ${shown(value)} is none of ${shape.join(', ')}`];
  const isObject = value !== null && typeof value === 'object' && !Array.isArray(value);
  switch (shape.kind) {
    case 'orNull':
      return value === null ? [] : misfits(value, shape.shape, where);
    case 'oneOf':
      return shape.shapes.some((each) => misfits(value, each).length === 0) ? [] : [`${where}: ${shown(value)} has none of the shapes`];
    case 'list':
      if (!Array.isArray(value)) return [`${where}: ${shown(value)} is no list`];
      return value.flatMap((item, i) => misfits(item, shape.items, `${where}[${i}]`));
    case 'map':
      if (!isObject) return [`${where}: ${shown(value)} is no object`];
      return Object.entries(value).flatMap(([name, item]) => misfits(item, shape.values, `${where}.${name}`));
  }
  const members = shape.members ?? shape;
  if (!isObject) return [`${where}: ${shown(value)} is no object`];
  const missing = shape.kind === 'part' ? [] : Object.keys(members).filter((name) => !(name in value));
  return [
    ...missing.map((name) => `${where}: ${name} is missing`),
    ...Object.keys(value).filter((name) => !(name in members)).map((name) => `${where}: ${name} is not in docs/api.md`),
    ...Object.keys(members).filter((name) => name in value).flatMap((name) => misfits(value[name], members[name], `${where}.${name}`)),
  ];
}

// --- the values that several functions return -----------------------------------------------------------------------

const finding = object({
  severity: ['error', 'warning', 'info'], finding: 'text', hint: 'text?', webhook: 'uuid?',
  action: orNull(['activate', 'test', 'replay_failed', 'rotate', 'edit', 'resume']),
});

const server = object({
  workers: 'number', is_preloaded: 'bool', is_paused: 'bool', paused_reason: 'text?', is_standby: 'bool', is_enabled: 'bool',
});

const ordering = ['relaxed', 'key', 'endpoint'];

const webhook = object({
  id: 'uuid', organization: 'text?', name: 'text', url: 'text', events: list('text'), filter: 'text?', is_active: 'bool',
  has_secret: 'bool', header_names: orNull(list('text')), timeout_ms: 'number', retry_schedule_s: orNull(list('number')),
  rate_limit_per_s: 'number?', max_in_flight: 'number', ordering, test_event: 'text?', disabled_at: 'time?',
  disabled_reason: 'text?', created_at: 'time', updated_at: 'time',
});

const replay = object({
  id: 'digits', webhook: 'uuid', state: ['waiting', 'running', 'done', 'cancelled', 'failed'], reason: 'text?', since: 'bound',
  until: 'bound', events: orNull(list('text')), only_failed: 'bool', progress_percent: 'number', examined: 'number', queued: 'number',
  oldest_event_at: 'time?', newest_event_at: 'time?', user: 'text', subject: 'text?', requested_at: 'time', started_at: 'time?',
  ended_at: 'time?',
});

const count = object({ count: 'number', is_more: 'bool' });

const summary = object({
  id: 'uuid', organization: 'text?', name: 'text', host: 'text', events: list('text'), is_active: 'bool', updated_at: 'time',
  hours: list(object({ hour: 'time', attempts: 'number', successes: 'number' })),
  attempts: 'number', successes: 'number', success_percent: 'number?', p50_ms: 'number?', p95_ms: 'number?',
  pending: count, dead: count,
  circuit: object({ state: ['closed', 'open'], opened_at: 'time?', next_probe_at: 'time?', failing_since: 'time?' }),
  last_success_at: 'time?', last_failure_at: 'time?', last_error: 'text?', unjudged: 'number', filter_error: 'text?',
  disabled_reason: 'text?',
});

const log = object({
  id: 'digits', created_at: 'time', webhook: 'uuid', webhook_name: 'text?', event: 'text', event_id: 'digits?', is_test: 'bool',
  attempt: 'number', status: ['success', 'failed'], response_status: 'number?', error: 'text?', duration_ms: 'number?',
  next_attempt_at: 'time?',
});

const delivery = object({
  event_id: 'digits', webhook: 'uuid', event: 'text', key: 'text?', state: ['pending', 'dead'], attempts: 'number',
  created_at: 'time', next_attempt_at: 'time?', last_error: 'text?', updated_at: 'time?',
});

const request = object({ url: 'text', headers: map('text'), body: 'text' });

// --- the functions --------------------------------------------------------------------------------------------------

const session = object({
  now: 'time', user: 'text', organization: 'text?', level: ['read', 'manage', 'operate'],
  can: object({ write: 'bool', see_data: 'bool', choose_organization: 'bool' }),
  organizations: list('text'), database: 'text', version: 'text', server,
  defaults: object({ timeout_ms: 'number', retry_schedule_s: list('number'), max_in_flight: 'number', ordering }),
  limits: object({
    name_characters: 'number', url_bytes: 'number', events: 'number', filter_bytes: 'number', secret_bytes: 'number',
    headers: 'number', header_bytes: 'number', retry_steps: 'number', timeout_ms: list('number'), max_in_flight: list('number'),
    rate_limit_per_s: list('number'), max_payload_bytes: 'number', allow_http: 'bool', allowed_ports: 'text',
  }),
});

// function → its parameters, and the shape of its answer.
export const contract = {
  session: { takes: [], returns: session },
  check: { takes: ['organization'], returns: object({ findings: list(finding), is_complete: 'bool' }) },
  webhooks: {
    takes: ['organization', 'search', 'status', 'after', 'page_size'],
    returns: object({ now: 'time', webhooks: list(summary), next: 'json' }),
  },
  webhook: { takes: ['id'], returns: object({ now: 'time', webhook, summary, findings: list(finding) }) },
  save: { takes: ['webhook', 'id', 'if_updated_at'], returns: object({ webhook, secret: 'text?' }) },
  delete: { takes: ['id', 'if_updated_at'], returns: object({ deleted: 'uuid', pending: 'number' }) },
  validate: {
    takes: ['webhook', 'id'],
    returns: object({ problems: list(object({ field: 'text?', message: 'text', hint: 'text?' })) }),
  },
  reveal: { takes: ['id'], returns: object({ secret: 'text' }) },
  rotate: { takes: ['id', 'overlap_s'], returns: object({ secret: 'text', old_secret_until: 'time' }) },
  history: {
    takes: ['id', 'before', 'page_size'],
    returns: object({
      changes: list(object({
        id: 'digits', changed_at: 'time', operation: 'text', version: 'number', user: 'text', subject: 'text?', old: orNull(map('json')), new: orNull(map('json')),
      })),
      next: 'json',
    }),
  },
  event_types: {
    takes: [],
    returns: object({
      categories: list(object({
        category: 'text',
        events: list(object({ name: 'text', description: 'text?', example: 'json', is_builtin: 'bool', is_watched: 'bool' })),
      })),
    }),
  },
  watches: {
    takes: [],
    returns: object({
      watches: list(object({
        source: 'text', event: 'text', operation: 'text', condition: 'text?', changed_columns: orNull(list('text')), is_enabled: 'bool',
      })),
    }),
  },
  match_count: {
    takes: ['events', 'filter', 'organization'],
    returns: oneOf(...[{}, { filter_ignored: 'bool' }].map((more) => object({
      since: 'time', searched: 'number', is_complete: 'bool', matched: 'number', by_event: map('number'), unjudged: 'number', ...more,
    }))),
  },
  try_filter: {
    takes: ['filter', 'events', 'organization', 'page_size'],
    returns: object({
      tried: 'number', matched: 'number',
      events: list(object({
        event_id: 'digits', event: 'text', created_at: 'time', key: 'text?', matches: 'bool', reason: 'text?', data: 'json',
      })),
    }),
  },
  logs: {
    takes: ['webhook', 'organization', 'status', 'event', 'key', 'event_id', 'since', 'until', 'before', 'after', 'page_size'],
    returns: object({ now: 'time', logs: list(log), next: 'json', searched_to: 'time?' }),
  },
  attempt: {
    takes: ['id'],
    returns: object({
      now: 'time', attempt: object({ ...log.members, response_headers: 'text?', response_body: 'text?', remote_ip: 'text?', configuration_version: 'number?' }),
      changed_since: 'bool?', attempts: list(log), attempts_max: 'number?', delivery: orNull(delivery),
      request: orNull(object({ ...request.members, version: 'number' })), curl: 'text?',
    }),
  },
  pending: {
    takes: ['webhook', 'state', 'event_id', 'after', 'page_size'],
    returns: object({ now: 'time', deliveries: list(delivery), next: 'json' }),
  },
  series: {
    takes: ['webhook', 'organization', 'since', 'until'],
    returns: object({
      step_s: 'number',
      points: list(object({ at: 'time', attempts: 'number', successes: 'number', p50_ms: 'number?', p95_ms: 'number?' })),
      searched_to: 'time?', is_complete: 'bool',
    }),
  },
  breakdown: {
    takes: ['webhook', 'organization', 'since', 'until'],
    returns: object({
      by_event: list(object({ event: 'text', attempts: 'number', successes: 'number' })),
      by_status: list(object({ response_status: 'number?', error: 'text?', attempts: 'number' })),
      searched_to: 'time?',
    }),
  },
  test: {
    takes: ['id', 'event', 'payload'],
    returns: object({
      status: ['success', 'failed'], response_status: 'number?', response_headers: 'text?', response_body: 'text?', error: 'text?',
      duration_ms: 'number?', log_id: 'digits?', request: orNull(request),
    }),
  },
  redeliver: {
    takes: ['log_ids'],
    returns: object({ redelivered: 'number', problems: list(object({ log_id: 'digits', message: 'text' })) }),
  },
  replay: {
    takes: ['id', 'since', 'until', 'events', 'only_failed', 'dry_run'],
    returns: oneOf(object({ count: 'number', is_complete: 'bool', counted_to: 'time?' }), object({ job: 'digits' })),
  },
  replays: { takes: ['id', 'before', 'page_size'], returns: object({ replays: list(replay), next: 'digits?' }) },
  cancel_replay: { takes: ['job'], returns: object({ cancelled: 'bool', replay }) },
  cancel: { takes: ['id', 'event_id'], returns: object({ cancelled: 'number' }) },
  resume: { takes: [], returns: object({ server }) },
  pause: { takes: ['reason'], returns: object({ server }) },
  explain: {
    takes: ['event_id'],
    returns: object({
      event: orNull(object({ id: 'digits', webhook_id: 'text', event: 'text', created_at: 'time', key: 'text?' })),
      webhooks: list(object({
        webhook: 'uuid', name: 'text', matched: 'bool', reason: 'text?', outcome: 'text?', attempts: 'number?',
        last_attempt_at: 'time?', last_error: 'text?', next_attempt_at: 'time?',
      })),
      is_complete: 'bool',
    }),
  },
  find: {
    takes: ['webhook_id', 'source', 'key', 'organization'],
    returns: object({
      events: list(object({ id: 'digits', webhook_id: 'text', event: 'text', created_at: 'time', key: 'text?', organization: 'text?' })),
      searched_to: 'time?',
    }),
  },
  verify: {
    takes: ['body', 'secret', 'headers'],
    returns: object({ is_valid: 'bool', steps: list(object({ step: 'text', is_ok: 'bool?', message: 'text' })) }),
  },
};

export const errorBody = object({ code: 'text', message: 'text', details: 'text?', hint: 'text?' });
export const errorStatuses = [400, 401, 403, 404, 409, 503, 500];

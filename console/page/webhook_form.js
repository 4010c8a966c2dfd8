// The values of the form of a webhook: from a webhook, to the members that save() takes, and what the page itself can
// judge. Everything else is judged by the database (validate, save).

import { parseSchedule, scheduleText } from './retry_timeline.js';
import { t } from './messages.js';

export const kAdvancedFields = new Set(['headers', 'timeout_ms', 'retry_schedule_s', 'rate_limit_per_s', 'max_in_flight', 'ordering', 'test_event']);

// The form of a new webhook.
export function newForm({ defaults, organization }) {
  return {
    organization: organization ?? '', name: '', url: '', is_active: true, events: [], filter: '', secret: '', hasOwnSecret: false, headers: [],
    timeout_ms: String(defaults.timeout_ms), hasOwnSchedule: false, retry_schedule: scheduleText(defaults.retry_schedule_s), rate_limit_per_s: '',
    max_in_flight: String(defaults.max_in_flight), ordering: defaults.ordering, test_event: '',
  };
}

export function formOf(webhook, { defaults }) {
  return {
    organization: webhook.organization, name: webhook.name, url: webhook.url, is_active: webhook.is_active, events: webhook.events, filter: webhook.filter ?? '',
    secret: '', hasOwnSecret: false, headers: webhook.header_names.map((name) => ({ name, value: '', isStored: true, isReplaced: false, isRemoved: false })),
    timeout_ms: String(webhook.timeout_ms), hasOwnSchedule: webhook.retry_schedule_s !== null, retry_schedule: scheduleText(webhook.retry_schedule_s ?? defaults.retry_schedule_s),
    rate_limit_per_s: webhook.rate_limit_per_s === null ? '' : String(webhook.rate_limit_per_s), max_in_flight: String(webhook.max_in_flight), ordering: webhook.ordering,
    test_event: webhook.test_event ?? '',
  };
}

const orNull = (text) => (text.trim() === '' ? null : text.trim());

// All members that the form says. A number that is none is left as text, so that the database names the field.
function membersOf(form) {
  const number = (text) => (text.trim() === '' ? null : Number.isFinite(Number(text)) ? Number(text) : text);
  return {
    name: form.name.trim(), url: form.url.trim(), is_active: form.is_active, events: form.events, filter: orNull(form.filter), timeout_ms: number(form.timeout_ms),
    retry_schedule_s: form.hasOwnSchedule ? parseSchedule(form.retry_schedule) : null, rate_limit_per_s: number(form.rate_limit_per_s),
    max_in_flight: number(form.max_in_flight), ordering: form.ordering, test_event: orNull(form.test_event),
  };
}

function headersOf(form) {
  const headers = {};
  for (const { name, value, isStored, isReplaced, isRemoved } of form.headers) {
    if (isStored && isRemoved) headers[name] = null;
    else if (name.trim() !== '' && (!isStored || isReplaced)) headers[name.trim()] = value;
  }
  return headers;
}

// What save() gets: for a new webhook what it needs, else only what differs from `before`, so that what others have
// changed meanwhile stays.
export function membersToSave(form, before, { mayChooseOrganization }) {
  const members = membersOf(form);
  if (before) {
    const old = membersOf(before);
    for (const name of Object.keys(members)) if (JSON.stringify(members[name]) === JSON.stringify(old[name])) delete members[name];
  } else {
    if (mayChooseOrganization && form.organization !== '') members.organization = form.organization;
    for (const name of ['filter', 'retry_schedule_s', 'rate_limit_per_s', 'test_event']) if (members[name] === null) delete members[name];
  }
  if (form.hasOwnSecret && form.secret !== '') members.secret = form.secret;
  const headers = headersOf(form);
  if (Object.keys(headers).length > 0) members.headers = headers;
  return members;
}

// What must not even be sent, because it could not be said in JSON: {field: {message, hint}}.
export function localProblems(form) {
  const problems = {};
  if (form.hasOwnSchedule && parseSchedule(form.retry_schedule) === null) problems.retry_schedule_s = { message: t('form.retry.unreadable'), hint: t('form.retry.unreadable.hint') };
  if (form.hasOwnSecret && form.secret === '') problems.secret = { message: t('form.secret.missing'), hint: null };
  const names = form.headers.filter((header) => !header.isRemoved).map((header) => header.name.trim().toLowerCase()).filter((name) => name !== '');
  if (new Set(names).size < names.length) problems.headers = { message: t('form.headers.twice'), hint: null };
  if (form.headers.some((header) => !header.isRemoved && header.name.trim() === '' && header.value !== '')) problems.headers = { message: t('form.headers.nameless'), hint: null };
  return problems;
}

// The fields of two webhooks that differ, and who changed them since `before`: for the conflict dialog.
export function differences(form, before, current) {
  const mine = membersOf(form);
  const base = membersOf(before);
  const theirs = membersOf(current);
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  return Object.keys(mine).filter((name) => !same(mine[name], theirs[name])).map((name) => ({
    name, mine: mine[name], theirs: theirs[name], isMine: !same(mine[name], base[name]), isTheirs: !same(theirs[name], base[name]),
  }));
}

// The current webhook's form with the fields of `mine` that are in `kept`, and the headers and secret entered.
export function mergedForm(mine, current, kept) {
  const merged = { ...current, headers: mine.headers, secret: mine.secret, hasOwnSecret: mine.hasOwnSecret };
  for (const name of kept) {
    if (name === 'retry_schedule_s') Object.assign(merged, { hasOwnSchedule: mine.hasOwnSchedule, retry_schedule: mine.retry_schedule });
    else merged[name] = mine[name];
  }
  return merged;
}

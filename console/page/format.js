// Numbers, times and durations in the reader's language, by Intl.

import { t } from './messages.js';

let locale = document.documentElement.lang || navigator.language;
const made = new Map();

function formatter(kind, options) {
  const key = `${kind} ${JSON.stringify(options)}`;
  if (!made.has(key)) made.set(key, new Intl[kind](locale, options));
  return made.get(key);
}

export function setLocale(name) {
  locale = name;
  made.clear();
}

export const number = (value, options = {}) => formatter('NumberFormat', options).format(value);

// '98.7 %'; never 100 % for what is not whole. null is a dash: it is not known.
export function percent(value) {
  if (value === null || value === undefined) return '–';
  const shown = value < 100 && value > 99.9 ? 99.9 : value > 0 && value < 0.1 ? 0.1 : value;
  return formatter('NumberFormat', { style: 'percent', maximumFractionDigits: shown % 1 === 0 ? 0 : 1 }).format(shown / 100);
}

// {count, is_more}: a count that stopped at its bound is shown with a plus.
export const boundedCount = ({ count, is_more: isMore }) => (isMore ? `${number(count)}+` : number(count));

export function milliseconds(value) {
  if (value === null || value === undefined) return '–';
  if (value < 1000) return `${number(Math.round(value))} ms`;
  return `${number(value / 1000, { maximumFractionDigits: value < 10000 ? 2 : 1 })} s`;
}

// '2 h 30 min': the two largest units of a duration in seconds.
export function duration(seconds) {
  const units = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];
  let rest = Math.round(seconds);
  if (rest === 0) return t('duration.s', { n: number(Math.max(0, seconds), { maximumFractionDigits: 2 }) });
  const words = [];
  for (const [name, size] of units) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n > 0) words.push(t(`duration.${name}`, { n: number(n) }));
    else if (words.length > 0) break;
    if (words.length === 2) break;
  }
  return words.join(' ');
}

const asDate = (time) => (time instanceof Date ? time : new Date(time));

// With seconds and the zone: for titles and for what is copied.
export const exactTime = (time) => formatter('DateTimeFormat', { dateStyle: 'medium', timeStyle: 'long' }).format(asDate(time));
export const clockTime = (time) => formatter('DateTimeFormat', { timeStyle: 'short' }).format(asDate(time));
export const clockTimeWithSeconds = (time) => formatter('DateTimeFormat', { timeStyle: 'medium' }).format(asDate(time));
export const shortDateTime = (time) =>
  formatter('DateTimeFormat', { month: 'short', day: 'numeric', hour: 'numeric', minute: '2-digit' }).format(asDate(time));
export const shortDate = (time) => formatter('DateTimeFormat', { month: 'short', day: 'numeric' }).format(asDate(time));

// PostgreSQL's timestamps in a text ('2026-11-28 23:15:10.67+00') as the reader writes them.
export const withLocalTimes = (text) =>
  text.replace(/(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.\d+)?([+-]\d\d)(:\d\d)?/g, (whole, date, time, hours, minutes) => exactTime(`${date}T${time}${hours}${minutes ?? ':00'}`));

// 'in 40 s', '3 min ago'.
export function relativeTime(time, nowMs) {
  const seconds = (asDate(time).getTime() - nowMs) / 1000;
  const size = Math.abs(seconds);
  const [unit, length] = size < 60 ? ['second', 1] : size < 3600 ? ['minute', 60] : size < 86400 ? ['hour', 3600] : ['day', 86400];
  return formatter('RelativeTimeFormat', { numeric: 'auto', style: 'short' }).format(Math.trunc(seconds / length), unit);
}

export const list = (items) => formatter('ListFormat', { type: 'conjunction' }).format(items);

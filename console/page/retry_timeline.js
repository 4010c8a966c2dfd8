// A retry schedule: as text ('5 s, 30 s, 5 min'), as seconds, and drawn as a timeline with a table as alternative.

import { format, html, nothing, svg, t } from './ui.js';

const kUnits = { ms: 0.001, s: 1, sec: 1, second: 1, seconds: 1, m: 60, min: 60, mins: 60, minute: 60, minutes: 60, h: 3600, hour: 3600, hours: 3600, d: 86400, day: 86400, days: 86400 };

// '10s, 1min, 2 h' → [10, 60, 7200]; null if a part is no duration. A step may have several units: '1h 30min'.
export function parseSchedule(text) {
  const steps = text.split(/[,;\n]+/).map((part) => part.trim()).filter((part) => part !== '');
  const seconds = steps.map(parseDuration);
  return seconds.includes(null) ? null : seconds;
}

function parseDuration(text) {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)\s*([a-z]*)/gi)];
  if (parts.length === 0 || parts.map(([whole]) => whole).join('').replace(/\s/g, '') !== text.replace(/\s/g, '')) return null;
  let sum = 0;
  for (const [, amount, unit] of parts) {
    const size = kUnits[(unit || 's').toLowerCase()];
    if (size === undefined) return null;
    sum += Number(amount) * size;
  }
  return sum;
}

// The text that parseSchedule() reads back.
export function scheduleText(seconds) {
  const one = (value) => {
    let rest = value;
    const words = [];
    for (const [unit, size] of [['d', 86400], ['h', 3600], ['min', 60]]) {
      const n = Math.floor(rest / size);
      rest -= n * size;
      if (n > 0) words.push(`${n}${unit}`);
    }
    if (rest > 0 || words.length === 0) words.push(`${Math.round(rest * 1000) / 1000}s`);
    return words.join(' ');
  };
  return seconds.map(one).join(', ');
}

// When each attempt is made, in seconds after the first.
const attemptTimes = (seconds) => seconds.reduce((times, wait) => [...times, times.at(-1) + wait], [0]);

export function retryTimeline(seconds) {
  const times = attemptTimes(seconds);
  const total = times.at(-1);
  const summary = t('retry.summary', { count: times.length, duration: format.duration(total) });
  return html`<figure class="retry stack tight">
    ${drawing(times, summary)}
    <figcaption class="muted small">${summary} ${t('retry.jitter')}</figcaption>
    <details class="small"><summary class="muted">${t('chart.as_table')}</summary><table class="compact"><caption class="visually-hidden">${t('retry.title')}</caption>
      <thead><tr><th scope="col">${t('retry.attempt')}</th><th scope="col">${t('retry.wait')}</th><th scope="col">${t('retry.after')}</th></tr></thead>
      <tbody>${times.map((time, i) => html`<tr><td>${format.number(i + 1)}</td><td>${i === 0 ? t('retry.at_once') : format.duration(seconds[i - 1])}</td><td>${i === 0 ? t('table.none') : format.duration(time)}</td></tr>`)}</tbody></table></details>
  </figure>`;
}

// Logarithmic, because waits grow by factors; labels that would touch the one before are left out.
function drawing(times, label) {
  const width = 640;
  const left = 12;
  const scale = Math.log(1 + Math.max(times.at(-1), 1));
  const x = (time) => left + (Math.log(1 + time) / scale) * (width - 2 * left - 24);
  let labelledTo = -Infinity;
  const mark = (time, i) => {
    const at = x(time);
    const words = i === 0 ? '0' : format.duration(time).split(' ').slice(0, 2).join(' ');
    const isLabelled = at - labelledTo > 52 || i === 0;
    if (isLabelled) labelledTo = at + words.length * 3;
    return svg`<g><circle class="dot" cx=${at} cy="22" r="5"/>${isLabelled ? svg`<text x=${at} y="46" text-anchor="middle">${words}</text>` : nothing}<text x=${at} y="10" text-anchor="middle">${i + 1}</text></g>`;
  };
  return html`<svg class="chart" viewBox="0 0 ${width} 52" role="img" aria-label=${label}><line class="axis" x1=${left} x2=${x(times.at(-1))} y1="22" y2="22"/>${times.map(mark)}</svg>`;
}

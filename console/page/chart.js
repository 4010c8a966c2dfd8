// <webhook-chart>: a series as drawn bars or lines, in real pixels so that its text has one size at every width. Its
// table alternative is made by chartTable().
//
//   .points   of series()        .stepS  seconds of one point
//   .kind     'deliveries': bars of successes and failures; 'latency': lines of p50 and p95
//   .label    what it shows, in words with its numbers

import { format, html, nothing, Part, svg, t } from './ui.js';

const kHeight = 180;
const kLeft = 48;
const kBottom = 24;
const kTop = 8;

class Chart extends Part {
  static properties = { points: { attribute: false }, stepS: { attribute: false }, kind: { attribute: false }, label: { attribute: false }, width: { state: true } };

  connectedCallback() {
    super.connectedCallback();
    this.observer = new ResizeObserver(([entry]) => { this.width = Math.floor(entry.contentRect.width); });
    this.observer.observe(this);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.observer.disconnect();
  }

  render() {
    if (!this.width || !this.points?.length) return nothing;
    const values = this.kind === 'latency' ? this.points.flatMap((point) => [point.p95_ms ?? 0, point.p50_ms ?? 0]) : this.points.map((point) => point.attempts);
    const scale = niceScale(Math.max(...values));
    const y = (value) => kTop + (1 - value / scale.max) * (kHeight - kTop - kBottom);
    const step = (this.width - kLeft) / this.points.length;
    const x = (i) => kLeft + i * step;
    return html`<svg class="chart" width=${this.width} height=${kHeight} viewBox="0 0 ${this.width} ${kHeight}" role="img" aria-label=${this.label}>
      ${scale.ticks.map((tick) => svg`<line class="gridline" x1=${kLeft} x2=${this.width} y1=${y(tick)} y2=${y(tick)}/><text x=${kLeft - 8} y=${y(tick) + 4} text-anchor="end">${this.kind === 'latency' ? format.milliseconds(tick) : format.number(tick, { notation: 'compact' })}</text>`)}
      ${this.kind === 'latency' ? this.renderLines(x, y, step) : this.renderBars(x, y, step)}${this.renderTimes(x, step)}</svg>`;
  }

  renderBars(x, y, step) {
    const width = Math.max(1, step - Math.min(3, step * 0.25));
    return this.points.map((point, i) => {
      const failed = point.attempts - point.successes;
      const bottom = y(0);
      const failHeight = failed > 0 ? Math.max(2, bottom - y(failed)) : 0;
      const okHeight = point.successes > 0 ? Math.max(1, bottom - y(point.attempts) - failHeight) : 0;
      return svg`<g><title>${pointWords(point, this.stepS)}</title><rect class="hit" x=${x(i)} y=${kTop} width=${step} height=${bottom - kTop} fill="transparent"/>
        <rect class="ok" x=${x(i)} y=${bottom - failHeight - okHeight} width=${width} height=${okHeight}/><rect class="fail" x=${x(i)} y=${bottom - failHeight} width=${width} height=${failHeight}/></g>`;
    });
  }

  // A line breaks where nothing is known; a point alone is a dot.
  renderLines(x, y, step) {
    const line = (name, className) => {
      let path = '';
      let isPen = false;
      for (const [i, point] of this.points.entries()) {
        const value = point[name];
        if (value === null) isPen = false;
        else {
          path += `${isPen ? 'L' : 'M'}${(x(i) + step / 2).toFixed(1)} ${y(value).toFixed(1)}${isPen ? '' : 'h0.01'}`;
          isPen = true;
        }
      }
      return svg`<path class=${className} d=${path} stroke-linecap="round"/>`;
    };
    const hits = this.points.map((point, i) => svg`<rect x=${x(i)} y=${kTop} width=${step} height=${kHeight - kTop - kBottom} fill="transparent"><title>${pointWords(point, this.stepS)}</title></rect>`);
    return svg`${line('p95_ms', 'line2')}${line('p50_ms', 'line1')}${hits}`;
  }

  renderTimes(x, step) {
    const every = Math.max(1, Math.ceil(72 / step));
    return this.points.map((point, i) => (i % every === 0 && this.width - x(i) > 36
      ? svg`<text x=${x(i)} y=${kHeight - 6}>${this.stepS < 86400 ? format.clockTime(point.at) : format.shortDate(point.at)}</text>` : nothing));
  }
}
customElements.define('webhook-chart', Chart);

const pointTime = (point, stepS) => (stepS < 86400 ? format.shortDateTime(point.at) : format.shortDate(point.at));

function pointWords(point, stepS) {
  const values = { time: pointTime(point, stepS), attempts: format.number(point.attempts), failed: format.number(point.attempts - point.successes), p50: format.milliseconds(point.p50_ms), p95: format.milliseconds(point.p95_ms) };
  return t('chart.point', values);
}

// {max, ticks}: round numbers, at most five of them, from 0.
function niceScale(max) {
  if (max <= 0) return { max: 1, ticks: [0] };
  const rough = max / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max([1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough) * power, max < 4 ? 1 : 0);
  const n = Math.ceil(max / step);
  return { max: n * step, ticks: Array.from({ length: n + 1 }, (_, i) => i * step) };
}

// The same numbers as a table, closed.
export function chartTable({ points, stepS, caption }) {
  return html`<details class="small"><summary class="muted">${t('chart.as_table')}</summary><div class="chart-table" tabindex="0" role="region" aria-label=${caption}><table>
    <caption class="visually-hidden">${caption}</caption>
    <thead><tr><th scope="col">${t('chart.time')}</th><th scope="col" class="num">${t('chart.attempts')}</th><th scope="col" class="num">${t('chart.failed')}</th><th scope="col" class="num">p50</th><th scope="col" class="num">p95</th></tr></thead>
    <tbody>${points.map((point) => html`<tr><td>${pointTime(point, stepS)}</td><td class="num">${format.number(point.attempts)}</td><td class="num">${format.number(point.attempts - point.successes)}</td><td class="num">${format.milliseconds(point.p50_ms)}</td><td class="num">${format.milliseconds(point.p95_ms)}</td></tr>`)}</tbody></table></div></details>`;
}

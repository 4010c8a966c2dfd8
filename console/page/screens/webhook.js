// #/webhooks/5?range=7d: one webhook. What is wrong comes first, each finding with its remedy; then its numbers.

import '../chart.js';
import { chartTable } from '../chart.js';
import { Resource } from '../resource.js';
import { Screen } from '../screen.js';
import {
  banner, button, format, html, icon, linkButton, nothing, relativeTime, selectInput, sentence, showSql, skeletonBlock, statusBadge, svg, t, whenLoaded,
} from '../ui.js';
import { circuitWords, statusOf, switchWebhook, webhookHeader } from '../webhook_actions.js';

const ranges = { '24h': 86400, '7d': 604800, '30d': 2592000, '90d': 7776000 };
const kinds = { error: 'bad', warning: 'warn', info: 'info' }; // the gravest first

export default class WebhookScreen extends Screen {
  constructor() {
    super();
    this.loaded = new Resource(this, (signal) => this.app.call('webhook', { id: this.id }, { signal }));
    this.series = new Resource(this, (signal) => this.app.call('series', this.rangeArgs, { signal }));
    this.parts = new Resource(this, (signal) => this.app.call('breakdown', this.rangeArgs, { signal }));
  }

  get id() {
    return this.params.id;
  }

  get range() {
    return Object.hasOwn(ranges, this.query.range ?? '') ? this.query.range : '24h';
  }

  get pageTitle() {
    return this.loaded.value?.webhook.name ?? '';
  }

  routed() {
    this.until = new Date(this.app.now());
    this.rangeArgs = { webhook: this.id, since: new Date(this.until - ranges[this.range] * 1000).toISOString(), until: this.until.toISOString() };
    this.reload();
    this.series.load();
    this.parts.load();
  }

  async reload() {
    await this.loaded.load();
    this.app.updateTitle();
  }

  async remedy(action) {
    const { webhook } = this.loaded.value;
    this.isMending = action;
    this.requestUpdate();
    if (action === 'activate') await switchWebhook(this.app, webhook, true);
    else {
      try {
        await this.app.write('resume');
        await this.app.reloadSession();
      } catch (error) {
        await this.app.fail(error);
      }
    }
    this.isMending = null;
    this.reload();
  }

  render() {
    return html`${webhookHeader(this.app, { id: this.params.id, current: 'overview', loaded: this.loaded.value, onChange: () => this.reload() })}
      ${whenLoaded(this.loaded, (value) => this.renderLoaded(value), skeletonBlock(6))}`;
  }

  renderLoaded({ webhook, summary, findings }) {
    return html`${findings.length ? this.renderFindings(sorted(findings)) : nothing}
      <div class="stack loose">${this.renderTiles(summary)}${this.renderTraffic()}${this.renderFacts(webhook)}${showSql('webhook', { id: this.id })}</div>`;
  }

  // What only tells the state is a note, closed: it needs no attention.
  renderFindings(findings) {
    const isNote = ({ severity, action }) => severity === 'info' && action === null;
    const notes = findings.filter(isNote);
    return html`<section class="findings" aria-labelledby="findings-title"><h2 id="findings-title" class="visually-hidden">${t('overview.findings')}</h2>
      ${findings.filter((finding) => !isNote(finding)).map((finding) => this.renderFinding(finding))}
      ${notes.length ? html`<details class="notes small"><summary>${icon('chevron')}${t('overview.notes', { count: notes.length })}</summary>${notes.map((note) => this.renderFinding(note))}</details>` : nothing}</section>`;
  }

  renderFinding({ severity, finding, hint, action }) {
    return banner({ kind: kinds[severity] ?? 'info', title: html`<span class="visually-hidden">${t(`status.${severity}`)}: </span>${format.withLocalTimes(sentence(finding))}`, text: hint ? sentence(hint) : null, action: this.renderRemedy(action) });
  }

  renderRemedy(action) {
    if (!action || !this.app.can.write) return nothing;
    const path = `/webhooks/${this.params.id}`;
    const label = t(`remedy.${action}`);
    const link = { test: [`${path}/test`], replay_failed: [`${path}/replay`, { only_failed: 1 }], rotate: [`${path}/edit`, { rotate: 1 }], edit: [`${path}/edit`] }[action];
    if (link) return linkButton({ label, href: this.app.href(...link), isSmall: true });
    if (action === 'resume' && this.app.session.level !== 'operate') return nothing;
    return button({ label, isSmall: true, isBusy: this.isMending === action, onClick: () => this.remedy(action) });
  }

  renderTiles(summary) {
    const failed = summary.attempts - summary.successes;
    const deliveries = (state) => this.app.href(`/webhooks/${this.params.id}/pending`, { state: state === 'dead' ? 'dead' : null });
    const tile = (label, value, sub = nothing, className = '') => html`<div class="tile"><dt>${label}</dt><dd class=${className}>${value}${sub === nothing ? nothing : html`<span class="sub">${sub}</span>`}</dd></div>`;
    const count = (state) => (summary[state].count === 0 ? html`0` : html`<a class=${state === 'dead' ? 'bad' : ''} href=${deliveries(state)}>${format.boundedCount(summary[state])}</a>`);
    return html`<section aria-labelledby="now-title"><h2 id="now-title" class="visually-hidden">${t('overview.now')}</h2><dl class="tiles">
      ${tile(t('overview.success'), format.percent(summary.success_percent), summary.attempts ? t('list.failed_of', { failed: format.number(failed), attempts: format.number(summary.attempts) }) : t('list.no_traffic'))}
      ${tile(t('overview.latency'), format.milliseconds(summary.p50_ms), t('overview.p95', { time: format.milliseconds(summary.p95_ms) }))}
      ${tile(t('list.column.pending'), count('pending'), t('overview.pending.text'))}${tile(t('list.column.dead'), count('dead'), t('overview.dead.text'))}
      ${summary.unjudged > 0 ? tile(t('overview.unjudged'), format.number(summary.unjudged), t('overview.unjudged.text')) : nothing}
      ${tile(t('list.column.status'), statusBadge(statusOf(summary)), circuitWords(this.app, summary) ?? html`${t('list.last_success')} ${relativeTime(this.app, summary.last_success_at)}`, 'words')}</dl>
      ${summary.filter_error ? html`<p class="bad break">${t('overview.filter_error', { error: sentence(summary.filter_error) })}</p>` : nothing}</section>`;
  }

  renderTraffic() {
    const options = Object.keys(ranges).map((value) => ({ value, label: t(`range.${value}`) }));
    return html`<section class="stack" aria-labelledby="traffic-title"><div class="row"><h2 id="traffic-title">${t('overview.traffic')}</h2>
        <span class="push">${selectInput({ value: this.range, isAuto: true, options, onChange: (range) => this.app.setQuery({ range: range === '24h' ? null : range }) })({ label: t('range') })}</span></div>
      ${whenLoaded(this.series, (value) => this.renderCharts(value), skeletonBlock(4))}
      ${whenLoaded(this.parts, (value) => this.renderBreakdown(value), skeletonBlock(3))}</section>`;
  }

  renderCharts({ points, step_s: stepS }) {
    const attempts = points.reduce((sum, point) => sum + point.attempts, 0);
    const failed = attempts - points.reduce((sum, point) => sum + point.successes, 0);
    if (attempts === 0) return html`<div class="card muted">${t('overview.no_traffic')}</div>`;
    const slowest = Math.max(...points.map((point) => point.p95_ms ?? 0));
    const labels = { deliveries: t('overview.deliveries.label', { attempts: format.number(attempts), failed: format.number(failed) }), latency: t('overview.latency.label', { slowest: format.milliseconds(slowest) }) };
    const card = (kind, legend) => html`<section class="card stack tight" aria-labelledby="chart-${kind}"><div class="row"><h3 id="chart-${kind}">${t(`overview.chart.${kind}`)}</h3><div class="legend push">${legend}</div></div>
      <webhook-chart .kind=${kind} .points=${points} .stepS=${stepS} .label=${labels[kind]}></webhook-chart>${chartTable({ points, stepS, caption: t(`overview.chart.${kind}`) })}</section>`;
    const key = (className, label) => html`<span><span class="swatch ${className}"></span>${label}</span>`;
    return html`<div class="charts">${card('deliveries', html`${key('ok', t('status.success'))}${key('fail', t('status.failed'))}`)}${card('latency', html`${key('line1', 'p50')}${key('line2', 'p95')}`)}</div>`;
  }

  renderBreakdown({ by_event: events, by_status: statuses }) {
    if (events.length === 0 && statuses.length === 0) return nothing;
    const share = (n, total, className) => html`<td class="share"><svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="track" width="100" height="8"/><rect class=${className} width=${total ? Math.max(1, (n / total) * 100) : 0} height="8"/></svg></td>`;
    const most = Math.max(...events.map((row) => row.attempts), 1);
    const all = statuses.reduce((sum, row) => sum + row.attempts, 0);
    const answer = (row) => (row.response_status === null ? sentenceOf(row.error) : `${row.response_status}${row.error ? ` · ${row.error}` : ''}`);
    const isGood = (row) => row.response_status >= 200 && row.response_status < 300 && !row.error;
    return html`<div class="charts chart">
      <section class="card flush" aria-labelledby="by-event"><header><h3 id="by-event">${t('overview.by_event')}</h3></header><div class="table-wrap"><table class="breakdown"><caption class="visually-hidden">${t('overview.by_event')}</caption>
        <thead><tr><th scope="col">${t('list.column.events')}</th><th scope="col"><span class="visually-hidden">${t('overview.share')}</span></th><th scope="col" class="num">${t('chart.attempts')}</th><th scope="col" class="num">${t('chart.failed')}</th></tr></thead>
        <tbody>${events.map((row) => html`<tr><td>${row.event === null ? t('overview.other_events') : html`<span class="mono">${row.event}</span>`}</td>${share(row.attempts, most, 'ok')}<td class="num">${format.number(row.attempts)}</td><td class="num ${row.attempts > row.successes ? 'bad' : 'muted'}">${format.number(row.attempts - row.successes)}</td></tr>`)}</tbody></table></div></section>
      <section class="card flush" aria-labelledby="by-status"><header><h3 id="by-status">${t('overview.by_status')}</h3></header><div class="table-wrap"><table class="breakdown"><caption class="visually-hidden">${t('overview.by_status')}</caption>
        <thead><tr><th scope="col">${t('overview.answer')}</th><th scope="col"><span class="visually-hidden">${t('overview.share')}</span></th><th scope="col" class="num">${t('chart.attempts')}</th></tr></thead>
        <tbody>${statuses.map((row) => html`<tr><td><span class="row nowrap-row ${isGood(row) ? 'good' : 'bad'}">${icon(isGood(row) ? 'good' : 'bad')}<span class="break">${answer(row)}</span></span></td>${share(row.attempts, all, isGood(row) ? 'ok' : 'fail')}<td class="num">${format.number(row.attempts)}</td></tr>`)}</tbody></table></div></section></div>`;
  }

  renderFacts(webhook) {
    const { defaults } = this.app.session;
    const schedule = webhook.retry_schedule_s ?? defaults.retry_schedule_s;
    const fact = (label, value) => html`<dt>${label}</dt><dd class="break">${value}</dd>`;
    const codes = (names) => (names.length ? names.map((name, i) => html`${i ? ', ' : ''}<code>${name}</code>`) : t('table.none'));
    return html`<section class="card" aria-labelledby="facts-title"><header><h2 id="facts-title">${t('overview.settings')}</h2>${this.app.can.write ? html`<span class="push">${linkButton({ label: t('action.edit'), href: this.app.href(`/webhooks/${this.params.id}/edit`), iconName: 'edit', isSmall: true })}</span>` : nothing}</header>
      <dl class="facts">${fact(t('form.events'), webhook.events.includes('*') ? t('events.all') : codes(webhook.events))}${webhook.filter ? fact(t('form.filter'), html`<code>${webhook.filter}</code>`) : nothing}
      ${webhook.header_names ? fact(t('form.headers'), codes(webhook.header_names)) : nothing}${fact(t('form.timeout_ms'), format.milliseconds(webhook.timeout_ms))}
      ${fact(t('form.retry_schedule_s'), `${schedule.map((wait) => format.duration(wait)).join(', ')}${webhook.retry_schedule_s ? '' : ` (${t('form.retry.default').toLowerCase()})`}`)}
      ${fact(t('form.max_in_flight'), format.number(webhook.max_in_flight))}${fact(t('form.rate_limit_per_s'), webhook.rate_limit_per_s === null ? t('overview.no_limit') : `${format.number(webhook.rate_limit_per_s)} ${t('form.rate_limit_per_s.unit')}`)}
      ${fact(t('form.ordering'), html`${t(`form.ordering.${webhook.ordering}`)} <span class="muted">${t(`form.ordering.${webhook.ordering}.hint`)}</span>`)}
      ${fact(t('overview.created'), format.shortDateTime(webhook.created_at))}${fact(t('overview.changed'), relativeTime(this.app, webhook.updated_at))}</dl></section>`;
  }
}

const sentenceOf = (error) => (error ? sentence(error).replace(/\.$/, '') : t('overview.no_answer'));

function sorted(findings) {
  const gravity = Object.keys(kinds);
  return [...findings].sort((one, other) => gravity.indexOf(one.severity) - gravity.indexOf(other.severity));
}

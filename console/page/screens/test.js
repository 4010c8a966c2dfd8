// #/webhooks/5/test?event=deal.won: sends a test: choose an event, take its example or the data of a recent row, edit it,
// and see the request and the response.

import { failureAdvice, outcomeSentence } from '../delivery_actions.js';
import { matchesAny } from '../event_pattern.js';
import { requestCard, responseCard } from '../exchange.js';
import { exactJson, jsonProblem, memberText, prettyJson } from '../json_text.js';
import { Resource } from '../resource.js';
import { Screen } from '../screen.js';
import { button, errorBanner, errorState, field, format, html, icon, ifDefined, live, nothing, repeat, showSql, skeletonBlock, t, textArea, whenLoaded } from '../ui.js';
import { webhookHeader } from '../webhook_actions.js';

const kRecentMax = 8;
// Beside the webhook's own timeout: the wait for a worker and the way back.
const kMarginMs = 20000;

export default class TestScreen extends Screen {
  constructor() {
    super();
    this.webhook = new Resource(this, (signal) => this.app.call('webhook', { id: this.params.id }, { signal }));
    this.types = new Resource(this, (signal) => this.app.call('event_types', {}, { signal }));
    this.recent = new Resource(this, (signal) => this.app.call('logs', { webhook: this.params.id, event: this.event, page_size: 20 }, { signal }));
    this.source = 'example';
    this.payload = '';
    this.problem = null;
  }

  get pageTitle() {
    return t('webhook.test');
  }

  get events() {
    return (this.types.value?.categories ?? []).flatMap((category) => category.events);
  }

  get rows() {
    return (this.recent.value?.logs ?? []).filter((log) => log.event_id !== null && log.event === this.event).filter((log, i, all) => all.findIndex((other) => other.event_id === log.event_id) === i).slice(0, kRecentMax);
  }

  routed() {
    if (!this.webhook.value) this.webhook.load();
    if (this.app.can.write && !this.types.value) this.types.load();
    this.requestUpdate();
  }

  // The event that the address names, or one that the webhook gets, as soon as the choice is known.
  willUpdate() {
    if (!this.types.value || !this.webhook.value) return;
    const { webhook } = this.webhook.value;
    const names = this.events.map((event) => event.name);
    const event = [this.query.event, webhook.test_event, names.find((name) => matchesAny(webhook.events, name)), names[0]].find((name) => names.includes(name)) ?? null;
    if (event !== this.event) this.chooseEvent(event);
  }

  chooseEvent(event) {
    this.event = event;
    this.source = 'example';
    this.fill(this.exampleText());
    this.recent.load({ clear: true });
  }

  exampleText() {
    const example = this.events.find((event) => event.name === this.event)?.example;
    return JSON.stringify(example ?? {}, null, 2);
  }

  fill(text) {
    this.payload = text;
    this.filled = text;
    this.problem = null;
    this.requestUpdate();
  }

  // The data of a real row: from the request of an attempt.
  async chooseSource(source) {
    this.source = source;
    if (source === 'example') return this.fill(this.exampleText());
    this.isFilling = true;
    this.requestUpdate();
    try {
      const { request } = await this.app.call('attempt', { id: source });
      const data = request ? memberText(request.body, 'data') : null;
      if (this.source === source) {
        if (data === null) this.problem = { message: t('test.row_gone'), hint: null };
        else this.fill(data);
      }
    } catch (error) {
      this.app.fail(error);
    }
    this.isFilling = false;
    return this.requestUpdate();
  }

  edit(text) {
    this.payload = text;
    if (this.problem) this.judge();
    this.requestUpdate();
  }

  // Whether the payload can be sent.
  judge() {
    const problem = jsonProblem(this.payload);
    this.problem = problem && { message: t('test.json', { ...problem, expected: t(`test.json.${problem.expected}`) }), hint: null };
    this.requestUpdate();
    return problem === null;
  }

  get isExample() {
    return this.payload === this.exampleText();
  }

  // The server's own example keeps all its digits.
  get args() {
    return { id: this.params.id, event: this.event ?? undefined, payload: this.isExample ? undefined : exactJson(this.payload) };
  }

  get sqlArgs() {
    return { id: this.params.id, event: this.event ?? undefined, payload: this.isExample ? undefined : this.payload };
  }

  async send() {
    if (this.isBusy) return;
    if (!this.judge()) {
      await this.updateComplete;
      this.querySelector('#field-payload')?.focus();
      return;
    }
    Object.assign(this, { isBusy: true, error: null });
    this.requestUpdate();
    try {
      this.result = await this.app.call('test', this.args, { once: true, timeoutMs: this.webhook.value.webhook.timeout_ms + kMarginMs });
    } catch (error) {
      this.refused(error);
    }
    this.isBusy = false;
    this.requestUpdate();
    await this.updateComplete;
    this.querySelector(this.problem ? '#field-payload' : '[data-result]')?.focus();
  }

  refused(error) {
    if (error.field === 'payload') this.problem = { message: error.message, hint: error.hint };
    else if (error.kind !== 'unauthorized') Object.assign(this, { error, result: null });
  }

  // --- rendering ---

  render() {
    const header = webhookHeader(this.app, { id: this.params.id, current: 'test', loaded: this.webhook.value, onChange: () => this.webhook.load() });
    if (!this.app.can.write) return html`${header}${errorState({ kind: 'forbidden', message: t('test.forbidden') })}`;
    const failed = [this.webhook, this.types].find((resource) => resource.error && !resource.value);
    if (failed) return html`${header}${whenLoaded(failed, () => nothing)}`;
    if (this.event === undefined) return html`${header}${skeletonBlock(8)}`;
    return html`${header}<div class="halves"><form class="card stack" novalidate @submit=${(event) => { event.preventDefault(); this.send(); }}>${this.renderForm()}</form>
      <div class="stack" aria-live="polite">${this.renderResult()}</div></div>`;
  }

  renderForm() {
    const { webhook } = this.webhook.value;
    const isSubscribed = !this.event || matchesAny(webhook.events, this.event);
    return html`<header><h2>${t('test.title')}</h2></header><p class="muted">${t('test.text')}</p>
      ${field({ name: 'event', label: t('deliveries.event'), hint: isSubscribed ? null : t('test.not_subscribed'), control: (ids) => this.renderEvents(ids) })}
      ${field({ name: 'source', label: t('test.source'), hint: this.source === 'example' ? null : t('test.source.hint'), control: (ids) => this.renderSources(ids) })}
      ${field({ name: 'payload', label: t('test.payload'), error: this.problem, hint: t('test.payload.hint'), helpText: [t('test.payload.help')], helpHref: this.app.href('/help/events'), control: textArea({ value: this.payload, isMono: true, rows: 14, onInput: (text) => this.edit(text), onBlur: () => this.judge() }) })}
      <div class="row">${button({ type: 'submit', label: t('test.send'), kind: 'primary', iconName: 'send', isBusy: this.isBusy })}
        ${button({ label: t('test.format'), kind: 'quiet', onClick: () => this.edit(prettyJson(this.payload) ?? this.payload) })}
        ${this.payload === this.filled ? nothing : button({ label: t('test.reset'), kind: 'quiet', onClick: () => this.fill(this.filled) })}</div>
      ${showSql('test', this.sqlArgs)}`;
  }

  renderEvents({ id, describedBy }) {
    return html`<select id=${id} aria-describedby=${ifDefined(describedBy)} @change=${(event) => this.app.setQuery({ event: event.target.value }, { replace: true })}>
      ${this.types.value.categories.map(({ category, events }) => html`<optgroup label=${category}>${events.map(({ name }) => html`<option value=${name} .selected=${live(name === this.event)}>${name}</option>`)}</optgroup>`)}</select>`;
  }

  renderSources({ id, describedBy }) {
    const { rows } = this;
    const option = (value, label) => html`<option value=${value} .selected=${live(value === this.source)}>${label}</option>`;
    return html`<select id=${id} aria-describedby=${ifDefined(describedBy)} aria-busy=${ifDefined(this.isFilling ? 'true' : undefined)} @change=${(event) => this.chooseSource(event.target.value)}>
      ${option('example', t('test.source.example'))}
      ${rows.length > 0 ? html`<optgroup label=${t('test.source.rows')}>${repeat(rows, (row) => row.id, (row) => option(row.id, t('test.source.row', { time: format.relativeTime(row.created_at, this.app.now()), id: row.event_id })))}</optgroup>` : nothing}</select>`;
  }

  renderResult() {
    if (this.isBusy) return html`<p class="visually-hidden" role="status">${t('test.sending')}</p>${skeletonBlock(6)}`;
    if (this.error) return html`<div tabindex="-1" data-result>${errorBanner(this.error, { onRetry: () => this.send() })}</div>`;
    if (!this.result) return html`<div class="card state placeholder">${icon('send')}<p>${t('test.placeholder')}</p></div>`;
    const { result } = this;
    const answer = { ...result, attempt: 1 };
    const isFailed = result.status === 'failed';
    const advice = failureAdvice(answer);
    return html`<div class="outcome ${isFailed ? 'bad' : 'good'}" tabindex="-1" data-result>${icon(isFailed ? 'bad' : 'good')}<div class="words"><p class="lead-sentence">${t('attempt.sentence', { parts: outcomeSentence(answer) })}</p>
        ${advice ? html`<p class="muted">${advice}</p>` : nothing}<p class="muted small">${t('test.once')} ${result.log_id ? html`<a href=${this.app.href(`/attempts/${result.log_id}`)}>${t('test.in_log')}</a>` : nothing}</p></div></div>
      ${responseCard(answer)}${requestCard(result.request, { reason: t('attempt.request.none') })}`;
  }
}

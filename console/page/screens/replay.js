// #/webhooks/5/replay?range=24h&only_failed=1: sends stored events again. First it counts, then it asks. A worker carries the
// replay out, whether somebody looks or not; how far it is, and what is left to be sent, is shown.

import { matchesAny } from '../event_pattern.js';
import { hasEnded, replayJobs } from '../replay_jobs.js';
import { Resource } from '../resource.js';
import { Screen } from '../screen.js';
import { button, errorBanner, errorState, field, fieldError, format, html, linkButton, live, nothing, repeat, selectInput, showSql, skeletonBlock, t, whenLoaded } from '../ui.js';
import { webhookHeader } from '../webhook_actions.js';

const kPollMs = 2000;
const kRanges = { '1h': 3600, '24h': 86400, '7d': 604800 };

export default class ReplayScreen extends Screen {
  constructor() {
    super();
    this.webhook = new Resource(this, (signal) => this.app.call('webhook', { id: this.params.id }, { signal }));
    this.replays = new Resource(this, (signal) => this.app.call('replays', { id: this.params.id, page_size: 10 }, { signal }));
    this.types = new Resource(this, (signal) => this.app.call('event_types', {}, { signal }));
    this.form = null;
    this.cancelling = null;
    this.problems = {};
    this.onVisibility = () => (document.visibilityState === 'visible' ? this.poll() : this.stopPolling());
  }

  connectedCallback() {
    super.connectedCallback();
    document.addEventListener('visibilitychange', this.onVisibility);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    document.removeEventListener('visibilitychange', this.onVisibility);
    this.stopPolling();
  }

  get pageTitle() {
    return t('webhook.replay');
  }

  get ranges() {
    const { webhook } = this.webhook.value ?? {};
    return ['1h', '24h', '7d', webhook?.disabled_at ? 'off' : null, 'all', 'custom'].filter(Boolean);
  }

  // The events that it subscribes to.
  get names() {
    const patterns = this.webhook.value?.webhook.events ?? [];
    return (this.types.value?.categories ?? []).flatMap((category) => category.events).map((event) => event.name).filter((name) => matchesAny(patterns, name));
  }

  routed() {
    this.poll();
    if (this.app.can.write && !this.types.value) this.types.load();
  }

  willUpdate() {
    if (this.form || !this.webhook.value) return;
    const { range, only_failed: onlyFailed } = this.query;
    this.form = { range: this.ranges.includes(range) ? range : onlyFailed ? 'all' : '24h', since: '', until: '', isSome: false, events: new Set(), onlyFailed: onlyFailed === '1' };
  }

  // --- what is left ---

  stopPolling() {
    clearTimeout(this.timer);
    this.timer = null;
  }

  poll() {
    this.stopPolling();
    return Promise.all([this.webhook.load(), this.replays.load()]);
  }

  // Asked for again while a replay goes on, or something is pending, and somebody looks. The dialog that asks to sign in must not come again every
  // 2 s.
  updated() {
    const { summary } = this.webhook.value ?? {};
    const isSending = summary?.pending.count > 0 && summary.is_active;
    const isReplaying = this.replays.value?.replays.some((replay) => !hasEnded(replay));
    const mayAsk = this.isConnected && document.visibilityState === 'visible' && this.webhook.error?.kind !== 'unauthorized';
    const isLoading = this.webhook.isLoading || this.replays.isLoading;
    if ((isSending || isReplaying) && mayAsk && !this.timer && !isLoading) this.timer = setTimeout(() => this.poll(), kPollMs);
  }

  // --- the form ---

  set(changes) {
    this.form = { ...this.form, ...changes };
    Object.assign(this, { counted: null, error: null, problems: {} });
    this.requestUpdate();
  }

  bounds() {
    const { form } = this;
    const now = new Date(this.app.now()).toISOString();
    if (form.range === 'all') return { since: '-infinity', until: now };
    if (form.range === 'off') return { since: this.webhook.value.webhook.disabled_at, until: now };
    if (form.range !== 'custom') return { since: new Date(this.app.now() - kRanges[form.range] * 1000).toISOString(), until: now };
    const since = new Date(form.since);
    const until = form.until === '' ? new Date(this.app.now()) : new Date(form.until);
    if (Number.isNaN(since.getTime()) || Number.isNaN(until.getTime())) this.problems.since = t('replay.range.missing');
    else if (until <= since) this.problems.since = t('replay.range.backwards');
    return this.problems.since ? null : { since: since.toISOString(), until: until.toISOString() };
  }

  // The arguments of a dry run and of the replay that follows it: the same range for both. null if the form is wrong.
  argsOf() {
    const { form } = this;
    this.problems = {};
    const bounds = this.bounds();
    if (form.isSome && form.events.size === 0) this.problems.events = t('replay.events.none');
    if (Object.keys(this.problems).length > 0) return null;
    return { id: this.params.id, ...bounds, events: form.isSome ? [...form.events] : undefined, only_failed: form.onlyFailed || undefined };
  }

  async count() {
    if (this.isCounting) return;
    const args = this.argsOf();
    this.requestUpdate();
    if (args === null) {
      await this.updateComplete;
      this.querySelector('[aria-invalid="true"], fieldset[data-invalid] input')?.focus();
      return;
    }
    Object.assign(this, { isCounting: true, error: null, counted: null });
    const { form } = this;
    try {
      const counted = await this.app.call('replay', { ...args, dry_run: true });
      if (form === this.form) this.counted = { count: counted.count, since: counted.is_complete ? null : counted.counted_to, args };
    } catch (error) {
      this.refused(error);
    }
    this.isCounting = false;
    this.requestUpdate();
    await this.updateComplete;
    this.querySelector('[data-counted] button')?.focus();
  }

  async start() {
    const { count, since, args } = this.counted;
    const { webhook } = this.webhook.value;
    const lines = [
      since ? t('replay.confirm.uncounted', { count, time: format.shortDateTime(since) }) : null,
      t('replay.confirm.text'), args.only_failed ? null : t('replay.confirm.duplicates'),
      webhook.rate_limit_per_s ? t('replay.confirm.rate', { n: format.number(webhook.rate_limit_per_s) }) : null,
    ].filter(Boolean);
    const body = html`<ul class="stack tight plain">${lines.map((line) => html`<li>${line}</li>`)}</ul>`;
    const title = since ? t('replay.confirm.title.uncounted', { name: webhook.name }) : t('replay.confirm.title', { count, name: webhook.name });
    if (!(await this.app.confirm({ title, body, confirm: t('replay.confirm'), sql: ['replay', args] }))) return;
    this.isStarting = true;
    this.requestUpdate();
    try {
      await this.app.write('replay', args);
      this.counted = null;
      this.app.toast(t('replay.started'));
      await this.poll();
      this.isStarting = false;
      this.requestUpdate();
      await this.updateComplete;
      this.querySelector('#replay-jobs')?.focus();
    } catch (error) {
      this.refused(error);
    }
    this.isStarting = false;
    this.requestUpdate();
  }

  async cancel({ id }) {
    if (this.cancelling) return;
    this.cancelling = id;
    this.requestUpdate();
    try {
      const { cancelled } = await this.app.write('cancel_replay', { job: id });
      this.app.toast(t(cancelled ? 'replay.cancelled' : 'replay.cancelled.late'));
      await this.poll();
    } catch (error) {
      this.app.fail(error);
    }
    this.cancelling = null;
    this.requestUpdate();
    await this.updateComplete;
    this.querySelector('#replay-jobs')?.focus();
  }

  refused(error) {
    if (['since', 'until', 'events'].includes(error.field)) this.problems = { [error.field === 'until' ? 'since' : error.field]: error };
    else if (error.kind !== 'unauthorized') this.error = error;
    // A limit is reached: nobody has changed what this form shows.
    if (error.kind === 'conflict') error.kind = 'unavailable';
  }

  // --- rendering ---

  render() {
    const header = webhookHeader(this.app, { id: this.params.id, current: 'replay', loaded: this.webhook.value, onChange: () => this.webhook.load() });
    const failed = this.webhook.error && !this.webhook.value ? this.webhook : null;
    if (failed) return html`${header}${whenLoaded(failed, () => nothing)}`;
    const left = !this.app.can.write ? errorState({ kind: 'forbidden', message: t('replay.forbidden') }) : this.form ? this.renderForm() : skeletonBlock(8);
    return html`${header}<div class="halves">${left}<div class="stack">${this.renderJobs()}<section class="card flush" aria-labelledby="replay-pending"><header><h2 id="replay-pending" tabindex="-1">${t('replay.pending')}</h2></header>${this.renderPending()}</section></div></div>`;
  }

  renderForm() {
    const { form, webhook } = this;
    const options = this.ranges.map((value) => ({ value, label: t(`replay.range.${value}`, { time: value === 'off' ? format.shortDateTime(webhook.value.webhook.disabled_at) : '' }) }));
    return html`<form class="card stack" novalidate @submit=${(event) => { event.preventDefault(); this.count(); }}>
      <header><h2>${t('replay.title')}</h2></header><p class="muted">${t('replay.text')}</p>
      ${field({ name: 'range', label: t('replay.range'), error: form.range === 'custom' ? null : this.problems.since ?? null, control: selectInput({ value: form.range, options, onChange: (range) => this.set({ range }) }) })}
      ${form.range === 'custom' ? html`<div class="grid2">${this.renderBound('since')}${this.renderBound('until')}</div>` : nothing}
      ${this.renderEvents()}
      <label class="check"><input type="checkbox" .checked=${live(form.onlyFailed)} @change=${(event) => this.set({ onlyFailed: event.target.checked })}><span>${t('replay.only_failed')}<span class="sub muted small">${t('replay.only_failed.hint')}</span></span></label>
      ${this.error ? errorBanner(this.error) : nothing}
      <div class="row">${button({ type: 'submit', label: t('replay.count'), kind: this.counted ? '' : 'primary', iconName: 'search', isBusy: this.isCounting })}<span class="muted small">${t('replay.count.first')}</span></div>
      <div aria-live="polite">${this.renderCount()}</div>
      ${this.renderSql()}</form>`;
  }

  // What the next click does; a range that is still being entered has no statement.
  renderSql() {
    if (this.counted) return showSql('replay', this.counted.args);
    if (this.form.range === 'custom') return nothing;
    const { isSome, events, onlyFailed } = this.form;
    return showSql('replay', { id: this.params.id, ...this.bounds(), events: isSome ? [...events] : undefined, only_failed: onlyFailed || undefined, dry_run: true });
  }

  renderBound(name) {
    const error = this.problems[name] ?? null;
    return field({
      name, label: t(`replay.${name}`), error, isOptional: name === 'until',
      control: ({ id, describedBy, isInvalid }) => html`<input id=${id} type="datetime-local" step="1" .value=${live(this.form[name])} aria-describedby=${describedBy ?? nothing} aria-invalid=${isInvalid ? 'true' : nothing} @change=${(event) => this.set({ [name]: event.target.value })}>`,
    });
  }

  renderEvents() {
    const { form, names } = this;
    const choice = (isSome, key) => html`<label class="check"><input type="radio" name="replay-events" .checked=${live(form.isSome === isSome)} @change=${() => this.set({ isSome })}><span>${t(key)}</span></label>`;
    const toggle = (name, isChosen) => {
      const events = new Set(form.events);
      if (isChosen) events.add(name);
      else events.delete(name);
      this.set({ events });
    };
    return html`<fieldset class="stack tight field" ?data-invalid=${Boolean(this.problems.events)}><legend class="strong">${t('replay.events')}</legend>
      ${choice(false, 'replay.events.all')}${choice(true, 'replay.events.some')}
      ${form.isSome ? html`<div class="event-choice">${names.length === 0 ? html`<p class="muted">${t('replay.events.no_types')}</p>` : repeat(names, (name) => name, (name) => html`<label class="check"><input type="checkbox" .checked=${live(form.events.has(name))} @change=${(event) => toggle(name, event.target.checked)}><span class="mono break">${name}</span></label>`)}</div>` : nothing}
      ${fieldError('replay-events', this.problems.events)}</fieldset>`;
  }

  renderCount() {
    if (!this.counted) return nothing;
    const { count, since } = this.counted;
    const text = since ? t('replay.counted.partly', { count, time: format.shortDateTime(since) }) : t('replay.counted', { count });
    if (count === 0 && !since) return html`<p class="replay-count">${t('replay.counted.none')}</p>`;
    if (!this.webhook.value.webhook.is_active) return html`<p class="replay-count">${text} ${t('replay.off')}</p>`;
    return html`<div class="replay-count" data-counted><span class="number">${text}</span>
      ${button({ label: since ? t('replay.start.uncounted') : t('replay.start', { count }), kind: 'primary', iconName: 'replay', isBusy: this.isStarting, onClick: () => this.start() })}</div>`;
  }

  renderJobs() {
    const jobs = whenLoaded(this.replays, ({ replays }) => replayJobs(this.app, { replays, cancelling: this.cancelling, onCancel: (replay) => this.cancel(replay) }), this.renderLoading());
    return html`<section class="card flush" aria-labelledby="replay-jobs"><header><h2 id="replay-jobs" tabindex="-1">${t('replay.jobs')}</h2></header>${jobs}</section>`;
  }

  renderLoading() {
    return html`<div class="job" role="status" aria-label=${t('app.loading')}><span class="skeleton w70"></span><span class="skeleton w50"></span></div>`;
  }

  renderPending() {
    return whenLoaded(this.webhook, ({ summary }) => {
      const { count, is_more: isMore } = summary.pending;
      if (count === 0) return html`<p class="job muted" role="status">${t('replay.pending.none')}</p>`;
      return html`<div class="job"><p class="strong" role="status">${t(isMore ? 'replay.pending.more' : 'replay.pending.count', { count })}</p>
        <p class="sub">${t(summary.is_active ? 'replay.pending.goes_on' : 'replay.pending.off')}</p>
        <p>${linkButton({ label: t('replay.pending.show'), href: this.app.href(`/webhooks/${this.params.id}/pending`) })}</p></div>`;
    }, this.renderLoading());
  }
}

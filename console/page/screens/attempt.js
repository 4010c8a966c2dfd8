// #/attempts/5: one attempt: what became of it in one sentence, the attempts of its event, the request and the response.

import { canRedeliver, failureAdvice, logStatus, outcomeSentence, redeliver } from '../delivery_actions.js';
import { requestCard, responseCard } from '../exchange.js';
import { Resource } from '../resource.js';
import { Screen } from '../screen.js';
import { button, copyButton, format, html, icon, linkButton, nothing, pageHeader, relativeTime, repeat, showSql, skeletonBlock, statusBadge, t, whenLoaded } from '../ui.js';

export default class AttemptScreen extends Screen {
  constructor() {
    super();
    this.loaded = new Resource(this, (signal) => this.app.call('attempt', { id: this.params.id }, { signal }));
  }

  get pageTitle() {
    return this.loaded.value ? `${this.loaded.value.attempt.event}, ${t('attempt.label', { n: this.loaded.value.attempt.attempt })}` : t('attempt.title', { id: this.params.id });
  }

  async routed() {
    await this.loaded.load();
    this.app.updateTitle();
  }

  async redeliver() {
    this.isBusy = true;
    this.requestUpdate();
    if (await redeliver(this.app, [this.params.id])) await this.loaded.load();
    this.isBusy = false;
    this.requestUpdate();
  }

  render() {
    const { value } = this.loaded;
    return html`${value ? this.renderHeader(value) : pageHeader({ title: t('attempt.title', { id: this.params.id }), crumbs: [{ label: t('app.nav.deliveries'), href: this.app.href('/deliveries') }] })}
      ${whenLoaded(this.loaded, (loaded) => this.renderAttempt(loaded), html`<div class="stack">${skeletonBlock(2)}${skeletonBlock(6)}</div>`)}`;
  }

  renderHeader({ attempt, curl }) {
    const { app } = this;
    const path = `/webhooks/${attempt.webhook}`;
    const crumbs = attempt.webhook_name === null
      ? [{ label: t('app.nav.deliveries'), href: app.href('/deliveries') }]
      : [{ label: t('app.nav.webhooks'), href: app.href('/webhooks') }, { label: attempt.webhook_name, href: app.href(path) }, { label: t('deliveries.title'), href: app.href(`${path}/deliveries`) }];
    return pageHeader({
      title: attempt.event, crumbs,
      badge: html`${statusBadge(attempt.status)}${attempt.is_test ? statusBadge('test') : nothing}`,
      actions: html`${app.can.write && canRedeliver(attempt) ? button({ label: t('deliveries.redeliver'), kind: 'primary', iconName: 'replay', isBusy: this.isBusy, onClick: () => this.redeliver() }) : nothing}
        ${curl ? copyButton({ what: t('attempt.curl'), text: curl, label: t('attempt.copy_curl') }) : nothing}
        ${attempt.event_id === null ? nothing : linkButton({ label: t('attempt.why'), iconName: 'help', href: app.href('/why', { event_id: attempt.event_id }) })}`,
    });
  }

  renderAttempt(loaded) {
    const { attempt } = loaded;
    const advice = failureAdvice(attempt);
    const look = attempt.status === 'failed' ? 'bad' : 'good';
    return html`<div class="outcome ${look}">${icon(look)}<div class="words"><p class="lead-sentence">${this.sentence(loaded)}</p>${advice ? html`<p class="muted">${advice}</p>` : nothing}</div></div>
      <div class="split">
        <div class="stack">${requestCard(loaded.request, { reason: this.whyNoRequest(attempt), note: t('attempt.request.own'), notice: loaded.request ? this.renderChanged(loaded) : nothing })}${attempt.attempt === 0 ? nothing : responseCard(attempt)}
          ${this.app.can.write && canRedeliver(attempt) ? showSql('redeliver', { log_ids: [this.params.id] }, t('sql.show_of', { action: t('deliveries.redeliver') })) : nothing}${showSql('attempt', { id: this.params.id })}</div>
        <div class="stack"><section class="card"><header><h2>${t('attempt.timeline')}</h2></header>${this.renderTimeline(loaded)}</section>${this.renderFacts(loaded)}</div>
      </div>`;
  }

  // Told before the URL, so that nobody takes it for the current one.
  renderChanged({ attempt, request, changed_since: isChanged }) {
    if (!isChanged || attempt.configuration_version === null) return nothing;
    const isKnown = request.version === attempt.configuration_version;
    return html`<p class="small">${t(isKnown ? 'attempt.request.changed' : 'attempt.request.changed.unknown', { version: format.number(request.version) })}
      <a href=${this.app.href(`/webhooks/${attempt.webhook}/history`)}>${t('attempt.request.history')}</a></p>`;
  }

  whyNoRequest(attempt) {
    if (attempt.attempt === 0) return t('attempt.request.none');
    if (attempt.is_test) return t('attempt.request.gone.test');
    return t(this.app.can.see_data ? 'attempt.request.gone' : 'attempt.request.forbidden');
  }

  // 'Your server answered 500 after 40 ms; attempt 3 of 9; next at 14:05.' Probes of a receiver that fails are attempts
  // beyond the schedule.
  sentence({ attempt, attempts_max: max, ...loaded }) {
    const parts = [outcomeSentence(attempt)];
    if (attempt.is_test) parts.push(t('attempt.test'));
    else if (attempt.attempt > 0) parts.push(max && attempt.attempt <= max ? t('attempt.n_of', { n: format.number(attempt.attempt), max: format.number(max) }) : t('attempt.n', { n: format.number(attempt.attempt) }));
    if (!attempt.is_test) parts.push(this.fate({ attempt, ...loaded }));
    return t('attempt.sentence', { parts: parts.filter(Boolean).join('; ') });
  }

  fate({ attempt, attempts, delivery }) {
    if (attempt.status === 'success') return t('attempt.delivered');
    const success = attempts.find((other) => other.status === 'success' && BigInt(other.id) > BigInt(attempt.id));
    if (success) return t('attempt.delivered_later', { n: format.number(success.attempt) });
    if (delivery?.state === 'dead') return t('attempt.dead');
    const next = delivery?.next_attempt_at ?? (delivery ? null : attempt.next_attempt_at);
    if (!next) return t(delivery ? 'attempt.due' : 'attempt.ended');
    if (Date.parse(next) <= this.app.now()) return t('attempt.due');
    return t('attempt.next', { time: this.shortTime(next) });
  }

  shortTime(time) {
    return Math.abs(Date.parse(time) - this.app.now()) > 72000000 ? format.shortDateTime(time) : format.clockTime(time);
  }

  renderTimeline({ attempt, attempts, delivery }) {
    const next = delivery?.state === 'pending' ? delivery.next_attempt_at : null;
    const last = attempts.at(-1);
    return html`<ol class="timeline">${repeat(attempts, (log) => log.id, (log, i) => html`${this.renderGap(log, attempts[i - 1])}${this.renderStep(log, log.id === attempt.id)}`)}
      ${next ? html`<li class="future"><span class="mark">${icon('clock')}</span><div><span class="what">${t('attempt.timeline.next')}</span><span class="sub">${Date.parse(next) <= this.app.now() ? t('pending.due') : html`${relativeTime(this.app, next)} · ${this.shortTime(next)}`}</span></div></li>` : nothing}
      ${delivery?.state === 'dead' ? html`<li><span class="mark bad">${icon('dead')}</span><div><span class="what">${t('attempt.timeline.dead', { n: format.number(last?.attempt ?? attempt.attempt) })}</span>${this.app.can.write ? html`<span class="sub">${t('attempt.timeline.dead.text')}</span>` : nothing}</div></li>` : nothing}</ol>`;
  }

  // The search for attempts is bounded: numbers that are missing are told. Sent again, an event begins at 1.
  renderGap(log, before) {
    const missing = log.attempt - 1 - (before && before.attempt < log.attempt ? before.attempt : 0);
    return missing > 0 ? html`<li class="future"><span class="mark">${icon('more')}</span><span>${t('attempt.timeline.gap', { count: missing })}</span></li>` : nothing;
  }

  renderStep(log, isCurrent) {
    const look = logStatus(log) === 'failed' ? 'bad' : 'good';
    const name = t('attempt.label', { n: format.number(log.attempt) });
    return html`<li class=${isCurrent ? 'current' : ''} aria-current=${isCurrent ? 'step' : 'false'}><span class="mark ${look}">${icon(look)}</span><div>
      <span class="what">${isCurrent ? html`${name}, ${t('attempt.timeline.this')}` : html`<a href=${this.app.href(`/attempts/${log.id}`)}>${name}</a>`}</span>
      <span class="sub"><bdi>${log.error ?? log.response_status}</bdi> · ${format.milliseconds(log.duration_ms)}</span><span class="sub">${relativeTime(this.app, log.created_at)} · ${format.clockTimeWithSeconds(log.created_at)}</span></div></li>`;
  }

  renderFacts({ attempt, delivery }) {
    const { app } = this;
    const fact = (key, value) => (value === null || value === undefined ? nothing : html`<dt>${t(`attempt.${key}`)}</dt><dd>${value}</dd>`);
    return html`<section class="card side-facts"><header><h2>${t('attempt.facts')}</h2></header><dl class="facts">
      ${fact('webhook', attempt.webhook_name === null ? t('deliveries.deleted_webhook') : html`<a href=${app.href(`/webhooks/${attempt.webhook}`)}>${attempt.webhook_name}</a>`)}
      ${fact('at', html`${format.exactTime(attempt.created_at)}`)}${fact('duration', format.milliseconds(attempt.duration_ms))}
      ${fact('configuration_version', attempt.configuration_version === null ? null : format.number(attempt.configuration_version))}
      ${fact('remote_ip', attempt.remote_ip === null ? null : html`<span class="mono">${attempt.remote_ip}</span>`)}
      ${fact('event_id', attempt.event_id === null ? null : html`<a class="mono" href=${app.href(`/webhooks/${attempt.webhook}/deliveries`, { event_id: attempt.event_id })}>${attempt.event_id}</a>`)}
      ${fact('key', delivery?.key ? html`<span class="mono">${delivery.key}</span>` : null)}
      ${fact('id', html`<span class="row"><span class="mono">${attempt.id}</span>${copyButton({ what: t('attempt.id'), text: attempt.id })}</span>`)}</dl></section>`;
  }
}

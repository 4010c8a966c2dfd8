// #/why?event_id=5, #/why?webhook_id=evt_…, #/why?source=crm.deals&key=88 (&event_id=5): what became of an event, and why a
// webhook did not get it.

import { Resource } from '../resource.js';
import { Screen } from '../screen.js';
import { banner, button, copyButton, dataTable, emptyState, field, format, html, icon, live, nothing, pageHeader, relativeTime, selectInput, sentence, showSql, skeletonBlock, skeletonTable, statusBadge, t, textInput, whenLoaded } from '../ui.js';

const kWays = ['event', 'webhook_id', 'row'];

export default class WhyScreen extends Screen {
  constructor() {
    super();
    this.watches = new Resource(this, (signal) => this.app.call('watches', {}, { signal }));
    this.found = new Resource(this, (signal) => this.app.call('find', this.findArgs, { signal }));
    this.explained = new Resource(this, (signal) => this.app.call('explain', { event_id: this.eventId }, { signal }));
    this.form = { way: 'event', event_id: '', webhook_id: '', source: '', key: '' };
    this.problem = null;
  }

  get pageTitle() {
    return t('why.title');
  }

  // The way that the address names.
  get way() {
    if (this.query.webhook_id) return 'webhook_id';
    return this.query.key ? 'row' : 'event';
  }

  get findArgs() {
    const { webhook_id: webhookId, source, key } = this.query;
    const organization = this.app.organization ?? undefined;
    return this.way === 'webhook_id' ? { webhook_id: webhookId, organization } : { source: source || undefined, key, organization };
  }

  async routed() {
    const { event_id: eventId, webhook_id: webhookId, key } = this.query;
    const asked = JSON.stringify([this.query.source, webhookId, key, this.app.organization]);
    if (eventId || webhookId || key) this.form = { way: this.way, event_id: this.way === 'event' ? eventId : '', webhook_id: webhookId ?? '', source: this.query.source ?? '', key: key ?? '' };
    if (this.form.way === 'row' && !this.watches.value) this.watches.load();
    if (!webhookId && !key) Object.assign(this, { asked: null });
    else if (asked !== this.asked) {
      this.asked = asked;
      this.explainEvent(null);
      await this.found.load({ clear: true });
      if (asked !== this.asked) return;
    }
    const events = this.asked ? this.found.value?.events ?? [] : [];
    this.explainEvent(eventId ?? (events.length === 1 ? events[0].id : null));
  }

  explainEvent(id) {
    if (id === this.eventId) return;
    this.eventId = id;
    if (id === null) Object.assign(this.explained, { value: null, error: null });
    else this.explained.load({ clear: true });
    this.requestUpdate();
  }

  set(changes) {
    this.form = { ...this.form, ...changes };
    this.problem = null;
    if (changes.way === 'row' && !this.watches.value) this.watches.load();
    this.requestUpdate();
  }

  async submit() {
    const { way, source } = this.form;
    const eventId = this.form.event_id.trim();
    const webhookId = this.form.webhook_id.trim();
    const key = this.form.key.trim();
    const none = { event_id: null, webhook_id: null, source: null, key: null };
    if (way === 'event' && !/^\d{1,19}$/.test(eventId)) this.problem = { message: t('why.event_id.invalid'), hint: /[a-z]/i.test(eventId) ? t('why.event_id.hint_other') : null };
    else if (way === 'webhook_id' && webhookId === '') this.problem = t('why.webhook_id.missing');
    else if (way === 'row' && key === '') this.problem = t('why.key.missing');
    if (this.problem) {
      this.requestUpdate();
      await this.updateComplete;
      this.querySelector('[aria-invalid="true"]')?.focus();
      return;
    }
    const query = { event: { event_id: eventId }, webhook_id: { webhook_id: webhookId }, row: { source, key } }[way];
    // The same question again asks again.
    Object.assign(this, { asked: null, eventId: null });
    if (!(await this.app.setQuery({ ...none, ...query }))) return;
    if (way === 'event' ? this.eventId === null : this.asked === null) this.routed();
  }

  // --- rendering ---

  render() {
    const isAsked = this.query.event_id || this.query.webhook_id || this.query.key;
    return html`${pageHeader({ title: t('why.title'), description: t('why.description') })}
      <div class="stack loose"><form class="card stack" role="search" novalidate @submit=${(event) => { event.preventDefault(); this.submit(); }}>${this.renderForm()}</form>
      ${isAsked ? html`${this.renderFound()}${this.renderExplained()}` : emptyState({ iconName: 'search', title: t('why.start.title'), text: t('why.start.text') })}</div>`;
  }

  renderForm() {
    const { form } = this;
    const way = (name) => html`<label class="segment"><input type="radio" name="why-way" value=${name} .checked=${live(form.way === name)} @change=${() => this.set({ way: name })}>${t(`why.by.${name}`)}</label>`;
    const text = (name) => field({ name, label: t(`why.${name}`), hint: t(`why.${name}.hint`), error: this.problem, control: textInput({ value: form[name], isMono: true, maxlength: 1000, inputmode: name === 'event_id' ? 'numeric' : undefined, onInput: (value) => this.set({ [name]: value }) }) });
    const sources = [...new Set((this.watches.value?.watches ?? []).map((watch) => watch.source).concat(form.source || []))].sort();
    const options = [{ value: '', label: t('why.source.any') }, ...sources.map((value) => ({ value, label: value }))];
    return html`<fieldset><legend class="visually-hidden">${t('why.by')}</legend><div class="segments">${kWays.map(way)}</div></fieldset>
      <div class="lookup">${form.way === 'event' ? text('event_id') : form.way === 'webhook_id' ? text('webhook_id')
        : html`${field({ name: 'source', label: t('why.source'), control: selectInput({ value: form.source, options, onChange: (source) => this.set({ source }) }) })}${text('key')}`}
        <div class="submit">${button({ type: 'submit', label: t('why.submit'), kind: 'primary', iconName: 'search', isBusy: this.found.isLoading || this.explained.isLoading })}</div></div>`;
  }

  renderFound() {
    if (this.way === 'event') return nothing;
    return whenLoaded(this.found, ({ events, searched_to: searchedTo }) => {
      const searched = searchedTo ? html`<p class="searched">${icon('info')}<span>${t('why.searched_to', { time: format.shortDateTime(searchedTo) })}</span></p>` : nothing;
      if (events.length === 0) {
        return html`<div class="stack">${emptyState({ iconName: 'search', title: t('why.none.title'), text: t(`why.none.${this.way}`) })}${searched}${showSql('find', this.findArgs)}</div>`;
      }
      if (events.length === 1) return html`<div class="stack tight">${showSql('find', this.findArgs)}</div>`;
      return html`<section class="stack" aria-labelledby="why-found"><div><h2 id="why-found">${t('why.found', { count: events.length })}</h2>${this.eventId ? nothing : html`<p class="muted">${t('why.found.choose')}</p>`}</div>
        ${dataTable({ caption: t('why.found', { count: events.length }), columns: this.foundColumns(), rows: events, rowKey: (row) => row.id, rowClass: (row) => (row.id === this.eventId ? 'current' : '') })}${searched}${showSql('find', this.findArgs)}</section>`;
    }, skeletonTable(3));
  }

  foundColumns() {
    const { app } = this;
    const link = (row) => html`<a class="mono strong break" href=${app.href('/why', { ...this.query, event_id: row.id })} aria-label=${t('why.event.show', { event: row.event, time: format.clockTimeWithSeconds(row.created_at) })} aria-current=${row.id === this.eventId ? 'true' : nothing}>${row.event}</a>`;
    return [
      { label: t('why.column.event'), isLead: true, cell: link },
      app.can.choose_organization ? { label: t('app.organization'), cell: (row) => html`<span class="break">${row.organization ?? t('table.none')}</span>` } : null,
      { label: t('why.column.key'), cell: (row) => (row.key === null ? nothing : html`<span class="mono">${row.key}</span>`) },
      { label: t('why.by.webhook_id'), cell: (row) => html`<span class="mono">${row.webhook_id}</span>` },
      { label: t('why.column.at'), isNumber: true, className: 'time-cell', cell: (row) => relativeTime(app, row.created_at) },
    ].filter(Boolean);
  }

  renderExplained() {
    if (!this.eventId) return nothing;
    if (this.explained.error?.kind === 'not_found') return this.renderExplanation({ event: null });
    return whenLoaded(this.explained, (explained) => this.renderExplanation(explained), html`<div class="stack">${skeletonBlock(2)}${skeletonTable(4)}</div>`);
  }

  // event is null if it is no longer stored: then webhooks are those with a delivery of it.
  renderExplanation({ event, webhooks = [], is_complete: isComplete = true }) {
    const sql = showSql('explain', { event_id: this.eventId });
    if (event === null && webhooks.length === 0) return html`<div class="stack">${emptyState({ iconName: 'search', title: t('why.none.title'), text: t('why.none.event') })}${sql}</div>`;
    const rows = [...webhooks].sort((a, b) => Number(b.matched) - Number(a.matched) || a.name.localeCompare(b.name));
    const matched = rows.filter((row) => row.matched).length;
    const summary = matched === 0 ? t('why.summary.none') : t('why.summary', { matched: format.number(matched), count: rows.length });
    const head = event === null ? banner({ kind: 'info', text: t('why.event_gone') }) : html`<div class="card stack"><h2 id="why-event" class="event-name">${event.event}</h2>${this.renderFacts(event)}</div>`;
    return html`<section class="stack" aria-label=${t('why.explanation', { id: this.eventId })}>${head}
      ${rows.length === 0 ? html`<p>${t('why.no_webhooks')}</p>` : html`<p class="strong" role="status">${summary}</p>${dataTable({ caption: t('why.webhooks'), columns: this.webhookColumns(), rows, rowKey: (row) => row.webhook })}`}
      ${isComplete ? nothing : html`<p class="searched">${icon('info')}<span>${t('why.incomplete', { count: rows.length })}</span></p>`}${sql}</section>`;
  }

  renderFacts(event) {
    const fact = (label, value) => html`<div><dt>${label}</dt><dd>${value}</dd></div>`;
    return html`<dl class="event-facts">${fact(t('why.column.at'), html`${relativeTime(this.app, event.created_at)} <span class="muted">${format.exactTime(event.created_at)}</span>`)}
      ${event.key === null ? nothing : fact(t('why.column.key'), html`<span class="mono">${event.key}</span>`)}${fact(t('why.event_id'), html`<span class="mono">${event.id}</span>`)}
      ${fact(t('why.by.webhook_id'), html`<span class="row"><span class="mono">${event.webhook_id}</span>${copyButton({ what: t('why.by.webhook_id'), text: event.webhook_id })}</span>`)}</dl>`;
  }

  webhookColumns() {
    const { app } = this;
    return [
      { label: t('why.column.webhook'), isLead: true, cell: (row) => html`<a class="strong break" href=${app.href(`/webhooks/${row.webhook}`)}>${row.name}</a>` },
      { label: t('why.column.matched'), className: 'status-column', cell: (row) => statusBadge(row.matched ? 'matched' : 'unmatched', t(row.matched ? 'why.matched' : 'why.not_matched')) },
      { label: t('why.column.outcome'), cell: (row) => this.renderOutcome(row) },
      { label: t('why.column.reason'), className: 'answer-cell', cell: (row) => this.renderReason(row) },
    ];
  }

  renderOutcome(row) {
    if (!row.outcome) return html`<span class="muted">${t('table.none')}</span>`;
    const href = this.app.href(`/webhooks/${row.webhook}/deliveries`, { event_id: this.eventId });
    return html`<div>${statusBadge(row.outcome, t(`why.outcome.${row.outcome}`))}
      ${row.attempts > 0 ? html`<span class="sub"><a href=${href} aria-label="${t('why.attempts', { count: row.attempts })}, ${t('why.see_attempts', { name: row.name })}">${t('why.attempts', { count: row.attempts })}</a></span>` : nothing}</div>`;
  }

  renderReason(row) {
    const times = [row.last_attempt_at ? t('why.last_attempt', { time: format.relativeTime(row.last_attempt_at, this.app.now()) }) : null, row.next_attempt_at ? t('why.next_attempt', { time: Date.parse(row.next_attempt_at) <= this.app.now() ? t('pending.due') : format.relativeTime(row.next_attempt_at, this.app.now()) }) : null].filter(Boolean).join(', ');
    const text = row.reason ? format.withLocalTimes(sentence(row.reason)) : (row.outcome ? t(`why.outcome.${row.outcome}.text`) : null);
    return html`<div>${text ? html`<span class="break">${text}</span>` : nothing}${row.last_error && row.outcome !== 'delivered' ? html`<span class="sub bad break">${row.last_error}</span>` : nothing}${times ? html`<span class="sub">${times}</span>` : nothing}</div>`;
  }
}

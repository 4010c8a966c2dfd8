// #/webhooks/5/history: who changed the webhook, when, from what to what.

import { Resource } from '../resource.js';
import { Screen } from '../screen.js';
import { button, emptyState, format, hasText, html, nothing, relativeTime, repeat, showSql, t, whenLoaded } from '../ui.js';
import { webhookHeader } from '../webhook_actions.js';

const hidden = new Set(['id', 'created_at', 'updated_at', 'organization_id', 'organization']);

export default class HistoryScreen extends Screen {
  constructor() {
    super();
    this.loaded = new Resource(this, (signal) => this.app.call('webhook', { id: this.id }, { signal }));
    this.newest = new Resource(this, (signal) => this.app.call('history', { id: this.id }, { signal }));
    this.older = [];
  }

  get id() {
    return this.params.id;
  }

  get pageTitle() {
    return t('webhook.tab.history');
  }

  routed() {
    this.loaded.load();
    this.newest.load();
  }

  // However the newest page was loaded, also by "Try again".
  willUpdate() {
    if (this.firstPage === this.newest.value) return;
    this.firstPage = this.newest.value;
    this.older = [];
    this.next = this.firstPage?.next ?? null;
  }

  async loadOlder() {
    this.isLoading = true;
    this.requestUpdate();
    try {
      const { changes, next } = await this.app.call('history', { id: this.id, before: this.next });
      this.older = [...this.older, ...changes];
      this.next = next;
    } catch (error) {
      this.app.fail(error);
    }
    this.isLoading = false;
    this.requestUpdate();
  }

  render() {
    return html`${webhookHeader(this.app, { id: this.params.id, current: 'history', loaded: this.loaded.value, onChange: () => this.routed() })}
      ${whenLoaded(this.newest, ({ changes }) => this.renderChanges([...changes, ...this.older]))}`;
  }

  renderChanges(changes) {
    if (changes.length === 0) return emptyState({ iconName: 'clock', title: t('history.empty'), text: t('history.empty.text') });
    return html`<div class="stack"><p class="muted">${t('history.text')}</p><ol class="card flush">${repeat(changes, (change) => change.id, (change) => this.renderChange(change))}</ol>
      ${this.next ? html`<div>${button({ label: t('action.older'), isBusy: this.isLoading, onClick: () => this.loadOlder() })}</div>` : nothing}${showSql('history', { id: this.id })}</div>`;
  }

  renderChange(change) {
    const names = [...new Set([...Object.keys(change.old ?? {}), ...Object.keys(change.new ?? {})])].filter((name) => !hidden.has(name));
    const operation = hasText(`history.${change.operation}`) ? t(`history.${change.operation}`) : change.operation;
    return html`<li class="change"><div><p class="strong">${operation}</p><p class="small muted">${t('history.version', { version: format.number(change.version) })} · ${relativeTime(this.app, change.changed_at)} · ${format.shortDateTime(change.changed_at)}</p>
        <p class="small break">${change.subject ? html`${change.subject} <span class="muted">${t('history.as', { user: change.user })}</span>` : change.user}</p></div>
      <dl>${names.map((name) => this.renderField(name, change))}</dl></li>`;
  }

  renderField(name, { old, new: current }) {
    const label = hasText(`form.${name}`) ? t(`form.${name}`) : name;
    const before = old?.[name];
    const after = current?.[name];
    const isSecret = before === '***' && after === '***';
    return html`<dt>${label}</dt><dd class="break">${isSecret ? html`<span class="muted">${t('history.secret')}</span>` : html`${before === undefined || before === null ? nothing : html`<del class="mono"><span class="visually-hidden">${t('history.before')} </span>${shown(before)}</del> `}
      ${after === undefined ? nothing : html`<ins class="mono"><span class="visually-hidden">${t('history.after')} </span>${shown(after)}</ins>`}`}</dd>`;
  }
}

function shown(value) {
  if (value === null) return t('table.none');
  if (Array.isArray(value) && value.every((item) => typeof item !== 'object')) return value.join(', ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

// #/webhooks/5/pending and #/webhooks/5/pending?state=dead: deliveries that wait, and those that were given up.

import { redeliver } from '../delivery_actions.js';
import { Resource } from '../resource.js';
import { Screen } from '../screen.js';
import { banner, button, dataTable, emptyState, format, html, ifDefined, linkButton, menu, nothing, relativeTime, showSql, skeletonTable, t, whenLoaded } from '../ui.js';
import { circuitWords, webhookHeader } from '../webhook_actions.js';

export default class PendingScreen extends Screen {
  constructor() {
    super();
    this.webhook = new Resource(this, (signal) => this.app.call('webhook', { id: this.params.id }, { signal }));
    this.list = new Resource(this, (signal) => this.app.call('pending', this.args, { signal }));
    this.more = [];
    this.next = null;
  }

  get pageTitle() {
    return t('webhook.tab.pending');
  }

  get state() {
    return this.query.state === 'dead' ? 'dead' : 'pending';
  }

  get args() {
    return { webhook: this.params.id, state: this.state };
  }

  routed() {
    const isOther = this.shownState !== undefined && this.shownState !== this.state;
    this.shownState = this.state;
    this.reload({ clear: isOther });
  }

  async reload({ clear = false } = {}) {
    this.webhook.load();
    await this.list.load({ clear });
  }

  // However the first page was loaded, also by "Try again".
  willUpdate() {
    const { value } = this.list;
    if (value === this.firstPage) return;
    Object.assign(this, { firstPage: value, more: [], next: value?.next ?? null });
  }

  async loadMore() {
    this.isLoadingMore = true;
    this.requestUpdate();
    const { state } = this;
    try {
      const { deliveries, next } = await this.app.call('pending', { ...this.args, after: this.next });
      if (state === this.state) Object.assign(this, { more: [...this.more, ...deliveries], next });
    } catch (error) {
      this.app.fail(error);
    }
    this.isLoadingMore = false;
    this.requestUpdate();
  }

  // One event's delivery, or all that are pending.
  async cancel(row = null) {
    const args = { id: this.params.id, event_id: row?.event_id };
    const pending = this.webhook.value?.summary.pending;
    const title = row ? t('pending.cancel.title', { event: row.event, key: row.key ?? '' }) : pending ? t('pending.cancel_all.title', { count: pending.count, n: format.boundedCount(pending) }) : t('pending.cancel_all');
    const body = html`<p>${t('pending.cancel.text')}</p><p>${t('pending.cancel.in_flight')}</p>`;
    if (!(await this.app.confirm({ title, body, confirm: t(row ? 'pending.cancel.confirm' : 'pending.cancel_all.confirm'), cancel: t('pending.cancel.keep'), isDanger: true, sql: ['cancel', args] }))) return;
    try {
      const { cancelled } = await this.app.write('cancel', args);
      this.app.toast(t('pending.cancelled', { count: cancelled }));
    } catch (error) {
      await this.app.fail(error);
    }
    await this.reload();
    await this.updateComplete;
    // What opened the question may be gone.
    if (this.getRootNode().activeElement === null) this.querySelector('.segments [aria-current]')?.focus();
  }

  // redeliver() takes attempts: the newest one of the event to this webhook.
  async redeliver(row) {
    try {
      const { logs } = await this.app.call('logs', { webhook: this.params.id, event_id: row.event_id, page_size: 1 });
      if (logs.length === 0) await this.app.fail({ kind: 'not_found', message: t('pending.no_attempt') });
      else if (await redeliver(this.app, [logs[0].id])) this.reload();
    } catch (error) {
      this.app.fail(error);
    }
  }

  // --- rendering ---

  render() {
    return html`${webhookHeader(this.app, { id: this.params.id, current: 'pending', loaded: this.webhook.value, onChange: () => this.reload() })}
      <div class="toolbar">${this.renderTabs()}<span class="push row">${this.renderActions()}
        ${button({ label: t('list.refresh'), iconName: 'replay', iconOnly: true, kind: 'quiet', isBusy: this.list.isLoading, onClick: () => this.reload() })}</span></div>
      ${this.renderReason()}${whenLoaded(this.list, ({ deliveries }) => this.renderList([...deliveries, ...this.more]), skeletonTable(6))}`;
  }

  renderTabs() {
    const summary = this.webhook.value?.summary;
    const path = `/webhooks/${this.params.id}/pending`;
    const tab = (state) => html`<a class="segment" href=${this.app.href(path, { state: state === 'dead' ? 'dead' : null })} aria-current=${ifDefined(this.state === state ? 'page' : undefined)}>${t(`status.${state}`)}${summary ? html` <span class="count">${format.boundedCount(summary[state])}</span>` : nothing}</a>`;
    return html`<nav class="segments" aria-label=${t('pending.states')}>${tab('pending')}${tab('dead')}</nav>`;
  }

  renderActions() {
    const rows = this.list.value?.deliveries ?? [];
    if (!this.app.can.write || rows.length === 0) return nothing;
    if (this.state === 'pending') return button({ label: t('pending.cancel_all'), kind: 'danger', onClick: () => this.cancel() });
    return linkButton({ label: t('pending.replay_all'), kind: 'primary', iconName: 'replay', href: this.app.href(`/webhooks/${this.params.id}/replay`, { only_failed: '1', range: 'all' }) });
  }

  // Why deliveries wait, in words.
  renderReason() {
    const { webhook, summary } = this.webhook.value ?? {};
    if (!webhook || this.state !== 'pending' || summary.pending.count === 0) return nothing;
    const circuit = circuitWords(this.app, summary);
    const text = !webhook.is_active ? t('pending.reason.off') : circuit ? t('pending.reason.failing', { circuit }) : this.app.session.server.is_paused ? t('pending.reason.paused') : null;
    return text ? html`<div class="stack">${banner({ kind: 'info', text })}<div></div></div>` : nothing;
  }

  renderList(rows) {
    const { state } = this;
    if (rows.length === 0) return emptyState({ iconName: 'good', title: t(`pending.empty.${state}`), text: t(`pending.empty.${state}.text`) });
    return html`<div class="stack"><p class="muted small">${t(`pending.about.${state}`)}</p>${dataTable({ caption: t(`status.${state}`), columns: this.columns(), rows, rowKey: (row) => row.event_id, isBusy: this.list.isLoading })}
      ${this.next === null ? nothing : html`<div>${button({ label: t('list.more'), isBusy: this.isLoadingMore, onClick: () => this.loadMore() })}</div>`}${showSql('pending', this.args)}</div>`;
  }

  columns() {
    const { app } = this;
    const isDead = this.state === 'dead';
    return [
      { label: t('deliveries.column.event'), isLead: true, cell: (row) => html`<div><a class="mono strong break" href=${app.href(`/webhooks/${this.params.id}/deliveries`, { event_id: row.event_id })}>${row.event}</a></div>` },
      { label: t('deliveries.key'), cell: (row) => (row.key === null ? nothing : html`<span class="mono">${row.key}</span>`) },
      { label: t('pending.column.attempts'), isNumber: true, cell: (row) => format.number(row.attempts) },
      { label: t('pending.column.error'), className: 'answer-cell', cell: (row) => (row.last_error ? html`<span class="bad break">${row.last_error}</span>` : row.attempts === 0 ? html`<span class="muted">${t('pending.untried')}</span>` : nothing) },
      { label: t('pending.column.created'), isNumber: true, className: 'time-cell', cell: (row) => relativeTime(app, row.created_at) },
      isDead ? { label: t('pending.column.dead'), isNumber: true, className: 'time-cell', cell: (row) => relativeTime(app, row.updated_at) }
        : { label: t('pending.column.next'), isNumber: true, className: 'time-cell', cell: (row) => this.renderNext(row) },
      { label: t('action.more'), isLabelHidden: true, isCorner: true, cell: (row) => menu({ label: t('pending.menu', { event: row.event, key: row.key ?? row.event_id }), items: this.menuItems(row) }) },
    ];
  }

  renderNext(row) {
    if (!row.next_attempt_at) return nothing;
    return Date.parse(row.next_attempt_at) <= this.app.now() ? t('pending.due') : relativeTime(this.app, row.next_attempt_at);
  }

  menuItems(row) {
    const { app } = this;
    const items = [
      { label: t('deliveries.menu.event'), icon: 'list', href: app.href(`/webhooks/${this.params.id}/deliveries`, { event_id: row.event_id }) },
      { label: t('deliveries.menu.why'), icon: 'help', href: app.href('/why', { event_id: row.event_id }) },
    ];
    if (!app.can.write) return items;
    if (row.attempts > 0) items.unshift({ label: t(this.state === 'dead' ? 'deliveries.redeliver' : 'pending.send_now'), icon: 'replay', onClick: () => this.redeliver(row) });
    if (this.state === 'pending') items.push('separator', { label: t('pending.cancel'), icon: 'cross', isDanger: true, onClick: () => this.cancel(row) });
    return items;
  }
}

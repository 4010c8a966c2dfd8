// #/webhooks?search=…&status=…: the list of webhooks.

import { Resource } from '../resource.js';
import { Screen } from '../screen.js';
import {
  banner, bars, button, dataTable, emptyState, format, html, icon, linkButton, menu, nothing, pageHeader, relativeTime, selectInput, sentence, showSql, skeletonTable, statusBadge,
  switchControl, t, whenLoaded,
} from '../ui.js';
import { circuitWords, deleteWebhook, eventLines, statusOf, switchWebhook } from '../webhook_actions.js';

const kTypingMs = 250;

export default class WebhooksScreen extends Screen {
  constructor() {
    super();
    this.list = new Resource(this, (signal) => this.app.call('webhooks', this.args, { signal }));
    this.check = new Resource(this, (signal) => this.app.call('check', { organization: this.app.organization ?? undefined }, { signal }));
    this.more = [];
    this.next = null;
    this.switching = new Set();
  }

  get pageTitle() {
    return t('app.nav.webhooks');
  }

  get args() {
    const { search, status } = this.query;
    return { organization: this.app.organization ?? undefined, search: search || undefined, status: status || undefined };
  }

  get isFiltered() {
    return Boolean(this.query.search || this.query.status);
  }

  routed() {
    this.reload();
    if (this.app.session.level === 'operate') this.check.load();
  }

  reload() {
    return this.list.load();
  }

  // However the first page was loaded, also by "Try again".
  willUpdate() {
    if (this.firstPage === this.list.value) return;
    this.firstPage = this.list.value;
    this.more = [];
    this.next = this.firstPage?.next ?? null;
  }

  async loadMore() {
    this.isLoadingMore = true;
    this.requestUpdate();
    try {
      const { firstPage } = this;
      const { webhooks, next } = await this.app.call('webhooks', { ...this.args, after: this.next });
      if (firstPage === this.firstPage) Object.assign(this, { more: [...this.more, ...webhooks], next });
    } catch (error) {
      this.app.fail(error);
    }
    this.isLoadingMore = false;
    this.requestUpdate();
  }

  typed(value) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.app.setQuery({ search: value.trim() }, { replace: true }), kTypingMs);
  }

  async switchRow(row, isOn) {
    this.switching.add(row.id);
    this.requestUpdate();
    const saved = await switchWebhook(this.app, row, isOn);
    this.switching.delete(row.id);
    if (saved) Object.assign(row, { is_active: saved.is_active, updated_at: saved.updated_at, disabled_reason: saved.disabled_reason });
    else this.reload();
    this.requestUpdate();
  }

  async deleteRow(row) {
    if (await deleteWebhook(this.app, row, row)) this.reload();
  }

  render() {
    const create = linkButton({ label: t('list.new'), href: this.app.href('/webhooks/new'), kind: 'primary', iconName: 'plus' });
    const isEmpty = this.list.value?.webhooks.length === 0 && !this.isFiltered;
    return html`${pageHeader({ title: t('app.nav.webhooks'), description: t('list.description'), actions: this.app.can.write && !isEmpty ? create : nothing })}
      ${this.renderServer()}${isEmpty ? nothing : this.renderToolbar()}
      ${whenLoaded(this.list, (value) => this.renderList(value, create), skeletonTable(6))}`;
  }

  // What webhook_check() finds about the server. What is found about one webhook stands on its own page.
  renderServer() {
    const findings = (this.check.value?.findings ?? []).filter((finding) => finding.webhook === null && finding.action !== 'resume');
    if (findings.length === 0) return nothing;
    const looks = { error: 'bad', warning: 'warn', info: 'info' };
    return html`<details class="server-findings" ?open=${findings.some((finding) => finding.severity === 'error')}><summary>${icon('chevron')}${t('list.server', { count: findings.length })}</summary>
      <div class="findings">${findings.map((finding) => banner({ kind: looks[finding.severity] ?? 'info', title: html`<span class="visually-hidden">${t(`status.${finding.severity}`)}: </span>${sentence(finding.finding)}`, text: finding.hint ? sentence(finding.hint) : null }))}</div></details>`;
  }

  renderToolbar() {
    const options = ['', 'active', 'failing', 'inactive'].map((value) => ({ value, label: t(`list.status.${value || 'all'}`) }));
    return html`<div class="toolbar" role="search">
      <input class="search" type="search" aria-label=${t('list.search')} placeholder=${t('list.search')} .value=${this.query.search ?? ''} maxlength="200" @input=${(event) => this.typed(event.target.value)}>
      ${selectInput({ value: this.query.status ?? '', isAuto: true, options, onChange: (status) => this.app.setQuery({ status }) })({ label: t('list.status') })}
      <span class="push muted small row">${this.list.loadedAt ? t('list.as_of', { time: format.clockTimeWithSeconds(new Date(this.list.loadedAt)) }) : nothing}
      ${button({ label: t('list.refresh'), iconName: 'replay', iconOnly: true, kind: 'quiet', isBusy: this.list.isLoading, onClick: () => this.reload() })}</span></div>`;
  }

  renderList({ webhooks }, create) {
    const rows = [...webhooks, ...this.more];
    if (rows.length === 0) return this.isFiltered ? this.renderNoMatch() : this.renderEmpty(create);
    return html`<div class="stack">${dataTable({ caption: t('app.nav.webhooks'), columns: this.columns(), rows, rowKey: (row) => row.id, rowClass: () => 'clickable', isWide: true, isBusy: this.list.isLoading })}
      ${this.next === null ? nothing : html`<div>${button({ label: t('list.more'), isBusy: this.isLoadingMore, onClick: () => this.loadMore() })}</div>`}
      ${showSql('webhooks', this.args)}</div>`;
  }

  renderNoMatch() {
    return emptyState({
      iconName: 'search', title: t('list.no_match'), text: t('list.no_match.text'),
      action: button({ label: t('list.no_match.action'), onClick: () => this.app.setQuery({ search: null, status: null }) }),
    });
  }

  renderEmpty(create) {
    const step = (n) => html`<li class="step"><span class="step-number" aria-hidden="true">${n}</span><div><h3>${t(`list.empty.${n}.title`)}</h3><p class="muted">${t(`list.empty.${n}.text`)}</p></div></li>`;
    return html`<div class="card empty-list"><div class="stack">${icon('webhook')}<h2>${t('list.empty')}</h2><ol class="steps">${[1, 2, 3].map(step)}</ol>
      ${this.app.can.write ? html`<div class="row">${create}<a class="button quiet" href=${this.app.href('/help/test-url')}>${t('list.empty.help')}</a></div>` : html`<p class="muted">${t('list.empty.read_only')}</p>`}</div></div>`;
  }

  columns() {
    const { app } = this;
    const nameCell = (row) => html`<div><a class="strong break" href=${app.href(`/webhooks/${row.id}`)}>${row.name}</a><span class="sub mono host" title=${row.host}>${row.host}</span></div>`;
    return [
      app.can.write ? { label: t('list.column.switch'), isLabelHidden: true, className: 'switch-cell', cell: (row) => this.renderSwitch(row) } : null,
      { label: t('list.column.name'), isLead: true, className: 'name-cell', cell: nameCell },
      app.can.choose_organization && app.organization === null ? { label: t('app.organization'), cell: (row) => html`<span class="break">${row.organization}</span>` } : null,
      { label: t('list.column.events'), className: 'events-cell', cell: (row) => html`<div class="small" title=${row.events.join('\n')}>${eventLines(row.events).map((line) => html`<span class="line">${line}</span>`)}</div>` },
      { label: t('list.column.hours'), className: 'bars-cell', cell: (row) => (row.attempts > 0 ? bars(row.hours, hoursLabel(row)) : html`<span class="muted small">${t('list.no_traffic')}</span>`) },
      { label: t('list.column.success'), isNumber: true, cell: successCell },
      { label: t('list.column.p95'), isNumber: true, cell: (row) => html`<span class="nowrap">${format.milliseconds(row.p95_ms)}</span>` },
      { label: t('list.column.pending'), isNumber: true, cell: (row) => this.renderCount(row, 'pending') },
      { label: t('list.column.dead'), isNumber: true, cell: (row) => this.renderCount(row, 'dead') },
      { label: t('list.column.status'), className: 'status-cell', cell: (row) => this.renderStatus(row) },
      { label: t('action.more'), isLabelHidden: true, isCorner: true, cell: (row) => menu({ label: t('list.menu', { name: row.name }), items: this.menuItems(row) }) },
    ].filter(Boolean);
  }

  renderSwitch(row) {
    return switchControl({ label: t('list.switch', { name: row.name }), isOn: row.is_active, isBusy: this.switching.has(row.id), onChange: (isOn) => this.switchRow(row, isOn) });
  }

  renderCount(row, state) {
    if (row[state].count === 0) return html`<span class="muted">0</span>`;
    return html`<a class=${state === 'dead' ? 'bad' : ''} href=${this.app.href(`/webhooks/${row.id}/pending`, { state: state === 'dead' ? 'dead' : null })}>${format.boundedCount(row[state])}</a>`;
  }

  renderStatus(row) {
    const circuit = circuitWords(this.app, row);
    const error = row.disabled_reason ?? row.filter_error ?? (circuit ? row.last_error : null);
    const last = !circuit && row.is_active && row.last_success_at ? html`${t('list.last_success')} ${relativeTime(this.app, row.last_success_at)}` : null;
    return html`<div>${statusBadge(statusOf(row))}${circuit ? html`<span class="sub">${circuit}</span>` : nothing}
      ${error ? html`<span class="sub error-line" title=${error}>${error}</span>` : nothing}${last && !error ? html`<span class="sub">${last}</span>` : nothing}</div>`;
  }

  menuItems(row) {
    const { app } = this;
    const path = `/webhooks/${row.id}`;
    const look = { label: t('list.menu.log'), icon: 'list', href: app.href(`${path}/deliveries`) };
    if (!app.can.write) return [look];
    return [
      { label: t('list.menu.test'), icon: 'send', href: app.href(`${path}/test`) }, look, { label: t('action.edit'), icon: 'edit', href: app.href(`${path}/edit`) },
      { label: t('webhook.duplicate'), icon: 'copy', href: app.href('/webhooks/new', { from: row.id }) }, 'separator',
      { label: t('action.delete'), icon: 'trash', isDanger: true, onClick: () => this.deleteRow(row) },
    ];
  }
}

const hoursLabel = (row) => t('list.hours_label', { attempts: format.number(row.attempts), failed: format.number(row.attempts - row.successes) });

function successCell(row) {
  if (row.success_percent === null) return html`<span class="muted">${t('table.none')}</span>`;
  const failed = row.attempts - row.successes;
  return html`<div class="nowrap"><span class=${row.success_percent < 90 ? 'bad strong' : 'strong'}>${format.percent(row.success_percent)}</span>
    <span class="sub">${failed > 0 ? t('list.failed_of', { failed: format.number(failed), attempts: format.number(row.attempts) }) : t('list.attempts', { count: row.attempts })}</span></div>`;
}

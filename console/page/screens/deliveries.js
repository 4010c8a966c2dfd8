// #/webhooks/5/deliveries and, across webhooks, #/deliveries: the log. Its filters are the address's:
//   ?status=failed&event=contact.*&key=88&event_id=5&time=24h (or since=…&until=…)&follow=1

import { answerWords, canRedeliver, kRedeliverMax, logStatus, redeliver, timeOf } from '../delivery_actions.js';
import { Resource } from '../resource.js';
import { Screen } from '../screen.js';
import {
  banner, button, dataTable, emptyState, format, html, icon, ifDefined, linkButton, live, menu, nothing, pageHeader, relativeTime, selectInput, showSql, skeletonTable, statusBadge, t, whenLoaded,
} from '../ui.js';
import { webhookHeader } from '../webhook_actions.js';

const kTypingMs = 300;
const kFollowMs = 2000;
const kFollowedRowsMax = 500;
const kTimes = { '1h': 3600, '24h': 86400, '7d': 604800, '30d': 2592000 };
const kFilters = ['status', 'event', 'key', 'event_id', 'time', 'since', 'until'];

export default class DeliveriesScreen extends Screen {
  constructor() {
    super();
    this.webhook = new Resource(this, (signal) => this.app.call('webhook', { id: this.params.id }, { signal }));
    this.types = new Resource(this, (signal) => this.app.call('event_types', {}, { signal }));
    this.list = new Resource(this, (signal) => this.app.call('logs', this.args, { signal }));
    Object.assign(this, { rows: [], next: null, searchedTo: null, cursor: null, newest: null, newCount: 0 });
    this.selected = new Set();
    this.fresh = new Set();
    this.onVisibility = () => this.scheduleFollow();
  }

  connectedCallback() {
    super.connectedCallback();
    document.addEventListener('visibilitychange', this.onVisibility);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    document.removeEventListener('visibilitychange', this.onVisibility);
    clearTimeout(this.followTimer);
    clearTimeout(this.typingTimer);
  }

  get pageTitle() {
    return t('deliveries.title');
  }

  get isFiltered() {
    return kFilters.some((name) => this.query[name]);
  }

  get isFollowing() {
    return this.query.follow === '1' && !this.query.until;
  }

  // Without the time: it is fixed as the list is loaded, so that older pages have the same range.
  get scope() {
    const { id } = this.params;
    return { webhook: id, organization: id ? undefined : this.app.organization ?? undefined };
  }

  get args() {
    const { status, event, key, event_id: eventId, until } = this.query;
    return { ...this.scope, status: status || undefined, event: event || undefined, key: key || undefined, event_id: eventId || undefined, since: this.since, until: isTime(until) ? until : undefined };
  }

  routed() {
    const filters = JSON.stringify([this.app.organization, ...kFilters.map((name) => this.query[name] ?? '')]);
    if (this.params.id && !this.webhook.value) this.webhook.load();
    if (!this.types.value) this.types.load();
    if (filters !== this.filters) {
      const isFirst = this.filters === undefined;
      this.filters = filters;
      this.selected.clear();
      this.load({ clear: !isFirst });
    } else if (this.isFollowing !== this.wasFollowing) {
      this.load();
    }
    this.wasFollowing = this.isFollowing;
  }

  async load({ clear = false } = {}) {
    const { time, since } = this.query;
    this.since = Object.hasOwn(kTimes, time ?? '') ? new Date(this.app.now() - kTimes[time] * 1000).toISOString() : isTime(since) ? since : undefined;
    clearTimeout(this.followTimer);
    this.fresh.clear();
    this.newCount = 0;
    this.followError = null;
    const filters = this.filters;
    const newest = this.isFollowing ? await this.newestId() : null;
    if (filters !== this.filters) return;
    this.newest = newest;
    await this.list.load({ clear });
    if (filters === this.filters) this.scheduleFollow();
  }

  // However the first page was loaded, also by "Try again".
  willUpdate() {
    const { value } = this.list;
    if (value === this.firstPage) return;
    this.firstPage = value;
    const { logs, next, searched_to: searchedTo } = value ?? { logs: [], next: null, searched_to: null };
    Object.assign(this, { rows: logs, next, searchedTo, cursor: this.newest ?? logs[0]?.id ?? null });
    this.keepSelection();
  }

  // The newest row that any filter could find: what comes after it is new. It is asked for before the list, so that no row
  // falls between the two.
  async newestId() {
    try {
      const { logs } = await this.app.call('logs', { ...this.scope, page_size: 1 });
      return logs[0]?.id ?? '0';
    } catch {
      return null;
    }
  }

  keepSelection() {
    const there = new Set(this.rows.map((row) => row.id));
    this.selected = new Set([...this.selected].filter((id) => there.has(id)));
  }

  async loadOlder() {
    this.isLoadingOlder = true;
    this.requestUpdate();
    const { filters } = this;
    try {
      const { logs, next, searched_to: searchedTo } = await this.app.call('logs', { ...this.args, before: this.next });
      if (filters === this.filters) Object.assign(this, { rows: [...this.rows, ...logs], next, searchedTo });
    } catch (error) {
      this.app.fail(error);
    }
    this.isLoadingOlder = false;
    this.requestUpdate();
  }

  // --- following ---

  scheduleFollow() {
    clearTimeout(this.followTimer);
    if (!this.isFollowing || !this.isConnected || document.visibilityState !== 'visible') return;
    this.followTimer = setTimeout(() => this.followOnce(), kFollowMs);
  }

  async followOnce() {
    const { filters } = this;
    if (this.cursor === null) return this.load();
    try {
      const { logs, next } = await this.app.call('logs', { ...this.args, after: this.cursor });
      if (filters !== this.filters || !this.isFollowing) return;
      this.followError = null;
      this.cursor = next ?? logs.at(-1)?.id ?? this.cursor;
      this.prepend(logs);
    } catch (error) {
      // The dialog that asks to sign in must not come again every 2 s.
      if (error.kind === 'unauthorized') {
        this.app.setQuery({ follow: null }, { replace: true });
        return;
      }
      this.followError = error;
    }
    this.requestUpdate();
    this.scheduleFollow();
  }

  // logs: the oldest first.
  prepend(logs) {
    const known = new Set(this.rows.map((row) => row.id));
    const added = logs.filter((row) => !known.has(row.id)).reverse();
    if (added.length === 0) return;
    this.fresh = new Set(added.map((row) => row.id));
    this.newCount += added.length;
    this.rows = [...added, ...this.rows];
    if (this.rows.length > kFollowedRowsMax) {
      this.rows = this.rows.slice(0, kFollowedRowsMax);
      Object.assign(this, { next: this.rows.at(-1).id, searchedTo: null });
      this.keepSelection();
    }
  }

  // --- choosing ---

  typed(name, value) {
    clearTimeout(this.typingTimer);
    this.typingTimer = setTimeout(() => this.app.setQuery({ [name]: value.trim() }, { replace: true }), kTypingMs);
  }

  chooseTime(value) {
    if (value !== 'custom') return this.app.setQuery({ time: value, since: null, until: null });
    const now = this.app.now();
    return this.app.setQuery({ time: null, since: new Date(now - 86400000).toISOString(), until: new Date(now).toISOString() });
  }

  chooseBound(name, value) {
    const date = new Date(value);
    this.app.setQuery({ [name]: value === '' || Number.isNaN(date.getTime()) ? null : date.toISOString() });
  }

  clearFilters() {
    this.app.setQuery(Object.fromEntries(kFilters.map((name) => [name, null])));
  }

  select(id, isSelected) {
    if (isSelected) this.selected.add(id);
    else this.selected.delete(id);
    this.requestUpdate();
  }

  selectAll(isSelected) {
    this.selected = new Set(isSelected ? this.rows.filter(canRedeliver).slice(0, kRedeliverMax).map((row) => row.id) : []);
    this.focusBar();
  }

  // The bar above the list has changed under the focus.
  async focusBar() {
    this.requestUpdate();
    await this.updateComplete;
    this.querySelector('.list-bar :is(input, button)')?.focus();
  }

  async redeliver(ids) {
    this.isBusy = true;
    this.requestUpdate();
    const isSent = await redeliver(this.app, ids);
    this.isBusy = false;
    if (isSent) {
      if (this.selected.size > 0) this.selectAll(false);
      if (!this.isFollowing) this.load();
    }
    this.requestUpdate();
  }

  // --- rendering ---

  render() {
    const { id } = this.params;
    const header = id
      ? webhookHeader(this.app, { id, current: 'deliveries', loaded: this.webhook.value, onChange: () => this.webhook.load() })
      : pageHeader({ title: t('deliveries.title'), description: t('deliveries.description') });
    return html`${header}${this.renderFilters()}${this.renderBar()}${whenLoaded(this.list, () => this.renderList(), skeletonTable(8))}`;
  }

  renderFilters() {
    const { query } = this;
    const label = (key, control, size = '') => html`<label class="filter ${size}">${t(`deliveries.${key}`)}${control}</label>`;
    const statuses = ['', 'success', 'failed', 'test'].map((value) => ({ value, label: t(`deliveries.status.${value || 'all'}`) }));
    const isCustom = Boolean(query.since || query.until);
    const times = ['', ...Object.keys(kTimes), 'custom'].map((value) => ({ value, label: t(`deliveries.time.${value || 'all'}`) }));
    const text = (name, list) => html`<input type="search" class="mono" .value=${live(query[name] ?? '')} placeholder=${t(`deliveries.${name}.placeholder`)} maxlength="400" list=${ifDefined(list)}
      autocomplete="off" autocapitalize="off" spellcheck="false" @input=${(event) => this.typed(name, event.target.value)}>`;
    const bound = (name) => label(name, html`<input type="datetime-local" class="auto" .value=${live(localTime(query[name]))} @change=${(event) => this.chooseBound(name, event.target.value)}>`);
    return html`<div class="toolbar filters" role="search" aria-label=${t('deliveries.filters')}>
      ${label('status', selectInput({ value: query.status ?? '', options: statuses, onChange: (status) => this.app.setQuery({ status }) })({}))}
      ${label('event', text('event', 'known-events'), 'wide')}${label('key', text('key'), 'short')}
      ${label('time', selectInput({ value: isCustom ? 'custom' : query.time ?? '', options: times, onChange: (time) => this.chooseTime(time) })({}))}
      ${isCustom ? html`${bound('since')}${bound('until')}` : nothing}
      ${query.event_id ? html`<span class="chip"><span class="mono">${t('deliveries.of_event', { id: query.event_id })}</span>${button({ label: t('deliveries.of_event.remove'), iconName: 'cross', iconOnly: true, kind: 'quiet', isSmall: true, onClick: () => this.app.setQuery({ event_id: null }) })}</span>` : nothing}
      ${this.isFiltered ? button({ label: t('deliveries.clear'), kind: 'quiet', onClick: () => this.clearFilters() }) : nothing}
      <datalist id="known-events">${(this.types.value?.categories ?? []).flatMap(({ category, events }) => [`${category}.*`, ...events.map((event) => event.name)]).map((name) => html`<option value=${name}></option>`)}</datalist>
    </div>`;
  }

  renderBar() {
    const count = this.selected.size;
    if (count > 0) {
      return html`<div class="list-bar selecting" role="region" aria-label=${t('deliveries.selected', { count })}><span class="strong" role="status">${t('deliveries.selected', { count })}</span>
        ${button({ label: t('deliveries.redeliver'), kind: 'primary', isSmall: true, iconName: 'replay', isBusy: this.isBusy, onClick: () => this.redeliver([...this.selected]) })}
        ${button({ label: t('deliveries.deselect'), kind: 'quiet', isSmall: true, onClick: () => this.selectAll(false) })}
        ${count === kRedeliverMax ? html`<span class="muted small">${t('deliveries.select_all.hint')}</span>` : nothing}</div>`;
    }
    const words = !this.isFollowing ? (this.list.loadedAt ? t('list.as_of', { time: format.clockTimeWithSeconds(new Date(this.list.loadedAt)) }) : '') : this.newCount > 0 ? t('deliveries.following', { count: this.newCount }) : t('deliveries.following.none');
    return html`<div class="list-bar">${this.app.can.write && this.rows.some(canRedeliver) ? html`<label class="check"><input type="checkbox" .checked=${live(false)} @change=${(event) => this.selectAll(event.target.checked)}><span>${t('deliveries.select_all')}</span></label>` : nothing}
      <span class="push muted small row" role="status">${this.isFollowing ? html`<span class="live-dot"></span>` : nothing}${words}</span>
      <button type="button" class="button small" aria-pressed=${this.isFollowing ? 'true' : 'false'} aria-disabled=${ifDefined(this.query.until ? 'true' : undefined)} title=${t(this.query.until ? 'deliveries.follow.until' : 'deliveries.follow.title')}
        @click=${() => !this.query.until && this.app.setQuery({ follow: this.isFollowing ? null : '1' }, { replace: true })}>${icon(this.isFollowing ? 'pause' : 'play')}${t('deliveries.follow')}</button>
      ${button({ label: t('list.refresh'), iconName: 'replay', iconOnly: true, isSmall: true, kind: 'quiet', isBusy: this.list.isLoading, onClick: () => this.load() })}</div>`;
  }

  renderList() {
    const { rows } = this;
    const trouble = this.followError ? html`<div class="stack">${banner({ kind: 'warn', text: t('deliveries.following.failed') })}<div></div></div>` : nothing;
    if (rows.length === 0) return html`${trouble}${this.renderNone()}`;
    return html`${trouble}<div class="stack">${dataTable({
      caption: t('deliveries.title'), columns: this.columns(), rows, rowKey: (row) => row.id, isBusy: this.list.isLoading,
      rowClass: (row) => (this.selected.has(row.id) ? 'selected' : this.fresh.has(row.id) ? 'fresh' : ''),
    })}${this.renderEnd()}${showSql('logs', this.args)}</div>`;
  }

  renderEnd() {
    if (this.next === null) return html`<p class="muted small">${t('deliveries.end')}</p>`;
    return html`<div class="row wide">${button({ label: t(this.searchedTo ? 'deliveries.search_further' : 'action.older'), isBusy: this.isLoadingOlder, onClick: () => this.loadOlder() })}
      ${this.searchedTo ? html`<span class="muted small" role="status">${t('deliveries.searched_to', { time: format.shortDateTime(this.searchedTo) })}</span>` : nothing}</div>`;
  }

  renderNone() {
    if (this.next && this.searchedTo) {
      return emptyState({ iconName: 'search', title: t('deliveries.no_match'), text: t('deliveries.searched_to.none', { time: format.shortDateTime(this.searchedTo) }), action: button({ label: t('deliveries.search_further'), isBusy: this.isLoadingOlder, onClick: () => this.loadOlder() }) });
    }
    if (this.isFiltered) return emptyState({ iconName: 'search', title: t('deliveries.no_match'), text: t('deliveries.no_match.text'), action: button({ label: t('deliveries.clear'), onClick: () => this.clearFilters() }) });
    const { id } = this.params;
    return emptyState({ iconName: 'list', title: t('deliveries.empty'), text: t('deliveries.empty.text'), action: id && this.app.can.write ? linkButton({ label: t('deliveries.empty.test'), iconName: 'send', href: this.app.href(`/webhooks/${id}/test`) }) : nothing });
  }

  columns() {
    const { app } = this;
    const eventCell = (row) => html`<div><a class="mono strong break" href=${app.href(`/attempts/${row.id}`)} aria-label=${t('deliveries.open', { attempt: row.attempt, event: row.event, time: timeOf(row) })}>${row.event}</a></div>`;
    return [
      app.can.write ? { label: t('deliveries.column.select'), isLabelHidden: true, className: 'check-cell', cell: (row) => this.renderCheck(row) } : null,
      { label: t('deliveries.column.event'), isLead: true, cell: eventCell },
      { label: t('deliveries.column.status'), className: 'status-column', cell: (row) => html`<span class="row">${statusBadge(logStatus(row))}${row.is_test && row.status === 'failed' ? statusBadge('test') : nothing}</span>` },
      this.params.id ? null : { label: t('deliveries.column.webhook'), cell: (row) => (row.webhook_name === null ? html`<span class="muted">${t('deliveries.deleted_webhook')}</span>` : html`<a class="break" href=${app.href(`/webhooks/${row.webhook}/deliveries`)}>${row.webhook_name}</a>`) },
      { label: t('deliveries.column.answer'), className: 'answer-cell', cell: (row) => html`<div>${answerWords(row)}${row.next_attempt_at && Date.parse(row.next_attempt_at) > app.now() ? html`<span class="sub">${t('deliveries.next', { time: format.clockTime(row.next_attempt_at) })}</span>` : nothing}</div>` },
      { label: t('deliveries.column.attempt'), isNumber: true, className: 'count-cell', cell: (row) => format.number(row.attempt) },
      { label: t('deliveries.column.duration'), isNumber: true, cell: (row) => html`<span class="nowrap">${format.milliseconds(row.duration_ms)}</span>` },
      { label: t('deliveries.column.at'), className: 'time-cell', isNumber: true, cell: (row) => relativeTime(app, row.created_at) },
      { label: t('action.more'), isLabelHidden: true, isCorner: true, cell: (row) => menu({ label: t('deliveries.menu', { event: row.event, time: timeOf(row) }), items: this.menuItems(row) }) },
    ].filter(Boolean);
  }

  renderCheck(row) {
    if (!canRedeliver(row)) return nothing;
    const isSelected = this.selected.has(row.id);
    return html`<label class="check-target"><input type="checkbox" aria-label=${t('deliveries.select', { event: row.event, time: timeOf(row) })} .checked=${live(isSelected)} ?disabled=${!isSelected && this.selected.size >= kRedeliverMax}
      @change=${(event) => this.select(row.id, event.target.checked)}></label>`;
  }

  menuItems(row) {
    const { app } = this;
    const items = [{ label: t('deliveries.menu.attempt'), icon: 'list', href: app.href(`/attempts/${row.id}`) }];
    if (row.event_id !== null) {
      items.push({ label: t('deliveries.menu.event'), icon: 'clock', href: app.href(`/webhooks/${row.webhook}/deliveries`, { event_id: row.event_id }) });
      items.push({ label: t('deliveries.menu.why'), icon: 'help', href: app.href('/why', { event_id: row.event_id }) });
    }
    if (app.can.write && canRedeliver(row)) items.unshift({ label: t('deliveries.redeliver'), icon: 'replay', onClick: () => this.redeliver([row.id]) });
    return items;
  }
}

const isTime = (text) => Boolean(text) && !Number.isNaN(Date.parse(text));

// What <input type="datetime-local"> takes: the reader's own time.
function localTime(text) {
  if (!isTime(text)) return '';
  const date = new Date(text);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

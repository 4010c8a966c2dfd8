// #/webhooks/5/sources: which tables' changes cause the webhook's events.

import { matchesAny } from '../event_pattern.js';
import { Resource } from '../resource.js';
import { Screen } from '../screen.js';
import { dataTable, emptyState, html, nothing, showSql, statusBadge, t, whenLoaded } from '../ui.js';
import { webhookHeader } from '../webhook_actions.js';

export default class SourcesScreen extends Screen {
  constructor() {
    super();
    this.loaded = new Resource(this, (signal) => this.app.call('webhook', { id: this.params.id }, { signal }));
    this.watches = new Resource(this, (signal) => this.app.call('watches', {}, { signal }));
  }

  get pageTitle() {
    return t('webhook.tab.sources');
  }

  routed() {
    this.loaded.load();
    this.watches.load();
  }

  render() {
    return html`${webhookHeader(this.app, { id: this.params.id, current: 'sources', loaded: this.loaded.value, onChange: () => this.loaded.load() })}
      ${whenLoaded(this.loaded, ({ webhook }) => whenLoaded(this.watches, ({ watches }) => this.renderWatches(webhook, watches)))}`;
  }

  renderWatches(webhook, watches) {
    const rows = watches.filter((watch) => matchesAny(webhook.events, watch.event));
    const columns = [
      { label: t('sources.table'), isLead: true, cell: (row) => html`<span class="mono strong">${row.source}</span>` },
      { label: t('sources.operation'), cell: (row) => html`<span class="mono">${row.operation}</span>` },
      { label: t('sources.event'), cell: (row) => html`<span class="mono">${row.event}</span>` },
      { label: t('sources.columns'), cell: (row) => (row.changed_columns?.length ? html`<span class="mono">${row.changed_columns.join(', ')}</span>` : html`<span class="muted">${t('sources.any')}</span>`) },
      { label: t('sources.condition'), cell: (row) => (row.condition ? html`<code class="break">${row.condition}</code>` : nothing) },
      { label: t('list.column.status'), cell: (row) => statusBadge(row.is_enabled ? 'active' : 'inactive') },
    ];
    return html`<div class="stack"><p class="muted">${t('sources.text')}</p>
      ${rows.length ? dataTable({ caption: t('webhook.tab.sources'), columns, rows, rowKey: (row) => `${row.source} ${row.event} ${row.operation}` }) : emptyState({ title: t('sources.empty'), text: t('sources.empty.text') })}
      ${showSql('watches', {})}</div>`;
  }
}

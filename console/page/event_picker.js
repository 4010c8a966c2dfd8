// <webhook-event-picker>: which events a webhook gets: all, a category ("also future ones"), single events, or other
// patterns, with an example beside and how many of yesterday's events would have matched.
//
//   app, events (patterns), filter (jsonpath or ''), error ({message, hint} or null), onChange(events)

import { Resource } from './resource.js';
import { button, codeBlock, errorBanner, fieldError, format, html, icon, nothing, Part, repeat, skeletonBlock, t } from './ui.js';

const kCountMs = 400;
const categoryPattern = (category) => `${category}.*`;

class EventPicker extends Part {
  static properties = {
    app: { attribute: false }, events: { attribute: false }, filter: { attribute: false }, error: { attribute: false }, onChange: { attribute: false },
    exampleOf: { state: true }, ownPattern: { state: true }, search: { state: true },
  };

  constructor() {
    super();
    this.events = [];
    this.filter = '';
    this.error = null;
    this.search = '';
    this.ownPattern = '';
    this.types = new Resource(this, (signal) => this.app.call('event_types', {}, { signal }));
    this.all = new Resource(this, (signal) => this.app.call('match_count', { events: ['*'], organization: this.organization }, { signal }));
    this.count = new Resource(this, (signal) => this.app.call('match_count', this.countArgs, { signal }));
  }

  get organization() {
    return this.app.organization ?? undefined;
  }

  get countArgs() {
    return { events: this.events, filter: this.filter || undefined, organization: this.organization };
  }

  connectedCallback() {
    super.connectedCallback();
    this.types.load();
    this.all.load();
  }

  updated(changed) {
    if (!changed.has('events') && !changed.has('filter')) return;
    const key = JSON.stringify(this.countArgs);
    if (key === this.counted) return;
    this.counted = key;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.events.length > 0 && this.count.load(), kCountMs);
  }

  set(events) {
    this.onChange(events);
  }

  toggle(pattern, isOn) {
    const others = this.events.filter((event) => event !== pattern);
    this.set(isOn ? [...others, pattern] : others);
  }

  // A category that is chosen contains its single events.
  toggleCategory({ category, events }, isOn) {
    const names = new Set(events.map((event) => event.name));
    const others = this.events.filter((event) => event !== categoryPattern(category) && !names.has(event));
    this.set(isOn ? [...others, categoryPattern(category)] : others);
  }

  toggleAll(isOn) {
    if (isOn) this.before = this.events.filter((event) => event !== '*');
    this.set(isOn ? ['*'] : this.before ?? []);
  }

  addPattern() {
    const pattern = this.ownPattern.trim();
    if (pattern === '') return;
    if (!this.events.includes(pattern)) this.set([...this.events, pattern]);
    this.ownPattern = '';
  }

  render() {
    const isAll = this.events.includes('*');
    const categories = this.types.value?.categories ?? [];
    return html`<fieldset class="stack" aria-describedby="field-events-error">
      <legend class="visually-hidden">${t('events.title')}</legend>
      ${fieldError('field-events', this.error)}
      <label class="check"><input type="checkbox" id="field-events" .checked=${isAll} @change=${(event) => this.toggleAll(event.target.checked)}>
        <span><span class="strong">${t('events.choose_all')}</span> <span class="muted">${t('events.also_future')}</span></span>${this.renderCountOf(null)}</label>
      ${this.types.value === null ? this.renderMissing() : nothing}
      ${categories.length === 0 ? nothing : html`<div class="event-columns"><div class="stack tight grow">${this.renderSearch(categories)}
        ${repeat(categories, (category) => category.category, (category) => this.renderCategory(category, isAll))}</div>${this.renderExample(categories)}</div>`}
      ${isAll ? nothing : this.renderPatterns(categories)}
      ${this.renderTotal()}
    </fieldset>`;
  }

  renderMissing() {
    return this.types.error && !this.types.isLoading ? errorBanner(this.types.error, { onRetry: () => this.types.load() }) : skeletonBlock(5);
  }

  renderSearch(categories) {
    const total = categories.reduce((sum, { events }) => sum + events.length, 0);
    if (total < 12) return nothing;
    return html`<input type="search" aria-label=${t('events.search')} placeholder=${t('events.search')} .value=${this.search} @input=${(event) => { this.search = event.target.value; }}>`;
  }

  renderCategory(category, isAll) {
    const { category: name, events } = category;
    const wanted = this.search.trim().toLowerCase();
    const shown = wanted === '' ? events : events.filter((event) => `${event.name} ${event.description ?? ''}`.toLowerCase().includes(wanted));
    if (shown.length === 0) return nothing;
    const isWhole = isAll || this.events.includes(categoryPattern(name));
    const chosen = isWhole ? events.length : events.filter((event) => this.events.includes(event.name)).length;
    return html`<details class="category" ?open=${wanted !== '' || events.length <= 8 || undefined}>
      <summary>${icon('chevron')}<span class="strong break">${name}</span><span class="muted small push nowrap">${t('events.chosen', { chosen: format.number(chosen), total: format.number(events.length) })}</span></summary>
      <div class="category-events">
        <label class="check"><input type="checkbox" .checked=${isWhole} ?disabled=${isAll} @change=${(event) => this.toggleCategory(category, event.target.checked)}>
          <span>${t('events.choose_category', { category: name })} <span class="muted">${t('events.also_future')}</span></span></label>
        ${repeat(shown, (event) => event.name, (event) => this.renderEvent(event, isWhole))}
      </div></details>`;
  }

  renderEvent(event, isImplied) {
    const isCurrent = this.exampleOf === event.name;
    return html`<div class="event-line ${isCurrent ? 'current' : ''}">
      <label class="check grow"><input type="checkbox" .checked=${isImplied || this.events.includes(event.name)} ?disabled=${isImplied} @change=${(e) => this.toggle(event.name, e.target.checked)}>
        <span class="grow"><span class="mono">${event.name}</span>${event.description ? html`<span class="sub muted small">${event.description}</span>` : nothing}
        ${event.is_watched ? nothing : html`<span class="sub warn small">${t('events.unwatched')}</span>`}</span></label>
      ${this.renderCountOf(event.name)}
      <button type="button" class="link small" aria-pressed=${isCurrent ? 'true' : 'false'} aria-label=${t('events.example_of', { event: event.name })} @click=${() => { this.exampleOf = isCurrent ? null : event.name; }}>${t('events.example')}</button></div>`;
  }

  // Yesterday's number of one event, or of all.
  renderCountOf(name) {
    const counts = this.all.value;
    if (counts === null) return nothing;
    const n = name === null ? counts.searched : counts.by_event[name] ?? 0;
    const about = name !== null && !counts.is_complete ? '≥ ' : '';
    return html`<span class="muted small num nowrap push" title=${t('events.count_title')}>${about}${format.number(n)}<span class="visually-hidden"> ${t('events.count_title')}</span></span>`;
  }

  renderExample(categories) {
    const event = categories.flatMap((category) => category.events).find((candidate) => candidate.name === this.exampleOf);
    const words = event
      ? html`<div class="row"><h3 class="mono grow">${event.name}</h3>${button({ label: t('action.close'), iconName: 'cross', iconOnly: true, isSmall: true, kind: 'quiet', onClick: () => { this.exampleOf = null; } })}</div>
        ${event.example === null || event.example === undefined ? html`<p class="muted">${t('events.no_example')}</p>` : codeBlock({ label: t('events.example_of', { event: event.name }), text: JSON.stringify(event.example, null, 2) })}`
      : html`<p class="muted small">${t('events.pick_example')}</p>`;
    return html`<aside class="event-example stack tight" aria-label=${t('events.example')} aria-live="polite">${words}</aside>`;
  }

  // Patterns that are neither a known event nor a category, and a place to add one.
  renderPatterns(categories) {
    const known = new Set(categories.flatMap(({ category, events }) => [categoryPattern(category), ...events.map((event) => event.name)]));
    const others = this.types.value === null ? [] : this.events.filter((event) => !known.has(event));
    const keyed = (event) => {
      if (event.key !== 'Enter') return;
      event.preventDefault();
      this.addPattern();
    };
    return html`<details class="other-patterns" ?open=${others.length > 0 || undefined}><summary class="muted">${t('events.patterns')}</summary><div class="stack tight">
      <p class="muted small">${t('events.patterns.hint')}</p>
      ${others.map((pattern) => html`<div class="row"><code class="break">${pattern}</code>${button({ label: t('events.pattern_remove', { pattern }), iconName: 'cross', iconOnly: true, isSmall: true, kind: 'quiet', onClick: () => this.toggle(pattern, false) })}</div>`)}
      <div class="row nowrap-row"><input class="mono pattern-input" aria-label=${t('events.pattern')} placeholder="*.deleted" maxlength="255" spellcheck="false" autocapitalize="off" .value=${this.ownPattern}
        @input=${(event) => { this.ownPattern = event.target.value; }} @keydown=${keyed}>${button({ label: t('events.pattern_add'), isDisabled: this.ownPattern.trim() === '', onClick: () => this.addPattern() })}</div></div></details>`;
  }

  renderTotal() {
    const words = () => {
      if (this.events.length === 0) return t('events.total.none');
      const { value, error, isLoading } = this.count;
      if (error && !isLoading) return html`${t('events.total.unknown')} ${button({ label: t('action.retry'), isSmall: true, onClick: () => this.count.load() })}`;
      if (value === null || isLoading) return t('events.total.counting');
      const values = { count: value.matched, searched: format.number(value.searched) };
      const parts = [t(value.is_complete ? 'events.total' : 'events.total.newest', values)];
      if (value.filter_ignored && this.filter) parts.push(t('events.total.filter_ignored'));
      if (value.unjudged > 0) parts.push(t('events.total.unjudged', { count: value.unjudged }));
      return parts.join(' ');
    };
    return html`<p class="event-total" role="status">${icon('info')}<span>${words()}</span></p>`;
  }
}
customElements.define('webhook-event-picker', EventPicker);

// <webhook-help-topic .app .topic .language .onLanguage>: one topic of the help, on its page and in the panel beside every
// screen. language: 'python', of the program that is shown; onLanguage is told which one is chosen. The texts are in
// messages_help.js, the programs in snippets.js.

import { Resource } from './resource.js';
import { retryTimeline } from './retry_timeline.js';
import { codeBlock, format, html, icon, nothing, Part, repeat, skeletonBlock, t, whenLoaded } from './ui.js';

// In the order of the list of topics; the name is the address's: #/help/test-url.
export const topics = ['start', 'test-url', 'verify', 'events', 'filters', 'retries', 'order', 'troubleshooting'];

export const topicTitle = (topic) => t(`help.${topic.replace('-', '_')}`);

// The topic that helps with a screen (router.js).
const kTopicOfScreen = {
  webhooks: 'start', webhook: 'troubleshooting', edit: 'filters', deliveries: 'retries', attempt: 'troubleshooting', pending: 'retries', sources: 'events', history: 'start',
  test: 'test-url', replay: 'order', why: 'troubleshooting', verify: 'verify', help: 'start',
};
export const topicOfScreen = (screen) => kTopicOfScreen[screen] ?? 'start';

// Text whose parts between backticks are code.
function inline(text) {
  return text.split('`').map((part, i) => (i % 2 === 1 ? html`<code>${part}</code>` : part));
}

const p = (key, values) => html`<p>${inline(t(key, values))}</p>`;
const h = (key) => html`<h2>${t(key)}</h2>`;
const numbered = (prefix, n) => Array.from({ length: n }, (_, i) => `${prefix}.${i + 1}`);
const list = (prefix, n) => html`<ul class="plain">${numbered(prefix, n).map((key) => html`<li>${inline(t(key))}</li>`)}</ul>`;
const steps = (prefix, n) => html`<ol class="plain">${numbered(prefix, n).map((key) => html`<li>${inline(t(key))}</li>`)}</ol>`;

// rows: [first, second] of texts.
const table = (caption, heads, rows) => html`<div class="table-wrap"><table class="help-table"><caption class="visually-hidden">${caption}</caption><thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
  <tbody>${rows.map(([first, second]) => html`<tr><th scope="row">${inline(first)}</th><td>${inline(second)}</td></tr>`)}</tbody></table></div>`;
const textTable = (caption, heads, prefix, n) => table(caption, heads.map((key) => t(key)), numbered(prefix, n).map((key) => [t(key), t(`${key}.text`)]));

class HelpTopic extends Part {
  static properties = { app: { attribute: false }, topic: { attribute: false }, language: { attribute: false }, onLanguage: { attribute: false } };

  constructor() {
    super();
    this.language = null;
    this.onLanguage = null;
    this.snippets = new Resource(this, () => import('./snippets.js'));
    this.types = new Resource(this, (signal) => this.app.call('event_types', {}, { signal }));
  }

  willUpdate(changed) {
    if (!changed.has('topic')) return;
    if (['start', 'verify'].includes(this.topic) && !this.snippets.value) this.snippets.load();
    if (this.topic === 'events' && !this.types.value) this.types.load();
  }

  links(...links) {
    return html`<p class="row wide">${links.filter(Boolean).map(([key, path]) => html`<a href=${this.app.href(path)}>${t(key)}</a>`)}</p>`;
  }

  render() {
    const bodies = { start: this.renderStart, 'test-url': this.renderTestUrl, verify: this.renderVerify, events: this.renderEvents, filters: this.renderFilters, retries: this.renderRetries, order: this.renderOrder, troubleshooting: this.renderTroubleshooting };
    return html`<div class="prose stack">${bodies[this.topic]?.call(this) ?? nothing}</div>`;
  }

  renderStart() {
    return html`${p('help.start.1')}${p('help.start.2')}${h('help.start.first')}${steps('help.start.step', 5)}
      ${this.links(this.app.can.write ? ['help.link.new', '/webhooks/new'] : null, ['help.link.test_url', '/help/test-url'], ['help.link.verify', '/help/verify'])}
      ${h('help.start.request')}${whenLoaded(this.snippets, ({ request, receivers }) => html`${codeBlock({ label: t('help.start.request'), text: request, isWrapped: true })}
        <p>${t('help.start.languages')}</p><p class="row wide">${receivers.map(({ language }) => html`<a href=${this.app.href('/help/verify', { language: language.toLowerCase() })}>${language}</a>`)}</p>`, skeletonBlock(4))}
      ${h('help.start.promise')}${list('help.start.promise', 4)}`;
  }

  renderTestUrl() {
    return html`${h('help.test_url.bin')}${p('help.test_url.bin.1')}${p('help.test_url.bin.2')}${h('help.test_url.own')}${p('help.test_url.own.1')}
      ${codeBlock({ label: t('help.test_url.tunnel'), text: 'cloudflared tunnel --url http://127.0.0.1:8080\nngrok http 8080\nssh -R 80:127.0.0.1:8080 localhost.run', isWrapped: true })}
      ${p('help.test_url.own.2')}${this.links(['help.link.verify', '/help/verify'])}${h('help.test_url.server')}${p('help.test_url.server.1')}${h('help.test_url.try')}${list('help.test_url.try', 3)}`;
  }

  renderVerify() {
    return html`${p('help.verify.1')}${p('help.verify.2')}${p('help.verify.3')}${this.links(['help.link.verify_tool', '/verify'])}${h('help.verify.code')}${p('help.verify.code.text')}
      ${whenLoaded(this.snippets, ({ receivers }) => this.renderCode(receivers), skeletonBlock(8))}${h('help.verify.rules')}${list('help.verify.rule', 3)}
      ${h('help.verify.raw')}${p('help.verify.raw.text')}${whenLoaded(this.snippets, ({ rawBodies }) => table(t('help.verify.raw'), [t('help.verify.raw.framework'), t('help.verify.raw.how')], rawBodies), skeletonBlock(4))}`;
  }

  choose(language) {
    this.language = language.toLowerCase();
    this.onLanguage?.(this.language);
  }

  renderCode(receivers) {
    const shown = receivers.find(({ language }) => language.toLowerCase() === this.language) ?? receivers[0];
    const choice = (receiver) => html`<button type="button" aria-pressed=${receiver === shown ? 'true' : 'false'} @click=${() => this.choose(receiver.language)}>${receiver.language}</button>`;
    return html`<div class="stack tight"><div class="segments languages" role="group" aria-label=${t('help.verify.language')}>${receivers.map(choice)}</div>${codeBlock({ label: t('help.verify.code.label', { language: shown.language }), text: shown.code })}</div>`;
  }

  renderEvents() {
    return html`${p('help.events.1')}${textTable(t('help.events'), ['help.events.member', 'help.events.meaning'], 'help.events.member', 4)}${p('help.events.2')}${p('help.events.3')}${h('help.events.list')}
      ${whenLoaded(this.types, ({ categories }) => (categories.length === 0 ? p('help.events.none') : html`${categories.map((category) => this.renderCategory(category))}`), skeletonBlock(6))}`;
  }

  renderCategory({ category, events }) {
    return html`<div class="stack tight"><h3>${category}</h3><div>${repeat(events, (event) => event.name, (event) => html`<details class="event-doc"><summary>${icon('chevron')}<span class="words"><span class="mono strong break">${event.name}</span>
        ${event.description ? html`<span class="muted small">${event.description}</span>` : nothing}${event.is_watched || event.is_builtin ? nothing : html`<span class="muted small">(${t('help.events.unwatched')})</span>`}</span></summary>
      ${codeBlock({ label: t('help.events.example', { event: event.name }), text: JSON.stringify({ event: event.name, timestamp: '2024-01-15T10:30:00.000000Z', data: event.example ?? {} }, null, 2), isWrapped: true })}</details>`)}</div></div>`;
  }

  renderFilters() {
    return html`${p('help.filters.1')}${textTable(t('help.filters'), ['help.filters.example', 'help.filters.meaning'], 'help.filters.row', 5)}${p('help.filters.2')}${p('help.filters.3')}`;
  }

  renderRetries() {
    const { timeout_ms: timeoutMs, retry_schedule_s: schedule } = this.app.session.defaults;
    return html`${p('help.retries.1', { timeout: format.milliseconds(timeoutMs) })}${textTable(t('help.retries'), ['help.retries.answer', 'help.retries.effect'], 'help.retries.row', 5)}${p('help.retries.2')}
      ${h('help.retries.schedule')}${p('help.retries.schedule.text')}${retryTimeline(schedule)}${p('help.retries.3')}${h('help.retries.failing')}${p('help.retries.failing.text')}${p('help.retries.off.text')}`;
  }

  renderOrder() {
    return html`${numbered('help.order', 3).map((key) => p(key))}${h('help.order.settings')}${textTable(t('help.order.settings'), ['form.ordering', 'help.events.meaning'], 'help.order.row', 3)}
      ${h('help.order.duplicates')}${p('help.order.duplicates.1')}${p('help.order.duplicates.2')}`;
  }

  renderTroubleshooting() {
    return html`${textTable(topicTitle('troubleshooting'), ['help.trouble.symptom', 'help.trouble.remedy'], 'help.trouble.row', 10)}
      ${this.links(['help.link.why', '/why'], ['help.link.verify_tool', '/verify'], ['help.link.retries', '/help/retries'], ['help.link.order', '/help/order'])}`;
  }
}
customElements.define('webhook-help-topic', HelpTopic);

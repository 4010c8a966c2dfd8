// The parts that screens are made of: functions that return templates, and a few elements with a state of their own. They
// render into the one shadow root of <webhook-settings>, so that labels, descriptions and ids reach everything.

import { AsyncDirective, LitElement, classMap, directive, html, ifDefined, live, nothing, ref, repeat, svg } from './vendor/lit.js';
import * as format from './format.js';
import { icon } from './icons.js';
import { hasMessage, t } from './messages.js';
import { toSql } from './sql.js';

export { format, hasMessage as hasText, icon, t };

let lastId = 0;
export const uniqueId = (prefix) => `${prefix}-${++lastId}`;

// An element that renders into the shadow root it stands in.
export class Part extends LitElement {
  createRenderRoot() {
    return this;
  }
}

// --- text in time ----------------------------------------------------------------------------------------------------

// <webhook-time .time .now>: '3 min ago', with the exact time on hover; it keeps itself true. `now` returns the server's
// time in ms.
class Time extends Part {
  static properties = { time: { attribute: false }, now: { attribute: false } };

  connectedCallback() {
    super.connectedCallback();
    this.timer = setInterval(() => this.requestUpdate(), 1000);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.timer);
  }

  render() {
    if (!this.time) return t('table.none');
    return html`<time datetime=${this.time} title=${format.exactTime(this.time)}>${format.relativeTime(this.time, (this.now ?? Date.now)())}</time>`;
  }
}
customElements.define('webhook-time', Time);

export const relativeTime = (app, time) => (time ? html`<webhook-time .time=${time} .now=${() => app.now()}></webhook-time>` : t('table.none'));

// --- page header -----------------------------------------------------------------------------------------------------

// title: the one h1, which takes the focus when the route changes. crumbs: [{label, href}], from the root; tabs:
// [{label, href, isCurrent, count}]; badge, actions, description: templates.
export function pageHeader({ title, crumbs = [], badge = nothing, description = nothing, actions = nothing, tabs = null, tabsLabel = title }) {
  return html`<header class="page-header">
      ${crumbs.length ? html`<nav class="crumbs" aria-label=${t('crumbs.label')}><ol>${crumbs.map((crumb) => html`<li><a href=${crumb.href}>${crumb.label}</a></li>`)}</ol></nav>` : nothing}
      <div class="title"><h1 tabindex="-1" data-page-title>${title}</h1>${badge}${actions === nothing ? nothing : html`<div class="actions">${actions}</div>`}</div>
      ${description === nothing ? nothing : html`<p class="description">${description}</p>`}
    </header>
    ${tabs ? html`<nav class="tabs" aria-label=${tabsLabel}><ul>${tabs.map((tab) => html`<li>
        <a href=${tab.href} aria-current=${ifDefined(tab.isCurrent ? 'page' : undefined)}>${tab.label}${tab.count === undefined || tab.count === null ? nothing : html` <span class="count">${tab.count}</span>`}</a>
      </li>`)}</ul></nav>` : nothing}`;
}

// --- controls --------------------------------------------------------------------------------------------------------

// kind: '', 'primary', 'danger', 'quiet'. While busy it stays focusable and does nothing. `label` is its name; with
// `iconOnly` it is not shown.
export function button({ label, onClick, kind = '', iconName = null, isBusy = false, isDisabled = false, isSmall = false, iconOnly = false, type = 'button', describedBy = undefined, title = undefined, isFocused = false }) {
  const isOff = isBusy || isDisabled;
  const click = (event) => {
    if (!isOff) return onClick?.(event);
    event.preventDefault();
  };
  return html`<button type=${type} class=${classMap({ button: true, [kind || 'plain']: true, small: isSmall, 'icon-only': iconOnly })}
    ?data-autofocus=${isFocused} aria-disabled=${ifDefined(isOff ? 'true' : undefined)} aria-busy=${ifDefined(isBusy ? 'true' : undefined)} aria-describedby=${ifDefined(describedBy)}
    aria-label=${ifDefined(iconOnly ? label : undefined)} title=${ifDefined(title ?? (iconOnly ? label : undefined))} @click=${click}
    >${isBusy ? html`<span class="spinner"></span>` : iconName ? icon(iconName) : nothing}${iconOnly ? nothing : label}</button>`;
}

export const linkButton = ({ label, href, kind = '', iconName = null, isSmall = false }) =>
  html`<a class=${classMap({ button: true, [kind || 'plain']: true, small: isSmall })} href=${href}>${iconName ? icon(iconName) : nothing}${label}</a>`;

// onChange gets the wanted state; the switch shows `isOn` until the screen says otherwise.
export function switchControl({ label, isOn, onChange, isBusy = false, id = undefined, describedBy = undefined }) {
  return html`<button type="button" class="switch" role="switch" id=${ifDefined(id)} aria-checked=${isOn ? 'true' : 'false'} aria-label=${label} title=${label}
    aria-describedby=${ifDefined(describedBy)} aria-disabled=${ifDefined(isBusy ? 'true' : undefined)} @click=${() => !isBusy && onChange(!isOn)}></button>`;
}

// Puts a popover beside the button that opened it, within the window.
function place(popover, anchor) {
  const box = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = popover;
  const left = Math.min(Math.max(8, box.right - width), innerWidth - width - 8);
  const below = box.bottom + 4;
  const top = below + height > innerHeight - 8 ? Math.max(8, box.top - height - 4) : below;
  popover.style.setProperty('left', `${Math.max(8, left)}px`);
  popover.style.setProperty('top', `${top}px`);
}

// <webhook-menu .label .items>: a button and a menu. items: [{label, icon, onClick | href, isDanger,
// isChecked} | 'separator'].
class Menu extends Part {
  static properties = { label: { attribute: false }, items: { attribute: false }, isOpen: { state: true } };

  id_ = uniqueId('menu');

  get popoverElement() {
    return this.querySelector('[popover]');
  }

  toggled(event) {
    this.isOpen = event.newState === 'open';
    const own = this.querySelector('button');
    if (!this.isOpen) {
      const { activeElement } = this.getRootNode();
      if (activeElement === null || this.contains(activeElement)) own.focus();
      return;
    }
    place(this.popoverElement, own);
    this.querySelector('[role^="menuitem"]')?.focus();
  }

  keyed(event) {
    const items = [...this.querySelectorAll('[role^="menuitem"]')];
    const root = this.getRootNode();
    const at = items.indexOf(root.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      items.at(to % items.length)?.focus();
    } else if (event.key === 'Tab') {
      this.close();
    } else if (event.key.length === 1 && /\S/.test(event.key)) {
      items.find((item) => item.textContent.trim().toLowerCase().startsWith(event.key.toLowerCase()))?.focus();
    }
  }

  close() {
    this.popoverElement.hidePopover();
    this.querySelector('button').focus();
  }

  choose(item) {
    this.close();
    item.onClick?.();
  }

  render() {
    const menuItem = (item) => {
      if (item === 'separator') return html`<hr>`;
      const words = html`${icon(item.icon)}${item.label}`;
      const classes = item.isDanger ? 'danger' : '';
      return item.href
        ? html`<a role="menuitem" tabindex="-1" class=${classes} href=${item.href} @click=${() => this.choose(item)}>${words}</a>`
        : html`<button type="button" role=${item.isChecked === undefined ? 'menuitem' : 'menuitemradio'} aria-checked=${ifDefined(item.isChecked)} tabindex="-1" class=${classes} @click=${() => this.choose(item)}>${words}</button>`;
    };
    return html`<button type="button" class="button quiet icon-only" aria-haspopup="menu" aria-expanded=${this.isOpen ? 'true' : 'false'} aria-label=${this.label}
        title=${this.label} popovertarget=${this.id_}>${icon('more')}</button>
      <div popover id=${this.id_} class="popover menu-list" role="menu" aria-label=${this.label} @toggle=${this.toggled} @keydown=${this.keyed}>${(this.items ?? []).map(menuItem)}</div>`;
  }
}
customElements.define('webhook-menu', Menu);

export const menu = ({ label, items }) => html`<webhook-menu .label=${label} .items=${items}></webhook-menu>`;

// <webhook-help .label .text .href>: the '?' beside a field. text: paragraphs.
class Help extends Part {
  static properties = { label: { attribute: false }, text: { attribute: false }, href: { attribute: false } };

  id_ = uniqueId('help');

  toggled(event) {
    if (event.newState === 'open') place(this.querySelector('[popover]'), this.querySelector('button'));
  }

  render() {
    const paragraphs = Array.isArray(this.text) ? this.text : [this.text];
    return html`<button type="button" class="help-button" aria-label=${t('help.about', { label: this.label })} popovertarget=${this.id_}>${icon('help')}</button>
      <div popover id=${this.id_} class="popover help-text" role="note" @toggle=${this.toggled}>
        ${paragraphs.map((paragraph) => html`<p>${paragraph}</p>`)}${this.href ? html`<p><a href=${this.href}>${t('help.more')}</a></p>` : nothing}
      </div>`;
  }
}
customElements.define('webhook-help', Help);

export const help = ({ label, text, href = null }) => html`<webhook-help .label=${label} .text=${text} .href=${href}></webhook-help>`;

// <webhook-copy .what .text>: copies and says so. text: a string, or an async function that fetches it.
class Copy extends Part {
  static properties = { what: { attribute: false }, text: { attribute: false }, label: { attribute: false }, hasCopied: { state: true } };

  async copy() {
    const text = typeof this.text === 'function' ? await this.text() : this.text;
    if (typeof text !== 'string') return;
    await copyText(text, this.getRootNode());
    this.hasCopied = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { this.hasCopied = false; }, 2000);
  }

  render() {
    const shown = this.label === undefined ? nothing : this.hasCopied ? t('action.copied') : this.label;
    return html`<button type="button" class=${classMap({ button: true, small: true, quiet: this.label === undefined, 'icon-only': this.label === undefined })}
        aria-label=${t('copy.label', { what: this.what })} title=${t('copy.label', { what: this.what })} @click=${this.copy}>${icon(this.hasCopied ? 'check' : 'copy')}${shown}</button
      ><span class="visually-hidden" role="status">${this.hasCopied ? t('action.copied') : ''}</span>`;
  }
}
customElements.define('webhook-copy', Copy);

// The clipboard needs a secure context; in a frame or on http it is done by a selection.
async function copyText(text, root) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'visually-hidden';
    const place_ = root.activeElement?.closest?.('dialog') ?? root;
    const focused = root.activeElement;
    place_.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
    focused?.focus();
  }
}

// label: undefined for an icon alone. what: what is copied, for screen readers.
export const copyButton = ({ what, text, label = undefined }) => html`<webhook-copy .what=${what} .text=${text} .label=${label}></webhook-copy>`;

// A block of code with a copy button. label: what it is.
export const codeBlock = ({ label, text, isWrapped = false }) => html`<div class="code-block"
  ><pre class=${classMap({ code: true, wrap: isWrapped })} tabindex="0" role="region" aria-label=${label}>${text}</pre>${copyButton({ what: label, text, label: t('action.copy') })}</div>`;

// What an action runs (sql.js). label: where there are several.
export const showSql = (name, args, label = t('sql.show')) => html`<details class="sql"><summary>${icon('chevron')}${label}</summary>
  <div class="stack tight"><p class="muted">${t('sql.explanation')}</p>${codeBlock({ label: 'SQL', text: toSql(name, args), isWrapped: true })}</div></details>`;

// Resolves when no pointer is pressed. What is shown because a field is left waits for it: if the page moved between
// pressing and releasing, the click on a button would be lost.
let isPressed = false;
window.addEventListener('pointerdown', () => { isPressed = true; }, true);
for (const name of ['pointerup', 'pointercancel']) window.addEventListener(name, () => { isPressed = false; }, true);
export const pointerReleased = () => new Promise((resolve) => {
  if (isPressed) for (const name of ['pointerup', 'pointercancel']) window.addEventListener(name, () => setTimeout(resolve), { once: true });
  else resolve();
});

// --- fields ----------------------------------------------------------------------------------------------------------

// label + control + hint + error, tied together. control: a function of {id, describedBy, isInvalid} that returns the
// input. helpText opens beside the label. Give a stable `name`: it makes the ids.
export function field({ name, label, control, hint = null, error = null, good = null, helpText = null, helpHref = null, isOptional = false }) {
  const id = `field-${name}`;
  const ids = [error && `${id}-error`, hint && `${id}-hint`].filter(Boolean).join(' ');
  return html`<div class="field">
    <div class="label"><label for=${id}>${label}</label>${isOptional ? html`<span class="muted small">${t('field.optional')}</span>` : nothing}${helpText ? help({ label, text: helpText, href: helpHref }) : nothing}</div>
    ${control({ id, describedBy: ids || undefined, isInvalid: error !== null })}
    ${fieldError(id, error)}
    ${good && !error ? html`<p class="good-news">${icon('check')}<span>${good}</span></p>` : nothing}
    ${hint ? html`<p class="hint" id="${id}-hint">${hint}</p>` : nothing}
  </div>`;
}

// error: {message, hint} or a text, or null.
export function fieldError(id, error) {
  if (error === null || error === undefined) return nothing;
  const { message, hint } = typeof error === 'string' ? { message: error, hint: null } : error;
  return html`<p class="error" id="${id}-error">${icon('bad')}<span>${sentence(message)}${hint ? html` ${sentence(hint)}` : nothing}</span></p>`;
}

// A text input for `field`. value is set live, so that it can be taken back.
export const textInput = ({ value, onInput, onBlur, type = 'text', isMono = false, placeholder = '', autocomplete = 'off', inputmode = undefined, maxlength = undefined, isRequired = false }) =>
  ({ id, describedBy, isInvalid }) => html`<input id=${id} type=${type} class=${isMono ? 'mono' : ''} .value=${live(value ?? '')} placeholder=${placeholder}
    autocomplete=${autocomplete} autocapitalize="off" spellcheck="false" inputmode=${ifDefined(inputmode)} maxlength=${ifDefined(maxlength)}
    aria-required=${ifDefined(isRequired ? 'true' : undefined)} aria-describedby=${ifDefined(describedBy)} aria-invalid=${ifDefined(isInvalid ? 'true' : undefined)}
    @input=${(event) => onInput(event.target.value)} @blur=${() => onBlur?.()}>`;

export const textArea = ({ value, onInput, onBlur, isMono = false, rows = 3, placeholder = '' }) =>
  ({ id, describedBy, isInvalid }) => html`<textarea id=${id} class=${isMono ? 'mono' : ''} rows=${rows} .value=${live(value ?? '')} placeholder=${placeholder}
    autocapitalize="off" spellcheck="false" aria-describedby=${ifDefined(describedBy)} aria-invalid=${ifDefined(isInvalid ? 'true' : undefined)}
    @input=${(event) => onInput(event.target.value)} @blur=${() => onBlur?.()}></textarea>`;

// options: [{value, label}].
export const selectInput = ({ value, options, onChange, isAuto = false }) =>
  ({ id, describedBy, isInvalid, label }) => html`<select id=${ifDefined(id)} class=${isAuto ? 'auto' : ''} aria-label=${ifDefined(label)} aria-describedby=${ifDefined(describedBy)}
    aria-invalid=${ifDefined(isInvalid ? 'true' : undefined)} @change=${(event) => onChange(event.target.value)}>
    ${options.map((option) => html`<option value=${option.value} .selected=${live(option.value === value)}>${option.label}</option>`)}</select>`;

// --- dialogs ---------------------------------------------------------------------------------------------------------

// Keeps a native <dialog> open as a modal while it is rendered, and gives the focus back when it is gone.
class ModalDirective extends AsyncDirective {
  update(part, [onClose]) {
    this.onClose = onClose;
    if (this.element) return;
    this.element = part.element;
    this.before = deepActive();
    this.element.addEventListener('cancel', (event) => { event.preventDefault(); this.onClose(); });
    queueMicrotask(() => {
      if (this.element.isConnected && !this.element.open) this.element.showModal();
      this.element.querySelector('[data-autofocus]')?.focus();
    });
  }

  render() {}

  disconnected() {
    const { before } = this;
    queueMicrotask(() => before?.isConnected && before.focus());
  }
}
const modal = directive(ModalDirective);

function deepActive() {
  let active = document.activeElement;
  while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
  return active;
}

// A modal dialog; render `nothing` to close it. actions: templates. Escape calls onClose. The element that should have the
// focus first carries data-autofocus; otherwise it is the first that can have it.
export function dialog({ title, body, actions, onClose, isWide = false, onSubmit = null }) {
  const id = 'dialog-title';
  const submit = (event) => {
    event.preventDefault();
    onSubmit?.();
  };
  return html`<dialog class=${isWide ? 'wide' : ''} aria-labelledby=${id} ${modal(onClose)}><form class="dialog-inner" novalidate @submit=${submit}>
    <h2 id=${id}>${title}</h2>${body}<div class="dialog-actions">${actions}</div></form></dialog>`;
}

// --- tables ----------------------------------------------------------------------------------------------------------

// columns: [{label, cell: (row) => template, isNumber, isLead, isCorner, isLabelHidden}]; below 720 px each row is a card: the lead
// cell is its title, the corner cell stands at its top right. rowKey: (row) => key. rowClass: (row) => class. A cell that
// gives `nothing` is left out of the card. isWide: has so many columns that it becomes cards below 1080 px already.
export function dataTable({ caption, columns, rows, rowKey, rowClass = () => '', isBusy = false, isWide = false }) {
  const cell = (column, row) => {
    const content = column.cell(row);
    const classes = classMap({ num: !!column.isNumber, lead: !!column.isLead, corner: !!column.isCorner, 'empty-cell': content === nothing, [column.className ?? 'plain']: true });
    return html`<td class=${classes} data-label=${ifDefined(column.isLead || column.isCorner || column.isLabelHidden ? undefined : column.label)}>${content}</td>`;
  };
  return html`<div class="table-wrap"><table class=${isWide ? 'cards wide' : 'cards'} aria-busy=${ifDefined(isBusy ? 'true' : undefined)}>
    <caption class="visually-hidden">${caption}</caption>
    <thead><tr>${columns.map((column) => html`<th scope="col" class=${column.isNumber ? 'num' : ''}>${column.isLabelHidden ? html`<span class="visually-hidden">${column.label}</span>` : column.label}</th>`)}</tr></thead>
    <tbody>${repeat(rows, rowKey, (row) => html`<tr class=${rowClass(row)}>${columns.map((column) => cell(column, row))}</tr>`)}</tbody>
  </table></div>`;
}

// --- states ----------------------------------------------------------------------------------------------------------

export const skeletonTable = (rows = 5) => html`<div class="table-wrap" role="status" aria-label=${t('app.loading')}><table><tbody>${Array.from({ length: rows }, (_, i) => html`<tr>
  <td><span class="skeleton w70"></span></td><td><span class="skeleton ${i % 2 ? 'w50' : 'w90'}"></span></td><td><span class="skeleton w50"></span></td></tr>`)}</tbody></table></div>`;

export const skeletonBlock = (lines = 4) => html`<div class="card stack" role="status" aria-label=${t('app.loading')}>${Array.from({ length: lines }, (_, i) => html`<span class="skeleton ${['w90', 'w70', 'w50'][i % 3]}"></span>`)}</div>`;

export const emptyState = ({ iconName = 'webhook', title, text = nothing, action = nothing }) =>
  html`<div class="card state">${icon(iconName)}<h2>${title}</h2>${text === nothing ? nothing : html`<p>${text}</p>`}${action}</div>`;

// PostgreSQL's messages begin in lower case and end without a full stop; on a page they are sentences.
export function sentence(text) {
  const trimmed = String(text ?? '').trim();
  if (trimmed === '') return '';
  const capital = /^[a-z]+[ ,]/.test(trimmed) ? trimmed[0].toUpperCase() + trimmed.slice(1) : trimmed;
  return /[.!?:…]$/.test(capital) ? capital : `${capital}.`;
}

// What an RpcError says: {title, text, technical}; also for other errors.
export function errorWords(error) {
  const kind = hasMessage(`error.${error?.kind}.title`) ? error.kind : 'failed';
  const technical = [];
  if (error?.code) technical.push(t('error.sqlstate', { code: error.code }));
  else if (error?.status) technical.push(t('error.http', { status: error.status }));
  const text = error?.message && kind !== 'offline' ? sentence(error.message) : t(`error.${kind}.text`);
  const details = error?.details && !error.details.startsWith('{') ? sentence(error.details) : null;
  const hint = error?.hint ? sentence(error.hint) : kind === 'forbidden' ? t('error.forbidden.text') : null;
  return { kind, title: t(`error.${kind}.title`), text, details, hint, technical: technical.join(', ') };
}

// Instead of what could not be loaded.
export function errorState(error, onRetry) {
  const words = errorWords(error);
  return html`<div class="card state" role="alert">${icon(words.kind === 'forbidden' ? 'shield' : 'warn')}<h2>${words.title}</h2><p>${words.text}</p>
    ${words.details ? html`<p>${words.details}</p>` : nothing}${words.hint ? html`<p>${words.hint}</p>` : nothing}
    ${words.technical ? html`<p class="mono">${words.technical}</p>` : nothing}
    ${onRetry && words.kind !== 'forbidden' ? button({ label: t('action.retry'), iconName: 'replay', onClick: onRetry }) : nothing}</div>`;
}

// kind: 'bad', 'warn', 'info', 'good'. An error that appears is announced (isAlert).
export const banner = ({ kind = 'info', title = null, text = null, action = nothing, isAlert = false }) => html`<div class="banner ${kind}" role=${ifDefined(isAlert ? 'alert' : undefined)}>
  ${icon(kind)}<div class="words">${title ? html`<p class="strong">${title}</p>` : nothing}${text ? html`<p>${text}</p>` : nothing}</div>${action}</div>`;

// Above what stays on the screen: an action or a reload failed.
export function errorBanner(error, { onRetry = null, staleSince = null } = {}) {
  const words = errorWords(error);
  return banner({
    kind: 'bad', isAlert: true, title: words.title,
    text: html`${words.text}${words.details ? html` ${words.details}` : nothing}${words.hint ? html` ${words.hint}` : nothing}${words.technical ? html` <span class="mono">${words.technical}</span>` : nothing}${staleSince ? html` ${t('error.stale', { time: format.clockTimeWithSeconds(new Date(staleSince)) })}` : nothing}`,
    action: onRetry ? button({ label: t('action.retry'), isSmall: true, onClick: onRetry }) : nothing,
  });
}

// A Resource in all its states. ready: (value) => template; skeleton: a template. An error keeps the old value below it.
export function whenLoaded(resource, ready, skeleton = skeletonTable()) {
  const retry = () => resource.load();
  if (resource.value === null) return resource.error && !resource.isLoading ? errorState(resource.error, retry) : skeleton;
  return html`${resource.error ? html`<div class="stack">${errorBanner(resource.error, { onRetry: retry, staleSince: resource.loadedAt })}<div></div></div>` : nothing}${ready(resource.value)}`;
}

// --- status ----------------------------------------------------------------------------------------------------------

const statusLooks = {
  success: ['good', 'good'], failed: ['bad', 'bad'], test: ['accent', 'send'], pending: ['', 'clock'], dead: ['bad', 'dead'],
  active: ['good', 'good'], inactive: ['', 'off'], failing: ['bad', 'warn'], unjudged: ['warn', 'warn'], idle: ['', 'clock'], running: ['accent', 'play'],
  delivered: ['good', 'good'], waiting: ['', 'clock'], settled: ['', 'info'], matched: ['good', 'check'], unmatched: ['', 'cross'],
  finished: ['good', 'good'], cancelled: ['', 'off'], error: ['bad', 'bad'], warning: ['warn', 'warn'], info: ['accent', 'info'],
};

// An icon and a word; color is a third sign. status: a key of statusLooks; label: other words for it.
export function statusBadge(status, label = t(`status.${status}`)) {
  const [color, iconName] = statusLooks[status] ?? ['', 'info'];
  return html`<span class="badge ${color}">${icon(iconName)}${label}</span>`;
}

// The hours as bars: height is attempts, the part at the bottom that failed has the color of failures. label says it in words.
export function bars(hours, label) {
  const max = Math.max(1, ...hours.map((hour) => hour.attempts));
  const width = 5;
  const height = 28;
  const bar = (hour, i) => {
    const failed = hour.attempts - hour.successes;
    const scale = (n) => (n === 0 ? 0 : Math.max(2, (n / max) * (height - 2)));
    const failHeight = scale(failed);
    const okHeight = Math.min(scale(hour.successes), height - 1 - failHeight);
    const x = i * width;
    if (hour.attempts === 0) return svg`<rect class="none" x=${x} y=${height - 2} width=${width - 1} height="2"/>`;
    return svg`<rect class="ok" x=${x} y=${height - failHeight - okHeight} width=${width - 1} height=${okHeight}/><rect class="fail" x=${x} y=${height - failHeight} width=${width - 1} height=${failHeight}/>`;
  };
  return html`<svg class="bars" viewBox="0 0 ${hours.length * width} ${height}" preserveAspectRatio="none" role="img" aria-label=${label}>${hours.map(bar)}</svg>`;
}

export { classMap, html, ifDefined, live, nothing, ref, repeat, svg };

// Dialogs around a signing secret: shown once after it is made, and rotation. The secret is in the page only while its
// dialog is open.

import { Resource } from './resource.js';
import { button, codeBlock, copyButton, dialog, errorBanner, field, format, html, linkButton, nothing, Part, selectInput, showSql, skeletonBlock, t, whenLoaded } from './ui.js';

// <webhook-receiver-code>: a receiver that verifies, in the language that is chosen. The programs read WEBHOOK_SECRET.
class ReceiverCode extends Part {
  static properties = { language: { state: true } };

  constructor() {
    super();
    this.snippets = new Resource(this, () => import('./snippets.js'));
  }

  connectedCallback() {
    super.connectedCallback();
    this.snippets.load();
  }

  render() {
    return whenLoaded(this.snippets, ({ receivers }) => {
      const options = receivers.map(({ language }) => ({ value: language, label: language }));
      const { language, code } = receivers.find((receiver) => receiver.language === this.language) ?? receivers[0];
      return html`<div class="row"><span class="muted grow">${t('secret.code')}</span>${selectInput({ value: language, options, isAuto: true, onChange: (value) => { this.language = value; } })({ label: t('secret.language') })}</div>
        <div class="receiver-code">${codeBlock({ label: t('secret.code_in', { language }), text: code })}</div>`;
    }, skeletonBlock(3));
  }
}
customElements.define('webhook-receiver-code', ReceiverCode);

// secret: the text; oldUntil: until when the secret before is also signed with, or null; onClose.
export function secretDialog(app, { secret, oldUntil = null, onClose }) {
  return dialog({
    title: oldUntil ? t('secret.rotated.title') : t('secret.created.title'), isWide: true, onClose, onSubmit: onClose,
    body: html`<div class="stack">
      <p>${t('secret.once')}</p>
      <div class="secret-box"><code class="break" id="new-secret">${secret}</code>${copyButton({ what: t('secret.name'), text: secret, label: t('action.copy') })}</div>
      ${oldUntil ? html`<p>${t('secret.old_until', { time: format.exactTime(oldUntil) })}</p>` : nothing}
      <div class="stack tight"><h3>${t('secret.use')}</h3><p class="muted">${t('secret.use.text')}</p>
      ${codeBlock({ label: t('secret.use.environment'), text: `WEBHOOK_SECRET=${secret}` })}
      <webhook-receiver-code></webhook-receiver-code></div></div>`,
    actions: html`${linkButton({ label: t('secret.help'), href: app.href('/help/verify'), kind: 'quiet' })}${button({ type: 'submit', kind: 'primary', label: t('secret.done') })}`,
  });
}

const overlaps = [0, 3600, 86400, 604800];

// state: {overlap, isBusy, error}; onChange(state) and onSubmit, onClose.
export function rotateDialog(app, { id, name, state, onChange, onSubmit, onClose }) {
  const options = overlaps.map((value) => ({ value: String(value), label: value === 0 ? t('rotate.at_once') : t('rotate.overlap.value', { duration: format.duration(value) }) }));
  return dialog({
    title: t('rotate.title', { name }), onClose, onSubmit,
    body: html`<div class="stack"><p>${t('rotate.text')}</p>${state.error ? errorBanner(state.error) : nothing}
      ${field({ name: 'overlap', label: t('rotate.overlap'), hint: t('rotate.overlap.hint'), control: selectInput({ value: String(state.overlap), options, onChange: (value) => onChange({ ...state, overlap: Number(value) }) }) })}
      ${showSql('rotate', { id, overlap_s: state.overlap })}</div>`,
    actions: html`${button({ label: t('action.cancel'), onClick: onClose })}${button({ type: 'submit', kind: 'primary', label: t('rotate.submit'), isBusy: state.isBusy })}`,
  });
}

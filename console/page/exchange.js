// A request and its response, as the attempt and the test show them.

import { prettyJson } from './json_text.js';
import { copyButton, format, html, nothing, Part, statusBadge, t } from './ui.js';

// <webhook-body .label .name .text>: a body, formatted if it is JSON; what is copied is the body itself. name: for screen
// readers, which body it is.
class Body extends Part {
  static properties = { label: { attribute: false }, name: { attribute: false }, text: { attribute: false }, isRaw: { state: true } };

  render() {
    const pretty = prettyJson(this.text);
    const choice = (isRaw, key) => html`<button type="button" aria-pressed=${Boolean(this.isRaw) === isRaw ? 'true' : 'false'} @click=${() => { this.isRaw = isRaw; }}>${t(key)}</button>`;
    return html`<div class="stack tight"><div class="row"><h3>${this.label}</h3><span class="push row">${pretty === null || pretty === this.text ? nothing : html`<span class="segments" role="group" aria-label=${t('attempt.body.view')}>${choice(false, 'attempt.body.formatted')}${choice(true, 'attempt.body.as_sent')}</span>`}
      ${copyButton({ what: this.name, text: this.text })}</span></div>
      <pre class="code wrap" tabindex="0" role="region" aria-label=${this.name}>${this.isRaw || pretty === null ? this.text : pretty}</pre></div>`;
  }
}
customElements.define('webhook-body', Body);

// fields: [name, value] each; what is copied is a line for each; note: below them.
function headersList(fields, { label, name, note }) {
  const text = fields.map(([field, value]) => `${field}: ${value}`).join('\n');
  return html`<div class="stack tight"><div class="row"><h3>${label}</h3><span class="push">${copyButton({ what: name, text })}</span></div>
    <dl class="headers-list">${fields.map(([field, value]) => html`<dt>${field}</dt><dd>${value}</dd>`)}</dl>${note ? html`<p class="muted small">${note}</p>` : nothing}</div>`;
}

// request: {url, headers, body} or null; reason: why there is none; notice: what to know before reading it.
export function requestCard(request, { reason, note = null, notice = nothing, actions = nothing }) {
  if (request === null) return html`<section class="card"><header><h2>${t('attempt.request')}</h2></header><p class="muted">${reason}</p></section>`;
  return html`<section class="card stack"><header><h2>${t('attempt.request')}</h2><span class="push row">${actions}</span></header>
    ${notice}<p class="request-line"><b>POST</b> ${request.url}</p>
    ${headersList(Object.entries(request.headers ?? {}), { label: t('attempt.request.headers'), name: t('attempt.headers.copy'), note })}
    <webhook-body .label=${t('attempt.request.body')} .name=${t('attempt.request.body.name')} .text=${request.body ?? ''}></webhook-body></section>`;
}

// text: a line 'Name: value' for each.
function responseHeaders(text) {
  const fields = text.split('\n').map((line) => [line.split(':', 1)[0], line.slice(line.indexOf(':') + 1).trim()]);
  return headersList(fields, { label: t('attempt.response.headers'), name: t('attempt.response.headers.name'), note: t('attempt.response.headers.bounded') });
}

// answer: {response_status, response_headers, response_body, error, duration_ms, status}; the headers may be missing.
export function responseCard(answer) {
  const body = () => {
    if (!answer.response_status) return html`<p class="muted">${t('attempt.response.none')}</p>`;
    if (!answer.response_body) return html`<p class="muted">${t('attempt.response.empty')}</p>`;
    return html`<webhook-body .label=${t('attempt.response.body')} .name=${t('attempt.response.body.name')} .text=${answer.response_body}></webhook-body><p class="muted small">${t('attempt.response.bounded')}</p>`;
  };
  return html`<section class="card stack"><header><h2>${t('attempt.response')}</h2>${answer.response_status ? statusBadge(answer.status === 'failed' ? 'failed' : 'success', String(answer.response_status)) : nothing}
      <span class="push muted small">${format.milliseconds(answer.duration_ms)}</span></header>
    ${answer.error ? html`<p class="bad break">${answer.error}</p>` : nothing}${answer.response_headers ? responseHeaders(answer.response_headers) : nothing}${body()}</section>`;
}

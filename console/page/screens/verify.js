// #/verify: paste the headers, the body and the secret of a request; the step that fails is named. Nothing of it is in the
// address.

import { Screen } from '../screen.js';
import { banner, button, errorBanner, field, hasText, html, icon, live, nothing, pageHeader, sentence, showSql, skeletonBlock, t, textArea } from '../ui.js';

const kRelevant = new Set(['webhook-id', 'webhook-timestamp', 'webhook-signature', 'x-webhook-id', 'x-webhook-signature', 'x-webhook-timestamp']);

export default class VerifyScreen extends Screen {
  constructor() {
    super();
    this.form = { headers: '', body: '', secret: '' };
    this.problems = {};
  }

  get pageTitle() {
    return t('verify.title');
  }

  set(changes) {
    this.form = { ...this.form, ...changes };
    for (const name of Object.keys(changes)) delete this.problems[name];
    this.isStale = Boolean(this.result);
    this.requestUpdate();
  }

  async submit() {
    if (this.isBusy) return;
    const headers = relevantHeaders(this.form.headers);
    this.problems = {};
    if (Object.keys(headers).length === 0) this.problems.headers = { message: t('verify.headers.missing'), hint: t('verify.headers.missing.hint') };
    if (this.form.secret === '') this.problems.secret = t('verify.secret.missing');
    if (Object.keys(this.problems).length === 0) await this.verify({ body: this.form.body, secret: this.form.secret.trim(), headers });
    this.requestUpdate();
    await this.updateComplete;
    (this.querySelector('[aria-invalid="true"]') ?? this.querySelector('[data-result]'))?.focus();
  }

  async verify(args) {
    Object.assign(this, { isBusy: true, error: null, result: null, isStale: false });
    this.requestUpdate();
    try {
      this.result = await this.app.call('verify', args, { once: true });
    } catch (error) {
      if (Object.hasOwn(this.form, error.field ?? '')) this.problems[error.field] = { message: error.message, hint: error.hint };
      else if (error.kind !== 'unauthorized') this.error = error;
    }
    this.isBusy = false;
  }

  clear() {
    Object.assign(this, { form: { headers: '', body: '', secret: '' }, problems: {}, result: null, error: null, isShown: false });
    this.requestUpdate();
  }

  // --- rendering ---

  render() {
    return html`${pageHeader({ title: t('verify.title'), description: html`${t('verify.description')} <a href=${this.app.href('/help/verify')}>${t('verify.help')}</a>` })}
      <div class="halves"><form class="card stack" novalidate autocomplete="off" @submit=${(event) => { event.preventDefault(); this.submit(); }}>${this.renderForm()}</form>
        <div class="stack" aria-live="polite">${this.renderResult()}</div></div>`;
  }

  renderForm() {
    const { form, problems } = this;
    const area = (name, rows, placeholder) => field({ name, label: t(`verify.${name}`), hint: t(`verify.${name}.hint`), error: problems[name] ?? null, control: textArea({ value: form[name], isMono: true, rows, placeholder, onInput: (value) => this.set({ [name]: value }) }) });
    const isEmpty = Object.values(form).every((value) => value === '');
    return html`${area('headers', 5, 'webhook-id: evt_…\nwebhook-timestamp: 1705314600\nwebhook-signature: v1,…')}
      ${area('body', 8, '{"event":"contact.created","timestamp":"…","data":{…}}')}
      ${field({ name: 'secret', label: t('verify.secret'), hint: t('verify.secret.hint'), error: problems.secret ?? null, control: (ids) => this.renderSecret(ids) })}
      <div class="row">${button({ type: 'submit', label: t('verify.submit'), kind: 'primary', iconName: 'shield', isBusy: this.isBusy })}${isEmpty ? nothing : button({ label: t('verify.clear'), kind: 'quiet', onClick: () => this.clear() })}</div>
      ${showSql('verify', { body: form.body, secret: form.secret, headers: relevantHeaders(form.headers) })}`;
  }

  renderSecret({ id, describedBy, isInvalid }) {
    return html`<div class="secret-input"><input id=${id} type=${this.isShown ? 'text' : 'password'} class="mono" .value=${live(this.form.secret)} placeholder="whsec_…" autocomplete="off" autocapitalize="off" spellcheck="false"
        aria-describedby=${describedBy ?? nothing} aria-invalid=${isInvalid ? 'true' : nothing} @input=${(event) => this.set({ secret: event.target.value })}>
      ${button({ label: t(this.isShown ? 'secret.hide' : 'secret.reveal'), title: t(this.isShown ? 'verify.secret.hide' : 'verify.secret.show'), onClick: () => { this.isShown = !this.isShown; this.requestUpdate(); } })}</div>`;
  }

  renderResult() {
    if (this.isBusy) return skeletonBlock(6);
    if (this.error) return html`<div tabindex="-1" data-result>${errorBanner(this.error, { onRetry: () => this.submit() })}</div>`;
    if (!this.result) return html`<div class="card state placeholder">${icon('shield')}<p>${t('verify.placeholder')}</p></div>`;
    const { is_valid: isValid, steps } = this.result;
    const failed = steps.find((step) => step.is_ok === false);
    return html`${this.isStale ? banner({ kind: 'info', text: t('verify.stale') }) : nothing}
      <div class="outcome ${isValid ? 'good' : 'bad'}" tabindex="-1" data-result>${icon(isValid ? 'good' : 'bad')}<div class="words"><p class="lead-sentence">${sentence(t(isValid ? 'verify.valid' : 'verify.invalid'))}</p>
        <p class="muted">${isValid ? t('verify.valid.text') : failed ? sentence(t('verify.invalid.at', { step: stepName(failed.step) })) : nothing}</p></div></div>
      <ol class="card flush check-steps">${steps.map((step) => this.renderStep(step))}</ol>`;
  }

  renderStep({ step, is_ok: isOk, message }) {
    const [look, words] = isOk === null ? ['', 'skipped'] : isOk ? ['good', 'ok'] : ['bad', 'failed'];
    return html`<li class=${isOk === false ? 'failed' : ''}><span class="mark ${look}">${icon(look || 'off')}</span><div><p class="strong">${stepName(step)}<span class="visually-hidden">, ${t(`verify.${words}`)}</span></p><p class="muted small">${sentence(message)}</p></div></li>`;
  }
}

const stepName = (step) => (hasText(`verify.step.${step}`) ? t(`verify.step.${step}`) : step);

// The headers that a signature needs, by name; from lines of a log or of curl, or a JSON object. The others, which may be
// secret, stay on the page.
export function relevantHeaders(text) {
  const found = {};
  for (const [name, value] of pairsOf(text)) if (kRelevant.has(name.toLowerCase())) found[name.toLowerCase()] = value;
  return found;
}

function pairsOf(text) {
  try {
    const value = JSON.parse(text);
    if (value && typeof value === 'object') return Object.entries(value).map(([name, member]) => [name, String(Array.isArray(member) ? member[0] : member)]);
  } catch {
    // Lines, then.
  }
  return text.split('\n').flatMap((line) => {
    const match = /^\s*(?:(?:-H|--header)\s+|[<>]\s*)?['"]?([\w-]+)['"]?\s*[:=]\s*(.*?)['"]?[,\s]*\\?\s*$/.exec(line);
    return match ? [[match[1], match[2].replace(/^['"]/, '')]] : [];
  });
}

// #/webhooks/new, #/webhooks/new?from=5, #/webhooks/5/edit: the form of a webhook, on one page.

import '../event_picker.js';
import { conflictDialog } from '../conflict_dialog.js';
import { Resource } from '../resource.js';
import { parseSchedule, retryTimeline, scheduleText } from '../retry_timeline.js';
import { Screen } from '../screen.js';
import { rotateDialog, secretDialog } from '../secret_dialog.js';
import {
  banner, button, copyButton, dataTable, errorBanner, errorState, field, fieldError, format, help, html, icon, live, nothing, pageHeader, pointerReleased, relativeTime, repeat, selectInput, showSql,
  skeletonBlock, statusBadge, switchControl, t, textArea, textInput, whenLoaded,
} from '../ui.js';
import { webhookHeader } from '../webhook_actions.js';
import { differences, formOf, kAdvancedFields, localProblems, membersToSave, mergedForm, newForm } from '../webhook_form.js';

// Fields of the form, by the names that the API gives them in its errors.
const kFields = new Set(['name', 'url', 'organization', 'events', 'filter', 'secret', ...kAdvancedFields]);

export default class EditScreen extends Screen {
  constructor() {
    super();
    this.loaded = new Resource(this, (signal) => this.app.call('webhook', { id: this.id }, { signal }));
    this.tried = new Resource(this, (signal) => this.app.call('try_filter', this.tryArgs, { signal }));
    this.problems = {};
    this.good = {};
    this.judged = {};
    this.error = null;
    this.secret = null;
  }

  get isNew() {
    return this.params.id === undefined;
  }

  get id() {
    return this.params.id ?? this.query.from;
  }

  get pageTitle() {
    return this.isNew ? t('form.new') : t('form.edit');
  }

  get hasUnsavedChanges() {
    return Boolean(this.form && !this.isSaved && JSON.stringify(this.form) !== this.untouched);
  }

  get tryArgs() {
    return { filter: this.form.filter.trim(), events: this.form.events.length ? this.form.events : undefined, organization: this.formOrganization };
  }

  get formOrganization() {
    return this.app.can.choose_organization ? this.form.organization || this.app.organization || undefined : undefined;
  }

  async routed() {
    if (this.form || !this.app.can.write) return;
    if (this.isNew && !this.query.from) {
      this.start(null, newForm(this.defaultsOf()));
      return;
    }
    await this.loaded.load();
    if (!this.loaded.value) return;
    const { webhook } = this.loaded.value;
    const form = formOf(webhook, this.app.session);
    if (this.isNew) this.start(null, { ...form, name: t('form.copy_of', { name: webhook.name }), headers: [] });
    else this.start(webhook, form);
    if (!this.isNew && this.query.rotate) this.openRotation();
  }

  defaultsOf() {
    const { session, organization } = this.app;
    return { defaults: session.defaults, organization: organization ?? (session.can.choose_organization ? session.organizations[0] : session.organization) };
  }

  start(webhook, form) {
    this.webhook = webhook;
    this.before = webhook ? form : null;
    this.form = form;
    this.untouched = JSON.stringify(form);
    this.requestUpdate();
    this.app.updateTitle();
  }

  set(changes) {
    this.form = { ...this.form, ...changes };
    for (const name of Object.keys(changes)) {
      delete this.problems[name];
      delete this.good[name];
    }
    if ('retry_schedule' in changes || 'hasOwnSchedule' in changes) delete this.problems.retry_schedule_s;
    this.requestUpdate();
  }

  get members() {
    return membersToSave(this.form, this.before, { mayChooseOrganization: this.app.can.choose_organization });
  }

  // The database judges one field as it is left.
  async judge(name) {
    const value = JSON.stringify(this.form[name]);
    if (this.judged[name] === value || (this.form[name] === '' && this.isNew)) return;
    this.judged[name] = value;
    try {
      const { problems } = await this.app.call('validate', { webhook: this.members, id: this.isNew ? undefined : this.webhook.id });
      if (JSON.stringify(this.form[name]) !== value) return;
      const problem = problems.find((candidate) => candidate.field === name);
      if (problem) this.problems[name] = problem;
      else this.good[name] = true;
    } catch {
      // It is judged again when it is saved.
      delete this.judged[name];
    }
    await pointerReleased();
    this.requestUpdate();
  }

  async save({ isTest = false } = {}) {
    if (this.isBusy) return;
    this.error = null;
    this.problems = localProblems(this.form);
    if (Object.keys(this.problems).length > 0) {
      this.showProblems();
      return;
    }
    this.isBusy = isTest ? 'test' : 'save';
    this.requestUpdate();
    try {
      const result = await this.app.write('save', this.saveArgs());
      this.saved(result, isTest);
    } catch (error) {
      this.refused(error);
    }
    this.isBusy = null;
    this.requestUpdate();
  }

  saveArgs() {
    return this.webhook ? { webhook: this.members, id: this.webhook.id, if_updated_at: this.webhook.updated_at } : { webhook: this.members };
  }

  saved({ webhook, secret }, isTest) {
    this.isSaved = true;
    const next = () => this.app.go(`/webhooks/${webhook.id}${isTest ? '/test' : ''}`, {}, { force: true });
    if (secret) this.secret = { secret, oldUntil: null, next };
    else {
      this.app.toast(t('form.saved', { name: webhook.name }));
      next();
    }
  }

  refused(error) {
    if (error.current) {
      const current = formOf(error.current, this.app.session);
      const rows = differences(this.form, this.before, current);
      this.conflict = { webhook: error.current, current, rows, kept: new Set(rows.filter((row) => row.isMine).map((row) => row.name)) };
    } else if (error.field && kFields.has(error.field)) {
      this.problems = { [error.field]: { message: error.message, hint: error.hint } };
      this.showProblems();
    } else if (error.kind !== 'unauthorized') {
      this.error = error;
      this.updateComplete.then(() => this.querySelector('.form-error')?.scrollIntoView({ block: 'center' }));
    }
  }

  resolveConflict() {
    const { webhook, current, kept } = this.conflict;
    this.form = mergedForm(this.form, current, kept);
    this.webhook = webhook;
    this.before = current;
    this.conflict = null;
    this.save();
  }

  // The first field that is wrong gets the focus, in a section that is open.
  async showProblems() {
    if (Object.keys(this.problems).some((name) => kAdvancedFields.has(name))) this.isAdvancedOpen = true;
    this.requestUpdate();
    await this.updateComplete;
    const first = this.querySelector('[aria-invalid="true"]') ?? this.querySelector('.field .error, fieldset > .error');
    if (first?.matches('.error')) first.scrollIntoView({ block: 'center' });
    else first?.focus();
  }

  // --- rendering ---

  render() {
    const header = this.isNew
      ? pageHeader({ title: this.query.from ? t('form.duplicate') : t('form.new'), crumbs: [{ label: t('app.nav.webhooks'), href: this.app.href('/webhooks') }] })
      : webhookHeader(this.app, { id: this.params.id, current: 'edit', loaded: this.loaded.value });
    if (!this.app.can.write) return html`${header}${errorState({ kind: 'forbidden', message: '' })}`;
    if (!this.form) return html`${header}${whenLoaded(this.loaded, () => nothing, skeletonBlock(8))}`;
    return html`${header}<form class="webhook-form stack loose" novalidate @submit=${(event) => { event.preventDefault(); this.save(); }}>
        ${this.error ? html`<div class="form-error">${errorBanner(this.error)}</div>` : nothing}
        ${this.isNew && this.query.from ? banner({ text: t('form.duplicate.note') }) : nothing}
        ${this.renderBasics()}${this.renderEvents()}${this.renderFilter()}${this.renderSigning()}${this.renderAdvanced()}${this.renderActions()}
      </form>${this.renderDialogs()}`;
  }

  section(name, body, description = null) {
    return html`<section class="form-section" aria-labelledby="section-${name}"><div class="form-section-about"><h2 id="section-${name}">${t(`form.section.${name}`)}</h2>
      <p class="muted small">${description ?? t(`form.section.${name}.text`)}</p></div><div class="stack form-section-fields">${body}</div></section>`;
  }

  problem(name) {
    return this.problems[name] ?? null;
  }

  renderBasics() {
    const { form, app } = this;
    const { limits } = app.session;
    const organizations = app.session.organizations.map((value) => ({ value, label: value }));
    return this.section('basics', html`
      ${field({ name: 'name', label: t('form.name'), error: this.problem('name'), hint: t('form.name.hint'), control: textInput({ value: form.name, isRequired: true, maxlength: limits.name_characters, onInput: (name) => this.set({ name }), onBlur: () => this.judge('name') }) })}
      ${field({ name: 'url', label: t('form.url'), error: this.problem('url'), good: this.good.url ? t('form.url.good') : null, hint: t(limits.allow_http ? 'form.url.hint_http' : 'form.url.hint'), helpText: [t('form.url.help.1'), t('form.url.help.2', { ports: limits.allowed_ports })], helpHref: app.href('/help/test-url'), control: textInput({ value: form.url, type: 'url', inputmode: 'url', isMono: true, isRequired: true, placeholder: 'https://example.com/webhooks', maxlength: limits.url_bytes, onInput: (url) => this.set({ url }), onBlur: () => this.judge('url') }) })}
      ${this.isNew && app.can.choose_organization ? field({ name: 'organization', label: t('app.organization'), error: this.problem('organization'), control: selectInput({ value: form.organization, options: organizations, onChange: (organization) => this.set({ organization }) }) }) : nothing}
      <div class="row">${switchControl({ id: 'field-is_active', label: t('form.is_active'), isOn: form.is_active, describedBy: 'is-active-hint', onChange: (isActive) => this.set({ is_active: isActive }) })}
        <div><span class="strong" aria-hidden="true">${t('form.is_active')}</span><p class="muted small" id="is-active-hint">${t('form.is_active.hint')}</p></div></div>`);
  }

  renderEvents() {
    return this.section('events', html`<webhook-event-picker .app=${this.app} .events=${this.form.events} .filter=${this.form.filter.trim()} .error=${this.problem('events')} .onChange=${(events) => this.set({ events })}></webhook-event-picker>`);
  }

  renderFilter() {
    const { form, app } = this;
    const isEmpty = form.filter.trim() === '';
    return this.section('filter', html`
      ${field({ name: 'filter', label: t('form.filter'), isOptional: true, error: this.problem('filter'), good: this.good.filter && !isEmpty ? t('form.filter.good') : null, hint: t('form.filter.hint'), helpText: [t('form.filter.help.1'), t('form.filter.help.2'), t('form.filter.help.3')], helpHref: app.href('/help/filters'), control: textArea({ value: form.filter, isMono: true, rows: 2, placeholder: '$.amount >= 1000 && $.stage == "won"', onInput: (filter) => this.set({ filter }), onBlur: () => this.judge('filter') }) })}
      <div class="row">${button({ label: t('form.filter.try'), iconName: 'play', isDisabled: isEmpty, isBusy: this.tried.isLoading, onClick: () => this.tried.load() })}</div>
      ${this.renderTried()}`);
  }

  renderTried() {
    const { tried } = this;
    if (tried.error && !tried.isLoading) return tried.error.field === 'filter' ? html`<div class="field">${fieldError('tried', { message: tried.error.message, hint: tried.error.hint })}</div>` : errorBanner(tried.error, { onRetry: () => tried.load() });
    if (!tried.value) return nothing;
    if (tried.value.events.length === 0) return html`<p class="muted" role="status">${t('form.filter.none_recent')}</p>`;
    const columns = [
      { label: t('form.tried.result'), cell: (row) => statusBadge(row.matches ? 'success' : 'inactive', t(row.matches ? 'form.tried.matches' : 'form.tried.refused')) },
      { label: t('form.tried.event'), isLead: true, cell: (row) => html`<details class="tried"><summary class="mono small break">${row.event}${row.key ? html` <span class="muted">${row.key}</span>` : nothing}</summary><pre class="code wrap">${JSON.stringify(row.data, null, 2)}</pre></details>` },
      { label: t('form.tried.reason'), cell: (row) => (row.reason ? html`<span class="break">${row.reason}</span>` : nothing) },
      { label: t('form.tried.at'), cell: (row) => html`<span class="nowrap">${relativeTime(this.app, row.created_at)}</span>` },
    ];
    return html`<p role="status">${t('form.tried.summary', { matched: format.number(tried.value.matched), count: tried.value.tried })}</p>
      ${dataTable({ caption: t('form.filter.try'), columns, rows: tried.value.events, rowKey: (row) => row.event_id })}`;
  }

  renderSigning() {
    if (!this.isNew) return this.section('signing', this.renderStoredSecret());
    const { form } = this;
    const choice = (isOwn, key) => html`<label class="check"><input type="radio" name="secret" .checked=${live(form.hasOwnSecret === isOwn)} @change=${() => this.set({ hasOwnSecret: isOwn })}><span>${t(key)}<span class="muted small sub">${t(`${key}.hint`)}</span></span></label>`;
    return this.section('signing', html`<fieldset class="stack tight"><legend class="visually-hidden">${t('form.section.signing')}</legend>${choice(false, 'form.secret.generated')}${choice(true, 'form.secret.own')}</fieldset>
      ${form.hasOwnSecret ? this.renderOwnSecret() : nothing}`);
  }

  renderOwnSecret() {
    return field({ name: 'secret', label: t('secret.name'), error: this.problem('secret'), hint: t('form.secret.hint'), control: textInput({ value: this.form.secret, type: 'password', isMono: true, autocomplete: 'new-password', maxlength: this.app.session.limits.secret_bytes, onInput: (secret) => this.set({ secret }), onBlur: () => this.judge('secret') }) });
  }

  renderStoredSecret() {
    const { form } = this;
    const shown = this.revealed ?? '••••••••••••••••••••••••';
    return html`<div class="field"><div class="label"><span class="name">${t('secret.name')}</span>${help({ label: t('secret.name'), text: [t('secret.help.1'), t('secret.help.2')], href: this.app.href('/help/verify') })}</div>
        <div class="secret-box"><code class="break">${shown}</code>${this.revealed ? copyButton({ what: t('secret.name'), text: this.revealed, label: t('action.copy') }) : nothing}
        ${this.revealed ? button({ label: t('secret.hide'), isSmall: true, onClick: () => { this.revealed = null; this.requestUpdate(); } }) : button({ label: t('secret.reveal'), isSmall: true, isBusy: this.isRevealing, onClick: () => this.reveal() })}</div>
        <p class="hint">${t('secret.reveal.hint')}</p></div>
      <div class="row">${button({ label: t('rotate.open'), iconName: 'key', onClick: () => this.openRotation() })}
        ${button({ label: form.hasOwnSecret ? t('form.secret.keep') : t('form.secret.replace'), kind: 'quiet', onClick: () => this.set({ hasOwnSecret: !form.hasOwnSecret, secret: '' }) })}</div>
      ${form.hasOwnSecret ? this.renderOwnSecret() : nothing}`;
  }

  async reveal() {
    this.isRevealing = true;
    this.requestUpdate();
    try {
      this.revealed = (await this.app.call('reveal', { id: this.webhook.id })).secret;
    } catch (error) {
      this.app.fail(error);
    }
    this.isRevealing = false;
    this.requestUpdate();
  }

  openRotation() {
    this.rotation = { overlap: 86400, isBusy: false, error: null };
    this.requestUpdate();
  }

  async rotate() {
    if (this.rotation.isBusy) return;
    this.rotation = { ...this.rotation, isBusy: true, error: null };
    this.requestUpdate();
    try {
      const { secret, old_secret_until: until } = await this.app.write('rotate', { id: this.webhook.id, overlap_s: this.rotation.overlap });
      this.rotation = null;
      this.revealed = null;
      this.secret = { secret, oldUntil: until, next: () => {} };
      await this.refreshVersion();
    } catch (error) {
      if (this.rotation) this.rotation = { ...this.rotation, isBusy: false, error };
    }
    this.requestUpdate();
  }

  // Rotation changes updated_at: what is in the form now is compared with the webhook after it.
  async refreshVersion() {
    await this.loaded.load();
    const { webhook } = this.loaded.value;
    if (JSON.stringify(formOf(webhook, this.app.session)) === JSON.stringify(this.before)) this.webhook = webhook;
  }

  renderAdvanced() {
    const { form, app } = this;
    const { limits } = app.session;
    const orderings = ['relaxed', 'key', 'endpoint'].map((value) => ({ value, label: t(`form.ordering.${value}`) }));
    const numberField = (name, hint, extra = {}) => field({ name, label: t(`form.${name}`), error: this.problem(name), hint, helpText: t(`form.${name}.help`), ...extra, control: (ids) => html`<div class="with-unit">${textInput({ value: form[name], inputmode: 'decimal', maxlength: 12, onInput: (value) => this.set({ [name]: value }), onBlur: () => this.judge(name) })(ids)}<span class="muted">${t(`form.${name}.unit`)}</span></div>` });
    const range = ([from, to]) => t('form.range', { from: format.number(from), to: format.number(to) });
    return html`<details class="advanced" ?open=${this.isAdvancedOpen} @toggle=${(event) => { if (event.target.matches('.advanced')) this.isAdvancedOpen = event.target.open; }}><summary>${icon('chevron')}<span class="h2">${t('form.section.advanced')}</span><span class="muted small">${t('form.section.advanced.text')}</span></summary>
      <div class="stack loose">${this.section('headers', this.renderHeaders(), t('form.section.headers.text', { count: limits.headers }))}
      ${this.section('delivery', html`<div class="grid2">
        ${numberField('timeout_ms', range(limits.timeout_ms))}${numberField('rate_limit_per_s', t('form.rate_limit_per_s.hint'), { isOptional: true })}${numberField('max_in_flight', range(limits.max_in_flight))}
        ${field({ name: 'ordering', label: t('form.ordering'), error: this.problem('ordering'), hint: t(`form.ordering.${form.ordering}.hint`), helpText: [t('form.ordering.help.1'), t('form.ordering.help.2')], helpHref: app.href('/help/order'), control: selectInput({ value: form.ordering, options: orderings, onChange: (ordering) => this.set({ ordering }) }) })}</div>`)}
      ${this.section('retries', this.renderRetries())}
      ${this.section('testing', field({ name: 'test_event', label: t('form.test_event'), isOptional: true, error: this.problem('test_event'), hint: t('form.test_event.hint'), control: textInput({ value: form.test_event, isMono: true, placeholder: 'webhook.test', onInput: (value) => this.set({ test_event: value }), onBlur: () => this.judge('test_event') }) }))}</div></details>`;
  }

  renderHeaders() {
    const { headers } = this.form;
    const change = (i, changes) => this.set({ headers: headers.map((header, j) => (j === i ? { ...header, ...changes } : header)) });
    const remove = (i) => this.set({ headers: headers.filter((_, j) => j !== i) });
    const stored = (header, i) => html`<div class="header-line"><code class="break ${header.isRemoved ? 'removed' : ''}">${header.name}</code>
      ${header.isReplaced ? html`<input type="password" autocomplete="off" aria-label=${t('form.headers.value_of', { name: header.name })} .value=${live(header.value)} @input=${(event) => change(i, { value: event.target.value })}>` : html`<span class="muted">${header.isRemoved ? t('form.headers.removed') : '••••••••'}</span>`}
      <span class="row nowrap-row">${header.isRemoved || header.isReplaced
        ? button({ label: t('form.headers.undo'), isSmall: true, kind: 'quiet', onClick: () => change(i, { isRemoved: false, isReplaced: false, value: '' }) })
        : html`${button({ label: t('form.headers.replace'), isSmall: true, kind: 'quiet', onClick: () => change(i, { isReplaced: true }) })}${button({ label: t('form.headers.remove', { name: header.name }), iconName: 'trash', iconOnly: true, isSmall: true, kind: 'quiet', onClick: () => change(i, { isRemoved: true }) })}`}</span></div>`;
    const added = (header, i) => html`<div class="header-line"><input class="mono" aria-label=${t('form.headers.name')} placeholder="X-Api-Key" spellcheck="false" .value=${live(header.name)} @input=${(event) => change(i, { name: event.target.value })}>
      <input type="password" autocomplete="off" aria-label=${t('form.headers.value')} placeholder=${t('form.headers.value')} .value=${live(header.value)} @input=${(event) => change(i, { value: event.target.value })}>
      ${button({ label: t('form.headers.remove', { name: header.name }), iconName: 'trash', iconOnly: true, isSmall: true, kind: 'quiet', onClick: () => remove(i) })}</div>`;
    return html`<div class="stack tight">${fieldError('field-headers', this.problem('headers'))}
      ${repeat(headers, (_, i) => i, (header, i) => (header.isStored ? stored(header, i) : added(header, i)))}
      <div>${button({ label: t('form.headers.add'), iconName: 'plus', isSmall: true, isDisabled: headers.length >= this.app.session.limits.headers, onClick: () => this.set({ headers: [...headers, { name: '', value: '', isStored: false, isReplaced: false, isRemoved: false }] }) })}</div></div>`;
  }

  renderRetries() {
    const { form, app } = this;
    const defaults = app.session.defaults.retry_schedule_s;
    const seconds = form.hasOwnSchedule ? parseSchedule(form.retry_schedule) : defaults;
    const choice = (isOwn, key) => html`<label class="check"><input type="radio" name="schedule" .checked=${live(form.hasOwnSchedule === isOwn)} @change=${() => this.set({ hasOwnSchedule: isOwn })}><span>${t(key)}</span></label>`;
    return html`<fieldset class="stack tight"><legend class="visually-hidden">${t('retry.title')}</legend>${choice(false, 'form.retry.default')}${choice(true, 'form.retry.own')}</fieldset>
      ${form.hasOwnSchedule ? field({ name: 'retry_schedule_s', label: t('form.retry_schedule_s'), error: this.problem('retry_schedule_s'), hint: t('form.retry.hint', { count: app.session.limits.retry_steps }), helpText: [t('form.retry.help.1'), t('form.retry.help.2')], helpHref: app.href('/help/retries'), control: textInput({ value: form.retry_schedule, isMono: true, placeholder: scheduleText(defaults), onInput: (value) => this.set({ retry_schedule: value }), onBlur: () => this.judgeSchedule() }) }) : nothing}
      ${seconds && seconds.length <= 64 ? retryTimeline(seconds) : html`<p class="muted small">${t('retry.undrawn')}</p>`}`;
  }

  async judgeSchedule() {
    await pointerReleased();
    const problem = localProblems(this.form).retry_schedule_s;
    if (problem) this.problems.retry_schedule_s = problem;
    this.requestUpdate();
  }

  renderActions() {
    const isNothing = !this.isNew && !this.hasUnsavedChanges;
    return html`<div class="form-actions"><div class="row">
        ${button({ type: 'submit', kind: 'primary', label: t('action.save'), isBusy: this.isBusy === 'save', isDisabled: isNothing || this.isBusy === 'test' })}
        ${button({ label: t('form.save_and_test'), iconName: 'send', isBusy: this.isBusy === 'test', isDisabled: this.isBusy === 'save', onClick: () => (isNothing ? this.app.go(`/webhooks/${this.webhook.id}/test`) : this.save({ isTest: true })) })}
        <a class="button quiet" href=${this.app.href(this.isNew ? '/webhooks' : `/webhooks/${this.params.id}`)}>${t('action.cancel')}</a>
        ${this.hasUnsavedChanges ? html`<span class="muted small unsaved">${t('form.unsaved')}</span>` : nothing}</div>
      ${showSql('save', this.saveArgs())}</div>`;
  }

  renderDialogs() {
    if (this.conflict) {
      const { rows, kept, webhook } = this.conflict;
      return conflictDialog({
        rows, kept, changedAt: relativeTime(this.app, webhook.updated_at), onSave: () => this.resolveConflict(),
        onChange: (next) => { this.conflict = { ...this.conflict, kept: next }; this.requestUpdate(); }, onClose: () => { this.conflict = null; this.requestUpdate(); },
      });
    }
    if (this.secret) {
      const close = () => {
        const { next } = this.secret;
        this.secret = null;
        this.requestUpdate();
        next();
      };
      return secretDialog(this.app, { ...this.secret, onClose: close });
    }
    if (this.rotation) {
      return rotateDialog(this.app, {
        id: this.webhook.id, name: this.webhook.name, state: this.rotation, onSubmit: () => this.rotate(),
        onChange: (state) => { this.rotation = state; this.requestUpdate(); }, onClose: () => { this.rotation = null; this.requestUpdate(); },
      });
    }
    return nothing;
  }
}

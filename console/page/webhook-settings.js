// <webhook-settings base="/path">: Settings → Webhooks, the whole page as one element.
//
//   base      where the API is: POST {base}/rpc/{function} (docs/api.md). Default: the folder of the document
//   hosted    webhook-console serves it: GET {base}/config says how people sign in and which databases there are, and the
//             one-time code of its link is exchanged at POST {base}/session
//   routing   'hash' (default) or 'history', then with root="/settings/webhooks"
//   theme     'light' or 'dark'; without it, what the system prefers
//   getToken  a property: async ({refresh}) => bearer token. A product that embeds the page sets it before the element is
//             connected. It is called before each call, and with refresh: true after a 401
//   headers   a property: an object of further headers, such as {apikey: '…'} for Supabase
//
// It loads the session, shows what concerns every screen (no worker, paused, offline, signed out) and the screen that the
// address names. screen.js says what it offers to screens.

import './help_panel.js';
import { LitElement, html, ifDefined, nothing } from './vendor/lit.js';
import { setLocale } from './format.js';
import { setMessages } from './messages.js';
import { Router } from './router.js';
import { RpcClient } from './rpc.js';
import { styles } from './styles.js';
import { banner, button, dialog, errorBanner, errorState, errorWords, field, icon, menu, pageHeader, selectInput, showSql, skeletonBlock, t, textInput } from './ui.js';

const kToastMs = 6000;
const kSessionRefreshMs = 60000;
const kOfflineRetryMs = 3000;
const themeKey = 'webhook-settings-theme';

export class WebhookSettings extends LitElement {
  static styles = styles;
  static shadowRootOptions = { ...LitElement.shadowRootOptions, delegatesFocus: false };
  static properties = {
    base: {}, routing: {}, root: {}, hosted: { type: Boolean }, theme: { reflect: true }, getToken: { attribute: false }, headers: { attribute: false },
    session: { state: true }, sessionError: { state: true }, isOffline: { state: true }, screen: { state: true },
    config: { state: true }, screenError: { state: true }, prompt: { state: true }, toasts: { state: true }, pause: { state: true }, signIn: { state: true },
  };

  constructor() {
    super();
    this.base = '';
    this.routing = 'hash';
    this.root = '';
    this.toasts = [];
    this.organization = null;
    this.signIn = { code: '', error: null, isBusy: false, isNeeded: false };
    this.config = null;
    this.beforeUnload = (event) => this.screen?.hasUnsavedChanges && event.preventDefault();
    this.wentOnline = () => this.loadSession();
    this.wentOffline = () => {
      this.isOffline = true;
      // The browser does not say when a server is back, and a call that failed late may come after it said so.
      clearTimeout(this.offlineTimer);
      this.offlineTimer = setTimeout(() => this.isOffline && this.session && this.isConnected && this.loadSession(), kOfflineRetryMs);
    };
  }

  // Texts in another language, before the element is connected: messages.js says how.
  static useLanguage(locale, translation) {
    setLocale(locale);
    setMessages(translation, locale);
  }

  connectedCallback() {
    super.connectedCallback();
    if (this.hosted) this.theme = readTheme() ?? this.theme;
    this.rpc = new RpcClient({ base: this.base, getToken: this.getToken ?? null, headers: this.headers ?? {} });
    this.rpc.addEventListener('unauthorized', () => this.#needSignIn());
    this.rpc.addEventListener('unreached', this.wentOffline);
    this.rpc.addEventListener('reached', () => { this.isOffline = false; });
    this.router = new Router({ mode: this.routing, root: this.root });
    this.router.guard = () => this.#mayLeave();
    this.router.addEventListener('route', (event) => this.#routed(event.detail));
    window.addEventListener('beforeunload', this.beforeUnload);
    window.addEventListener('online', this.wentOnline);
    window.addEventListener('offline', this.wentOffline);
    this.refreshTimer = setInterval(() => document.visibilityState === 'visible' && this.session && this.reloadSession(), kSessionRefreshMs);
    this.addEventListener('click', this.#followLink);
    this.#start();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.router.stop();
    Object.assign(this, { session: null, sessionError: null, screen: null, screenError: null });
    clearInterval(this.refreshTimer);
    clearTimeout(this.offlineTimer);
    window.removeEventListener('beforeunload', this.beforeUnload);
    window.removeEventListener('online', this.wentOnline);
    window.removeEventListener('offline', this.wentOffline);
    this.removeEventListener('click', this.#followLink);
  }

  // --- the session ---

  async #start() {
    if (this.hosted) this.#loadConfig();
    const code = this.hosted ? /^#code=([\w-]+)$/.exec(location.hash)?.[1] : null;
    if (code) {
      history.replaceState(null, '', location.pathname + location.search);
      await this.#exchange(code);
    }
    await this.loadSession();
  }

  async #loadConfig() {
    try {
      this.config = await this.rpc.send('config', { method: 'GET' });
    } catch {
      // Without it there is one database, and the code is asked for.
    }
  }

  get usesCode() {
    return this.hosted && (this.config?.sign_in ?? 'code') === 'code';
  }

  async #signOut() {
    if (!(await this.#mayLeave())) return;
    try {
      await this.rpc.send('session', { method: 'DELETE' });
      this.screen = null;
      location.reload();
    } catch (error) {
      this.fail(error);
    }
  }

  async #exchange(code) {
    this.signIn = { ...this.signIn, isBusy: true, error: null };
    try {
      await this.rpc.send('session', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ code }) });
      this.signIn = { code: '', error: null, isBusy: false, isNeeded: false };
      return true;
    } catch (error) {
      this.signIn = { ...this.signIn, error, isBusy: false };
      return false;
    }
  }

  async loadSession() {
    try {
      const session = await this.rpc.call('session');
      const isFirst = !this.session;
      this.session = session;
      this.sessionError = null;
      this.signIn = { code: '', error: null, isBusy: false, isNeeded: false };
      if (!session.can.choose_organization) this.organization = session.organization;
      if (isFirst) this.router.start();
    } catch (error) {
      this.sessionError = error;
    }
  }

  // Unlike the first time, what is on the screen stays if it fails.
  reloadSession() {
    return this.loadSession();
  }

  #needSignIn() {
    this.signIn = { ...this.signIn, isNeeded: true };
  }

  async #submitSignIn() {
    if (this.signIn.isBusy) return;
    if (this.signIn.code !== '' && !(await this.#exchange(this.signIn.code.trim().replace(/^.*#code=/, '')))) return;
    await this.loadSession();
  }

  // --- what screens ask of the shell (screen.js) ---

  get can() {
    return this.session?.can ?? { write: false, see_data: false, choose_organization: false };
  }

  call(name, args = {}, options = {}) {
    return this.rpc.call(name, args, options);
  }

  write(name, args = {}) {
    return this.rpc.call(name, args, { once: true });
  }

  now() {
    return this.rpc.now();
  }

  href(path, query) {
    return this.router.href(path, query);
  }

  go(path, query, options) {
    return this.router.go(path, query, options);
  }

  // Changes members of the query of the address; null removes one.
  setQuery(changes, options = {}) {
    const { path, query } = this.router.route;
    return this.router.go(path, { ...query, ...changes }, options);
  }

  toast(text) {
    const toast = { text, id: Symbol('toast') };
    this.toasts = [...this.toasts.slice(-2), toast];
    setTimeout(() => { this.toasts = this.toasts.filter((other) => other !== toast); }, kToastMs);
  }

  confirm({ title, body = nothing, confirm, isDanger = false, sql = null, cancel = t('action.cancel') }) {
    return new Promise((resolve) => {
      this.prompt = { title, body, confirm, cancel, isDanger, sql, resolve };
    });
  }

  fail(error) {
    if (error.kind === 'aborted' || error.kind === 'unauthorized') return Promise.resolve();
    return new Promise((resolve) => {
      this.prompt = { title: null, error, resolve };
    });
  }

  // --- routes ---

  async #mayLeave() {
    if (!this.screen?.hasUnsavedChanges) return true;
    return this.confirm({ title: t('unsaved.title'), body: html`<p>${t('unsaved.text')}</p>`, confirm: t('action.discard'), cancel: t('action.stay'), isDanger: true });
  }

  async #routed({ route, isSamePath }) {
    this.route = route;
    if (isSamePath && this.screen) {
      this.screen.query = route.query;
      this.screen.routed();
      return;
    }
    const isFirst = !this.screen && !this.screenError;
    this.screenError = null;
    if (route.screen === null) {
      this.screen = null;
      this.requestUpdate();
    } else {
      try {
        const { default: screen } = await import(`./screens/${route.screen}.js`);
        if (this.route !== route) return;
        this.screen = this.#make(route, screen);
      } catch (error) {
        if (this.route !== route) return;
        this.screen = null;
        this.screenError = error;
      }
    }
    await this.updateComplete;
    await this.screen?.updateComplete;
    // In narrow windows navigation and tabs scroll sideways.
    for (const link of this.renderRoot.querySelectorAll('nav a[aria-current]')) link.scrollIntoView({ block: 'nearest', inline: 'center' });
    if (!isFirst) {
      window.scrollTo({ top: 0 });
      this.renderRoot.querySelector('[data-page-title]')?.focus({ preventScroll: true });
    }
    this.updateTitle();
  }

  #make(route, constructor) {
    const name = `webhook-screen-${route.screen}`;
    if (!customElements.get(name)) customElements.define(name, constructor);
    const element = document.createElement(name);
    Object.assign(element, { app: this, params: route.params, query: route.query });
    queueMicrotask(() => element.routed());
    return element;
  }

  // A screen calls it when its pageTitle has become known.
  updateTitle() {
    if (this.hosted) document.title = [this.screen?.pageTitle, t('app.title')].filter(Boolean).join(' · ');
  }

  // Links of the page go through the router, so that its guard is asked before and not after.
  #followLink = (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.composedPath().find((node) => node instanceof HTMLAnchorElement);
    const href = link?.getAttribute('href');
    if (!href || link.target || link.hasAttribute('download')) return;
    const prefix = this.routing === 'hash' ? '#' : this.root;
    if (!href.startsWith(`${prefix}/`)) return;
    event.preventDefault();
    const [path, search = ''] = href.slice(prefix.length).split(/\?(.*)/s);
    this.router.go(path, Object.fromEntries(new URLSearchParams(search)));
  };

  #chooseOrganization(value) {
    this.organization = value === '' ? null : value;
    this.screen?.routed();
    this.requestUpdate();
  }

  #chooseTheme(value) {
    this.theme = value === 'auto' ? undefined : value;
    try {
      localStorage.setItem(themeKey, value);
    } catch {
      // Storage is blocked: the choice lasts as long as the page.
    }
  }

  async #resume() {
    try {
      await this.write('resume');
      await this.reloadSession();
      this.toast(t('banner.resumed'));
    } catch (error) {
      this.fail(error);
    }
  }

  // --- rendering ---

  render() {
    if (!this.session) return this.#renderStart();
    return html`<button type="button" class="skip" @click=${() => this.renderRoot.querySelector('[data-page-title]')?.focus()}>${t('app.skip')}</button>
      ${this.#renderTopbar()}
      <div class="banners" role="region" aria-label=${t('banners.label')}>${this.#renderBanners()}</div>
      <main class="page">${this.#renderScreen()}</main>
      ${this.signIn.isNeeded ? this.#renderSignInDialog() : nothing}${this.#renderPrompt()}${this.#renderPause()}
      <div class="toasts" role="status" aria-live="polite">${this.toasts.map((toast) => html`<div class="toast"><span>${toast.text}</span>${button({
        label: t('action.close'), iconName: 'cross', iconOnly: true, kind: 'quiet', isSmall: true,
        onClick: () => { this.toasts = this.toasts.filter((other) => other !== toast); },
      })}</div>`)}</div>`;
  }

  #renderStart() {
    const content = () => {
      if (!this.sessionError) return skeletonBlock(6);
      if (this.sessionError.kind === 'unauthorized') return this.#renderSignIn();
      return errorState(this.sessionError, () => { this.sessionError = null; this.loadSession(); });
    };
    return html`<main class="page">${pageHeader({ title: this.sessionError?.kind === 'unauthorized' ? t('signin.title') : t('app.title') })}${content()}</main>`;
  }

  #codeField(error) {
    return field({
      name: 'code', label: t('signin.code'), error: error && (error.kind === 'unauthorized' ? t('signin.failed') : errorWords(error).text),
      control: textInput({ value: this.signIn.code, isMono: true, onInput: (code) => { this.signIn = { ...this.signIn, code, error: null }; } }),
    });
  }

  #renderSignIn() {
    const submit = (event) => { event.preventDefault(); this.#submitSignIn(); };
    return html`<form class="card stack signin" novalidate @submit=${submit}>
      <p>${this.usesCode ? t('signin.text') : t('signin.embedded')}</p>${this.usesCode ? this.#codeField(this.signIn.error) : nothing}
      <div>${button({ type: 'submit', kind: 'primary', isBusy: this.signIn.isBusy, label: this.usesCode ? t('signin.submit') : t('signin.continue') })}</div></form>`;
  }

  #renderSignInDialog() {
    return dialog({
      title: t('signin.expired.title'),
      body: html`<p>${this.usesCode ? t('signin.expired.text') : t('signin.embedded')}</p>${this.usesCode ? this.#codeField(this.signIn.error) : nothing}`,
      actions: html`${button({ label: t('action.close'), onClick: () => { this.signIn = { ...this.signIn, isNeeded: false }; } })}
        ${button({ type: 'submit', kind: 'primary', isBusy: this.signIn.isBusy, label: t('signin.continue') })}`,
      onClose: () => { this.signIn = { ...this.signIn, isNeeded: false }; },
      onSubmit: () => this.#submitSignIn(),
    });
  }

  #renderTopbar() {
    const { session } = this;
    const path = this.router.route.path;
    const link = (to, label) => html`<li><a href=${this.href(to)} aria-current=${ifDefined(path === to ? 'page' : path.startsWith(`${to}/`) ? 'true' : undefined)}>${label}</a></li>`;
    return html`<header class="topbar"><div class="topbar-inner">
      <nav aria-label=${t('app.navigation')}><ul>
        ${link('/webhooks', t('app.nav.webhooks'))}${link('/deliveries', t('app.nav.deliveries'))}${link('/why', t('app.nav.why'))}${link('/verify', t('app.nav.verify'))}${link('/help', t('app.nav.help'))}
      </ul></nav>
      <div class="tools">
        ${this.can.write ? nothing : html`<span class="badge" title=${t('app.read_only.title')}>${icon('shield')}${t('app.read_only')}</span>`}
        ${this.config?.databases.length > 1 ? this.#renderDatabases() : nothing}
        ${session.can.choose_organization ? this.#renderOrganizations() : nothing}
        ${this.screen && this.route.screen !== 'help' ? html`<webhook-help-panel .app=${this} .screenName=${this.route.screen}></webhook-help-panel>` : nothing}
        ${this.#menuItems().length ? menu({ label: t('app.menu'), items: this.#menuItems() }) : nothing}
      </div></div></header>`;
  }

  #renderOrganizations() {
    const options = [{ value: '', label: t('app.organization.all') }, ...this.session.organizations.map((value) => ({ value, label: value }))];
    return selectInput({ value: this.organization ?? '', isAuto: true, options, onChange: (value) => this.#chooseOrganization(value) })({ label: t('app.organization') });
  }

  // webhook-console serves each database below its name.
  #renderDatabases() {
    const { databases, database, base } = this.config;
    const change = async (name) => {
      if (await this.#mayLeave()) {
        this.screen = null;
        location.assign(`${base}${encodeURIComponent(name)}/`);
      } else this.requestUpdate();
    };
    return selectInput({ value: database, isAuto: true, options: databases.map((value) => ({ value, label: value })), onChange: change })({ label: t('app.database.choose') });
  }

  #menuItems() {
    const current = this.theme ?? 'auto';
    const items = this.hosted ? ['auto', 'light', 'dark'].map((theme) => ({ label: t(`app.theme.${theme}`), icon: theme === current ? 'check' : 'blank', isChecked: theme === current, onClick: () => this.#chooseTheme(theme) })) : [];
    if (this.hosted && (this.usesCode || this.session.level === 'operate')) items.push('separator');
    if (this.session.level === 'operate' && !this.session.server.is_paused) items.push({ label: t('pause.open'), icon: 'pause', onClick: () => { this.pause = { reason: '', isBusy: false, error: null }; } });
    if (this.usesCode) items.push({ label: t('app.sign_out'), icon: 'key', onClick: () => this.#signOut() });
    return items;
  }

  async #submitPause() {
    if (this.pause.isBusy) return;
    this.pause = { ...this.pause, isBusy: true, error: null };
    try {
      await this.write('pause', { reason: this.pause.reason.trim() || null });
      this.pause = null;
      await this.reloadSession();
    } catch (error) {
      this.pause = { ...this.pause, isBusy: false, error };
    }
  }

  #renderPause() {
    const { pause } = this;
    if (!pause) return nothing;
    const close = () => { this.pause = null; };
    return dialog({
      title: t('pause.title'), onClose: close, onSubmit: () => this.#submitPause(),
      body: html`<div class="stack"><p>${t('pause.text')}</p>${pause.error ? errorBanner(pause.error) : nothing}
        ${field({ name: 'reason', label: t('pause.reason'), isOptional: true, hint: t('pause.reason.hint'), control: textInput({ value: pause.reason, maxlength: 200, onInput: (reason) => { this.pause = { ...this.pause, reason }; } }) })}
        ${showSql('pause', { reason: pause.reason.trim() || null })}</div>`,
      actions: html`${button({ label: t('action.cancel'), onClick: close })}${button({ type: 'submit', kind: 'danger', label: t('pause.submit'), isBusy: pause.isBusy })}`,
    });
  }

  #renderBanners() {
    const { server, level } = this.session;
    const shown = [];
    if (this.isOffline) shown.push(banner({ kind: 'warn', text: t('banner.offline'), isAlert: true, action: button({ label: t('action.retry'), isSmall: true, onClick: () => this.reloadSession() }) }));
    else if (this.sessionError && this.sessionError.kind !== 'unauthorized') shown.push(errorBanner(this.sessionError, { onRetry: () => this.reloadSession() }));
    if (server.is_standby) shown.push(banner({ kind: 'warn', text: t('banner.standby') }));
    else if (server.is_paused) {
      shown.push(banner({
        kind: 'warn', text: server.paused_reason ? t('banner.paused', { reason: server.paused_reason }) : t('banner.paused.no_reason'),
        action: level === 'operate' ? button({ label: t('banner.resume'), isSmall: true, onClick: () => this.#resume() }) : nothing,
      }));
    } else if (server.workers === 0) {
      const remedy = !server.is_preloaded ? t('banner.no_worker.preload') : !server.is_enabled ? t('banner.no_worker.disabled') : null;
      shown.push(banner({ kind: 'bad', title: t('banner.no_worker'), text: level === 'operate' ? remedy : null }));
    }
    return shown;
  }

  #renderScreen() {
    if (this.screenError) return html`${pageHeader({ title: t('error.module.title') })}${errorState(this.screenError, () => location.reload())}`;
    if (this.screen) return this.screen;
    if (this.route && this.route.screen === null) {
      return html`${pageHeader({ title: t('error.page.title') })}<div class="card state">${icon('warn')}<p>${t('error.page.text')}</p><a class="button" href=${this.href('/webhooks')}>${t('error.page.action')}</a></div>`;
    }
    return skeletonBlock(6);
  }

  #renderPrompt() {
    const { prompt } = this;
    if (!prompt) return nothing;
    const close = (answer) => { this.prompt = null; prompt.resolve(answer); };
    if (prompt.error) {
      const words = errorBanner(prompt.error);
      return dialog({ title: t('error.dialog'), body: words, onClose: () => close(), onSubmit: () => close(), actions: button({ type: 'submit', label: t('action.close') }) });
    }
    return dialog({
      title: prompt.title, onClose: () => close(false), onSubmit: () => close(true),
      body: html`<div class="stack">${prompt.body}${prompt.sql ? showSql(...prompt.sql) : nothing}</div>`,
      actions: html`${button({ label: prompt.cancel, isFocused: true, onClick: () => close(false) })}${button({ type: 'submit', label: prompt.confirm, kind: prompt.isDanger ? 'danger' : 'primary' })}`,
    });
  }
}

function readTheme() {
  try {
    const theme = localStorage.getItem(themeKey);
    return theme === 'light' || theme === 'dark' ? theme : undefined;
  } catch {
    return undefined;
  }
}

customElements.define('webhook-settings', WebhookSettings);

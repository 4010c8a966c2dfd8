// Addresses of the page. Every screen, tab, filter and attempt has one, so that it can be bookmarked, sent to a colleague
// and gone back to. In hash mode (the default) it is what follows '#': '#/webhooks/5/deliveries?status=failed'. In history
// mode it is the path below `root`, for a product that routes the page's paths to the document that hosts it.

const kRoutes = [
  ['/webhooks', 'webhooks'],
  ['/webhooks/new', 'edit'],
  ['/webhooks/:id', 'webhook'],
  ['/webhooks/:id/edit', 'edit'],
  ['/webhooks/:id/deliveries', 'deliveries'],
  ['/webhooks/:id/pending', 'pending'],
  ['/webhooks/:id/sources', 'sources'],
  ['/webhooks/:id/history', 'history'],
  ['/webhooks/:id/test', 'test'],
  ['/webhooks/:id/replay', 'replay'],
  ['/deliveries', 'deliveries'],
  ['/attempts/:id', 'attempt'],
  ['/why', 'why'],
  ['/verify', 'verify'],
  ['/help', 'help'],
  ['/help/:topic', 'help'],
].map(([pattern, screen]) => ({ screen, parts: pattern.split('/').slice(1) }));

const kId = /^(\d{1,19}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/i;

// {screen, params, query, path}; screen is null if no route has this path. Ids are UUIDs, or digits.
export function parseRoute(address) {
  const [path, search = ''] = address.split(/\?(.*)/s);
  const query = Object.fromEntries(new URLSearchParams(search));
  let parts = [];
  try {
    parts = path.split('/').filter((part) => part !== '').map(decodeURIComponent);
  } catch {
    return { screen: null, params: {}, query, path };
  }
  if (parts.length === 0) return { screen: 'webhooks', params: {}, query, path: '/webhooks' };
  for (const route of kRoutes) {
    const params = match(route.parts, parts);
    if (params) return { screen: route.screen, params, query, path: `/${parts.map(encodeURIComponent).join('/')}` };
  }
  return { screen: null, params: {}, query, path };
}

function match(pattern, parts) {
  if (pattern.length !== parts.length) return null;
  const params = {};
  for (const [i, part] of pattern.entries()) {
    if (!part.startsWith(':')) {
      if (part !== parts[i]) return null;
    } else if (part === ':id' && !kId.test(parts[i])) {
      return null;
    } else {
      params[part.slice(1)] = parts[i];
    }
  }
  return params;
}

// '/why?event_id=5' from a path and a query; members that are null, undefined or '' are left out.
export function address(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== '');
  const search = new URLSearchParams(given).toString();
  return search === '' ? path : `${path}?${search}`;
}

// Events: 'route' when the route has changed ({detail: {route, isSamePath}}). `guard` is an async function that may refuse
// to leave a screen: it gets the new route and returns whether to go.
export class Router extends EventTarget {
  #current = null;
  #index = 0;
  #isReturning = false;

  constructor({ mode = 'hash', root = '' } = {}) {
    super();
    this.mode = mode;
    this.root = root.replace(/\/+$/, '');
    this.guard = null;
    this.onPop = () => this.#popped();
  }

  start() {
    this.#index = history.state?.webhookIndex ?? 0;
    history.replaceState({ ...history.state, webhookIndex: this.#index }, '');
    window.addEventListener('popstate', this.onPop);
    this.#show(this.#read());
  }

  stop() {
    window.removeEventListener('popstate', this.onPop);
  }

  get route() {
    return parseRoute(this.#current ?? '');
  }

  // For href: a link that the browser itself can follow, open in a tab and copy.
  href(path, query = {}) {
    const to = address(path, query);
    return this.mode === 'hash' ? `#${to}` : `${this.root}${to}`;
  }

  // Goes to an address; with `replace`, without a new entry in the history (filters as they are typed).
  async go(path, query = {}, { replace = false, force = false } = {}) {
    const to = address(path, query);
    if (to === this.#current) return true;
    const isSamePath = parseRoute(to).path === this.route.path;
    if (!force && !isSamePath && this.guard && !(await this.guard(parseRoute(to)))) return false;
    if (!replace) this.#index += 1;
    const state = { webhookIndex: this.#index };
    history[replace ? 'replaceState' : 'pushState'](state, '', this.href(path, query));
    this.#show(to);
    return true;
  }

  #read() {
    if (this.mode === 'hash') return location.hash.startsWith('#/') ? location.hash.slice(1) : '';
    const path = location.pathname.startsWith(this.root) ? location.pathname.slice(this.root.length) : '';
    return path + location.search;
  }

  // Back, forward, or an edited address. The browser has gone there already; if the guard refuses, go back again.
  async #popped() {
    if (this.#isReturning) {
      this.#isReturning = false;
      return;
    }
    const to = this.#read();
    if (this.mode === 'hash' && location.hash !== '' && !location.hash.startsWith('#/')) return;
    const isSamePath = parseRoute(to).path === this.route.path;
    const index = history.state?.webhookIndex ?? this.#index + 1;
    if (history.state?.webhookIndex === undefined) history.replaceState({ webhookIndex: index }, '');
    if (!isSamePath && this.guard && !(await this.guard(parseRoute(to)))) {
      this.#isReturning = true;
      history.go(this.#index - index || -1);
      return;
    }
    this.#index = index;
    this.#show(to);
  }

  #show(to) {
    const before = this.#current === null ? null : this.route.path;
    this.#current = to;
    const route = this.route;
    this.dispatchEvent(new CustomEvent('route', { detail: { route, isSamePath: before === route.path } }));
  }
}

// The client of the API (docs/api.md): POST {base}/rpc/{function} with a JSON object. It knows no screen and no text of
// the page: what fails is an RpcError with a `kind`, which ui.js puts into words.

const kTimeoutMs = 30000;

// A call that failed. `code` is the SQLSTATE (null if no database answered), `message`, `details` and `hint` are the
// database's own words, as text. `kind` says what the page can do about it:
//   unauthorized  not signed in, or the token has expired: sign in again; the form stays
//   forbidden     the role may not do this
//   not_found     it does not exist, or belongs to another organization
//   conflict      somebody else was faster; `current` is the webhook as it is now, or null
//   invalid       an argument is wrong; `field` names it, or is null
//   unavailable   no worker runs, paused, a limit is reached
//   offline       the request did not reach the server
//   timeout       no answer within the time
//   aborted       the page itself gave it up: show nothing
//   failed        anything else
export class RpcError extends Error {
  constructor(kind, { functionName, status = null, code = null, message = '', details = null, hint = null }) {
    super(message);
    this.name = 'RpcError';
    Object.assign(this, { kind, functionName, status, code, details, hint });
    const parsed = parseDetails(details);
    this.field = typeof parsed?.field === 'string' ? parsed.field : null;
    this.current = parsed?.current ?? null;
  }
}

function parseDetails(details) {
  if (typeof details !== 'string' || !details.startsWith('{')) return null;
  try {
    return JSON.parse(details);
  } catch {
    return null;
  }
}

function kindOfStatus(status) {
  return { 400: 'invalid', 401: 'unauthorized', 403: 'forbidden', 404: 'not_found', 409: 'conflict', 503: 'unavailable' }[status] ?? 'failed';
}

// Events: 'unauthorized' (a call was refused for want of a sign-in), 'reached' (the server answered), 'unreached'.
export class RpcClient extends EventTarget {
  #underway = new Map();
  #skewMs = 0;

  // getToken: null, or an async function that returns a bearer token. It is called before each call, and again with
  // {refresh: true} after a 401, upon which the call is made once more. headers: further ones, such as Supabase's apikey.
  constructor({ base, getToken = null, headers = {}, fetch = (...a) => globalThis.fetch(...a) }) {
    super();
    this.base = base.replace(/\/+$/, '');
    this.getToken = getToken;
    this.headers = headers;
    this.fetch = fetch;
  }

  // The server's time, in ms: relative times are right on a computer whose clock is wrong.
  now() {
    return Date.now() + this.#skewMs;
  }

  // The result of the function, or an RpcError. The same call with the same arguments while the first is underway shares
  // its answer if it is a write (`once`): a double click submits once.
  call(name, args = {}, { signal = null, timeoutMs = kTimeoutMs, once = false } = {}) {
    if (!once) return this.#call(name, args, signal, timeoutMs);
    const key = `${name} ${JSON.stringify(args)}`;
    let promise = this.#underway.get(key);
    if (!promise) {
      promise = this.#call(name, args, signal, timeoutMs).finally(() => this.#underway.delete(key));
      this.#underway.set(key, promise);
    }
    return promise;
  }

  async #call(name, args, signal, timeoutMs) {
    try {
      return await this.#post(name, args, signal, timeoutMs, false);
    } catch (error) {
      if (error.kind !== 'unauthorized') throw error;
      if (this.getToken) {
        try {
          return await this.#post(name, args, signal, timeoutMs, true);
        } catch (again) {
          error = again;
        }
      }
      if (error.kind === 'unauthorized') this.dispatchEvent(new CustomEvent('unauthorized', { detail: error }));
      throw error;
    }
  }

  async #post(name, args, signal, timeoutMs, refresh) {
    // PostgREST takes the schema from Content-Profile if it exposes several.
    const headers = { 'Content-Type': 'application/json', 'Content-Profile': 'webhook_api', Accept: 'application/json', ...this.headers };
    const token = this.getToken ? await this.getToken({ refresh }) : null;
    if (token) headers.Authorization = `Bearer ${token}`;
    return this.send(`rpc/${encodeURIComponent(name)}`, {
      functionName: name, method: 'POST', headers, body: JSON.stringify(args), signal, timeoutMs,
    });
  }

  // One request to {base}/{path}: its JSON, or an RpcError.
  async send(path, { functionName = path, signal = null, timeoutMs = kTimeoutMs, ...request }) {
    const controller = new AbortController();
    let isTimeout = false;
    const timer = setTimeout(() => { isTimeout = true; controller.abort(); }, timeoutMs);
    const abort = () => controller.abort();
    signal?.addEventListener('abort', abort);
    if (signal?.aborted) abort();
    try {
      const response = await this.fetch(`${this.base}/${path}`, {
        credentials: 'same-origin', cache: 'no-store', redirect: 'error', ...request, signal: controller.signal,
      });
      const text = await response.text();
      this.dispatchEvent(new Event('reached'));
      return this.#judge(functionName, response, text);
    } catch (error) {
      if (error instanceof RpcError) throw error;
      const kind = isTimeout ? 'timeout' : signal?.aborted ? 'aborted' : 'offline';
      if (kind === 'offline') this.dispatchEvent(new Event('unreached'));
      throw new RpcError(kind, { functionName });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }

  #judge(functionName, response, text) {
    let value = null;
    let isJson = text === '';
    try {
      value = text === '' ? null : JSON.parse(text);
      isJson = true;
    } catch {
      // A proxy's page, say: the status is what there is to show.
    }
    if (response.ok && isJson) {
      const now = Date.parse(value?.now);
      if (!Number.isNaN(now)) this.#skewMs = now - Date.now();
      return value;
    }
    const body = typeof value === 'object' && value !== null ? value : {};
    const words = (member) => (typeof body[member] === 'string' ? body[member] : null);
    throw new RpcError(response.ok ? 'failed' : kindOfStatus(response.status), {
      functionName, status: response.status, code: words('code'), message: words('message') ?? '',
      details: words('details'), hint: words('hint'),
    });
  }
}

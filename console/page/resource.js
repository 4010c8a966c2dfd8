// What a screen shows of one call: loading, the value, an error with the old value kept.

// A Lit controller: a screen makes one per call it reads and asks for `load()`.
//   this.page = new Resource(this, (signal) => this.app.call('webhooks', {search: this.query.search}, {signal}));
// `value` is the newest answer or null, `error` the newest call's RpcError or null, `isLoading` whether one is underway,
// `loadedAt` (ms) when `value` came. A call that is replaced by a newer one is aborted and its answer dropped.
export class Resource {
  #controller = null;

  constructor(host, load) {
    this.host = host;
    this.read = load;
    this.value = null;
    this.error = null;
    this.isLoading = false;
    this.loadedAt = null;
    host.addController(this);
  }

  hostDisconnected() {
    this.#controller?.abort();
  }

  // With `clear`, the old value is another thing's (other filters): show a skeleton rather than it.
  async load({ clear = false } = {}) {
    this.#controller?.abort();
    const controller = new AbortController();
    this.#controller = controller;
    if (clear) Object.assign(this, { value: null, loadedAt: null });
    this.isLoading = true;
    this.host.requestUpdate();
    try {
      const value = await this.read(controller.signal);
      if (this.#controller === controller) Object.assign(this, { value, error: null, loadedAt: Date.now() });
    } catch (error) {
      if (this.#controller === controller && error.kind !== 'aborted') this.error = error;
    }
    if (this.#controller === controller) {
      this.isLoading = false;
      this.host.requestUpdate();
    }
    return this.value;
  }
}

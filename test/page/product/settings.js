// Embeds the page as a product does: with its own API's address, its own routes, and a token of its own session.
import '/webhook-settings.js';

const settings = document.createElement('webhook-settings');
Object.assign(settings, {
  base: '/rest/v1', routing: 'history', root: '/settings',
  getToken: async () => (await fetch('/token', { cache: 'no-store' })).text(),
});
document.body.append(settings);

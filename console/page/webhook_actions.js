// What can be done to a webhook from more than one screen, and the header that the screens of one webhook share.

import { format, html, linkButton, menu, nothing, pageHeader, statusBadge, t } from './ui.js';

const tabs = [['overview', ''], ['deliveries', '/deliveries'], ['pending', '/pending'], ['sources', '/sources'], ['history', '/history'], ['edit', '/edit']];

// current: 'overview', 'deliveries', 'pending', 'sources', 'history', 'edit', 'test' or 'replay'. loaded: what
// webhook(id) returned, or null while it is on its way: the header stands at once.
export function webhookHeader(app, { id, current, loaded = null, onChange = null }) {
  const path = `/webhooks/${id}`;
  const { webhook, summary } = loaded ?? {};
  const count = { pending: summary && summary.pending.count + summary.dead.count > 0 ? pendingCount(summary) : null };
  const items = webhook ? headerItems(app, webhook, summary, onChange) : [];
  return pageHeader({
    title: webhook?.name ?? t('webhook.title', { id }),
    crumbs: [{ label: t('app.nav.webhooks'), href: app.href('/webhooks') }],
    badge: summary ? statusBadge(statusOf(summary)) : nothing,
    description: webhook ? html`<span class="mono">${maskedUrl(webhook.url)}</span>` : nothing,
    actions: app.can.write && webhook ? html`${linkButton({ label: t('webhook.test'), href: app.href(`${path}/test`), iconName: 'send' })}
      ${linkButton({ label: t('webhook.replay'), href: app.href(`${path}/replay`), iconName: 'replay' })}
      ${menu({ label: t('action.more'), items })}` : nothing,
    tabs: tabs.filter(([name]) => name !== 'edit' || app.can.write)
      .map(([name, end]) => ({ label: t(`webhook.tab.${name}`), href: app.href(path + end), isCurrent: name === current, count: count[name] })),
    tabsLabel: t('webhook.tabs'),
  });
}

const pendingCount = ({ pending, dead }) => format.boundedCount({ count: pending.count + dead.count, is_more: pending.is_more || dead.is_more });

function headerItems(app, webhook, summary, onChange) {
  return [
    { label: webhook.is_active ? t('webhook.turn_off') : t('webhook.turn_on'), icon: webhook.is_active ? 'pause' : 'play', onClick: () => switchWebhook(app, webhook, !webhook.is_active).then((saved) => saved && onChange?.()) },
    { label: t('webhook.duplicate'), icon: 'copy', href: app.href('/webhooks/new', { from: webhook.id }) },
    'separator',
    { label: t('action.delete'), icon: 'trash', isDanger: true, onClick: () => deleteWebhook(app, webhook, summary).then((isDeleted) => isDeleted && app.go('/webhooks', {}, { force: true })) },
  ];
}

// A path can carry a token: it is shown where the webhook is edited only.
export function maskedUrl(url) {
  try {
    const { origin, pathname, search } = new URL(url);
    return pathname === '/' && search === '' ? origin : `${origin}/…`;
  } catch {
    return '…';
  }
}

// A key of statusBadge.
export function statusOf(summary) {
  if (!summary.is_active) return 'inactive';
  if (summary.circuit.state === 'open') return 'failing';
  if (summary.unjudged > 0 && summary.filter_error) return 'unjudged';
  return summary.attempts > 0 || summary.last_success_at ? 'active' : 'idle';
}

// The webhook as saved, or null if it was not; what fails is shown.
export async function switchWebhook(app, { id, name, updated_at: updatedAt }, isOn) {
  try {
    const { webhook } = await app.write('save', { webhook: { is_active: isOn }, id, if_updated_at: updatedAt });
    app.toast(t(isOn ? 'webhook.turned_on' : 'webhook.turned_off', { name }));
    return webhook;
  } catch (error) {
    if (error.current) error.message = t('webhook.switch_conflict');
    await app.fail(error);
    return null;
  }
}

// Asks, says what is still pending, deletes. Whether it is gone.
export async function deleteWebhook(app, { id, name }, summary) {
  const { pending, dead, circuit } = summary ?? {};
  const lines = [
    pending?.count > 0 ? t('webhook.delete.pending', { count: pending.count, n: format.boundedCount(pending) }) : t('webhook.delete.nothing_pending'),
    dead?.count > 0 ? t('webhook.delete.dead', { count: dead.count, n: format.boundedCount(dead) }) : null,
    circuit?.state === 'open' ? t('webhook.delete.failing') : null,
    t('webhook.delete.log'),
  ];
  const args = { id };
  const body = html`<ul class="stack tight plain">${lines.filter(Boolean).map((line) => html`<li>${line}</li>`)}</ul><p>${t('webhook.delete.advice')}</p>`;
  if (!(await app.confirm({ title: t('webhook.delete.title', { name }), body, confirm: t('webhook.delete.confirm'), isDanger: true, sql: ['delete', args] }))) return false;
  try {
    const { pending: given } = await app.write('delete', args);
    app.toast(given > 0 ? t('webhook.deleted.pending', { name, count: given }) : t('webhook.deleted', { name }));
    return true;
  } catch (error) {
    if (error.kind === 'not_found') return true;
    await app.fail(error);
    return false;
  }
}

// 'Failing since 14:02, tried again in 40 s': the circuit in words, or null if it is closed.
export function circuitWords(app, { circuit }) {
  if (circuit.state !== 'open') return null;
  const since = circuit.failing_since ?? circuit.opened_at;
  const time = since && app.now() - Date.parse(since) > 72000000 ? format.shortDateTime(since) : since && format.clockTime(since);
  const words = since ? t('circuit.since', { time }) : t('circuit.open');
  if (!circuit.next_probe_at) return words;
  const seconds = Math.max(0, Math.round((Date.parse(circuit.next_probe_at) - app.now()) / 1000));
  return `${words}, ${seconds === 0 ? t('circuit.now') : t('circuit.again', { duration: format.duration(seconds) })}`;
}

// A list of patterns in two lines: the first ones, and how many more.
export function eventLines(events) {
  if (events.includes('*')) return [t('events.all')];
  return events.length <= 2 ? events : [events[0], t('events.more', { count: events.length - 1 })];
}

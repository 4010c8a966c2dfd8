// The replays of a webhook, the newest first: state, progress, what was asked for and by whom, and a button that ends one that
// has not ended.

import { button, format, html, nothing, relativeTime, repeat, sentence, statusBadge, t } from './ui.js';

// State → a key of statusBadge().
const badges = { waiting: 'waiting', running: 'running', done: 'finished', cancelled: 'cancelled', failed: 'failed' };
// Not -infinity or infinity.
const isTime = (text) => /^\d/.test(text);

export const hasEnded = (replay) => replay.ended_at !== null;

// cancelling: the id of the replay that is being cancelled, or null. onCancel(replay).
export function replayJobs(app, { replays, cancelling, onCancel }) {
  if (replays.length === 0) return html`<p class="job muted">${t('replay.jobs.none')}</p>`;
  return html`<ol>${repeat(replays, (replay) => replay.id, (replay) => renderReplay(app, replay, { cancelling, onCancel }))}</ol>`;
}

function renderReplay(app, replay, { cancelling, onCancel }) {
  const isOver = hasEnded(replay);
  const describedBy = `replay-${replay.id}`;
  const cancel = () => button({ label: t('replay.cancel'), isSmall: true, iconName: 'cross', isBusy: cancelling === replay.id, describedBy, onClick: () => onCancel(replay) });
  const progress = () => html`<progress max="100" value=${replay.progress_percent} aria-label=${t('replay.progress')}></progress>`;
  return html`<li class="job" data-replay=${replay.id}>
    <div class="row">${statusBadge(badges[replay.state], t(`replay.state.${replay.state}`))}${app.can.write && !isOver ? cancel() : nothing}</div>
    ${isOver ? nothing : progress()}
    <p>${t('replay.queued', { count: replay.queued })} <span class="muted">${t('replay.examined', { count: replay.examined })}</span></p>
    ${replay.reason ? html`<p class="break">${sentence(replay.reason)}</p>` : nothing}
    <p class="sub" id=${describedBy}>${describe(replay)} · ${replay.subject ?? replay.user} · ${relativeTime(app, replay.requested_at)}</p></li>`;
}

function describe({ since, until, events, only_failed: onlyFailed }) {
  const end = isTime(until) ? format.shortDateTime(until) : t('replay.jobs.open');
  const range = isTime(since) ? t('replay.jobs.range', { since: format.shortDateTime(since), until: end }) : t('replay.jobs.up_to', { until: end });
  return [range, events?.join(', '), onlyFailed ? t('replay.jobs.only_failed') : null].filter(Boolean).join(' · ');
}

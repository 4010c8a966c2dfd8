// What can be done to deliveries from more than one screen, and how one is shown.

import { format, html, nothing, sentence, t } from './ui.js';

// docs/api.md: redeliver takes at most so many.
export const kRedeliverMax = 100;

// A test has no event that could be sent again.
export const canRedeliver = (log) => !log.is_test && log.event_id !== null;

// Asks if there are several, sends them again, and says what could not be. Whether any is being sent.
export async function redeliver(app, logIds) {
  const args = { log_ids: logIds };
  if (logIds.length > 1) {
    const title = t('deliveries.redeliver.title', { count: logIds.length });
    const body = html`<p>${t('deliveries.redeliver.text')}</p>`;
    if (!(await app.confirm({ title, body, confirm: t('deliveries.redeliver'), sql: ['redeliver', args] }))) return false;
  }
  try {
    const { redelivered, problems } = await app.write('redeliver', args);
    if (redelivered > 0) app.toast(t('deliveries.redelivered', { count: redelivered }));
    if (problems.length > 0) await app.fail(problemsAsError(problems));
    return redelivered > 0;
  } catch (error) {
    await app.fail(error);
    return false;
  }
}

function problemsAsError(problems) {
  const lines = problems.slice(0, 10).map((problem) => t('deliveries.redeliver.attempt', { id: problem.log_id, message: sentence(problem.message) }));
  return { kind: 'failed', message: `${t('deliveries.redeliver.problems.title', { count: problems.length })}. ${lines.join(' ')}` };
}

// '200', 'HTTP 503 Service Unavailable', 'no response within 5000 ms': what came back, in the log's own words.
export function answerWords(log) {
  if (log.error) return html`<span class="break ${log.status === 'failed' ? 'bad' : ''}">${log.error}</span>`;
  if (log.response_status) return html`<span class="mono">${log.response_status}</span>`;
  return nothing;
}

export const logStatus = (log) => (log.is_test && log.status === 'success' ? 'test' : log.status);
export const timeOf = (log) => format.clockTimeWithSeconds(log.created_at);

// Text of others within a sentence: marks of direction in it do not reach the words around it.
const isolated = (text) => `\u2068${text}\u2069`;

// One sentence for what became of an attempt: 'Your server answered 503 after 840 ms'.
export function outcomeSentence(log) {
  const values = { status: log.response_status, duration: format.milliseconds(log.duration_ms), error: isolated(log.error ?? '') };
  if (log.attempt === 0) return t('outcome.none', values);
  if (log.response_status && log.status === 'success') return t('outcome.success', values);
  if (log.response_status) return t('outcome.status', values);
  return t('outcome.error', values);
}

// The kind of a failure, by the words of webhook_logs.error and by the status: a key of 'advice.*'.
const kByError = [
  [/^TLS: .*another name/, 'tls_name'], [/^TLS: /, 'tls'], [/^address refused/, 'refused_address'], [/^no (complete )?response within/, 'timeout'],
  [/^could not resolve|look-ups of host/, 'dns'], [/^connection refused/, 'refused'], [/^could not connect|^the proxy refused/, 'connect'],
  [/^invalid URL/, 'url'], [/closed|before a response came|within the response/, 'disconnected'], [/not HTTP/, 'not_http'], [/max_age/, 'max_age'], [/max_payload/, 'max_payload'],
];
const kByStatus = { 400: 'rejected', 401: 'unauthorized', 403: 'forbidden', 404: 'not_found', 405: 'method', 410: 'gone', 413: 'too_large', 415: 'rejected', 422: 'rejected', 429: 'too_many', 503: 'unavailable' };

// What a failure usually means and what to do about it; null for a success.
export function failureAdvice(log) {
  if (log.status !== 'failed') return null;
  const status = log.response_status;
  if (status) {
    const kind = kByStatus[status] ?? (status < 400 ? 'redirect' : status < 500 ? 'rejected' : 'server');
    return t(`advice.${kind}`);
  }
  const kind = kByError.find(([pattern]) => pattern.test(log.error ?? ''))?.[1];
  return kind ? t(`advice.${kind}`) : null;
}

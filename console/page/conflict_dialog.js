// Two people have edited one webhook: both versions side by side, a choice for each field that differs.

import { button, dialog, html, nothing, repeat, t } from './ui.js';

// rows: what differences() returns. kept: a Set of the names whose own version is kept; onChange(kept); onSave, onClose.
export function conflictDialog({ rows, kept, onChange, onSave, onClose, changedAt }) {
  const choose = (name, isMine) => {
    const next = new Set(kept);
    if (isMine) next.add(name);
    else next.delete(name);
    onChange(next);
  };
  const side = (row, isMine) => html`<td class="version"><label class="check"><input type="radio" name="conflict-${row.name}" .checked=${kept.has(row.name) === isMine} @change=${() => choose(row.name, isMine)}>
    <span class="grow"><span class="muted small">${t(isMine ? 'conflict.mine' : 'conflict.theirs')}</span><span class="mono break value">${shown(isMine ? row.mine : row.theirs)}</span>
    ${(isMine ? row.isMine : row.isTheirs) ? html`<span class="badge accent">${t('conflict.changed')}</span>` : nothing}</span></label></td>`;
  const table = html`<table class="conflict"><caption class="visually-hidden">${t('conflict.title')}</caption>
    <thead><tr><th scope="col">${t('conflict.field')}</th><th scope="col">${t('conflict.mine')}</th><th scope="col">${t('conflict.theirs')}</th></tr></thead>
    <tbody>${repeat(rows, (row) => row.name, (row) => html`<tr><th scope="row">${t(`form.${row.name}`)}</th>${side(row, true)}${side(row, false)}</tr>`)}</tbody></table>`;
  return dialog({
    title: t('conflict.title'), isWide: true, onClose, onSubmit: onSave,
    body: html`<div class="stack"><p>${t('conflict.text')} ${changedAt}</p>${rows.length ? table : html`<p>${t('conflict.same')}</p>`}</div>`,
    actions: html`${button({ label: t('conflict.back'), onClick: onClose })}${button({ type: 'submit', kind: 'primary', label: t('conflict.save') })}`,
  });
}

function shown(value) {
  if (value === null || value === '') return t('table.none');
  if (Array.isArray(value)) return value.join(', ');
  if (typeof value === 'boolean') return t(value ? 'status.active' : 'status.inactive');
  return String(value);
}

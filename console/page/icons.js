// Icons, drawn on 16 × 16. They accompany words or a label, so they are hidden from screen readers.

import { html, svg } from './vendor/lit.js';

const shapes = {
  blank: svg``,
  check: svg`<path d="M3 8.5 6.5 12 13 4.5"/>`,
  cross: svg`<path d="m4 4 8 8M12 4l-8 8"/>`,
  good: svg`<circle cx="8" cy="8" r="6.2"/><path d="m5.4 8.2 1.9 1.9 3.4-4"/>`,
  bad: svg`<circle cx="8" cy="8" r="6.2"/><path d="m5.9 5.9 4.2 4.2m0-4.2-4.2 4.2"/>`,
  warn: svg`<path d="M8 2.2 14.3 13.4H1.7Z"/><path d="M8 6.6v3M8 11.5v.1"/>`,
  info: svg`<circle cx="8" cy="8" r="6.2"/><path d="M8 7.4v3.6M8 5v.1"/>`,
  help: svg`<circle cx="8" cy="8" r="6.2"/><path d="M6.2 6.4c.1-2.3 3.6-2.2 3.6 0 0 1.3-1.8 1.4-1.8 2.8M8 11.3v.1"/>`,
  off: svg`<circle cx="8" cy="8" r="6.2"/><path d="M5 8h6"/>`,
  clock: svg`<circle cx="8" cy="8" r="6.2"/><path d="M8 4.6V8l2.4 1.6"/>`,
  dead: svg`<circle cx="8" cy="8" r="6.2"/><path d="m3.8 3.8 8.4 8.4"/>`,
  pause: svg`<path d="M5.5 3.5v9M10.5 3.5v9"/>`,
  play: svg`<path d="M5 3.2 12.4 8 5 12.8Z"/>`,
  plus: svg`<path d="M8 3v10M3 8h10"/>`,
  more: svg`<path d="M3.2 8h.1M8 8h.1M12.7 8h.1" stroke-width="2.4"/>`,
  chevron: svg`<path d="m6 3.5 4.5 4.5L6 12.5"/>`,
  copy: svg`<rect x="5.5" y="5.5" width="8" height="8" rx="1.5"/><path d="M10.5 5.5v-2a1 1 0 0 0-1-1h-6a1 1 0 0 0-1 1v6a1 1 0 0 0 1 1h2"/>`,
  code: svg`<path d="m5 4.5-3.5 3.5L5 11.5M11 4.5l3.5 3.5L11 11.5"/>`,
  send: svg`<path d="M14 2 7 9M14 2 9.6 14 7 9 2 6.4Z"/>`,
  list: svg`<path d="M5.5 4H14M5.5 8H14M5.5 12H14M2.2 4h.1M2.2 8h.1M2.2 12h.1"/>`,
  edit: svg`<path d="m10.6 2.8 2.6 2.6L5.6 13l-3.2.6.6-3.2Z"/>`,
  trash: svg`<path d="M2.5 4.2h11M6.2 4V2.5h3.6V4M4 4.2l.7 9.3h6.6l.7-9.3"/>`,
  replay: svg`<path d="M3 8a5 5 0 1 0 1.7-3.8M3 2.6v2.8h2.8"/>`,
  key: svg`<circle cx="5.2" cy="10.8" r="2.9"/><path d="m7.3 8.7 6-6M11 5l2 2"/>`,
  search: svg`<circle cx="7" cy="7" r="4.4"/><path d="m10.4 10.4 3.4 3.4"/>`,
  link: svg`<path d="M9.5 2.5h4v4M13.5 2.5 7.5 8.5M11.5 9v3.5a1 1 0 0 1-1 1h-7a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1H7"/>`,
  shield: svg`<path d="M8 1.8 13.2 4v4c0 3-2.2 5.3-5.2 6.2C5 13.3 2.8 11 2.8 8V4Z"/>`,
  webhook: svg`<circle cx="4" cy="11.2" r="2"/><circle cx="12" cy="11.2" r="2"/><circle cx="8" cy="4.2" r="2"/><path d="M7 6 5 9.5M9 6l2 3.5M6 11.2h4"/>`,
};

export const icon = (name) => html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">${shapes[name]}</svg>`;

// The look: tokens first (a host sets any --webhook-* on the element to change one), then the parts of ui.js, then a few
// layouts. Everything is in one shadow root, so names are short. Sizes are multiples of 4 px.

import { deliveryStyles } from './styles_deliveries.js';

const sheet = new CSSStyleSheet();

const light = `
  --bg: var(--webhook-background, #ffffff);
  --bg-sunken: var(--webhook-background-sunken, #f6f7f9);
  --bg-raised: var(--webhook-background-raised, #ffffff);
  --bg-hover: #f1f3f6;
  --line: var(--webhook-line, #e1e4ea);
  --line-strong: #868e9c;
  --text: var(--webhook-text, #16191f);
  --text-muted: var(--webhook-text-muted, #5a6270);
  --accent: var(--webhook-accent, #2f5bd8);
  --accent-hover: var(--webhook-accent-hover, #2449b4);
  --accent-text: var(--webhook-accent-text, #ffffff);
  --accent-soft: #eaf0fe;
  --good: #14743c; --good-soft: #e5f5ea; --good-fill: #3fa468;
  --bad: #b3261e; --bad-soft: #fdecea; --bad-fill: #dc5a50;
  --warn: #855300; --warn-soft: #fdf3dc;
  --shadow: 0 1px 2px rgb(16 24 40 / 6%);
  --shadow-high: 0 8px 28px rgb(16 24 40 / 18%), 0 0 0 1px rgb(16 24 40 / 6%);
  color-scheme: light;`;
const dark = `
  --bg: var(--webhook-background, #111419);
  --bg-sunken: var(--webhook-background-sunken, #0b0d11);
  --bg-raised: var(--webhook-background-raised, #191d24);
  --bg-hover: #20252e;
  --line: var(--webhook-line, #2a303a);
  --line-strong: #717b8c;
  --text: var(--webhook-text, #e9ecf1);
  --text-muted: var(--webhook-text-muted, #a0a9b7);
  --accent: var(--webhook-accent, #85a6ff);
  --accent-hover: var(--webhook-accent-hover, #a5bdff);
  --accent-text: var(--webhook-accent-text, #0b1020);
  --accent-soft: #1b2745;
  --good: #6dd197; --good-soft: #12291d; --good-fill: #3f9e66;
  --bad: #ff9a91; --bad-soft: #361917; --bad-fill: #d9645b;
  --warn: #f0c060; --warn-soft: #2f2510;
  --shadow: none;
  --shadow-high: 0 8px 28px rgb(0 0 0 / 60%), 0 0 0 1px #2f3642;
  color-scheme: dark;`;

sheet.replaceSync(`
:host {
  ${light}
  --font: var(--webhook-font, -apple-system, "Segoe UI", Roboto, Inter, "Noto Sans", system-ui, "Helvetica Neue", Arial, sans-serif);
  --mono: var(--webhook-font-mono, ui-monospace, SFMono-Regular, Menlo, "Noto Sans Mono", "DejaVu Sans Mono", Consolas, "Liberation Mono", monospace);
  --radius: var(--webhook-radius, 6px);
  --row: 44px;
  display: block; min-height: 100%; box-sizing: border-box; container-type: inline-size;
  background: var(--bg); color: var(--text); font: 14px/20px var(--font); text-align: start;
  -webkit-text-size-adjust: 100%;
}
@media (prefers-color-scheme: dark) { :host(:not([theme="light"])) { ${dark} } }
:host([theme="dark"]) { ${dark} }
:host([hidden]) { display: none; }
*, *::before, *::after { box-sizing: border-box; }
[hidden] { display: none !important; }
h1, h2, h3, h4, p, dl, dd, ul, ol, pre, figure, fieldset { margin: 0; padding: 0; }
fieldset { border: 0; min-width: 0; }
ul, ol { list-style: none; }
ul.plain, ol.plain { padding-inline-start: 20px; } ul.plain { list-style: disc; } ol.plain { list-style: decimal; }
h1 { font-size: 20px; line-height: 28px; font-weight: 650; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 15px; line-height: 24px; font-weight: 650; }
h3 { font-size: 14px; line-height: 20px; font-weight: 600; }
a { color: var(--accent); text-decoration: none; border-radius: 2px; }
a:hover { text-decoration: underline; }
p a, .prose a { text-decoration: underline; text-underline-offset: 2px; }
code, .mono { font-family: var(--mono); font-size: 12px; font-variant-ligatures: none; }
.mono, .break { overflow-wrap: anywhere; }
.muted { color: var(--text-muted); } .small { font-size: 12.5px; line-height: 16px; } .strong { font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
.nowrap { white-space: nowrap; }
.ellipsis { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; display: block; max-width: 100%; }
.num { text-align: end; font-variant-numeric: tabular-nums; }
.visually-hidden { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
:focus { outline: none; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
svg.icon { width: 16px; height: 16px; flex: none; fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linecap: round; stroke-linejoin: round; }

/* --- layouts --- */
.stack { display: flex; flex-direction: column; gap: 16px; } .stack.tight { gap: 8px; } .stack.loose { gap: 32px; }
.row { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; } .row.wide { gap: 16px; } .row.top { align-items: flex-start; }
.push { margin-inline-start: auto; } .grow { flex: 1 1 0; min-width: 0; } .nowrap-row { flex-wrap: nowrap; }
.grid2 { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px 24px; }
.card { background: var(--bg-raised); border: 1px solid var(--line); border-radius: var(--radius); padding: 16px; box-shadow: var(--shadow); min-width: 0; }
.card.flush { padding: 0; overflow: hidden; }
.card > header { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; margin-bottom: 12px; }
.card.flush > header { margin: 0; padding: 12px 16px; border-bottom: 1px solid var(--line); }
dl.facts { display: grid; grid-template-columns: minmax(120px, max-content) minmax(0, 1fr); gap: 8px 24px; align-items: baseline; }
dl.facts dt { color: var(--text-muted); }
@container (max-width: 640px) {
  .grid2 { grid-template-columns: minmax(0, 1fr); }
  dl.facts { grid-template-columns: minmax(0, 1fr); gap: 0; } dl.facts dd { margin-bottom: 8px; }
}

/* --- the frame --- */
.topbar { border-bottom: 1px solid var(--line); background: var(--bg-raised); }
.topbar-inner { max-width: 1280px; margin: 0 auto; padding: 0 24px; display: flex; align-items: center; gap: 8px 16px; flex-wrap: wrap; min-height: 52px; }
.topbar nav { min-width: 0; align-self: stretch; display: flex; }
.topbar nav ul { display: flex; gap: 4px; overflow-x: auto; scrollbar-width: none; }
.topbar nav li { display: flex; }
.topbar nav a { display: flex; align-items: center; min-height: 44px; padding: 0 10px; color: var(--text-muted); font-weight: 500; white-space: nowrap; border-bottom: 2px solid transparent; border-top: 2px solid transparent; }
.topbar nav a:hover { color: var(--text); text-decoration: none; }
.topbar nav a[aria-current] { color: var(--text); border-bottom-color: var(--accent); }
.topbar nav a:focus-visible { outline-offset: -3px; }
.topbar .tools { display: flex; align-items: center; gap: 8px; margin-inline-start: auto; padding: 6px 0; min-width: 0; }
.topbar select { min-height: 32px; padding-block: 4px; max-width: 220px; }
.page { max-width: 1280px; margin: 0 auto; padding: 20px 24px 64px; }
@container (min-width: 2200px) { .page, .topbar-inner { max-width: 1680px; } }
.skip { position: absolute; inset-inline-start: 8px; top: 8px; z-index: 9; background: var(--bg-raised); padding: 8px 12px; border-radius: var(--radius); box-shadow: var(--shadow-high); }
.skip:not(:focus) { clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
.page-header { margin-bottom: 20px; }
.page-header .title { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 12px; min-height: 36px; }
.page-header h1 { min-width: 0; }
.page-header h1:focus-visible { outline-offset: 4px; }
.page-header .actions { margin-inline-start: auto; display: flex; flex-wrap: wrap; gap: 8px; }
.page-header .description { color: var(--text-muted); max-width: 76ch; margin-top: 4px; }
.crumbs ol { display: flex; flex-wrap: wrap; gap: 0 8px; color: var(--text-muted); font-size: 13px; margin-bottom: 4px; }
.crumbs a { color: var(--text-muted); display: inline-block; min-height: 24px; line-height: 24px; overflow-wrap: anywhere; } .crumbs li + li::before { content: "/"; margin-inline-end: 8px; color: var(--line-strong); }
.tabs { border-bottom: 1px solid var(--line); margin: 12px 0 20px; }
.tabs ul { display: flex; gap: 4px; overflow-x: auto; scrollbar-width: none; }
.tabs a { display: flex; align-items: center; gap: 6px; min-height: 40px; padding: 0 12px; color: var(--text-muted); white-space: nowrap; border-bottom: 2px solid transparent; font-weight: 500; }
.tabs a:hover { color: var(--text); text-decoration: none; } .tabs a[aria-current] { color: var(--text); border-bottom-color: var(--accent); }
.tabs a:focus-visible { outline-offset: -3px; }
.tabs .count { background: var(--bg-hover); color: var(--text-muted); border-radius: 9px; padding: 0 6px; font-size: 12px; line-height: 18px; font-variant-numeric: tabular-nums; }
@container (max-width: 640px) {
  .topbar webhook-help-panel > .button { font-size: 0; gap: 0; min-width: 32px; min-height: 32px; }
  .page { padding: 16px 16px 48px; } .topbar .tools select { flex: 0 1 auto; width: auto; min-width: 0; } .topbar-inner { padding: 0 8px; gap: 0; } .topbar nav { width: 100%; } .topbar .tools { order: -1; width: 100%; margin: 0; padding: 6px 8px; }
  
  .page-header .actions { margin-inline-start: 0; width: 100%; }
}

/* --- controls --- */
button, input, select, textarea { font: inherit; color: inherit; letter-spacing: inherit; }
.button { display: inline-flex; align-items: center; justify-content: center; gap: 6px; min-height: 36px; padding: 6px 12px; border: 1px solid var(--line-strong); border-radius: var(--radius); background: var(--bg-raised); color: var(--text); font-weight: 550; cursor: pointer; text-decoration: none; white-space: nowrap; }
.button:hover { background: var(--bg-hover); text-decoration: none; }
.button.primary { background: var(--accent); border-color: var(--accent); color: var(--accent-text); } .button.primary:hover { background: var(--accent-hover); border-color: var(--accent-hover); }
.button.danger { color: var(--bad); border-color: var(--bad); } .button.danger:hover { background: var(--bad-soft); }
.button.quiet { border-color: transparent; background: none; color: var(--text-muted); } .button.quiet:hover { background: var(--bg-hover); color: var(--text); }
.button.small { min-height: 28px; padding: 3px 8px; font-size: 13px; }
.button.icon-only { padding: 0; width: 32px; min-height: 32px; }
.button.small.icon-only { width: 24px; min-height: 24px; }
.button[aria-disabled="true"], .button:disabled { opacity: 0.55; cursor: default; }
.button .spinner { width: 14px; height: 14px; border: 2px solid currentColor; border-inline-end-color: transparent; border-radius: 50%; animation: turn 0.8s linear infinite; }
@keyframes turn { to { transform: rotate(1turn); } }
.link { background: none; border: 0; padding: 0; min-height: 24px; color: var(--accent); cursor: pointer; text-align: start; } .link:hover { text-decoration: underline; }
input:where(:not([type="checkbox"], [type="radio"], [type="range"])), select, textarea { width: 100%; min-height: 36px; padding: 7px 10px; border: 1px solid var(--line-strong); border-radius: var(--radius); background: var(--bg); color: var(--text); }
textarea { min-height: 72px; resize: vertical; display: block; } textarea.mono, input.mono { font-size: 13px; }
select { appearance: none; padding-inline-end: 28px; background-image: linear-gradient(45deg, transparent 50%, var(--text-muted) 50%), linear-gradient(-45deg, transparent 50%, var(--text-muted) 50%); background-size: 5px 5px; background-position: calc(100% - 15px) 55%, calc(100% - 10px) 55%; background-repeat: no-repeat; text-overflow: ellipsis; }
select.auto, input.auto { width: auto; }
input:focus-visible, select:focus-visible, textarea:focus-visible { outline-offset: -1px; border-color: var(--accent); }
[aria-invalid="true"]:is(input, select, textarea) { border-color: var(--bad); }
::placeholder { color: var(--text-muted); opacity: 1; }
input[type="checkbox"], input[type="radio"] { width: 16px; height: 16px; margin: 2px 0; accent-color: var(--accent); flex: none; }
input[type="search"]::-webkit-search-cancel-button { cursor: pointer; }
.check { display: flex; gap: 8px; align-items: flex-start; min-height: 24px; padding: 2px 0; cursor: pointer; }
.check .sub { display: block; }
.field { display: flex; flex-direction: column; gap: 4px; min-width: 0; }
.field .label { display: flex; align-items: center; gap: 6px; min-height: 24px; } .field .label label, .field .label legend, .field .label .name { font-weight: 600; }
.field .hint { color: var(--text-muted); font-size: 13px; line-height: 18px; }
.field .error { color: var(--bad); font-size: 13px; line-height: 18px; display: flex; gap: 6px; align-items: flex-start; } .field .error svg { margin-top: 1px; }
.field .good-news { color: var(--good); font-size: 13px; line-height: 18px; display: flex; gap: 6px; }
.with-unit { display: flex; align-items: center; gap: 8px; } .with-unit input { max-width: 160px; }
.switch { position: relative; width: 36px; height: 24px; padding: 0; border: 0; background: none; cursor: pointer; flex: none; border-radius: 12px; }
.switch::before { content: ""; position: absolute; inset: 2px 0; border-radius: 10px; background: var(--line-strong); }
.switch::after { content: ""; position: absolute; top: 5px; inset-inline-start: 3px; width: 14px; height: 14px; border-radius: 50%; background: #fff; }
.switch[aria-checked="true"]::before { background: var(--accent); } .switch[aria-checked="true"]::after { inset-inline-start: 19px; background: var(--accent-text); }
.switch[aria-disabled="true"] { opacity: 0.5; cursor: default; }
.toolbar { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; margin-bottom: 12px; } .toolbar .search { flex: 1 1 220px; max-width: 360px; }
.toolbar select { width: auto; max-width: 100%; }

/* --- menu, popover, dialog --- */
.popover { position: fixed; inset: auto; margin: 0; padding: 4px; border: 0; border-radius: 8px; background: var(--bg-raised); color: var(--text); box-shadow: var(--shadow-high); max-width: min(340px, calc(100vw - 16px)); max-height: calc(100vh - 16px); overflow: auto; }
.popover.help-text { padding: 12px; line-height: 20px; font-weight: 400; font-size: 13px; } .help-text p + p { margin-top: 8px; }
.menu-list { min-width: 180px; } .menu-list [role^="menuitem"] { display: flex; align-items: center; gap: 8px; width: 100%; min-height: 36px; padding: 6px 10px; border: 0; border-radius: 4px; background: none; color: var(--text); cursor: pointer; text-align: start; text-decoration: none; }
.menu-list [role^="menuitem"]:is(:hover, :focus-visible) { background: var(--bg-hover); } .menu-list [role^="menuitem"]:focus-visible { outline-offset: -2px; }
.menu-list .danger { color: var(--bad); } .menu-list hr { border: 0; border-top: 1px solid var(--line); margin: 4px 0; }
.help-button { width: 24px; height: 24px; padding: 0; margin: -2px 0; border: 0; background: none; color: var(--text-muted); cursor: help; border-radius: 50%; display: inline-grid; place-items: center; flex: none; }
.help-button:hover { color: var(--text); background: var(--bg-hover); }
dialog { border: 0; padding: 0; border-radius: 10px; background: var(--bg-raised); color: var(--text); box-shadow: var(--shadow-high); width: min(480px, calc(100vw - 32px)); max-height: calc(100dvh - 32px); overflow: auto; }
dialog.wide { width: min(760px, calc(100vw - 32px)); }
dialog::backdrop { background: rgb(10 14 22 / 48%); }
dialog .dialog-inner { padding: 20px; display: flex; flex-direction: column; gap: 16px; }
dialog h2 { font-size: 16px; overflow-wrap: anywhere; }
dialog .dialog-actions { display: flex; flex-wrap: wrap; gap: 8px; justify-content: flex-end; }

/* --- tables that become cards --- */
.table-wrap { border: 1px solid var(--line); border-radius: var(--radius); background: var(--bg-raised); box-shadow: var(--shadow); overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: start; }
th { text-align: start; font-weight: 500; font-size: 12.5px; line-height: 16px; color: var(--text-muted); padding: 10px 12px; white-space: nowrap; background: var(--bg-sunken); }
td { padding: 8px 12px; height: var(--row); vertical-align: middle; border-top: 1px solid var(--line); }
th.num { text-align: end; } th:first-child, td:first-child { padding-inline-start: 16px; } th:last-child, td:last-child { padding-inline-end: 16px; }
tbody tr.clickable:hover { background: var(--bg-hover); } tbody tr.selected { background: var(--accent-soft); }
td .sub { display: block; color: var(--text-muted); font-size: 12.5px; line-height: 16px; }
.card.flush .table-wrap { border: 0; border-radius: 0; box-shadow: none; }
@container (max-width: 720px) {
  table.cards, table.cards tbody { display: block; } table.cards thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table.cards tr { display: grid; grid-template-columns: minmax(0, 1fr); padding: 12px 16px; gap: 4px; border-top: 1px solid var(--line); position: relative; }
  table.cards tbody tr:first-child { border-top: 0; }
  table.cards td { display: grid; grid-template-columns: 108px minmax(0, 1fr); gap: 8px; align-items: center; min-height: 24px; height: auto; padding: 0; border: 0; text-align: start; }
  table.cards td[data-label]::before { content: attr(data-label); color: var(--text-muted); font-size: 12.5px; }
  table.cards td:not([data-label]), table.cards td.lead { display: block; } table.cards td.lead::before { content: none; }
  table.cards td > * { min-width: 0; }
  table.cards td.corner { position: absolute; inset-inline-end: 12px; top: 10px; }
  table.cards td.empty-cell { display: none; }
}

@container (min-width: 561px) and (max-width: 1080px) {
  table.cards.wide, table.cards.wide tbody { display: block; } table.cards.wide thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table.cards.wide tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 8px 24px; padding: 14px 16px; border-top: 1px solid var(--line); position: relative; } table.cards.wide tbody tr:first-child { border-top: 0; }
  table.cards.wide td { display: block; height: auto; padding: 0; border: 0; text-align: start; width: auto; min-width: 0; max-width: none; } table.cards.wide td[data-label]::before { content: attr(data-label); display: block; color: var(--text-muted); font-size: 12.5px; }
  table.cards.wide td.lead { grid-column: 1 / -1; padding-inline-end: 96px; } table.cards.wide td.lead::before { content: none; } table.cards.wide td.corner { position: absolute; inset-inline-end: 12px; top: 10px; } table.cards.wide td.empty-cell { display: none; }
  table.cards.wide .switch-cell { position: absolute; inset-inline-end: 52px; top: 14px; }
}

/* --- status, banners, states --- */
.badge { display: inline-flex; align-items: center; gap: 5px; font-size: 12.5px; line-height: 20px; font-weight: 550; padding: 0 8px 0 6px; border-radius: 10px; background: var(--bg-hover); color: var(--text-muted); white-space: nowrap; }
.badge svg.icon { width: 14px; height: 14px; }
.badge.good { background: var(--good-soft); color: var(--good); } .badge.bad { background: var(--bad-soft); color: var(--bad); } .badge.warn { background: var(--warn-soft); color: var(--warn); } .badge.accent { background: var(--accent-soft); color: var(--accent); }
.banner { display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: center; padding: 10px 14px; border-radius: var(--radius); border: 1px solid var(--line); background: var(--bg-sunken); overflow-wrap: anywhere; }
.banner > svg.icon { margin: 2px 0; align-self: flex-start; } .banner .words { flex: 1 1 220px; min-width: 0; } .banner .words p + p { margin-top: 2px; }
.banner.bad { background: var(--bad-soft); border-color: color-mix(in srgb, var(--bad) 35%, transparent); } .banner.bad > svg { color: var(--bad); }
.banner.warn { background: var(--warn-soft); border-color: color-mix(in srgb, var(--warn) 35%, transparent); } .banner.warn > svg { color: var(--warn); }
.banner.good { background: var(--good-soft); border-color: color-mix(in srgb, var(--good) 35%, transparent); } .banner.good > svg { color: var(--good); }
.banner.info > svg { color: var(--accent); } .banner :is(.good, .bad, .warn) { color: inherit; }
.banner { color: var(--text); } .banner .muted { color: inherit; opacity: 0.85; }
.banners { max-width: 1280px; margin: 0 auto; padding: 0 24px; } .banners > .banner { margin-top: 16px; }
.state { text-align: center; padding: 48px 24px; display: flex; flex-direction: column; gap: 12px; align-items: center; } .state > svg.icon { width: 28px; height: 28px; color: var(--text-muted); } .state p { max-width: 56ch; color: var(--text-muted); overflow-wrap: anywhere; }
.state .detail { font-size: 13px; }
.skeleton { display: block; height: 12px; border-radius: 4px; background: var(--bg-hover); animation: pulse 1.6s ease-in-out infinite; }
.skeleton.w30 { width: 30%; } .skeleton.w50 { width: 50%; } .skeleton.w70 { width: 70%; } .skeleton.w90 { width: 90%; } .skeleton.block { height: 120px; }
@keyframes pulse { 50% { opacity: 0.45; } }
.toasts { position: fixed; inset-block-end: 16px; inset-inline: 16px; display: flex; flex-direction: column; gap: 8px; align-items: center; pointer-events: none; z-index: 20; }
.toast { pointer-events: auto; display: flex; gap: 8px; align-items: center; background: var(--text); color: var(--bg); border-radius: 8px; padding: 8px 8px 8px 14px; box-shadow: var(--shadow-high); max-width: 560px; overflow-wrap: anywhere; }
.toast .button.quiet { color: inherit; } .toast .button.quiet:hover { background: color-mix(in srgb, var(--bg) 20%, transparent); }

/* --- code, SQL, charts --- */
pre.code { font: 12.5px/18px var(--mono); background: var(--bg-sunken); border: 1px solid var(--line); border-radius: var(--radius); padding: 12px; overflow: auto; max-height: 420px; white-space: pre; tab-size: 2; }
pre.code.wrap { white-space: pre-wrap; overflow-wrap: anywhere; }
.code-block { position: relative; } .code-block > webhook-copy { position: absolute; top: 6px; inset-inline-end: 6px; } .code-block > webhook-copy > .button { background: var(--bg-raised); } .code-block > pre { padding-inline-end: 88px; }
@container (max-width: 480px) { .code-block { display: flex; flex-direction: column; gap: 4px; align-items: flex-end; } .code-block > pre { padding-inline-end: 12px; width: 100%; } .code-block > webhook-copy { position: static; } }
details > summary { cursor: pointer; border-radius: 4px; min-height: 24px; }
details.sql { font-size: 13px; } details.sql > summary { color: var(--text-muted); width: max-content; display: inline-flex; align-items: center; gap: 6px; list-style: none; } details.sql > summary::-webkit-details-marker { display: none; } details.sql > summary:hover { color: var(--text); }
details.sql > summary svg.icon { width: 12px; height: 12px; } details[open] > summary > svg.icon:first-child { transform: rotate(90deg); }
details.sql > .stack { margin-top: 8px; }
.bars { display: block; width: 100%; height: 28px; } .bars .ok { fill: var(--good-fill); } .bars .fail { fill: var(--bad-fill); } .bars .none { fill: var(--line); }
.chart { display: block; width: 100%; height: auto; } .chart text { fill: var(--text-muted); font: 11px var(--font); } .chart .gridline { stroke: var(--line); } .chart .ok { fill: var(--good-fill); } .chart .fail { fill: var(--bad-fill); } .chart .line1 { fill: none; stroke: var(--accent); stroke-width: 1.6; } .chart .line2 { fill: none; stroke: var(--text-muted); stroke-width: 1.4; stroke-dasharray: 4 3; } .chart .dot { fill: var(--accent); } .chart .axis { stroke: var(--line-strong); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; color: var(--text-muted); font-size: 12.5px; } .legend span { display: inline-flex; align-items: center; gap: 6px; }
.swatch { width: 10px; height: 10px; border-radius: 2px; display: inline-block; } .swatch.ok { background: var(--good-fill); } .swatch.fail { background: var(--bad-fill); } .swatch.line1 { height: 2px; width: 14px; background: var(--accent); } .swatch.line2 { height: 0; width: 14px; border-top: 2px dashed var(--text-muted); }
.step { display: flex; gap: 12px; text-align: start; } .steps { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 24px; }
.step-number { flex: none; width: 24px; height: 24px; border-radius: 50%; background: var(--accent-soft); color: var(--accent); font-weight: 650; font-size: 13px; line-height: 24px; text-align: center; }
.empty-list { padding: 32px; } .empty-list .stack { gap: 24px; } .empty-list .stack > svg.icon { width: 32px; height: 32px; color: var(--accent); } .empty-list h2 { margin-top: -8px; font-size: 18px; }
@container (max-width: 720px) { .steps { grid-template-columns: minmax(0, 1fr); gap: 16px; } .empty-list { padding: 20px 16px; } }
.switch-cell { width: 60px; } .bars-cell { width: 152px; } .bars-cell svg { min-width: 120px; } .name-cell { min-width: 200px; } .events-cell { max-width: 180px; } .events-cell .line { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; } .name-cell .host { max-width: 240px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; } .status-cell { min-width: 190px; max-width: 280px; } .error-line { overflow: hidden; display: -webkit-box !important; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow-wrap: anywhere; }
.form-section { display: grid; grid-template-columns: minmax(180px, 260px) minmax(0, 760px); gap: 16px 48px; } .webhook-form > * + .form-section, .advanced .form-section + .form-section { border-top: 1px solid var(--line); padding-top: 32px; } .form-section-about p { margin-top: 4px; max-width: 40ch; line-height: 18px; }
.advanced { border-top: 1px solid var(--line); padding-top: 24px; } .advanced > summary { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 8px; min-height: 44px; list-style: none; } .advanced > summary::-webkit-details-marker { display: none; } .advanced .h2 { font-size: 15px; font-weight: 650; } .advanced[open] > summary { margin-bottom: 16px; }
.form-actions { position: sticky; bottom: 0; background: var(--bg); border-top: 1px solid var(--line); padding: 12px 0; display: flex; flex-wrap: wrap; align-items: flex-start; justify-content: space-between; gap: 8px 24px; z-index: 2; } .form-actions > .sql { padding-top: 8px; } .form-actions > .sql[open] { flex-basis: 100%; }
.webhook-form :is(input, select, textarea, button, a, summary) { scroll-margin-block: 24px 112px; } @media (max-height: 480px) { .form-actions { position: static; } }
.form-actions details.sql[open] { max-height: 50vh; overflow: auto; }
.event-columns { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 280px); gap: 16px; align-items: start; } .event-example { position: sticky; top: 16px; border: 1px solid var(--line); border-radius: var(--radius); padding: 12px; background: var(--bg-sunken); } .event-example pre.code { background: var(--bg); }
.category { border: 1px solid var(--line); border-radius: var(--radius); background: var(--bg-raised); } .category > summary { display: flex; align-items: center; gap: 8px; min-height: 44px; padding: 4px 12px; list-style: none; } .category > summary::-webkit-details-marker { display: none; } .category-events { border-top: 1px solid var(--line); padding: 4px 12px 8px; } .category-events > .check { min-height: 32px; align-items: center; }
.event-line { display: flex; align-items: flex-start; gap: 12px; padding: 4px 0; border-top: 1px solid var(--line); } .event-line .sub { display: block; } .event-line > .num, .event-line > .link { line-height: 24px; } .event-line.current { background: linear-gradient(var(--accent-soft), var(--accent-soft)); box-shadow: -12px 0 0 var(--accent-soft), 12px 0 0 var(--accent-soft); }
.event-total { display: flex; gap: 8px; align-items: flex-start; color: var(--text-muted); font-size: 13px; } .event-total svg { margin-top: 2px; } .other-patterns > .stack { margin-top: 8px; } .pattern-input { max-width: 320px; }
.secret-box { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; border: 1px solid var(--line); border-radius: var(--radius); background: var(--bg-sunken); padding: 8px 12px; min-height: 44px; } .secret-box code { flex: 1 1 200px; }
webhook-receiver-code { display: flex; flex-direction: column; gap: 8px; } .receiver-code pre.code { max-height: 220px; }
.header-line { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr) auto; gap: 8px; align-items: center; min-height: 44px; border-bottom: 1px solid var(--line); padding-bottom: 4px; } .header-line .removed { text-decoration: line-through; color: var(--text-muted); }
table.compact { width: auto; } table.compact :is(th, td) { padding: 4px 24px 4px 0; height: auto; background: none; } .retry details table { margin-top: 4px; }
table.conflict td.version { vertical-align: top; } table.conflict th[scope="row"] { white-space: normal; color: var(--text); background: none; vertical-align: top; border-top: 1px solid var(--line); } td.version .value { display: block; } td.version .check > .grow > .small { display: none; }
.tried > summary { list-style-position: inside; } .tried pre { margin-top: 4px; }
@container (max-width: 860px) { .form-section { grid-template-columns: minmax(0, 1fr); } }
@container (max-width: 640px) {
  .event-columns { grid-template-columns: minmax(0, 1fr); } .event-example { position: static; } .header-line { grid-template-columns: minmax(0, 1fr) auto; } .header-line > :nth-child(2) { grid-row: 2; }
  table.conflict, table.conflict :is(tbody, tr, td, th[scope]) { display: block; } table.conflict thead { display: none; } table.conflict td { border: 0; height: auto; padding: 4px 0; } table.conflict th[scope="row"] { padding: 12px 0 0; } td.version .check > .grow > .small { display: inline; }
  .form-actions .button { flex: 1 1 auto; } .form-actions .unsaved { display: none; }
}
@container (max-width: 720px) { table.cards :is(.bars-cell, .events-cell, .status-cell, .name-cell) { width: auto; min-width: 0; max-width: none; } table.cards .switch-cell { position: absolute; inset-inline-end: 52px; top: 14px; width: auto; } table.cards .name-cell { padding-inline-end: 92px; } .name-cell .host { max-width: none; white-space: normal; overflow-wrap: anywhere; } }
details.notes > summary { display: inline-flex; gap: 6px; align-items: center; list-style: none; color: var(--text-muted); } details.notes > summary::-webkit-details-marker { display: none; } details.notes > .banner { margin-top: 8px; }
details.server-findings { margin-bottom: 16px; } .server-findings > summary { display: inline-flex; gap: 6px; align-items: center; list-style: none; min-height: 28px; color: var(--text-muted); } .server-findings > summary::-webkit-details-marker { display: none; } .server-findings > .findings { margin: 8px 0 0; }
.findings { display: flex; flex-direction: column; gap: 8px; margin-bottom: 20px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); border: 1px solid var(--line); border-radius: var(--radius); background: var(--bg-raised); box-shadow: var(--shadow); overflow: hidden; }
.tile { padding: 12px 16px; border-inline-end: 1px solid var(--line); border-bottom: 1px solid var(--line); margin: 0 -1px -1px 0; min-width: 0; } .tile dt { color: var(--text-muted); font-size: 12.5px; } .tile dd { font-size: 20px; line-height: 28px; font-weight: 600; font-variant-numeric: tabular-nums; letter-spacing: -0.01em; } .tile dd.words { font-size: 14px; line-height: 20px; padding-top: 4px; letter-spacing: 0; } .tile .sub { display: block; font-size: 12.5px; line-height: 16px; font-weight: 400; color: var(--text-muted); letter-spacing: 0; }
.charts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px; } @container (max-width: 860px) { .charts { grid-template-columns: minmax(0, 1fr); } }
.chart-table { max-height: 320px; overflow: auto; } .chart-table table { font-size: 12.5px; } .chart-table :is(td) { height: 28px; padding-block: 4px; }
webhook-chart { display: block; min-width: 0; } webhook-chart svg { display: block; overflow: visible; }
.breakdown td { height: 36px; } .breakdown .break { min-width: 140px; } @container (max-width: 480px) { .breakdown :is(.share, th:nth-child(2)) { display: none; } } .breakdown .share { width: 30%; } .share svg { display: block; width: 100%; height: 8px; } .share .track { fill: var(--bg-hover); }
.change { border-top: 1px solid var(--line); padding: 12px 16px; display: grid; grid-template-columns: minmax(160px, 220px) minmax(0, 1fr); gap: 8px 24px; } .change:first-child { border-top: 0; } .change dl { display: grid; grid-template-columns: minmax(100px, 140px) minmax(0, 1fr); gap: 4px 16px; } .change dt { color: var(--text-muted); } .change del { color: var(--bad); text-decoration: line-through; } .change ins { color: var(--good); text-decoration: none; } @container (max-width: 640px) { .change, .change dl { grid-template-columns: minmax(0, 1fr); } .change dl { gap: 0; } }
.signin { max-width: 480px; }
progress { width: 100%; height: 8px; accent-color: var(--accent); }

@media (prefers-reduced-motion: reduce) { *, *::before, *::after { animation: none !important; transition: none !important; scroll-behavior: auto !important; } }
@media (forced-colors: active) {
  .switch::before { background: ButtonFace; border: 1px solid ButtonText; } .switch::after, .switch[aria-checked="true"]::after { background: ButtonText; } .switch[aria-checked="true"]::before { background: Highlight; }
  .button, .badge, .banner, dialog, .popover, .toast { border: 1px solid CanvasText; }
  .bars .ok, .chart .ok { fill: CanvasText; } .bars .fail, .chart .fail { fill: Highlight; forced-color-adjust: none; }
  .topbar nav a:not([aria-current]), .tabs a:not([aria-current]) { border-color: Canvas; } .topbar nav a[aria-current], .tabs a[aria-current] { border-color: Canvas Canvas Highlight; }
  .swatch { forced-color-adjust: none; } .swatch.ok { background: CanvasText; } .swatch.fail { background: Highlight; } .swatch.line2 { background: none; } select { appearance: auto; background-image: none; }
}
@media print { .topbar .tools, .actions, .toolbar, .toasts { display: none; } }
`);

export const styles = [sheet, deliveryStyles];

// A style sheet of one screen, added when its module is loaded.
export function addStyles(root, css) {
  const own = new CSSStyleSheet();
  own.replaceSync(css);
  root.adoptedStyleSheets = [...root.adoptedStyleSheets, own];
}

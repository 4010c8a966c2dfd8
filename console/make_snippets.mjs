#!/usr/bin/env node
// Makes page/snippets.js, the programs that the help shows, from docs/receivers.md: the very text that
// test/t/022_receivers.pl runs.
//
//   console/make_snippets.mjs            writes snippets.js
//   console/make_snippets.mjs --check    fails if snippets.js is not what docs/receivers.md says

import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = path.dirname(fileURLToPath(import.meta.url));
const target = path.join(folder, 'page/snippets.js');
const page = fs.readFileSync(path.join(folder, '../docs/receivers.md'), 'utf8');

// What stands between the fences of the only block of a language, without the last line break.
function block(language) {
  const blocks = [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)\\n\`\`\`$`, 'gms'))];
  if (blocks.length !== 1) throw new Error(`docs/receivers.md has ${blocks.length} blocks in ${language} instead of one`);
  return blocks[0][1];
}

// The rows of the first table below a heading.
function table(heading) {
  const section = page.split(new RegExp(`^### ${heading}$`, 'm'))[1] ?? '';
  const lines = section.split('\n').filter((line) => line.startsWith('|')).slice(2);
  if (lines.length === 0) throw new Error(`docs/receivers.md has no table below "${heading}"`);
  return lines.map((line) => line.split('|').slice(1, -1).map((cell) => cell.trim()));
}

const languages = [['Node', 'js'], ['Python', 'python'], ['Go', 'go'], ['Ruby', 'ruby'], ['PHP', 'php']];
const text = `// Made by console/make_snippets.mjs from docs/receivers.md: change that page, then run it.

// Receivers that verify, as test/t/022_receivers.pl runs them: [{language, code}].
export const receivers = ${JSON.stringify(languages.map(([language, name]) => ({ language, code: block(name) })), null, 2)};

// A request as it is sent.
export const request = ${JSON.stringify(block('http'))};

// How to get the raw body: [framework, how].
export const rawBodies = ${JSON.stringify(table('The raw body'), null, 2)};
`;

if (process.argv[2] === '--check') {
  if (!fs.existsSync(target) || fs.readFileSync(target, 'utf8') !== text) {
    console.error('console/page/snippets.js is not what docs/receivers.md says: run console/make_snippets.mjs');
    process.exit(1);
  }
} else {
  fs.writeFileSync(target, text);
}

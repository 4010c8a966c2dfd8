// Prints what callgrind counted, as the difference of two runs by the events that one had more than the other:
//
//   node callgrind.mjs FILE_OF_FEW FILE_OF_MANY EVENTS
//
// The files are in the format of valgrind's manual, "Callgrind Format Specification".
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';

const LEAST = 1000;  // of a function that is worth a line

// By function and library: the instructions of its own, and with what it calls.
function read(file) {
  const names = { ob: new Map(), fn: new Map() };
  const nameOf = (kind, text) => {
    const [, number, name] = text.match(/^\((\d+)\)(?: (.*))?$/);
    if (name) names[kind].set(number, name);
    return names[kind].get(number);
  };
  const functions = new Map();
  let library;
  let current;
  let called;
  let isCall = false;  // the next line is what a call cost
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [, key, value] = line.match(/^(ob|fn|cob|cfn|calls)=(.*)$/) ?? [];
    if (key === 'ob') library = basename(nameOf('ob', value));
    if (key === 'cob') nameOf('ob', value);
    if (key === 'cfn') called = nameOf('fn', value);
    if (key === 'calls') isCall = true;
    if (key === 'fn') {
      const name = nameOf('fn', value);
      const id = `${library} ${name}`;
      if (!functions.has(id)) functions.set(id, { library, name, self: 0, all: 0 });
      current = functions.get(id);
    }
    if (!/^[-+*\d]/.test(line)) continue;
    const cost = Number(line.split(' ')[1] ?? 0);
    if (!isCall) current.self += cost;
    if (!isCall || called !== current.name) current.all += cost;
    isCall = false;
  }
  return functions;
}

const [few, many] = process.argv.slice(2, 4).map(read);
const events = Number(process.argv[4]);
const rows = [...many].map(([id, { library, name, self, all }]) => {
  const before = few.get(id) ?? { self: 0, all: 0 };
  return { library, name, self: (self - before.self) / events, all: (all - before.all) / events };
});
const print = (count, text) => console.log(`${Math.round(count).toLocaleString('en').padStart(9)}  ${text}`);

const libraries = new Map();
for (const { library, self } of rows) libraries.set(library, (libraries.get(library) ?? 0) + self);
print([...libraries.values()].reduce((sum, one) => sum + one, 0), 'all');
for (const [library, count] of [...libraries].toSorted(([, a], [, b]) => b - a)) {
  if (count >= LEAST / 10) print(count, library);
}
console.log('\nby function, with what it calls');
for (const { library, name, all } of rows.toSorted((a, b) => b.all - a.all)) {
  if (all >= LEAST && !name.startsWith('0x')) print(all, `${name.slice(0, 100)} [${library}]`);
}

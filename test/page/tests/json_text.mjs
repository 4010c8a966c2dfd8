// JSON as the page shows and judges it, without a browser.

import test from 'node:test';
import { assert } from '../scenario.mjs';
import { exactJson, jsonProblem, memberText, prettyJson } from '../../../console/page/json_text.js';

// The place and the kind of what is wrong, as 'line:column kind'.
const place = (text) => {
  const problem = jsonProblem(text);
  return problem && `${problem.line}:${problem.column} ${problem.expected}`;
};

function parses(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

test('a payload that is not JSON is told what is missing, and where', () => {
  assert.equal(place('{"a": 1,\n "b": }'), '2:7 value');
  assert.equal(place('{"a" 1}'), '1:6 colon');
  assert.equal(place('{a: 1}'), '1:2 name');
  assert.equal(place('{"a": 1,}'), '1:9 name');
  assert.equal(place('[1 2]'), '1:4 comma');
  assert.equal(place('1 2'), '1:3 end');
  assert.equal(place('{"a": "b'), '1:7 string');
  assert.equal(place(''), '1:1 value');
});

// Every text of up to four of these tokens.
test('what is judged to be JSON is what the browser takes', () => {
  const tokens = ['{', '}', '[', ']', ',', ':', '"a"', '1', '01', ' ', '\u00a0', '"'];
  const extend = (texts) => texts.flatMap((text) => tokens.map((token) => text + token));
  let texts = [''];
  let count = 0;
  for (let length = 1; length <= 4; length += 1) {
    texts = extend(texts);
    for (const text of texts) {
      const isJson = parses(text);
      if (isJson) count += 1;
      if ((jsonProblem(text) === null) !== isJson) assert.fail(`${JSON.stringify(text)} is ${isJson ? '' : 'not '}JSON`);
    }
  }
  assert.ok(count > 40, `${count} texts are JSON`);
});

test('laying out JSON keeps digits and texts', () => {
  const text = '{"id":12345678901234567890,"price":1.10,"name":"a, {b}: \\"c\\"","tags":[],"more":{"x":[1,{"y":null}]}}';
  const pretty = prettyJson(text);
  assert.ok(pretty.includes('\n  "price": 1.10,\n'));
  assert.equal(pretty.replaceAll('\n', '').replace(/ {2,}|(?<=:) (?=[\d"[{n])/g, ''), text.replace('a, {b}: ', 'a, {b}: '));
  assert.equal(prettyJson('<html>'), null);
});

test('the data of a body is taken as it is written', () => {
  assert.equal(memberText('{"event":"a.b","data":12345678901234567890,"previous":{}}', 'data'), '12345678901234567890');
  assert.equal(memberText('{"event":"\\"data\\": 1","data":{"data":[1.0]}}', 'data'), '{\n  "data": [\n    1.0\n  ]\n}');
  assert.equal(memberText('[1]', 'data'), null);
  assert.equal(memberText('{}', 'data'), null);
});

test('a value that is sent has the digits of its text where the engine can', () => {
  const text = '{"id":12345678901234567890,"n":1.50,"s":"1"}';
  const sent = JSON.stringify(exactJson(text));
  if (typeof JSON.rawJSON === 'function') assert.equal(sent, text);
  else assert.deepEqual(JSON.parse(sent), JSON.parse(text));
});

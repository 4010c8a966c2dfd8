// JSON as text: it is laid out and judged without becoming numbers, which would lose digits.

// The same JSON with one member a line, or null if the text is not JSON. Numbers and strings stay as they are written.
export function prettyJson(text) {
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gs) ?? [];
  const lines = [];
  let line = '';
  let depth = 0;
  const end = () => { lines.push(line); line = '  '.repeat(depth); };
  for (const [i, token] of tokens.entries()) {
    const isEmpty = (token === '{' && tokens[i + 1] === '}') || (token === '[' && tokens[i + 1] === ']');
    if ((token === '}' || token === ']') && tokens[i - 1] !== '{' && tokens[i - 1] !== '[') {
      depth -= 1;
      end();
    }
    line += token === ':' ? ': ' : token;
    if (token === ',') end();
    if ((token === '{' || token === '[') && !isEmpty) {
      depth += 1;
      end();
    }
  }
  lines.push(line);
  return lines.join('\n');
}

// The text of one member of a JSON object, as it is written: memberText('{"data": {"n": 1.0}}', 'data') is '{"n": 1.0}'.
// null if the text is no object or has no such member.
export function memberText(text, name) {
  const pretty = prettyJson(text);
  if (pretty === null || !pretty.startsWith('{')) return null;
  const lines = pretty.split('\n');
  const start = `  ${JSON.stringify(name)}: `;
  const at = lines.findIndex((line) => line.startsWith(start));
  if (at === -1) return null;
  const member = [lines[at].slice(start.length)];
  for (const line of lines.slice(at + 1)) {
    if (/^ {2}"/.test(line) || line === '}') break;
    member.push(line.slice(2));
  }
  return member.join('\n').replace(/,$/, '');
}

const kToken = /[ \t\r\n]*(?:("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.])|([{}[\],:]))/y;

// null, or the first place where a text is not JSON: {expected, line, column}. expected says what should stand there:
// 'value', 'name', 'colon', 'comma' (or a closing bracket), 'end' (nothing more), or 'string' if a text has no valid end.
// Browsers' own messages differ, and not all of them tell the place.
export function jsonProblem(text) {
  const open = [];
  let expected = 'value';
  let position = 0;
  let mayClose = false;
  const afterValue = () => (open.length > 0 ? 'comma' : 'end');
  const problem = (kind) => {
    const start = position + (/^[ \t\r\n]*/.exec(text.slice(position))[0].length);
    const before = text.slice(0, start).split('\n');
    return { expected: text[start] === '"' && kind !== 'colon' && kind !== 'comma' && kind !== 'end' ? 'string' : kind, line: before.length, column: before.at(-1).length + 1 };
  };
  while (!(expected === 'end' && /^[ \t\r\n]*$/.test(text.slice(position)))) {
    kToken.lastIndex = position;
    const match = kToken.exec(text);
    if (!match) return problem(expected);
    const [whole, string, sign] = match;
    const isClosing = sign === (open.at(-1) === '{' ? '}' : ']') && open.length > 0 && (expected === 'comma' || mayClose);
    if (isClosing) {
      open.pop();
      expected = afterValue();
    } else if (expected === 'value' && (sign === undefined || sign === '{' || sign === '[')) {
      if (sign) open.push(sign);
      mayClose = sign !== undefined;
      expected = sign === undefined ? afterValue() : sign === '{' ? 'name' : 'value';
      position += whole.length;
      continue;
    } else if (expected === 'name' && string !== undefined) {
      expected = 'colon';
    } else if (expected === 'colon' && sign === ':') {
      expected = 'value';
    } else if (expected === 'comma' && sign === ',') {
      expected = open.at(-1) === '{' ? 'name' : 'value';
    } else {
      return problem(expected);
    }
    mayClose = false;
    position += whole.length;
  }
  return null;
}

// The value of a JSON text, which JSON.stringify() writes with the digits of its numbers, where the browser can.
export function exactJson(text) {
  if (typeof JSON.rawJSON !== 'function') return JSON.parse(text);
  return JSON.parse(text, (name, value, context) => (typeof value === 'number' && context?.source !== String(value) ? JSON.rawJSON(context.source) : value));
}

// What "Show SQL" shows: the statement that does in psql what the page does by the API.

const kSecretMembers = new Set(['secret']);

function literal(text) {
  const doubled = text.replaceAll("'", "''");
  return text.includes('\\') ? `E'${doubled.replaceAll('\\', '\\\\')}'` : `'${doubled}'`;
}

// Values of headers and secrets become placeholders: what is on the screen can be photographed.
function withoutSecrets(value) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => {
    if (kSecretMembers.has(name) && typeof member === 'string') return [name, '<secret>'];
    if (name === 'headers' && typeof member === 'object' && member !== null) {
      return [name, Object.fromEntries(Object.entries(member).map(([h, v]) => [h, v === null ? null : '<value>']))];
    }
    return [name, member];
  }));
}

function expression(name, value) {
  if (value === null) return 'NULL';
  if (typeof value === 'boolean' || typeof value === 'number') return String(value);
  if (Array.isArray(value)) {
    const items = value.map((item) => (typeof item === 'string' && !/^\d+$/.test(item) ? literal(item) : String(item)));
    return value.length === 0 ? "'{}'" : `ARRAY[${items.join(', ')}]`;
  }
  if (typeof value === 'object') return `${literal(JSON.stringify(withoutSecrets(value), null, 2))}::jsonb`;
  if (kSecretMembers.has(name)) return "'<secret>'";
  return literal(value);
}

// The statement for a call; arguments that are undefined are left out, as in the call.
export function toSql(name, args = {}) {
  const given = Object.entries(args).filter(([, value]) => value !== undefined);
  const list = given.map(([argument, value]) => `${argument} => ${expression(argument, value)}`);
  const separator = list.join(', ').length > 60 ? ',\n  ' : ', ';
  const open = separator === ', ' ? '' : '\n  ';
  return `SELECT webhook_api.${name}(${open}${list.join(separator)}${open ? '\n' : ''});`;
}

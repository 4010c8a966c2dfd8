// A stand-in for PostgREST: what its documentation says of functions, roles, JWTs and errors
// (https://docs.postgrest.org/en/stable/), and nothing else of it. Products that have PostgREST or Supabase serve the
// page's calls with it, so the page is tested with both this and webhook-console.
//
//   const api = new Postgrest({ connection: { host, user: 'authenticator', database }, schema: 'webhook_api', secret });
//   http.createServer((request, response) => api.handle(request, response, '/rpc/session'));
//   signJwt({ role: 'crm_admin', organization_id: 'acme' }, secret)
//
// Each call is one transaction: it takes the role and the claims of the token, and calls the function with the members
// of the body as named arguments.

import crypto from 'node:crypto';
import pg from 'pg';

// --- tokens (RFC 7519, HS256) ---------------------------------------------------------------------------------------

const hmac = (text, secret) => crypto.createHmac('sha256', secret).update(text).digest();
const encodeJson = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const clockSkewS = 30;

export function signJwt(claims, secret, header = { alg: 'HS256', typ: 'JWT' }) {
  const signed = `${encodeJson(header)}.${encodeJson(claims)}`;
  return `${signed}.${header.alg === 'none' ? '' : hmac(signed, secret).toString('base64url')}`;
}

function verifiedClaims(token, secret, audience) {
  const parts = token.split('.');
  if (parts.length !== 3) throw new ApiError(401, 'PGRST301', 'Expected 3 parts in JWT');
  let header, claims;
  try {
    [header, claims] = parts.slice(0, 2).map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()));
  } catch {
    throw new ApiError(401, 'PGRST301', 'JWT cryptographic operation failed');
  }
  const expected = hmac(`${parts[0]}.${parts[1]}`, secret);
  const given = Buffer.from(parts[2], 'base64url');
  const isSigned = header?.alg === 'HS256' && given.length === expected.length && crypto.timingSafeEqual(given, expected);
  if (!isSigned) throw new ApiError(401, 'PGRST301', 'No suitable key or wrong key type');
  const nowS = Date.now() / 1000;
  if (claims.exp !== undefined && nowS > claims.exp + clockSkewS) throw new ApiError(401, 'PGRST303', 'JWT expired');
  if (claims.nbf !== undefined && nowS < claims.nbf - clockSkewS) throw new ApiError(401, 'PGRST303', 'JWT not yet valid');
  if (audience !== undefined && claims.aud != null && ![claims.aud].flat().includes(audience)) {
    throw new ApiError(401, 'PGRST303', 'JWT not in audience');
  }
  return claims;
}

// --- errors ---------------------------------------------------------------------------------------------------------

class ApiError extends Error {
  constructor(status, code, message, details = null, hint = null) {
    super(message);
    Object.assign(this, { status, code, details, hint });
  }
}

// The first that fits the SQLSTATE decides.
const statusesByState = [
  [/^08/, 503], [/^09/, 500], [/^0L/, 403], [/^0P/, 403], [/^23503$/, 409], [/^23505$/, 409], [/^25006$/, 405],
  [/^25/, 500], [/^28/, 403], [/^2D/, 500], [/^38/, 500], [/^39/, 500], [/^3B/, 500], [/^40/, 500], [/^53400$/, 500],
  [/^53/, 503], [/^54/, 500], [/^55/, 500], [/^57/, 500], [/^58/, 500], [/^F0/, 500], [/^HV/, 500], [/^P0001$/, 400],
  [/^P0/, 500], [/^XX/, 500], [/^42883$/, 404], [/^42P01$/, 404], [/^42P17$/, 500],
];

function statusOf(state, isAuthenticated) {
  if (state === '42501') return isAuthenticated ? 403 : 401;
  const own = /^PT([1-5]\d\d)$/.exec(state);
  if (own) return Number(own[1]);
  return statusesByState.find(([pattern]) => pattern.test(state))?.[1] ?? 400;
}

// What is thrown while the database is asked: an error of the server's has a severity, any other is the connection's.
function apiErrorOf(error, isAuthenticated) {
  if (error instanceof ApiError) return error;
  if (error.severity === undefined) {
    return new ApiError(503, 'PGRST000', 'Database connection error. Retrying the connection.', error.message);
  }
  const { code, message, detail = null, hint = null } = error;
  return new ApiError(statusOf(code, isAuthenticated), code, message, detail, hint);
}

// --- calls ----------------------------------------------------------------------------------------------------------

const catalogQuery = `
  SELECT p.proname AS name, p.provolatile AS volatility, pg_catalog.quote_ident(p.proname) AS quoted,
         coalesce((SELECT json_agg(json_build_object('name', a.name, 'quoted', pg_catalog.quote_ident(a.name),
                                                     'type', pg_catalog.format_type(a.type, NULL),
                                                     'is_required', a.position <= p.pronargs - p.pronargdefaults)
                                   ORDER BY a.position)
                   FROM unnest(p.proargnames[1:p.pronargs], p.proargtypes::oid[]) WITH ORDINALITY AS a(name, type, position)),
                  '[]') AS parameters
  FROM pg_catalog.pg_proc p
  WHERE p.pronamespace = pg_catalog.to_regnamespace($1) AND p.prokind = 'f'`;

async function readBody(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

export class Postgrest {
  #pool;
  #schema;
  #secret;
  #audience;
  #functions; // name → its overloads: the schema cache
  #onCall;

  // onCall({ function, arguments, status, body, claims }): of each call that was answered.
  constructor({ connection, schema, secret, audience, onCall = () => {} }) {
    this.#pool = new pg.Pool({ ...connection, max: 8 });
    // A connection that is lost fails the call that uses it; the pool replaces it.
    this.#pool.on('error', () => {});
    this.#pool.on('connect', (client) => client.on('error', () => {}));
    this.#schema = schema;
    this.#secret = secret;
    this.#audience = audience;
    this.#onCall = onCall;
  }

  close() {
    return this.#pool.end();
  }

  // path: of the request, from /rpc/ on.
  async handle(request, response, path) {
    const call = { function: path.replace(/^\/rpc\//, ''), arguments: null, claims: null };
    try {
      if (!path.startsWith('/rpc/')) throw new ApiError(404, 'PGRST205', `Could not find the table '${path.slice(1)}' in the schema cache`);
      if (request.method !== 'POST') throw new ApiError(405, 'PGRST101', 'Only GET and POST verbs are allowed on functions');
      const profile = request.headers['content-profile'] ?? this.#schema;
      if (profile !== this.#schema) throw new ApiError(406, 'PGRST106', `The schema must be one of the following: ${this.#schema}`);
      call.text = await readBody(request);
      call.claims = this.#claimsOf(request);
      [call.status, call.answer] = [200, await this.#run(call, request, path)];
    } catch (thrown) {
      const error = apiErrorOf(thrown, call.claims !== null);
      const { code, message, details, hint } = error;
      [call.status, call.answer] = [error.status, JSON.stringify({ code, details, hint, message })];
      if (error.status === 401) response.setHeader('WWW-Authenticate', `Bearer error="invalid_token", error_description=${JSON.stringify(message)}`);
    }
    response.writeHead(call.status, { 'Content-Type': 'application/json; charset=utf-8', 'Cache-Control': 'no-store' });
    response.end(call.answer);
    this.#onCall({ function: call.function, arguments: call.arguments, status: call.status, body: JSON.parse(call.answer), claims: call.claims });
  }

  #claimsOf(request) {
    const [, token] = /^bearer (.+)$/i.exec(request.headers.authorization ?? '') ?? [];
    if (token === undefined) throw new ApiError(401, 'PGRST302', 'Anonymous access is disabled');
    return verifiedClaims(token, this.#secret, this.#audience);
  }

  async #run(call, request, path) {
    try {
      call.arguments = JSON.parse(call.text === '' ? '{}' : call.text);
    } catch {
      throw new ApiError(400, 'PGRST102', 'Empty or invalid json');
    }
    if (call.arguments === null || typeof call.arguments !== 'object' || Array.isArray(call.arguments)) {
      throw new ApiError(400, 'PGRST102', 'All object keys must match');
    }
    const client = await this.#pool.connect();
    let broken;
    try {
      const found = await this.#find(client, call.function, Object.keys(call.arguments));
      await client.query(found.volatility === 'v' ? 'BEGIN' : 'BEGIN READ ONLY');
      await this.#impersonate(client, call.claims, request, path);
      const { rows } = await client.query(this.#statement(found, Object.keys(call.arguments)), [call.text || '{}']);
      await client.query('COMMIT');
      return rows[0].answer ?? 'null';
    } catch (error) {
      await client.query('ROLLBACK').catch((lost) => { broken = lost; });
      throw error;
    } finally {
      client.release(broken);
    }
  }

  // The overload that has all arguments given, and needs no other.
  async #find(client, name, given) {
    const fits = ({ parameters }) =>
      given.every((argument) => parameters.some((parameter) => parameter.name === argument)) &&
      parameters.every((parameter) => !parameter.is_required || given.includes(parameter.name));
    if (!this.#functions?.get(name)?.some(fits)) await this.#loadCache(client);
    const found = this.#functions.get(name)?.find(fits);
    if (!found) {
      const signature = `${this.#schema}.${name}(${given.join(', ')})`;
      throw new ApiError(404, 'PGRST202', `Could not find the function ${signature} in the schema cache`,
        `Searched for the function ${signature}, but no matches were found in the schema cache.`);
    }
    return found;
  }

  async #loadCache(client) {
    const { rows } = await client.query(catalogQuery, [this.#schema]);
    this.#functions = new Map();
    for (const row of rows) this.#functions.set(row.name, [...(this.#functions.get(row.name) ?? []), row]);
  }

  async #impersonate(client, claims, request, path) {
    const settings = {
      search_path: `"${this.#schema}", "public"`,
      role: claims.role ?? '',
      'request.jwt.claims': JSON.stringify(claims),
      'request.method': request.method,
      'request.path': path,
      'request.headers': JSON.stringify(request.headers),
      'request.cookies': '{}',
    };
    const names = Object.keys(settings);
    const list = names.map((_, i) => `pg_catalog.set_config($${2 * i + 1}, $${2 * i + 2}, true)`).join(', ');
    await client.query(`SELECT ${list}`, names.flatMap((name) => [name, settings[name]]));
  }

  #statement({ quoted, parameters }, given) {
    const passed = parameters.filter((parameter) => given.includes(parameter.name));
    const columns = passed.map((parameter) => `${parameter.quoted} ${parameter.type}`).join(', ');
    const list = passed.map((parameter) => `${parameter.quoted} => given.${parameter.quoted}`).join(', ');
    const from = passed.length > 0 ? `pg_catalog.json_to_record($1::pg_catalog.json) AS given(${columns})` : '(SELECT $1::pg_catalog.json) AS given';
    return `SELECT pg_catalog.to_json("${this.#schema}".${quoted}(${list}))::text AS answer FROM ${from}`;
  }
}

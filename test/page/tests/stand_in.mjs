// The stand-in for PostgREST does what PostgREST's documentation says, so that what works with it works with PostgREST.

import http from 'node:http';
import { once } from 'node:events';
import { Postgrest, signJwt } from '../postgrest.mjs';
import { assert, fact } from '../scenario.mjs';

const schema = `
  CREATE SCHEMA documented;
  GRANT USAGE ON SCHEMA documented TO crm_admin, crm_reader;
  CREATE FUNCTION documented.echo(a bigint, b text[] DEFAULT '{x}', c jsonb DEFAULT 'null') RETURNS jsonb LANGUAGE sql STABLE
    AS $$ SELECT jsonb_build_object('a', a, 'b', b, 'c', c) $$;
  CREATE FUNCTION documented.whoami() RETURNS jsonb LANGUAGE sql STABLE
    AS $$ SELECT jsonb_build_object('role', current_user, 'claims', current_setting('request.jwt.claims')::jsonb) $$;
  CREATE FUNCTION documented.fail(state text) RETURNS jsonb LANGUAGE plpgsql
    AS $$ BEGIN RAISE SQLSTATE USING ERRCODE = state, MESSAGE = 'no', DETAIL = 'a detail', HINT = 'a hint'; END $$;
  CREATE FUNCTION documented.raise() RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'plain'; END $$;
  CREATE TABLE documented.notes (note text);
  GRANT ALL ON documented.notes TO crm_admin;
  CREATE FUNCTION documented.note(note text) RETURNS jsonb LANGUAGE sql VOLATILE
    AS $$ INSERT INTO documented.notes SELECT $1 RETURNING to_jsonb(note) $$;
  CREATE FUNCTION documented.note_and_fail() RETURNS jsonb LANGUAGE plpgsql
    AS $$ BEGIN INSERT INTO documented.notes VALUES ('never'); RAISE 'no'; END $$;
  CREATE FUNCTION documented.write_though_stable() RETURNS jsonb LANGUAGE plpgsql STABLE
    AS $$ BEGIN PERFORM documented.note('never'); RETURN 'null'; END $$;
  CREATE FUNCTION documented.forbidden() RETURNS jsonb LANGUAGE sql AS $$ SELECT 'null'::jsonb $$;
  REVOKE ALL ON FUNCTION documented.forbidden() FROM PUBLIC`.replace('RAISE SQLSTATE USING', 'RAISE EXCEPTION USING');

fact('the stand-in for PostgREST calls functions, and turns errors into statuses, as PostgREST documents', async ({ world }) => {
  await world.sql(schema);
  const api = new Postgrest({
    connection: { host: world.dir, user: 'authenticator', database: world.database }, schema: 'documented', secret: 'key', audience: 'crm',
  });
  const server = http.createServer((request, response) => api.handle(request, response, request.url)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const send = async (name, body, token, method = 'POST') => {
    const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
    const response = await fetch(`http://127.0.0.1:${server.address().port}/rpc/${name}`, { method, headers, body });
    return { status: response.status, text: await response.text() };
  };
  const token = signJwt({ role: 'crm_admin', organization_id: 'acme' }, 'key');
  const call = (name, args) => send(name, JSON.stringify(args), token);
  try {
    // Arguments by name, with their types; the answer is the function's.
    assert.deepEqual(await send('echo', '{"a": 9007199254740993, "c": {"n": 1.50}}', token),
      { status: 200, text: '{"a": 9007199254740993, "b": ["x"], "c": {"n": 1.50}}' });
    assert.equal((await call('echo', { a: '7', b: null })).text, '{"a": 7, "b": null, "c": null}');
    assert.deepEqual(JSON.parse((await call('whoami', {})).text), { role: 'crm_admin', claims: { role: 'crm_admin', organization_id: 'acme' } });

    // One transaction a call, read-only for a function that is not volatile.
    assert.equal((await call('note', { note: 'kept' })).status, 200);
    assert.equal((await call('note_and_fail', {})).status, 400);
    assert.equal((await call('write_though_stable', {})).status, 405);
    assert.deepEqual(await world.sql('SELECT note FROM documented.notes'), [{ note: 'kept' }]);

    // Errors.
    const statuses = {
      '08000': 503, '0LP01': 403, '23503': 409, '23505': 409, '25006': 405, '28000': 403, '40001': 500, '42501': 403, '42883': 404,
      '42P01': 404, '53300': 503, '53400': 500, '54001': 500, '55000': 500, '57014': 500, '58000': 500, P0001: 400, P0002: 500, XX000: 500,
      22023: 400, 23514: 400, PT404: 404, PT409: 409, PT503: 503,
    };
    for (const [state, status] of Object.entries(statuses)) {
      const answer = await call('fail', { state });
      assert.equal(answer.status, status, state);
      assert.deepEqual(JSON.parse(answer.text), { code: state, message: 'no', details: 'a detail', hint: 'a hint' });
    }
    assert.deepEqual(JSON.parse((await call('raise', {})).text), { code: 'P0001', message: 'plain', details: null, hint: null });
    assert.equal((await call('forbidden', {})).status, 403);
    for (const [name, body, code, status] of [
      ['nothing', '{}', 'PGRST202', 404], ['echo', '{}', 'PGRST202', 404], ['echo', '{"a": 1, "z": 1}', 'PGRST202', 404],
      ['echo', '{', 'PGRST102', 400], ['echo', '{"a": "x"}', '22P02', 400],
    ]) {
      const answer = await send(name, body, token);
      assert.deepEqual([answer.status, JSON.parse(answer.text).code], [status, code]);
    }
    assert.equal((await send('raise', '{}', token, 'PUT')).status, 405);

    // Tokens.
    const nowS = Math.floor(Date.now() / 1000);
    const claims = { role: 'crm_reader' };
    for (const [bad, code] of [
      [null, 'PGRST302'], ['x', 'PGRST301'], [signJwt(claims, 'other'), 'PGRST301'], [signJwt(claims, 'key', { alg: 'none' }), 'PGRST301'],
      [signJwt({ ...claims, exp: nowS - 3600 }, 'key'), 'PGRST303'], [signJwt({ ...claims, nbf: nowS + 3600 }, 'key'), 'PGRST303'],
      [signJwt({ ...claims, aud: 'somebody else' }, 'key'), 'PGRST303'],
    ]) {
      const answer = await send('whoami', '{}', bad);
      assert.deepEqual([answer.status, JSON.parse(answer.text).code], [401, code]);
    }
    for (const good of [{ ...claims, aud: 'crm' }, { ...claims, aud: ['a', 'crm'] }, { ...claims, exp: nowS + 3600 }]) {
      assert.equal((await send('whoami', '{}', signJwt(good, 'key'))).status, 200);
    }
  } finally {
    server.close();
    server.closeAllConnections();
    await api.close();
  }
});

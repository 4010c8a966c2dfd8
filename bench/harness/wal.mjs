// What is written: bytes of WAL by relation, as pg_waldump(1) prints the records, and the sizes of relations.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { bindir, work } from './server.mjs';

const ALIGNMENT = 8;  // of a record in the WAL

// The relations of the database by file number. name: of the table or index, or the one that it is a partition of.
async function relations(database) {
  const rows = await database.query(`
    SELECT pg_relation_filenode(c.oid) AS file, pg_relation_size(c.oid) AS bytes,
           CASE c.relkind WHEN 't' THEN 'TOAST' WHEN 'S' THEN 'sequence'
                ELSE (SELECT r.relname FROM pg_class AS r WHERE r.oid = coalesce(pg_partition_root(c.oid), c.oid)) END AS name
      FROM pg_class AS c
     WHERE pg_relation_filenode(c.oid) IS NOT NULL`);
  return new Map(rows.map((row) => [Number(row.file), row]));
}

const position = (database) => database.value('SELECT pg_current_wal_insert_lsn()::text');

// Adds up the records between the positions: name of a relation, or of what has no relation → bytes. Images of whole pages,
// of which there is one for each page and checkpoint, count for themselves.
async function sumRecords(from, to, nameOf) {
  const sums = new Map();
  const add = (name, bytes) => sums.set(name, (sums.get(name) ?? 0) + bytes);
  const dump = spawn(`${bindir}/pg_waldump`, ['--path', `${work}/data/pg_wal`, '--start', from, '--end', to],
    { stdio: ['ignore', 'pipe', 'ignore'] });
  for await (const line of createInterface({ input: dump.stdout })) {
    const [, manager, record, total] = line.match(/^rmgr: (\S+)\s+len \(rec\/tot\):\s*(\d+)\/\s*(\d+)/) ?? [];
    if (!manager) throw new Error(`pg_waldump printed: ${line}`);
    const file = line.match(/blkref #0: rel \d+\/\d+\/(\d+)/)?.[1];
    add(file ? nameOf(Number(file)) : manager, Math.ceil(Number(record) / ALIGNMENT) * ALIGNMENT);
    if (total !== record) add('images of pages', Number(total) - Number(record));
  }
  if (dump.exitCode === null) await once(dump, 'exit');
  if (dump.exitCode !== 0) throw new Error(`pg_waldump from ${from} to ${to} failed`);
  return sums;
}

// What action writes, divided by count: WAL and growth of the files, by name. Nothing else may write meanwhile.
export async function written(database, count, action) {
  await database.query('CHECKPOINT');
  const before = await relations(database);
  const from = await position(database);
  await action();
  const to = await position(database);
  await database.query('SELECT pg_switch_wal()');  // all up to there is in the files
  const after = await relations(database);
  const sums = await sumRecords(from, to, (file) => after.get(file)?.name ?? 'other databases');
  const parts = new Map();
  const partOf = (name) => parts.get(name) ?? parts.set(name, { wal_bytes: 0, file_bytes: 0 }).get(name);
  for (const [name, bytes] of sums) partOf(name).wal_bytes += bytes / count;
  for (const [file, { name, bytes }] of after) {
    const grown = bytes - (before.get(file)?.bytes ?? 0);
    if (grown > 0) partOf(name).file_bytes += grown / count;
  }
  return parts;
}

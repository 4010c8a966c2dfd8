// A history of deliveries, as capture and delivery leave it.

// Fills webhook_events and webhook_logs of a database with so many rows each: events of the webhooks' organizations, and of
// each event an attempt by one of the webhooks, which have as many each. The rows are spread over the segments in the order
// of ids, and are of transactions that have ended.
//
//   firstEvent   the id of the first event; by default all are behind the ids in use
//   age, span    the youngest row is of age ago, the oldest of span before that
//   failedEvery  every so many an attempt has failed; by default none
export async function fillHistory(database, rows,
  { firstEvent = -rows, age = '1 hour', span = '0 s', failedEvery = rows + 1 } = {}) {
  await database.query(`CREATE TEMPORARY TABLE hooks AS
    SELECT row_number() OVER (ORDER BY name) - 1 AS place, id, organization_id FROM webhook_configurations`);
  const webhooks = await database.value('SELECT count(*) FROM hooks');
  for (let slot = 1; slot < 8; ++slot) {
    // By steps of a prime number, so that neighbours in the log have different names.
    const source = `(SELECT n, ${firstEvent} + n - 1 AS event_id, n % ${failedEvery} = 0 AS has_failed,
                            now() - interval '${age}' - interval '${span}' * ((${rows} - n)::double precision / ${rows}) AS at
        FROM generate_series(${Math.floor(rows * (slot - 1) / 7) + 1}::bigint, ${Math.floor(rows * slot / 7)}::bigint) AS n) AS r
        JOIN hooks AS h ON h.place = r.n * 7919 % ${webhooks} ORDER BY r.n`;
    await database.query(`INSERT INTO webhook_events (slot, id, xid, created_at, event, organization_id, key, data)
      SELECT ${slot}, r.event_id, '3'::xid8, r.at, 'contact.created', h.organization_id, r.n::text,
             json_build_object('id', r.n, 'notes', repeat('n', 350))
        FROM ${source}`);
    await database.query(`INSERT INTO webhook_logs (slot, id, created_at, configuration_id, organization_id, event_id, event,
                                                   attempt, status, response_status, duration_ms, remote_ip)
      SELECT ${slot}, r.n, r.at, h.id, h.organization_id, r.event_id, 'contact.created', 1,
             CASE WHEN r.has_failed THEN 'failed' ELSE 'success' END, CASE WHEN r.has_failed THEN 500 ELSE 200 END, 1.5,
             '127.0.0.1'
        FROM ${source}`);
  }
  await database.query(`SELECT setval('webhook_logs_id_seq', ${rows})`);
  await database.query('DROP TABLE hooks');
}

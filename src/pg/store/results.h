// Writes the outcomes of deliveries.
//
// Everybody else who writes rows of webhook_deliveries holds the webhook's lock (pg/keyed_lock.h) until the end of the
// transaction. The worker takes this lock only if it is free. What it cannot write now goes to
// webhook_internal.deferred_changes, a table that refuses nothing and has no other writers to wait for. So a batch
// always becomes durable as a whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/error.h"
#include "core/uuid.h"
#include "pg/spi.h"
#include "worker/store.h"

namespace webhook::pg {

// Whether an error may come from a single row or a lock on one. If so, write_batch() is worth another try with
// Care::kEachRow.
bool may_be_of_a_row(const Error& error);

// Needs a Transaction. Runs write in a savepoint. Returns nullopt on success, or the error if it may come from a row.
// Throws any other error.
template <class Write>
std::optional<Error> try_to(Write write) {
  try {
    Subtransaction subtransaction;
    write();
    subtransaction.release();
    return std::nullopt;
  } catch (const Error& error) {
    if (!may_be_of_a_row(error)) throw;
    return error;
  }
}

// How to write a batch: all at once, or so that a failure of one row affects no other row.
enum class Care : std::uint8_t { kNone, kEachRow };

// Needs a Transaction. worker: the number of the worker that owns the checkpoint. deferred: webhooks with changes that
// are not applied yet; further changes of these are deferred too. Throws Error.
Recorded write_batch(const Batch& batch, int worker, const std::unordered_set<Uuid>& deferred, Care care);

// Needs a Transaction. Publishes the event here, or has the home do so if this database is a node. Throws Error.
void publish(const OperationalEvent& event);

// Needs a Transaction. Writes rows of webhook_logs. A row that is refused is written without the attempt's response and
// error. Returns why, or an empty text. Throws Error if the reduced row is refused too.
std::string write_logs_each(const std::vector<LogRow>& rows);

// Needs a Transaction that holds the webhook's KeyedLock::kDeliveries. Throws Error if the error cannot come from a
// row.
Applied apply_deferred_changes(const Uuid& webhook, std::size_t rows_max);

// Until the transaction ends, limits how long it waits for sessions that write webhook_deliveries by hand.
void limit_waits_for_rows();

}  // namespace webhook::pg

// Writes what became of deliveries.
//
// Whoever else writes rows of webhook_deliveries has the webhook's lock (pg/keyed_lock.h) until his transaction ends. The
// worker takes it only if it is free. What it cannot write now goes to webhook_internal.deferred_changes, which refuses
// nothing and where nobody is waited for: so a batch is always durable as a whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/uuid.h"
#include "pg/error.h"
#include "pg/spi.h"
#include "pg/store.h"

namespace webhook::pg {

// Whether an error may be the fault of one row, or of somebody who has locked one: then write_batch() is worth another
// try, with every part by itself.
bool may_be_of_a_row(const Error& error);

// In a Transaction: runs write in a savepoint. Nothing: it is done. Throws what may not be the fault of a row.
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

// How a batch is written: as if nothing could go wrong, or so that what goes wrong with one row concerns no other.
enum class Care : std::uint8_t { kNone, kEachRow };

// In a Transaction. worker: whose checkpoint it is. deferred: webhooks with changes that are not applied, whose further
// changes are deferred too. Throws Error.
Recorded write_batch(const Batch& batch, int worker, const std::unordered_set<Uuid>& deferred, Care care);

// In a Transaction. Writes rows of webhook_logs; one that is refused is written without what the attempt brought. Returns
// why, or nothing. Throws Error if that is refused, too.
std::string write_logs_each(const std::vector<LogRow>& rows);

// In a Transaction that has locked the webhook's deliveries (KeyedLock::kDeliveries). Throws Error for what is not the
// fault of a row.
Applied apply_deferred_changes(const Uuid& webhook, std::size_t rows_max);

// Until the transaction ends: nobody who writes webhook_deliveries by hand is waited for for long.
void limit_waits_for_rows();

// Of rows that begin with the event's id and the webhook's.
std::vector<DeliveryKey> keys_of(const Query& query, std::size_t rows);

}  // namespace webhook::pg

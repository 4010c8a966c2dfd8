#include "pg/capture/replication.h"

extern "C" {
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_subscription_rel.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "replication/origin.h"
#include "replication/worker_internal.h"
#include "storage/spin.h"
#include "utils/lsyscache.h"
}

#include <utility>

#include "core/error.h"
#include "pg/guard.h"
#include "pg/timestamps.h"

namespace webhook::pg {

bool is_applying() noexcept {
  return replorigin_session_origin != InvalidRepOriginId && replorigin_session_origin != DoNotReplicateId;
}

// A process is of one subscription, and ends when that is renamed.
const std::string& applied_subscription() {
  static auto* const known = new std::string;
  if (MyLogicalRepWorker == nullptr || !known->empty()) return *known;
  const char* const name = guarded([] { return get_subscription_name(MyLogicalRepWorker->subid, true); });
  if (name != nullptr) *known = name;
  return *known;
}

const TriggerData& trigger_of_insert(const FunctionCallInfoBaseData* call, const char* name) {
  if (!CALLED_AS_TRIGGER(call)) throw Error("39P01", std::string(name) + "() was not called by a trigger");
  const auto& trigger = *reinterpret_cast<const TriggerData*>(call->context);
  if (!TRIGGER_FIRED_BEFORE(trigger.tg_event) || !TRIGGER_FIRED_FOR_ROW(trigger.tg_event) ||
      !TRIGGER_FIRED_BY_INSERT(trigger.tg_event)) {
    throw Error("39P01", std::string(name) + "() is for BEFORE INSERT ... FOR EACH ROW");
  }
  return trigger;
}

// The worker that copies a table then applies what was committed while it copied. These are changes like any others.
bool is_copying_table() noexcept {
  LogicalRepWorker* const worker = MyLogicalRepWorker;
  if (worker == nullptr || !OidIsValid(worker->relid)) return false;
  SpinLockAcquire(&worker->relmutex);
  const bool is_copying = worker->relstate == SUBREL_STATE_DATASYNC;
  SpinLockRelease(&worker->relmutex);
  return is_copying;
}

std::optional<Time> source_commit_time() noexcept {
  if (!is_applying() || replorigin_session_origin_timestamp == 0 || is_copying_table()) return std::nullopt;
  return from_timestamptz(replorigin_session_origin_timestamp);
}

// PostgreSQL's apply worker notes the place of what it applies in the source's WAL, and commits the prepared transaction
// from within one of its own that writes nothing. ROLLBACK PREPARED looks the same.
bool has_applied_commit_prepared() noexcept {
  static XLogRecPtr last_applied = InvalidXLogRecPtr;
  const XLogRecPtr before = std::exchange(last_applied, replorigin_session_origin_lsn);
  return is_applying() && before != last_applied && !TransactionIdIsValid(GetTopTransactionIdIfAny());
}

}  // namespace webhook::pg

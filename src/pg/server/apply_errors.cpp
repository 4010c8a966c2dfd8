#include "pg/server/apply_errors.h"

extern "C" {
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "replication/worker_internal.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/elog.h"
#include "utils/timestamp.h"
}

#include <algorithm>
#include <cstring>
#include <iterator>

#include "pg/timestamps.h"

namespace webhook::pg {
namespace {

constexpr const char* kName = "webhook_apply_errors";
constexpr int kErrorsMax = 32;  // of all databases; a new one displaces the oldest

struct SharedError {
  Oid subscription;  // InvalidOid: free
  ApplyError error;
};

struct Shared {
  slock_t lock;
  SharedError errors[kErrorsMax];
};

Shared* shared = nullptr;
shmem_request_hook_type previous_shmem_request = nullptr;
shmem_startup_hook_type previous_shmem_startup = nullptr;
emit_log_hook_type previous_emit_log = nullptr;

void request() noexcept {
  if (previous_shmem_request != nullptr) previous_shmem_request();
  // Needs no guard, like startup(): the postmaster has no C++ frames above.
  RequestAddinShmemSpace(MAXALIGN(sizeof(Shared)));
}

void startup() noexcept {
  if (previous_shmem_startup != nullptr) previous_shmem_startup();
  bool found = false;
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  shared = static_cast<Shared*>(ShmemInitStruct(kName, sizeof(Shared), &found));
  if (!found) {
    SpinLockInit(&shared->lock);
    for (SharedError& error : shared->errors) error = {};
  }
  LWLockRelease(AddinShmemInitLock);
}

void copy_text(char* to, const char* text) {
  if (text == nullptr) return;
  const int length = pg_mbcliplen(text, static_cast<int>(strlen(text)), ApplyError::kTextBytesMax - 1);
  memcpy(to, text, static_cast<std::size_t>(length));
}

// Runs while an error is being reported: allocates nothing, and raises none.
void note_error(ErrorData* data) noexcept {
  if (previous_emit_log != nullptr) previous_emit_log(data);
  const LogicalRepWorker* const worker = MyLogicalRepWorker;
  if (shared == nullptr || worker == nullptr || data->elevel < ERROR || data->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
    return;
  ApplyError error;
  error.at = from_timestamptz(GetCurrentTimestamp());
  memcpy(error.sqlstate, unpack_sql_state(data->sqlerrcode), sizeof error.sqlstate - 1);
  copy_text(error.message, data->message);
  copy_text(error.detail, data->detail);
  SpinLockAcquire(&shared->lock);
  SharedError* const same = std::find_if(std::begin(shared->errors), std::end(shared->errors),
                                         [&](const SharedError& other) { return other.subscription == worker->subid; });
  SharedError* const oldest = std::min_element(
      std::begin(shared->errors), std::end(shared->errors),
      [](const SharedError& left, const SharedError& right) { return left.error.at < right.error.at; });
  *(same != std::end(shared->errors) ? same : oldest) = {.subscription = worker->subid, .error = error};
  SpinLockRelease(&shared->lock);
}

}  // namespace

void request_apply_errors() {
  previous_shmem_request = shmem_request_hook;
  shmem_request_hook = request;
  previous_shmem_startup = shmem_startup_hook;
  shmem_startup_hook = startup;
  previous_emit_log = emit_log_hook;
  emit_log_hook = note_error;
}

std::optional<ApplyError> last_apply_error(std::uint32_t subscription) noexcept {
  if (shared == nullptr) return std::nullopt;
  std::optional<ApplyError> error;
  SpinLockAcquire(&shared->lock);
  for (const SharedError& other : shared->errors) {
    if (other.subscription == subscription) error = other.error;
  }
  SpinLockRelease(&shared->lock);
  return error;
}

}  // namespace webhook::pg

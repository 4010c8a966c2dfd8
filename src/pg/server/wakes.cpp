#include "pg/server/wakes.h"

extern "C" {
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "utils/resowner.h"
}

#include "pg/server/launcher_calls.h"
#include "pg/server/process_latch.h"
#include "pg/server/shared_layout.h"

namespace webhook::pg {
namespace {

// What the current transaction asked for.
bool wake_wanted = false;
bool probe_wanted = false;
bool launcher_wanted = false;

SharedEntry* committing_at = nullptr;  // where the current transaction is counted

void call_worker(SharedEntry* entry, int index) noexcept {
  const std::uint32_t process = pg_atomic_read_u32(&entry->worker_processes[index]);
  if (process == kNoProcess) return;
  pg_atomic_exchange_u32(&entry->called[index], 1);
  set_latch_of(process);
}

// Runs before the transaction is visible to anybody.
void before_commit(XactEvent event, void* /*argument*/) noexcept {
  if (event == XACT_EVENT_PRE_COMMIT && wake_wanted) begin_commit();
}

// Runs after the invalidations were sent.
void end_commit() {
  if (committing_at == nullptr) return;
  pg_memory_barrier();
  pg_atomic_fetch_sub_u32(&committing_at->committing, 1);
  committing_at = nullptr;
}

// XACT_EVENT_COMMIT would be too early: the transaction's invalidations are not sent yet, and a woken process must find
// them. For PREPARE and COMMIT PREPARED see utility_hook.cpp, and capture.cpp for what logical replication applies.
void at_transaction_end(ResourceReleasePhase phase, bool is_commit, bool is_top_level, void* /*argument*/) noexcept {
  if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_top_level) return;
  end_commit();
  if (is_commit && wake_wanted) wake_workers();
  if (is_commit && probe_wanted) request_probe(MyDatabaseId);
  if (is_commit && launcher_wanted) call_launcher();
  forget_wakes();
}

void expect_transaction_end() {
  static bool registered = false;
  if (registered) return;
  RegisterResourceReleaseCallback(at_transaction_end, nullptr);
  RegisterXactCallback(before_commit, nullptr);
  registered = true;
}

}  // namespace

void wake_workers() noexcept {
  SharedEntry* entry = entry_of(MyDatabaseId);
  if (entry == nullptr) return;
  bool is_any_away = false;
  for (int i = 0; i < kWorkersMax; ++i) {
    auto expected = static_cast<std::uint32_t>(Listening::kCallOrStart);
    is_any_away |= pg_atomic_compare_exchange_u32(&entry->listening[i], &expected, 0);
    call_worker(entry, i);
  }
  if (is_any_away) call_launcher();
}

// The barrier is between the commit and the read of listening. listen_for_events() has a barrier between its write and
// the worker's next snapshot. So either this function sees that the worker listens, or the worker's snapshot sees the
// commit.
void wake_listening_workers() noexcept {
  SharedEntry* entry = entry_of(MyDatabaseId);
  if (entry == nullptr) return;
  pg_memory_barrier();
  bool is_any_away = false;
  for (int i = 0; i < kWorkersMax; ++i) {
    if (pg_atomic_read_u32(&entry->listening[i]) == 0) continue;
    const auto listening = static_cast<Listening>(pg_atomic_exchange_u32(&entry->listening[i], 0));
    if (listening == Listening::kNo) continue;
    is_any_away |= listening == Listening::kCallOrStart;
    call_worker(entry, i);
  }
  if (is_any_away) call_launcher();
}

void listen_for_events(bool is_leaving) noexcept {
  const Listening listening = is_leaving ? Listening::kCallOrStart : Listening::kCall;
  pg_atomic_exchange_u32(&my_entry->listening[my_index], static_cast<std::uint32_t>(listening));
}

bool take_call() noexcept { return pg_atomic_exchange_u32(&my_entry->called[my_index], 0) != 0; }

bool is_called() noexcept { return pg_atomic_read_u32(&my_entry->called[my_index]) != 0; }

void wake_at_commit(AtCommit what) {
  expect_transaction_end();
  wake_wanted = true;
  probe_wanted |= what == AtCommit::kProbe;
  launcher_wanted |= what == AtCommit::kCallLauncher;
}

void begin_commit() {
  if (committing_at != nullptr || shared == nullptr) return;
  SharedEntry* entry = entry_of(MyDatabaseId);
  if (entry == nullptr) return;
  expect_transaction_end();
  pg_atomic_fetch_add_u32(&entry->committing, 1);
  pg_memory_barrier();
  committing_at = entry;
}

bool is_committing() noexcept {
  pg_memory_barrier();
  return pg_atomic_read_u32(&my_entry->committing) != 0;
}

void forget_wakes() noexcept {
  wake_wanted = false;
  probe_wanted = false;
  launcher_wanted = false;
}

}  // namespace webhook::pg

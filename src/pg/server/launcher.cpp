#include "pg/server/launcher.h"

extern "C" {
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
}

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <map>
#include <optional>
#include <vector>

#include "core/share.h"
#include "core/time.h"
#include "pg/guard.h"
#include "pg/server/background_process.h"
#include "pg/server/database_entries.h"
#include "pg/server/database_holds.h"
#include "pg/server/launcher_calls.h"
#include "pg/server/worker_slots.h"
#include "pg/settings.h"

namespace webhook::pg {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr const char* kLibrary = "webhook";
constexpr int kLauncherRestartSeconds = 5;
// How often the launcher looks for new databases, and for an update of the extension, without being called.
constexpr Duration kSweepInterval = minutes(1);
constexpr Duration kBackoffMin = seconds(1);         // shortest time between a worker's failure and its next start
constexpr Duration kBackoffMax = minutes(1);         // longest time between them
constexpr Duration kCalm = minutes(1);               // a worker that ran this long restarts without back-off
constexpr int kProbesAtOnce = 3;                     // databases probed at once for the extension
constexpr Duration kStartingCheck = seconds(1);      // how soon to check whether a started worker has come
constexpr Duration kSlotWaitMin = milliseconds(50);  // shortest time between tries to get a slot; it doubles
constexpr Duration kSlotWaitMax = seconds(5);        // longest time between them, until a worker of ours frees a slot
constexpr Duration kSlotPatience = seconds(10);      // time without a slot before a warning
constexpr Duration kSlotWarningInterval = minutes(10);  // time between two such warnings
constexpr Duration kTurn = seconds(5);       // how long a worker runs before it has to give its slot to another
constexpr Duration kIdleFirst = seconds(2);  // how long others wait for workers with nothing to do before that

// Only ever advances, so setting the wall clock moves no deadline of the launcher.
Time steady_time() {
  return Time(std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
}

template <std::size_t N>
void copy_name(char (&to)[N], const char* from) {
  strlcpy(to, from, N);
}

// Starts the workers of all databases. A database without a known extension gets a single worker as a probe. A server
// may have hundreds of databases and only a few background worker slots, so only a few probes run at once, and the next
// starts when one ends.
//
// A worker with nothing to do leaves, and is started again when it is called or when its nap is over. If more workers have
// something to do than there are slots, they take turns: those that wait get slots in the order in which they began to wait,
// and as many of those that run are asked to end, the ones that have run longest.
class Launcher {
 public:
  // Checks every database once. Returns until when the launcher may wait, by the steady clock.
  Time round() {
    const Time now = steady_time();
    wake_at_ = now + kSweepInterval;
    const std::vector<Oid> existing = connectable_databases();
    free_dropped(existing);
    for (const Oid oid : existing) databases_.try_emplace(oid);
    take_probe_requests(now);
    probes_ = 0;
    starts_.clear();
    for (auto& [oid, database] : databases_) note_what_became_of(oid, &database, now);
    for (auto& [oid, database] : databases_) look_after(oid, &database, now);
    share_slots(start_workers(now), now);
    return wake_at_;
  }

 private:
  struct Worker {
    bool started = false;  // started by this launcher, and its end is not noted yet
    BackgroundWorkerHandle* handle = nullptr;
    int failures = 0;
    Time started_at{};
    Time next_start{};
    Time nap_ends_at{};
    std::optional<Time> waits_since;  // for its start
  };
  struct Database {
    std::optional<bool> has_extension;  // nullopt: unknown
    bool waits_for_update = false;      // the last worker found another version than the library's
    Time probe_requested_at{};
    std::array<Worker, kWorkersMax> workers;  // by number, from 1
  };
  // A worker that is to be started.
  struct Start {
    Oid oid = InvalidOid;
    bool is_known = false;  // the database has the extension
    WorkerShare share;
    Worker* worker = nullptr;
  };

  static std::vector<Oid> connectable_databases() {
    struct List {
      Oid* oids;
      std::size_t count;
    };
    // The list is allocated in the round's memory context, so it outlives the transaction.
    const List list = guarded([]() -> List {
      MemoryContext const round = CurrentMemoryContext;
      StartTransactionCommand();
      (void)GetTransactionSnapshot();
      List found{nullptr, 0};
      std::size_t capacity = 64;
      found.oids = static_cast<Oid*>(MemoryContextAlloc(round, capacity * sizeof(Oid)));
      Relation relation = table_open(DatabaseRelationId, AccessShareLock);
      TableScanDesc scan = table_beginscan_catalog(relation, 0, nullptr);
      while (HeapTuple tuple = heap_getnext(scan, ForwardScanDirection)) {
        const auto* row = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
        // −2 marks the remains of an interrupted DROP DATABASE.
        if (!row->datallowconn || row->datistemplate || row->datconnlimit == -2) continue;
        if (found.count == capacity) {
          capacity *= 2;
          found.oids = static_cast<Oid*>(repalloc(found.oids, capacity * sizeof(Oid)));
        }
        found.oids[found.count++] = row->oid;
      }
      table_endscan(scan);
      table_close(relation, AccessShareLock);
      CommitTransactionCommand();
      MemoryContextSwitchTo(round);
      return found;
    });
    return {list.oids, list.oids + list.count};
  }

  void free_dropped(const std::vector<Oid>& existing) {
    const auto exists = [&existing](Oid oid) {
      return std::find(existing.begin(), existing.end(), oid) != existing.end();
    };
    for (int i = 0; i < entry_count(); ++i) {
      const Oid database = entry_database(i);
      if (database != InvalidOid && !exists(database)) free_entry(i);
    }
    std::erase_if(databases_, [&exists](const auto& known) {
      if (exists(known.first)) return false;
      for (const Worker& worker : known.second.workers) {
        if (worker.handle != nullptr) pfree(worker.handle);
      }
      return true;
    });
  }

  void take_probe_requests(Time now) {
    const auto forget = [now](Database& database) {
      database.probe_requested_at = now;
      if (database.waits_for_update) database.workers[0].next_start = now;
      if (!database.has_extension.value_or(false)) database.has_extension.reset();
    };
    while (const Oid oid = take_probe_request()) {
      if (const auto found = databases_.find(oid); found != databases_.end()) forget(found->second);
    }
    if (!take_request_to_probe_all()) return;
    for (auto& [oid, database] : databases_) forget(database);
  }

  void note_what_became_of(Oid oid, Database* database, Time now) {
    const std::optional<int> entry = find_entry(oid);
    if (!entry) {
      // The entry was freed before the end of its last worker was noted.
      for (Worker& worker : database->workers) {
        if (worker.started) note_end(database, &worker, WorkerExit::kShutdown, now);
      }
      return;
    }
    for (int number = 1; number <= kWorkersMax; ++number) {
      Worker& worker = database->workers[static_cast<std::size_t>(number - 1)];
      Slot s = slot(*entry, number);
      if (s.state == SlotState::kStarting) {
        note_a_start_that_failed(worker, *entry, number);
        s = slot(*entry, number);
      }
      if (s.state == SlotState::kIdle && worker.started) {
        note_end(database, &worker, s.last_exit, now);
        if (s.last_exit == WorkerExit::kIdle) worker.nap_ends_at = now + s.nap;
      }
      // The postmaster reports a worker's end by a signal, which sets no flag. So check again soon.
      if (s.state == SlotState::kStarting) wake_at_ = std::min(wake_at_, now + kStartingCheck);
    }
    if (has_extension(*entry)) database->has_extension = true;
    if (!database->has_extension && slot(*entry, 1).state != SlotState::kIdle) ++probes_;
  }

  // Finds the workers that are to be started.
  void look_after(Oid oid, Database* database, Time now) {
    const std::optional<int> entry = find_entry(oid);
    if (database->has_extension && !*database->has_extension) {
      if (entry) free_entry(*entry);
      return;
    }
    // All workers of the old number end before the first of the new number starts. Each end wakes the launcher.
    const int count = workers();
    if (entry && stop_others(*entry, count)) return;
    if (is_held(oid)) return;  // releasing the hold wakes the launcher
    // The first worker finds out whether the others have anything to do.
    const int started_max = entry && has_extension(*entry) ? count : 1;
    for (int number = 1; number <= started_max; ++number) {
      Worker& worker = database->workers[static_cast<std::size_t>(number - 1)];
      if (worker.started) continue;  // if it ended during this round, the launcher is awake: the next round notes why
      const Slot s = entry ? slot(*entry, number) : Slot();
      if (s.state != SlotState::kIdle) continue;
      // One that was told another number of workers must learn the new one.
      const Time start_at = s.is_asleep && s.count == count ? worker.nap_ends_at : worker.next_start;
      if (now < start_at) {
        wake_at_ = std::min(wake_at_, start_at);
        continue;
      }
      if (!worker.waits_since) worker.waits_since = now;
      starts_.push_back({oid, database->has_extension.has_value(), {number, count}, &worker});
    }
  }

  // Returns how many workers get no background worker slot.
  int start_workers(Time now) {
    std::stable_sort(starts_.begin(), starts_.end(), [](const Start& a, const Start& b) {
      return std::pair(*a.worker->waits_since, !a.is_known) < std::pair(*b.worker->waits_since, !b.is_known);
    });
    int waiting = 0;
    for (const Start& next : starts_) {
      if (!next.is_known && probes_ >= kProbesAtOnce) continue;  // the end of a probe wakes the launcher
      if (!next.is_known) ++probes_;
      const std::optional<int> entry = claim_entry(next.oid);
      if (!entry) {
        warn_no_entry(now);
        continue;
      }
      if (waiting > 0 || !start(next, *entry, now)) {
        ++waiting;
        note_waiting(*entry, next.share.number);
        if (!next.is_known) free_entry(*entry);
      }
    }
    return waiting;
  }

  // Has workers end if others wait for their slots.
  void share_slots(int waiting, Time now) {
    set_slots_wanted(waiting);
    const bool is_known_waiting = std::any_of(
        starts_.begin(), starts_.end(), [](const Start& start) { return start.is_known && start.worker->waits_since; });
    if (!is_known_waiting) short_since_.reset();
    if (waiting == 0) {
      note_lack_of_slots(false);
      slot_wait_ = kSlotWaitMin;
      wanted_since_.reset();
      return;
    }
    // Other extensions that free a slot do not tell the launcher, so it tries again after a time.
    wake_at_ = std::min(wake_at_, now + slot_wait_);
    slot_wait_ = std::min<Duration>(slot_wait_ * 2, kSlotWaitMax);
    if (!wanted_since_) wanted_since_ = now;
    if (is_known_waiting && !short_since_) short_since_ = now;
    // While databases are looked at after a start, slots may be wanted for long without anything amiss.
    const Time stuck_since = std::max(*wanted_since_, started_at_);
    const bool is_patience_over = now - short_since_.value_or(stuck_since) >= kSlotPatience;
    note_lack_of_slots(is_known_waiting || is_patience_over);
    if (is_patience_over) warn_no_slot(waiting, now);
    end_turns(waiting, now);
  }

  void end_turns(int waiting, Time now) {
    struct Turn {
      Time ends_at{};
      int entry = 0;
      int number = 0;
    };
    std::vector<Turn> turns;
    for (const auto& [oid, database] : databases_) {
      const std::optional<int> entry = find_entry(oid);
      if (!entry) continue;
      for (int number = 1; number <= kWorkersMax; ++number) {
        const Time started_at = database.workers[static_cast<std::size_t>(number - 1)].started_at;
        if (slot(*entry, number).state == SlotState::kRunning) turns.push_back({started_at + kTurn, *entry, number});
      }
    }
    std::sort(turns.begin(), turns.end(), [](const Turn& a, const Turn& b) { return a.ends_at < b.ends_at; });
    if (turns.size() > static_cast<std::size_t>(waiting)) turns.resize(static_cast<std::size_t>(waiting));
    for (const Turn& turn : turns) {
      const Time ends_at = std::max(turn.ends_at, *wanted_since_ + kIdleFirst);
      if (now < ends_at) {
        wake_at_ = std::min(wake_at_, ends_at);
      } else {
        end_turn(turn.entry, turn.number);
      }
    }
  }

  // A worker that ended before it took its slot has reported nothing.
  static void note_a_start_that_failed(const Worker& worker, int entry, int number) {
    if (worker.handle == nullptr) {
      set_start_failed(entry, number);  // started by an earlier launcher
      return;
    }
    pid_t pid = 0;
    // Needs no guard: it reads shared memory under a lock and raises no error.
    if (GetBackgroundWorkerPid(worker.handle, &pid) == BGWH_STOPPED) set_start_failed(entry, number);
  }

  void note_end(Database* database, Worker* worker, WorkerExit reason, Time now) {
    slot_wait_ = kSlotWaitMin;
    worker->started = false;
    if (worker->handle != nullptr) pfree(worker->handle);
    worker->handle = nullptr;
    // A worker started before the request may have seen the dropped extension, not the one created after it, or the
    // version before an update.
    const bool is_outdated = worker->started_at < database->probe_requested_at;
    database->waits_for_update = reason == WorkerExit::kOtherVersion;
    if (now - worker->started_at >= kCalm) worker->failures = 0;
    switch (reason) {
      case WorkerExit::kNoExtension:
        database->has_extension.reset();
        if (!is_outdated) database->has_extension = false;
        worker->failures = 0;
        break;
      case WorkerExit::kOtherVersion:
        database->has_extension.reset();
        worker->next_start = is_outdated ? now : now + kSweepInterval;
        worker->failures = 0;
        break;
      case WorkerExit::kSteppedAside:
      case WorkerExit::kIdle:
      case WorkerExit::kTurnOver:
        worker->failures = 0;
        worker->next_start = now;
        break;
      case WorkerExit::kShutdown:
        worker->next_start = now + kBackoffMin;
        break;
      case WorkerExit::kFailed:
        worker->next_start = now + std::min(kBackoffMin * (1 << std::min(worker->failures, 10)), kBackoffMax);
        ++worker->failures;
        break;
    }
  }

  // Returns false if there is no background worker slot.
  bool start(const Start& next, int entry, Time now) {
    set_starting(entry, next.share);
    BackgroundWorkerHandle* handle = nullptr;
    const bool registered = guarded([oid = next.oid, share = next.share, &handle] {
      BackgroundWorker worker{};
      worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
      worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
      worker.bgw_restart_time = BGW_NEVER_RESTART;  // the launcher restarts it, with back-off
      worker.bgw_notify_pid = MyProcPid;
      worker.bgw_main_arg = ObjectIdGetDatum(oid);
      static_assert(sizeof share <= BGW_EXTRALEN);
      memcpy(worker.bgw_extra, &share, sizeof share);
      copy_name(worker.bgw_library_name, kLibrary);
      copy_name(worker.bgw_function_name, "webhook_worker_main");
      copy_name(worker.bgw_name, "webhook worker");
      copy_name(worker.bgw_type, "webhook worker");
      MemoryContext const round = MemoryContextSwitchTo(TopMemoryContext);
      const bool done = RegisterDynamicBackgroundWorker(&worker, &handle);
      MemoryContextSwitchTo(round);
      return done;
    });
    if (!registered) {
      set_start_failed(entry, next.share.number);
      return false;
    }
    next.worker->started = true;
    next.worker->handle = handle;
    next.worker->started_at = started_at_ = now;
    next.worker->waits_since.reset();
    wake_at_ = std::min(wake_at_, now + kStartingCheck);
    return true;
  }

  void warn_no_slot(int waiting, Time now) {
    if (now < next_warning_) return;
    next_warning_ = now + kSlotWarningInterval;
    guarded([waiting] {
      ereport(WARNING,
              (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
               errmsg("webhook: out of background worker slots, %d workers wait", waiting),
               errdetail("Workers take turns. The events of those that wait are kept and will be delivered."),
               errhint("Increase \"max_worker_processes\" (now %d), or decrease \"webhook.workers\" (now %d): each "
                       "database with something to deliver takes so many, and the launcher one.",
                       max_worker_processes, workers())));
    });
  }

  void warn_no_entry(Time now) {
    if (now < next_entry_warning_) return;
    next_entry_warning_ = now + kSlotWarningInterval;
    guarded([] {
      ereport(WARNING,
              (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
               errmsg("webhook: more than %d databases have the extension, not all have workers", entry_count()),
               errdetail("The events of the others are kept."),
               errhint("Increase \"webhook.max_databases\" and restart the server.")));
    });
  }

  std::map<Oid, Database> databases_;
  Time wake_at_{};
  Time next_warning_{};
  Time next_entry_warning_{};
  int probes_ = 0;                    // running in this round
  std::vector<Start> starts_;         // of this round
  Time started_at_{};                 // the last worker
  std::optional<Time> wanted_since_;  // since when workers wait for slots
  std::optional<Time> short_since_;   // since when these are of databases that are known to have the extension
  Duration slot_wait_ = kSlotWaitMin;
};

}  // namespace

void register_launcher() {
  BackgroundWorker launcher{};
  launcher.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  launcher.bgw_start_time = BgWorkerStart_RecoveryFinished;
  launcher.bgw_restart_time = kLauncherRestartSeconds;
  copy_name(launcher.bgw_library_name, kLibrary);
  copy_name(launcher.bgw_function_name, "webhook_launcher_main");
  copy_name(launcher.bgw_name, "webhook launcher");
  copy_name(launcher.bgw_type, "webhook launcher");
  RegisterBackgroundWorker(&launcher);
}

void run_launcher() {
  guarded([] {
    set_signal_handlers();
    BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
    attach_launcher();
    pgstat_report_appname("webhook launcher");
    pgstat_report_activity(STATE_IDLE, "webhook: looking after the workers");
  });
  Launcher launcher;
  MemoryContext const memory =
      guarded([] { return AllocSetContextCreate(TopMemoryContext, "webhook launcher round", ALLOCSET_SMALL_SIZES); });
  while (!ShutdownRequestPending) {
    guarded([memory] {
      MemoryContextReset(memory);
      MemoryContextSwitchTo(memory);
      check_for_interrupts();
      if (ConfigReloadPending) {
        ConfigReloadPending = 0;
        ProcessConfigFile(PGC_SIGHUP);
      }
    });
    take_launcher_call();
    const Time wake_at = launcher.round();
    // A wait during the round may have reset the latch.
    if (is_launcher_called() || ConfigReloadPending || ShutdownRequestPending) continue;
    const Duration pause = std::max<Duration>(wake_at - steady_time(), milliseconds(1));
    const long pause_ms = static_cast<long>(std::chrono::ceil<milliseconds>(pause).count());
    guarded([pause_ms] {
      check_for_interrupts();
      WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, pause_ms, main_wait_event());
      ResetLatch(MyLatch);
    });
  }
}

}  // namespace webhook::pg

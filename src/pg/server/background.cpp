#include "pg/server/background.h"

extern "C" {
#include "postgres.h"

#include <signal.h>

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "common/pg_prng.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
}

#include <malloc.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "core/test_slots.h"
#include "pg/guard.h"
#include "pg/server/session.h"
#include "pg/server/shared_state.h"
#include "pg/settings.h"
#include "pg/timestamps.h"

namespace webhook::pg {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr const char* kLibrary = "webhook";
constexpr int kLauncherRestartSeconds = 5;
constexpr Duration kSweepInterval = minutes(1);  // how often the launcher looks for new databases without being called
constexpr Duration kBackoffMin = seconds(1);     // shortest time between a worker's failure and its next start
constexpr Duration kBackoffMax = minutes(1);     // longest time between them
constexpr Duration kCalm = minutes(1);           // a worker that ran this long restarts without back-off
constexpr int kProbesAtOnce = 3;                 // databases probed at once for the extension
constexpr Duration kStartingCheck = seconds(1);  // how soon to check whether a started worker has come
constexpr Duration kSlotWaitMin = milliseconds(50);  // shortest time between tries to get a slot; it doubles
constexpr Duration kSlotWaitMax = seconds(5);        // longest time between them, until a worker of ours frees a slot
constexpr Duration kSlotPatience = seconds(10);      // time without a slot before a warning
constexpr Duration kSlotWarningInterval = minutes(10);  // time between two such warnings
constexpr int kSpareDescriptors = 16;                   // for curl and OpenSSL, besides the sockets
constexpr int kDescriptorsBeside = static_cast<int>(TestSlots::kSlots) + kSpareDescriptors;  // spares and tests
constexpr int kServerDescriptors = 4;  // that PostgreSQL opens for wait(), besides its files

Time current_time() { return from_timestamptz(GetCurrentTimestamp()); }

// Only ever advances, so setting the wall clock moves no deadline of the launcher.
Time steady_time() {
  return Time(std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
}

std::uint32_t wait_event() {
#if PG_VERSION_NUM >= 170000
  static const std::uint32_t event = guarded([] { return WaitEventExtensionNew("WebhookMain"); });
  return event;
#else
  return PG_WAIT_EXTENSION;
#endif
}

void set_signal_handlers() {
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
  BackgroundWorkerUnblockSignals();
}

// For a process between transactions. There is no statement that pg_cancel_backend() could mean, and its error would
// end the process.
void check_for_interrupts() {
  QueryCancelPending = 0;
  CHECK_FOR_INTERRUPTS();
}

template <std::size_t N>
void copy_name(char (&to)[N], const char* from) {
  strlcpy(to, from, N);
}

// --- The launcher ----------------------------------------------------------------------------------------------------

// Starts the workers of all databases. A database without a known extension gets a single worker as a probe. A server
// may have hundreds of databases and only a few background worker slots, so only a few probes run at once, and the next
// starts when one ends. Databases that are known to have the extension come first.
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
    is_out_of_slots_ = false;
    for (auto& [oid, database] : databases_) note_what_became_of(oid, &database, now);
    for (const bool known : {true, false}) {
      for (auto& [oid, database] : databases_) {
        if (database.has_extension.value_or(false) == known) look_after(oid, &database, now);
      }
    }
    slot_wait_ = is_out_of_slots_ ? std::min<Duration>(slot_wait_ * 2, kSlotWaitMax) : kSlotWaitMin;
    return wake_at_;
  }

 private:
  struct Worker {
    bool started = false;  // started by this launcher, and its end is not noted yet
    BackgroundWorkerHandle* handle = nullptr;
    int failures = 0;
    Time started_at{};
    Time next_start{};
  };
  struct Database {
    std::optional<bool> has_extension;  // nullopt: unknown
    Time probe_requested_at{};
    std::optional<Time> without_slot_since;
    std::array<Worker, kWorkersMax> workers;  // by number, from 1
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
    for (int i = 0; i < place_count(); ++i) {
      const Oid database = place_database(i);
      if (database != InvalidOid && !exists(database)) free_place(i);
    }
    std::erase_if(databases_, [&exists](const auto& entry) {
      if (exists(entry.first)) return false;
      for (const Worker& worker : entry.second.workers) {
        if (worker.handle != nullptr) pfree(worker.handle);
      }
      return true;
    });
  }

  void take_probe_requests(Time now) {
    const auto forget = [now](Database& database) {
      database.probe_requested_at = now;
      if (!database.has_extension.value_or(false)) database.has_extension.reset();
    };
    while (const Oid oid = take_probe_request()) {
      if (const auto found = databases_.find(oid); found != databases_.end()) forget(found->second);
    }
    if (!take_request_to_probe_all()) return;
    for (auto& [oid, database] : databases_) forget(database);
  }

  void note_what_became_of(Oid oid, Database* database, Time now) {
    const std::optional<int> place = find_place_of(oid);
    if (!place) {
      // The entry was freed before the end of its last worker was noted.
      for (Worker& worker : database->workers) {
        if (worker.started) note_end(database, &worker, WorkerExit::kShutdown, now);
      }
      return;
    }
    for (int number = 1; number <= kWorkersMax; ++number) {
      Worker& worker = database->workers[static_cast<std::size_t>(number - 1)];
      if (slot(*place, number).state == SlotState::kStarting) note_a_start_that_failed(worker, *place, number);
      const Slot s = slot(*place, number);
      if (s.state == SlotState::kIdle && worker.started) note_end(database, &worker, s.last_exit, now);
      // The postmaster reports a worker's end by a signal, which sets no flag. So check again soon.
      if (s.state == SlotState::kStarting) wake_at_ = std::min(wake_at_, now + kStartingCheck);
    }
    if (has_extension(*place)) database->has_extension = true;
    if (!database->has_extension && slot(*place, 1).state != SlotState::kIdle) ++probes_;
  }

  void look_after(Oid oid, Database* database, Time now) {
    std::optional<int> place = find_place_of(oid);
    if (database->has_extension && !*database->has_extension) {
      if (place) free_place(*place);
      return;
    }
    const bool is_known = database->has_extension.has_value();
    // All workers of the old number end before the first of the new number starts. Each end wakes the launcher.
    const int count = workers();
    if (place && stop_others(*place, count)) return;
    if (is_held(oid)) return;  // releasing the hold wakes the launcher
    // The first worker finds out whether the others have anything to do.
    const int started_max = place && has_extension(*place) ? count : 1;
    for (int number = 1; number <= started_max; ++number) {
      Worker& worker = database->workers[static_cast<std::size_t>(number - 1)];
      if (place && slot(*place, number).state != SlotState::kIdle) continue;
      if (worker.started) continue;  // it ended during this round, which wakes the launcher: the next round notes why
      if (now < worker.next_start) {
        wake_at_ = std::min(wake_at_, worker.next_start);
        continue;
      }
      if (!is_known && probes_ >= kProbesAtOnce) return;  // the end of a probe wakes the launcher
      if (!place) place = is_out_of_slots_ ? std::nullopt : claim_place(oid);
      if (!place || !start(oid, &worker, *place, {number, count}, now)) {
        wait_for_slot(database, now);
        return;
      }
      database->without_slot_since.reset();
      if (!is_known) ++probes_;
    }
  }

  // A worker that ended before it took its slot has reported nothing.
  static void note_a_start_that_failed(const Worker& worker, int place, int number) {
    if (worker.handle == nullptr) {
      set_start_failed(place, number);  // started by an earlier launcher
      return;
    }
    pid_t pid = 0;
    // Needs no guard: it reads shared memory under a lock and raises no error.
    if (GetBackgroundWorkerPid(worker.handle, &pid) == BGWH_STOPPED) set_start_failed(place, number);
  }

  void note_end(Database* database, Worker* worker, WorkerExit reason, Time now) {
    slot_wait_ = kSlotWaitMin;
    worker->started = false;
    if (worker->handle != nullptr) pfree(worker->handle);
    worker->handle = nullptr;
    if (now - worker->started_at >= kCalm) worker->failures = 0;
    switch (reason) {
      case WorkerExit::kNoExtension:
        // A worker started before the request may have seen the dropped extension, not the one created after it.
        database->has_extension.reset();
        if (worker->started_at >= database->probe_requested_at) database->has_extension = false;
        worker->failures = 0;
        break;
      case WorkerExit::kSteppedAside:
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
  bool start(Oid oid, Worker* started, int place, const WorkerShare& share, Time now) {
    if (is_out_of_slots_) return false;
    set_starting(place, share);
    BackgroundWorkerHandle* handle = nullptr;
    const bool registered = guarded([oid, share, &handle] {
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
      set_start_failed(place, share.number);
      free_place(place);
      return false;
    }
    started->started = true;
    started->handle = handle;
    started->started_at = now;
    wake_at_ = std::min(wake_at_, now + kStartingCheck);
    return true;
  }

  // Other extensions that free a slot do not tell the launcher, so it tries again after a time.
  void wait_for_slot(Database* database, Time now) {
    is_out_of_slots_ = true;
    wake_at_ = std::min(wake_at_, now + slot_wait_);
    if (!database->without_slot_since) database->without_slot_since = now;
    if (now - *database->without_slot_since >= kSlotPatience) warn_no_slot(now);
  }

  void warn_no_slot(Time now) {
    if (now < next_warning_) return;
    next_warning_ = now + kSlotWarningInterval;
    guarded([] {
      ereport(WARNING,
              (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
               errmsg("webhook: out of background worker slots, not all workers run"),
               errdetail("The events of their webhooks are kept and will be delivered."),
               errhint("Increase \"max_worker_processes\" (now %d), or decrease \"webhook.workers\" (now %d): each "
                       "database with the extension takes so many, and the launcher one.",
                       max_worker_processes, workers())));
    });
  }

  std::map<Oid, Database> databases_;
  Time wake_at_{};
  Time next_warning_{};
  int probes_ = 0;                // running in this round
  bool is_out_of_slots_ = false;  // in this round
  Duration slot_wait_ = kSlotWaitMin;
};

// --- The worker's process --------------------------------------------------------------------------------------------

// Ends waits that are shorter than a millisecond, the unit of WaitEventSetWait().
class ShortTimer {
 public:
  ShortTimer() : fd_(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "could not create a timer");
  }
  ~ShortTimer() { close(fd_); }
  ShortTimer(const ShortTimer&) = delete;
  ShortTimer& operator=(const ShortTimer&) = delete;

  // Becomes readable once the time is over.
  int fd() const { return fd_; }

  // Zero: never.
  void set(Duration time) {
    if (time == Duration::zero() && !is_set_) return;
    is_set_ = time > Duration::zero();
    itimerspec spec{};
    spec.it_value.tv_nsec = std::chrono::nanoseconds(time).count();
    timerfd_settime(fd_, 0, &spec, nullptr);
  }

 private:
  int fd_;
  bool is_set_ = false;
};

// Tells fd.c about the descriptors that it does not open itself. fd.c allows a process to use a third of its file limit
// for them: of max_files_per_process, or of the system's limit if that is lower.
class ExternalDescriptors {
 public:
  // Reserves the wanted number of descriptors, or as many as are allowed. Returns how many are reserved.
  int reserve(int wanted) {
    return guarded([this, wanted] {
      while (reserved_ > wanted) release();
      while (reserved_ < wanted + kServerDescriptors && AcquireExternalFD()) ++reserved_;
      for (int i = 0; i < kServerDescriptors && reserved_ > 0; ++i) release();
      return reserved_;
    });
  }

 private:
  void release() {
    ReleaseExternalFD();
    --reserved_;
  }

  int reserved_ = 0;
};

// The worker allocates and frees pieces of up to megabytes. By default glibc keeps freed pieces of up to 32 MB each,
// and has a separate heap for each of libcurl's threads.
void keep_heap_small() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 256 * 1024);
  mallopt(M_TRIM_THRESHOLD, 4 * 1024 * 1024);
  mallopt(M_ARENA_MAX, 2);
#endif
}

class ServerProcess final : public Process {
 public:
  ServerProcess() { take_settings(); }

  Time now() override { return current_time(); }

  double random() override {
    // Needs no guard: it is arithmetic.
    return pg_prng_double(&pg_global_prng_state);
  }

  bool wait(int fd, std::optional<Duration> timeout) override {
    if (events_ == nullptr || fd != fd_) watch(fd);
    short_timer_.set(timeout && *timeout < milliseconds(1) ? *timeout : Duration::zero());
    long timeout_ms = timeout ? static_cast<long>(std::chrono::ceil<milliseconds>(*timeout).count()) : -1;
    // A wait earlier in the turn, for a lock or for the disk, may have reset the latch, so the flags say whether there
    // is work. A worker that is to end rereads no settings, so ConfigReloadPending must not keep it from waiting for
    // requests in flight.
    if (is_called() || (ConfigReloadPending && !ShutdownRequestPending)) timeout_ms = 0;
    guarded([this, timeout_ms] {
      check_for_interrupts();  // one that arrived while the turn held interrupts off and took its latch
      WaitEvent events[3];
      bool is_set = false;
      const int count = WaitEventSetWait(events_, timeout_ms, events, 3, wait_event());
      for (int i = 0; i < count; ++i) is_set |= (events[i].events & WL_LATCH_SET) != 0;
      if (is_set) ResetLatch(MyLatch);
      check_for_interrupts();
    });
    return take_call();
  }

  void listen_for_events() override { pg::listen_for_events(); }

  bool shutdown_requested() override { return ShutdownRequestPending != 0; }

  bool is_database_wanted() override { return is_held(MyDatabaseId); }

  void report(const WorkerFigures& figures) override { report_figures(figures); }

  const WorkerSettings& settings() override {
    if (is_lowering_unsaid_) say_what_is_lowered();
    return settings_;
  }

  bool reload_settings() override {
    if (!ConfigReloadPending) return false;
    ConfigReloadPending = 0;
    guarded([] { ProcessConfigFile(PGC_SIGHUP); });
    take_settings();
    return true;
  }

  void write_log(LogLevel level, const LogLine& line) override {
    // No transaction is open, and PostgreSQL needs one to convert the text.
    const int encoding = GetDatabaseEncoding();
    const bool is_utf8 = encoding == PG_UTF8 || encoding == PG_SQL_ASCII;
    const auto encoded = [is_utf8](const LogText& text) { return is_utf8 ? text.text() : text.ascii(); };
    const std::string message = encoded(line.message);
    const std::string detail = encoded(line.detail);
    const std::string hint = encoded(line.hint);
    const std::string context = encoded(line.context);
    guarded([level, m = message.c_str(), d = detail.c_str(), h = hint.c_str(), c = context.c_str()] {
      ereport(level == LogLevel::kWarning ? WARNING : LOG,
              (errmsg_internal("webhook: %s", m), *d != '\0' ? errdetail_internal("%s", d) : 0,
               *h != '\0' ? errhint("%s", h) : 0, *c != '\0' ? errcontext("%s", c) : 0));
    });
  }

 private:
  void take_settings() {
    settings_ = worker_settings();
    const int wanted = settings_.max_in_flight;
    // A worker that can only send one request at a time delivers too.
    settings_.max_in_flight =
        std::clamp(descriptors_.reserve(wanted + kDescriptorsBeside) - kDescriptorsBeside, 1, wanted);
    settings_.http.connections_max = static_cast<std::size_t>(settings_.max_in_flight) + TestSlots::kSlots;
    const bool is_new = std::exchange(wanted_in_flight_, wanted) != wanted;
    is_lowering_unsaid_ = settings_.max_in_flight < wanted && (is_new || is_lowering_unsaid_);
  }

  // Only when settings() is asked for, so that a worker with nothing to do logs nothing.
  void say_what_is_lowered() {
    is_lowering_unsaid_ = false;
    log(LogLevel::kWarning,
        "webhook.max_in_flight is lowered from " + std::to_string(wanted_in_flight_) + " to " +
            std::to_string(settings_.max_in_flight) + ": the process may not have enough file descriptors",
        "A third of what it may have is for its connections, and " + std::to_string(kDescriptorsBeside) +
            " of these are for tests and for libcurl.",
        "Increase \"max_files_per_process\" (now " + std::to_string(max_files_per_process) +
            ") or the system's limit (ulimit -n) and restart the server, or decrease \"webhook.max_in_flight\".");
  }

  void watch(int fd) {
    fd_ = fd;
    events_ = guarded([old = events_, fd, timer = short_timer_.fd()]() -> WaitEventSet* {
      if (old != nullptr) FreeWaitEventSet(old);
#if PG_VERSION_NUM >= 170000
      WaitEventSet* events = CreateWaitEventSet(nullptr, 4);
#else
      WaitEventSet* events = CreateWaitEventSet(TopMemoryContext, 4);
#endif
      AddWaitEventToSet(events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
      AddWaitEventToSet(events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
      AddWaitEventToSet(events, WL_SOCKET_READABLE, fd, nullptr, nullptr);
      AddWaitEventToSet(events, WL_SOCKET_READABLE, timer, nullptr, nullptr);
      return events;
    });
  }

  ExternalDescriptors descriptors_;
  WorkerSettings settings_;
  int wanted_in_flight_ = 0;  // webhook.max_in_flight
  bool is_lowering_unsaid_ = false;
  ShortTimer short_timer_;
  WaitEventSet* events_ = nullptr;
  int fd_ = -1;
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
      WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, pause_ms, wait_event());
      ResetLatch(MyLatch);
    });
  }
}

WorkerShare share_of_this_worker() noexcept {
  WorkerShare share;
  memcpy(&share, MyBgworkerEntry->bgw_extra, sizeof share);
  return share;
}

std::unique_ptr<Process> begin_worker(std::uint32_t database, const WorkerShare& share) {
  const bool attached = guarded([database, share] {
    set_signal_handlers();
    if (!attach_worker(database, share)) return false;
    const SettingsBefore* const before = note_settings();
    BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
    StartTransactionCommand();
    restore_settings(before);
    CommitTransactionCommand();
    char name[NAMEDATALEN];
    snprintf(name, sizeof name, "webhook worker %d of %d", share.number, share.count);
    pgstat_report_appname(name);
    return true;
  });
  if (!attached) return nullptr;
  if (is_held(database)) {
    note_shutdown();
    return nullptr;
  }
  keep_heap_small();
  return std::make_unique<ServerProcess>();
}

void note_shutdown() noexcept {
  set_exit_reason(is_held(MyDatabaseId) ? WorkerExit::kSteppedAside : WorkerExit::kShutdown);
}

}  // namespace webhook::pg

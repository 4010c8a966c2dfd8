#include "pg/server/worker_process.h"

extern "C" {
#include "postgres.h"

#include "access/xact.h"
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
#include "utils/timestamp.h"
}

#include <malloc.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "core/test_slots.h"
#include "pg/guard.h"
#include "pg/server/background_process.h"
#include "pg/server/database_holds.h"
#include "pg/server/session.h"
#include "pg/server/wakes.h"
#include "pg/server/worker_slots.h"
#include "pg/settings.h"
#include "pg/spi.h"
#include "pg/timestamps.h"

namespace webhook::pg {
namespace {

using std::chrono::milliseconds;

constexpr int kSpareDescriptors = 16;  // for curl and OpenSSL, besides the sockets
constexpr int kDescriptorsBeside = static_cast<int>(TestSlots::kSlots) + kSpareDescriptors;  // spares and tests
constexpr int kServerDescriptors = 4;  // that PostgreSQL opens for wait(), besides its files

constexpr Duration kActivityInterval = std::chrono::seconds(1);  // between two numbers of requests in pg_stat_activity

Time current_time() { return from_timestamptz(GetCurrentTimestamp()); }

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

std::string describe_activity(const WorkerFigures& figures) {
  const bool delivers = figures.state == WorkerState::kDelivering;
  const std::string words = delivers ? "idle" : words_of(figures.state);
  if (figures.in_flight == 0) return "webhook: " + words;
  const std::string waits =
      "waiting for " + std::to_string(figures.in_flight) + (figures.in_flight == 1 ? " response" : " responses");
  return "webhook: " + (delivers ? waits : words + ", " + waits);
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
      const int count =
          WaitEventSetWait(events_, timeout_ms, events, 3, in_flight_ > 0 ? network_wait_event() : idle_wait_event());
      for (int i = 0; i < count; ++i) is_set |= (events[i].events & WL_LATCH_SET) != 0;
      if (is_set) ResetLatch(MyLatch);
      check_for_interrupts();
    });
    return take_call();
  }

  void listen_for_events() override { pg::listen_for_events(is_leaving_); }

  bool shutdown_requested() override { return ShutdownRequestPending != 0; }

  bool is_database_wanted() override { return is_held(MyDatabaseId); }

  bool is_slot_wanted() override { return pg::is_slot_wanted(); }

  bool is_turn_over() override { return pg::is_turn_over(); }

  void prepare_to_leave() override { is_leaving_ = true; }

  void stay() override { is_leaving_ = false; }

  void report(const WorkerFigures& figures) override {
    report_figures(figures);
    in_flight_ = figures.in_flight;
    show_activity(figures);
  }

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
      ereport(server_level(level), (errmsg_internal("webhook: %s", m), *d != '\0' ? errdetail_internal("%s", d) : 0,
                                    *h != '\0' ? errhint("%s", h) : 0, *c != '\0' ? errcontext("%s", c) : 0));
    });
  }

  // Needs no guard: it compares numbers.
  bool is_logged(LogLevel level) override { return message_level_is_interesting(server_level(level)); }

 private:
  static int server_level(LogLevel level) {
    switch (level) {
      case LogLevel::kDebug:
        return DEBUG1;
      case LogLevel::kLog:
        return LOG;
      case LogLevel::kWarning:
        break;
    }
    return WARNING;
  }

  // In pg_stat_activity. Only when it has changed, and the number of requests once a second at most, because a change
  // takes as long as reading the clock a few times.
  void show_activity(const WorkerFigures& figures) {
    const bool is_same = figures.state == shown_state_ && (figures.in_flight > 0) == (shown_in_flight_ > 0);
    if (is_same && figures.in_flight == shown_in_flight_) return;
    const Time now = current_time();
    if (is_same && std::chrono::abs(now - shown_at_) < kActivityInterval) return;
    shown_state_ = figures.state;
    shown_in_flight_ = figures.in_flight;
    shown_at_ = now;
    activity_ = describe_activity(figures);
    show_between_transactions(activity_.c_str());
  }

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

  std::size_t in_flight_ = 0;  // as reported last
  // As pg_stat_activity shows it.
  std::string activity_;
  WorkerState shown_state_ = WorkerState::kStopping;
  std::size_t shown_in_flight_ = 0;
  Time shown_at_{};
  ExternalDescriptors descriptors_;
  WorkerSettings settings_;
  int wanted_in_flight_ = 0;  // webhook.max_in_flight
  bool is_lowering_unsaid_ = false;
  bool is_leaving_ = false;
  ShortTimer short_timer_;
  WaitEventSet* events_ = nullptr;
  int fd_ = -1;
};

// It was asked to end.
void note_shutdown() { set_exit_reason(is_held(MyDatabaseId) ? WorkerExit::kSteppedAside : WorkerExit::kShutdown); }

}  // namespace

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

void note_end(const WorkerEnd& end) noexcept {
  switch (end.reason) {
    case WorkerEnd::Reason::kAsked:
      note_shutdown();
      break;
    case WorkerEnd::Reason::kIdle:
      set_nap(end.nap);
      break;
    case WorkerEnd::Reason::kTurnOver:
      set_exit_reason(WorkerExit::kTurnOver);
      break;
  }
}

}  // namespace webhook::pg

// A process in simulated time. wait() is where it passes, but for a tick with each look at the clock: it goes on to whatever
// happens first, a planned happening or the end of the wait, and no test ever sleeps.
//
// A wait costs a microsecond even if it has nothing to wait for, so that a loop that never waits is seen: it makes more
// turns in a simulated second than kTurnsPerSecondMax, and Stuck is thrown.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "worker/process.h"

namespace webhook {

// The process dies, as by kill -9. No std::exception: nobody may take it for an error.
struct Crash {};

class FakeProcess : public Process {
 public:
  static constexpr std::int64_t kTurnsPerSecondMax = 50'000;
  static constexpr Duration kTick{1};  // passes with each look at the clock: no clock stands still within a turn

  struct Stuck : std::logic_error {
    using std::logic_error::logic_error;
  };
  struct LogLine {
    Time at{};
    LogLevel level;
    std::string message;
    std::string detail;
    std::string hint;
  };

  FakeProcess() {
    using namespace std::chrono_literals;
    settings_in_force.retry_schedule = {10s, 100s};
    settings_in_force.max_age = std::chrono::days(3);
    settings_in_force.disable_after = std::chrono::days(5);
    settings_in_force.event_retention = std::chrono::days(7);
    settings_in_force.log_retention = std::chrono::days(30);
    settings_in_force.event_bytes_max = 8 << 20;
    settings_in_force.log_bytes_max = 8 << 20;
  }

  // --- For the test ---

  // Happens while the worker waits. It may call wake(), make_ready(), request_shutdown(), or throw Crash.
  void at(Time time, std::function<void()> action) { plan_.emplace(time, std::move(action)); }
  void after(Duration delay, std::function<void()> action) { at(now_ + delay, std::move(action)); }

  // Looked at after each turn.
  std::function<void()> after_turn;

  // A commit sets the latch; a socket makes the descriptor readable.
  void wake() {
    is_asleep = false;
    latch_ = true;
  }
  void make_ready() { ready_ = true; }
  void request_shutdown() {
    shutdown_ = true;
    latch_ = true;
  }
  void change_settings(const std::function<void(WorkerSettings&)>& change) {
    change(settings_in_force);
    reload_ = true;
    latch_ = true;
  }

  // Another process begins: what was planned for this one, its sockets say, is forgotten by who planned it.
  void begin_anew() { shutdown_ = latch_ = ready_ = is_leaving_ = false; }
  // Time that passes while nobody runs.
  void pass(Duration duration) { now_ += duration; }

  std::int64_t turns() const { return turns_; }
  std::size_t count_log(const std::string& part) const {
    return static_cast<std::size_t>(std::count_if(log_lines.begin(), log_lines.end(), [&part](const LogLine& line) {
      return line.message.find(part) != std::string::npos;
    }));
  }

  WorkerSettings settings_in_force;
  bool database_wanted = false;
  bool slot_wanted = false;
  bool turn_over = false;
  bool is_asleep = false;  // the worker left, or is about to: nobody has committed anything since its last poll
  WorkerFigures figures;   // as last reported
  std::vector<LogLine> log_lines;
  std::function<double()> draw = [] { return 0.5; };  // no jitter

  // --- Process ---

  Time now() override { return now_ += kTick; }
  double random() override { return draw(); }
  void listen_for_events() override {
    listens_ = true;
    is_asleep = is_leaving_;
  }
  // A commit with events: wakes who listens.
  void announce_events() {
    is_asleep = false;
    if (std::exchange(listens_, false)) wake();
  }
  bool shutdown_requested() override { return shutdown_; }
  bool is_database_wanted() override { return database_wanted; }
  bool is_slot_wanted() override { return slot_wanted; }
  bool is_turn_over() override { return turn_over; }
  void prepare_to_leave() override { is_leaving_ = true; }
  void stay() override { is_leaving_ = false; }
  void report(const WorkerFigures& reported) override { figures = reported; }
  const WorkerSettings& settings() override { return settings_in_force; }
  bool reload_settings() override { return std::exchange(reload_, false); }
  bool is_logged(LogLevel /*level*/) override { return true; }
  void write_log(LogLevel level, const Process::LogLine& line) override {
    log_lines.push_back({now_, level, line.message.text(), line.detail.text(), line.hint.text()});
  }

  bool wait(int /*fd*/, std::optional<Duration> timeout) override {
    count_turn();
    if (after_turn) after_turn();
    now_ += Duration(1);
    if (timeout && *timeout < Duration::zero()) throw Stuck("a wait of less than nothing");
    const Time end = timeout ? now_ + *timeout : Time::max();
    while (!latch_ && !ready_) {
      if (plan_.empty() && end == Time::max()) throw Stuck("the worker waits for ever");
      if (plan_.empty() || plan_.begin()->first > end) {
        now_ = end;
        break;
      }
      happen();
    }
    // What was due while the turn lasted.
    while (!plan_.empty() && plan_.begin()->first <= now_) happen();
    ready_ = false;
    return std::exchange(latch_, false);
  }

 private:
  void happen() {
    now_ = std::max(now_, plan_.begin()->first);
    const std::function<void()> action = std::move(plan_.begin()->second);
    plan_.erase(plan_.begin());
    action();
  }

  void count_turn() {
    ++turns_;
    if (now_ - second_ >= std::chrono::seconds(1)) {
      second_ = now_;
      turns_at_second_ = turns_;
    }
    if (turns_ - turns_at_second_ > kTurnsPerSecondMax) throw Stuck("the worker doesn't wait any more");
  }

  Time now_ = std::chrono::sys_days(std::chrono::year(2024) / 1 / 15);
  std::multimap<Time, std::function<void()>> plan_;
  bool latch_ = false;
  bool listens_ = false;
  bool is_leaving_ = false;
  bool ready_ = false;
  bool shutdown_ = false;
  bool reload_ = false;
  std::int64_t turns_ = 0;
  Time second_{};
  std::int64_t turns_at_second_ = 0;
};

}  // namespace webhook

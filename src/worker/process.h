// What the worker needs from its process: a clock, a wait, signals, the server's log. Unit tests use a simulated one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/log_limit.h"
#include "core/log_text.h"
#include "core/time.h"
#include "worker/figures.h"
#include "worker/settings.h"

namespace webhook {

enum class LogLevel : std::uint8_t {
  kDebug,    // routine
  kLog,      // something has changed, or is no longer delivered
  kWarning,  // somebody who runs the server should act
};

// Why a worker has ended, other than by an error.
struct WorkerEnd {
  enum class Reason : std::uint8_t {
    kAsked,     // the process is to end
    kIdle,      // there is nothing to do
    kTurnOver,  // another worker gets the slot
  };
  Reason reason = Reason::kAsked;
  Duration nap{};  // kIdle: until something is due by itself
};

class Process {
 public:
  virtual ~Process() = default;

  virtual Time now() = 0;
  // Uniform in [0, 1).
  virtual double random() = 0;

  // Waits until the process is woken, fd is readable, or the timeout is over (nullopt: no limit). Handles interrupts.
  // Returns whether the process was woken, in which case the database may have something new.
  virtual bool wait(int fd, std::optional<Duration> timeout) = 0;

  // Asks to be woken by the next commit that has events. Works once, so call it before each poll of the log.
  virtual void listen_for_events() = 0;

  // Whether the process is to end.
  virtual bool shutdown_requested() = 0;

  // Whether somebody waits for this process to end because a statement needs the database without sessions.
  virtual bool is_database_wanted() = 0;

  // Whether there are fewer slots for workers than have something to do.
  virtual bool is_slot_wanted() = 0;
  // Whether another worker gets this one's slot now. Implies is_slot_wanted().
  virtual bool is_turn_over() = 0;
  // From the next listen_for_events() on, a call of this worker also has the launcher start it again if it has ended.
  virtual void prepare_to_leave() = 0;
  // It does not end after all.
  virtual void stay() = 0;

  // Publishes the figures. Costs next to nothing.
  virtual void report(const WorkerFigures& figures) = 0;

  // The settings in force.
  virtual const WorkerSettings& settings() = 0;
  // Rereads the configuration file if the server was told to. Returns whether settings() may have changed.
  virtual bool reload_settings() = 0;

  // Writes a line to the server's log. Empty parts are left out.
  void log(LogLevel level, std::string_view message, std::string_view detail = {}, std::string_view hint = {},
           std::string_view context = {}) {
    write_log(level, {LogText(message), LogText(detail), LogText(hint), LogText(context)});
  }
  // The same for a line about an organization's webhooks. The number of these lines is limited: see core/log_limit.h.
  void log_about(const std::optional<std::string>& organization_id, LogLevel level, std::string_view message,
                 std::string_view detail = {}, std::string_view hint = {}) {
    report_left_out();
    if (is_logged(level) && log_limit_.admit(organization_id, now())) log(level, message, detail, hint);
  }
  // Once a minute is over, logs how many lines were left out in it. Call it regularly.
  void report_left_out() {
    const std::optional<LogLimit::LeftOut> left_out = log_limit_.end(now());
    if (!left_out) return;
    std::string detail = "In a minute " + std::to_string(LogLimit::kLinesMax) +
                         " lines are written about an organization's webhooks, and " +
                         std::to_string(LogLimit::kAllLinesMax) + " about all.";
    if (left_out->most_of) {
      detail += " " + std::to_string(left_out->lines_of_most) + " of them were about organization \"" +
                *left_out->most_of + "\".";
    }
    log(LogLevel::kLog, std::to_string(left_out->lines) + " log lines about webhooks were left out", detail,
        "webhook_stats and webhook_logs have what they said.");
  }

 protected:
  struct LogLine {
    LogText message;
    LogText detail;  // empty: none
    LogText hint;    // empty: none
    LogText context;
  };
  virtual void write_log(LogLevel level, const LogLine& line) = 0;
  // Whether the server's settings let such a line through.
  virtual bool is_logged(LogLevel level) = 0;

 private:
  LogLimit log_limit_;
};

}  // namespace webhook

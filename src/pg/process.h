// What the worker needs of the process that it runs in: the clock, a wait, the signals, the server's log. The unit
// tests put a simulated one in its place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/log_limit.h"
#include "core/log_text.h"
#include "core/time.h"
#include "pg/settings.h"

namespace webhook::pg {

enum class LogLevel : std::uint8_t { kLog, kWarning };

// What a worker shows of itself, in webhook_workers.
struct WorkerFigures {
  std::size_t in_flight = 0;
  std::size_t queued = 0;               // deliveries in its lanes
  std::size_t events_ahead = 0;         // of the checkpoint
  std::int64_t sent = 0;                // requests since its start, as the next two
  std::int64_t failed = 0;              // attempts
  std::int64_t logged = 0;              // rows of webhook_logs
  std::optional<Time> oldest_event_at;  // when the oldest event that is read and unsettled was captured
  std::optional<Time> last_error_at;    // of the database
};

class Process {
 public:
  virtual ~Process() = default;

  virtual Time now() = 0;
  // Uniform in [0, 1).
  virtual double random() = 0;

  // Waits until the process is woken, fd is readable or the time is over; nothing: no limit. Handles interrupts.
  // Returns whether it was woken: there may be something new in the database.
  virtual bool wait(int fd, std::optional<Duration> timeout) = 0;

  // Asks to be woken by the next commit with events: once, so it is to be said before each look at the log.
  virtual void listen_for_events() = 0;

  // The process is to end.
  virtual bool shutdown_requested() = 0;

  // Somebody waits for the process to end, for he needs the database without sessions.
  virtual bool is_database_wanted() = 0;

  // Shows the figures to others. Costs next to nothing.
  virtual void report(const WorkerFigures& figures) = 0;

  // The settings in force.
  virtual const WorkerSettings& settings() = 0;
  // Reads the configuration file again if the server was told to. Returns whether settings() may have changed.
  virtual bool reload_settings() = 0;

  // A line in the server's log. What is empty is left out.
  void log(LogLevel level, std::string_view message, std::string_view detail = {}, std::string_view hint = {},
           std::string_view context = {}) {
    write_log(level, {LogText(message), LogText(detail), LogText(hint), LogText(context)});
  }
  // Likewise one about an organization's webhooks, of which only so many are written: see core/log_limit.h.
  void log_about(const std::optional<std::string>& organization_id, LogLevel level, std::string_view message,
                 std::string_view detail = {}, std::string_view hint = {}) {
    report_left_out();
    if (log_limit_.admit(organization_id, now())) log(level, message, detail, hint);
  }
  // Says, when a minute is over, how many lines were left out in it. To be called now and then.
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
    LogText hint;    // likewise, as what follows
    LogText context;
  };
  virtual void write_log(LogLevel level, const LogLine& line) = 0;

 private:
  LogLimit log_limit_;
};

}  // namespace webhook::pg

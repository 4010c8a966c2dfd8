// What the worker needs of the process that it runs in: the clock, a wait, the signals, the server's log. The unit
// tests put a simulated one in its place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/time.h"
#include "pg/settings.h"

namespace webhook::pg {

enum class LogLevel : std::uint8_t { kLog, kWarning };

class Process {
 public:
  virtual ~Process() = default;

  virtual Time now() = 0;
  // Uniform in [0, 1).
  virtual double random() = 0;

  // Waits until the process is woken, fd is readable or the time is over; nothing: no limit. Handles interrupts.
  // Returns whether it was woken: there may be something new in the database.
  virtual bool wait(int fd, std::optional<Duration> timeout) = 0;

  // The process is to end.
  virtual bool shutdown_requested() = 0;

  // The settings in force.
  virtual const WorkerSettings& settings() = 0;
  // Reads the configuration file again if the server was told to. Returns whether settings() may have changed.
  virtual bool reload_settings() = 0;

  // A line in the server's log. Empty detail and hint are left out.
  virtual void log(LogLevel level, const std::string& message, const std::string& detail = {},
                   const std::string& hint = {}) = 0;
};

}  // namespace webhook::pg

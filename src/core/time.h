// The two time types of the project. Both count microseconds, PostgreSQL's own resolution.
#pragma once

#include <chrono>

namespace webhook {

using Duration = std::chrono::microseconds;
using Time = std::chrono::sys_time<Duration>;  // UTC

}  // namespace webhook

// Another process's latch, by the process's number.
#pragma once

#include <cstdint>

namespace webhook::pg {

// Stands for a process without a latch to set.
constexpr std::uint32_t kNoProcess = UINT32_MAX;

// The number of this process, which set_latch_of() takes.
std::uint32_t my_process_number() noexcept;
// Sets the latch of a process. If that process has ended, another may have its number; one latch set too often is
// harmless. Neither allocates nor raises an error.
void set_latch_of(std::uint32_t process) noexcept;

}  // namespace webhook::pg

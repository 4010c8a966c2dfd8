// The versions of the library and of the extension's SQL objects. They differ between the installation of a new library
// and ALTER EXTENSION UPDATE: docs/architecture.md says what works meanwhile.
#pragma once

#include <cstdint>
#include <string_view>

namespace webhook {

// This library's version, such as "1.0".
const char* library_version() noexcept;

enum class SqlVersion : std::uint8_t {
  kSameSeries,  // the first two numbers are the library's: workers deliver
  kOlder,
  kNewer,
};

// What pg_extension.extversion is to a library's version. Numbers that are missing, or are none, count as 0.
SqlVersion compare_sql_version(std::string_view sql, std::string_view library) noexcept;

}  // namespace webhook

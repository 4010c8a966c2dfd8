// The JSON text of a row. It means the same as to_json(row) in a session with PostgreSQL's default settings in UTC,
// whatever this session's settings are. Columns are in table order, without dropped ones.
//
// Types outside the common ones are written by their own output or cast functions. These read the session's settings,
// so IsoSettings must be in force around them.
//
// PostgreSQL's Datum appears here as std::uintptr_t.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct FmgrInfo;
struct TupleDescData;
struct pg_tz;

namespace webhook::pg {

enum class ColumnKind : std::uint8_t {
  kBool,
  kInt16,
  kInt32,
  kInt64,
  kFloat4,
  kFloat8,
  kNumeric,
  kText,  // also types stored like it: varchar, char(n)
  kDate,
  kTimestamp,
  kTimestamptz,
  kUuid,
  kJson,
  kJsonb,
  kArray,
  kTextArray,  // an array whose elements are written as text
  kComposite,
  kCast,    // a type with a cast to json
  kOutput,  // any other: the text of its output function, as a JSON string
};

struct Column {
  int number = 0;  // from 1
  std::string name;
  std::string json_key;  // "name":
  std::uint32_t type = 0;
  ColumnKind kind = ColumnKind::kOutput;
  std::uint32_t json_function = 0;  // for kCast, kOutput and the elements of kTextArray
  std::int16_t length = 0;          // pg_type.typlen
  bool by_value = false;
  bool may_expand = false;  // its text may be far longer than the value
  bool is_padded = false;   // char(n)
  bool is_virtual = false;  // a generated column that is not stored
};

// Whether writing the column as JSON, or as text, calls functions that read the session's settings.
bool json_reads_settings(const Column& column);
bool text_reads_settings(const Column& column);

// The row's columns. Throws Error.
std::vector<Column> describe_columns(TupleDescData* shape);

// Makes a column of bigint or numeric, or of an array of either, be written as text, because many JSON parsers turn
// numbers into doubles and lose digits. Leaves other columns as they are. Throws Error.
void write_large_numbers_as_text(Column& column);

// A row's values, by column number − 1.
struct RowValues {
  const std::uintptr_t* values = nullptr;
  const bool* nulls = nullptr;
};

// While an object exists, the settings that output depends on are PostgreSQL's defaults, and the time zone is UTC. The
// destructor restores the settings, except those that other code has changed.
class IsoSettings {
 public:
  IsoSettings();
  ~IsoSettings();
  IsoSettings(const IsoSettings&) = delete;
  IsoSettings& operator=(const IsoSettings&) = delete;

 private:
  pg_tz* time_zone_;
  int date_style_;
  int date_order_;
  int interval_style_;
  int bytea_output_;
  int extra_float_digits_;
};

// --- Call these inside guarded(): they raise PostgreSQL errors. ------------------------------------------------------

// Whether both rows have the same value in the column, byte by byte, like the operator *<>. A large value that was not
// changed is not read.
bool is_same_image(const Column& column, RowValues one, RowValues other);

// Appends {"name":value,…}. With unlike, writes only the columns that differ from it. functions: one per column, set up
// where the column has a json_function. Returns 0. If out would exceed bytes_max, returns the size at which it gave up,
// and out is then unusable.
std::size_t append_row(std::string& out, std::span<const Column> columns, FmgrInfo* functions, RowValues row,
                       std::size_t bytes_max, const RowValues* unlike = nullptr);

// The value as plain text. Values of PostgreSQL's own types that are equal give the same text: char(n) without padding,
// numbers without trailing zeros. It lives as long as the value and the current memory context.
std::string_view text_of(const Column& column, std::uintptr_t value);

}  // namespace webhook::pg

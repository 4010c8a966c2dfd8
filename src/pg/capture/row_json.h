// The JSON text of a row. It means what to_json(row) means in a session with PostgreSQL's default settings and in UTC,
// whatever the settings of this session: columns in their order, dropped ones left out.
//
// What surprises: types outside the common ones are written by their own output or cast functions, which read the
// session's settings, so IsoSettings must be in force around them.
//
// PostgreSQL's Datum stands here as std::uintptr_t.
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
  kText,  // and what is stored like it: varchar, char(n)
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
  kOutput,  // any other: its output function's text, as a JSON string
};

struct Column {
  int number = 0;  // from 1
  std::string name;
  std::string json_key;  // "name":
  std::uint32_t type = 0;
  ColumnKind kind = ColumnKind::kOutput;
  std::uint32_t json_function = 0;  // of kCast, kOutput and the elements of kTextArray
  std::int16_t length = 0;          // pg_type.typlen
  bool by_value = false;
  bool is_padded = false;   // char(n)
  bool is_virtual = false;  // a generated column that is not stored
};

// Whether writing the column calls functions that read the session's settings, as JSON or as text.
bool json_reads_settings(const Column& column);
bool text_reads_settings(const Column& column);

// The row's columns. Throws Error.
std::vector<Column> describe_columns(TupleDescData* shape);

// From then on a column of bigint or numeric, or of an array of one of them, is written as text: many a parser of JSON makes
// a double of each number, in which digits are lost. Other columns stay as they are. Throws Error.
void write_large_numbers_as_text(Column& column);

// A row's values, by column number − 1.
struct RowValues {
  const std::uintptr_t* values = nullptr;
  const bool* nulls = nullptr;
};

// While one exists, the settings that output depends on are PostgreSQL's defaults and the time zone is UTC. They are
// put back unless somebody else has changed them meanwhile.
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

// --- To be called inside guarded(): these raise PostgreSQL's errors as they are. -------------------------------------

// Whether the two rows have the same value in the column, byte by byte, as the operator *<> compares them. A large value
// that was not touched is not read for it.
bool is_same_image(const Column& column, RowValues one, RowValues other);

// Appends {"name":value,…}; with unlike, only the columns in which the row's image is another. functions: one for each
// column, set up where there is a json_function. Returns 0; or, if that would make out longer than bytes_max, the size
// at which it gave up, and out is of no use.
std::size_t append_row(std::string& out, std::span<const Column> columns, FmgrInfo* functions, RowValues row,
                       std::size_t bytes_max, const RowValues* unlike = nullptr);

// The value as plain text, the same for all values that its type takes for equal, as far as PostgreSQL's own types go: char(n)
// without its padding, numbers without zeros at the end. It lives as long as the value and the current memory context.
std::string_view text_of(const Column& column, std::uintptr_t value);

}  // namespace webhook::pg

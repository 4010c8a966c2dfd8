// Rows of the worker's that a statement reads as a table: how many rows are handed over at once. PostgreSQL's own means for
// it, those of a trigger's transition tables, cost a third of what an array for each column does.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/time.h"
#include "core/uuid.h"

namespace webhook::pg {

// In a Transaction, and gone before it ends. A statement finds it under its name, before any relation so called. Put a
// row's values in the order of the columns, then end the row. All texts in UTF-8. Throws Error.
class InputTable {
 public:
  enum class Type : std::uint8_t { kInteger, kBigint, kDouble, kText, kTimestamp, kUuid };
  struct Column {
    const char* name;
    Type type;
  };

  // The name outlives it.
  InputTable(const char* name, std::initializer_list<Column> columns);
  ~InputTable();
  InputTable(const InputTable&) = delete;
  InputTable& operator=(const InputTable&) = delete;

  // A value of the column's type.
  InputTable& put(std::int32_t value);
  InputTable& put(std::int64_t value);
  InputTable& put(double value);
  InputTable& put(std::string_view value);
  InputTable& put(const char* value) { return put(std::string_view(value)); }
  InputTable& put(const std::string& value) { return put(std::string_view(value)); }
  InputTable& put(Time value);
  InputTable& put(const Uuid& value);  // which must live until the row ends
  InputTable& put_null();
  template <class Value>
  InputTable& put(const std::optional<Value>& value) {
    return value ? put(*value) : put_null();
  }
  InputTable& put_or_null(std::string_view value) { return value.empty() ? put_null() : put(value); }

  void end_row();

 private:
  InputTable& add(std::uintptr_t datum, bool is_null = false);

  const char* name_;
  void* description_;  // TupleDesc
  void* rows_;         // Tuplestorestate
  // The row to come.
  std::vector<std::uintptr_t> values_;
  std::vector<char> nulls_;
  std::vector<std::string> texts_;  // one a column: what its value points to
};

}  // namespace webhook::pg

// Rows that the worker passes to a statement as a table, many at once. It uses PostgreSQL's mechanism for the
// transition tables of triggers, which costs a third of passing an array for each column.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/time.h"
#include "core/uuid.h"

namespace webhook::pg {

// Lives within a Transaction and must be gone before it ends. A statement finds it by its name, ahead of any relation
// with that name. Put a row's values in the order of the columns, then call end_row(). All texts are UTF-8. Throws
// Error.
class InputTable {
 public:
  enum class Type : std::uint8_t { kInteger, kBigint, kDouble, kText, kTimestamp, kUuid };
  struct Column {
    const char* name;
    Type type;
  };

  // name must outlive the table.
  InputTable(const char* name, std::span<const Column> columns);
  InputTable(const char* name, std::initializer_list<Column> columns)
      : InputTable(name, std::span(columns.begin(), columns.size())) {}
  ~InputTable();
  InputTable(const InputTable&) = delete;
  InputTable& operator=(const InputTable&) = delete;

  // The value must have the column's type.
  InputTable& put(std::int32_t value);
  InputTable& put(std::int64_t value);
  InputTable& put(double value);
  InputTable& put(std::string_view value);
  InputTable& put(const char* value) { return put(std::string_view(value)); }
  InputTable& put(const std::string& value) { return put(std::string_view(value)); }
  InputTable& put(Time value);
  InputTable& put(const Uuid& value);  // must live until the row ends
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
  // The row being built.
  std::vector<std::uintptr_t> values_;
  std::vector<char> nulls_;
  std::vector<std::string> texts_;  // one per column: what its value points to
};

}  // namespace webhook::pg

// SQL from a background worker: a transaction, a statement with parameters, its result rows. The interface is plain
// C++, the implementation SPI. All of it throws Error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/snapshot.h"
#include "core/time.h"
#include "core/uuid.h"

namespace webhook::pg {

// What pg_stat_activity shows between transactions, from now on. text must stay valid. Not to be called in a transaction.
void show_between_transactions(const char* text);

enum class Isolation : std::uint8_t {
  kReadCommitted,   // each statement has its own snapshot
  kRepeatableRead,  // all statements share a snapshot
};

// A transaction with a snapshot and SPI. Rolled back unless commit() is called. Cannot be nested.
class Transaction {
 public:
  // activity is shown in pg_stat_activity during the transaction. It must outlive the transaction.
  explicit Transaction(const char* activity, Isolation isolation = Isolation::kReadCommitted);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  void commit();

 private:
  bool open_ = true;
};

// A savepoint in a Transaction: a failure inside it does not end the transaction. Rolled back unless release() is
// called.
class Subtransaction {
 public:
  Subtransaction();
  ~Subtransaction();
  Subtransaction(const Subtransaction&) = delete;
  Subtransaction& operator=(const Subtransaction&) = delete;

  void release();

 private:
  void* context_;  // the MemoryContext and ResourceOwner around it
  void* owner_;
  bool open_ = true;
};

// Limits the time of the code that runs while it lives. After limit_ms, any call that processes interrupts throws Error
// 57014.
class TimeLimit {
 public:
  explicit TimeLimit(int limit_ms);
  ~TimeLimit();
  TimeLimit(const TimeLimit&) = delete;
  TimeLimit& operator=(const TimeLimit&) = delete;
};

// SQL text in which @extschema@ stands for the extension's schema. Prepared at its first use and kept.
class Statement {
 public:
  constexpr explicit Statement(const char* sql) : sql_(sql) {}
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

 private:
  friend class Query;
  const char* sql_;
  void* plan_ = nullptr;
};

// Sets the quoted name that replaces @extschema@. Call it before the first statement is prepared.
void set_extension_schema(const std::string& quoted_name);

// A column of a query's result: Query::column() finds it.
class Column {
 private:
  friend class Query;
  explicit Column(int number) : number_(number) {}

  int number_;  // from 1, as SPI counts
};

// One execution of a statement: bind the parameters in order, run, read the rows. All texts are UTF-8. The rows live as
// long as the Transaction.
class Query {
 public:
  explicit Query(Statement& statement) : statement_(statement) {}
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  Query& bind(std::int32_t value);
  Query& bind(std::int64_t value);
  Query& bind(bool value);
  Query& bind_xid(FullXid value);
  Query& bind(Time value);
  Query& bind(const Uuid& value);
  Query& bind(std::string_view value);
  Query& bind(const char* value) { return bind(std::string_view(value)); }
  Query& bind_optional(const std::optional<std::string>& value);
  Query& bind_optional(const std::optional<Time>& value);
  Query& bind_optional(const std::optional<Uuid>& value);
  Query& bind(const std::vector<std::int32_t>& values);
  Query& bind(const std::vector<std::int64_t>& values);
  Query& bind(const std::vector<double>& values);
  Query& bind(const std::vector<Time>& values);
  Query& bind(const std::vector<std::optional<Time>>& values);
  Query& bind(const std::vector<Uuid>& values);
  Query& bind(const std::vector<std::optional<std::string>>& values);
  Query& bind_xids(const std::vector<FullXid>& values);

  // Executes the statement. rows_max 0: no limit. Returns the number of rows found or changed.
  std::size_t run(std::size_t rows_max = 0);

  // After run(): the column with the name that the statement gives it. Find it outside the loop over the rows. Throws
  // Error XX000 if the statement returns no such column.
  Column column(const char* name) const;

  // The value in a row, counted from 0, and a column of the result. A null is an Error unless the return type allows it.
  bool is_null(std::size_t row, Column column) const;
  std::int16_t get_int16(std::size_t row, Column column) const;
  std::int32_t get_int32(std::size_t row, Column column) const;
  std::int64_t get_int64(std::size_t row, Column column) const;
  std::uint32_t get_oid(std::size_t row, Column column) const;
  bool get_boolean(std::size_t row, Column column) const;
  double get_double(std::size_t row, Column column) const;
  FullXid get_xid(std::size_t row, Column column) const;
  Time get_time(std::size_t row, Column column) const;
  std::optional<Time> get_optional_time(std::size_t row, Column column) const;
  Uuid get_uuid(std::size_t row, Column column) const;
  std::string get_text(std::size_t row, Column column) const;  // text or json, as UTF-8
  std::optional<std::string> get_optional_text(std::size_t row, Column column) const;
  // An organization: see identifier_to_utf8().
  std::optional<std::string> get_organization(std::size_t row, Column column) const;
  // The size of a text or json value in memory, without expanding it. 0 if null.
  std::size_t expanded_bytes(std::size_t row, Column column) const;
  std::vector<std::string> get_texts(std::size_t row, Column column) const;  // text[]; a null array becomes empty
  std::vector<std::int64_t> get_int64s(std::size_t row, Column column) const;

 private:
  std::string get_text(std::size_t row, Column column, std::string (*convert)(std::string_view)) const;
  Query& add(std::uint32_t type, std::uintptr_t datum);
  Query& add_array(std::uint32_t array_type, std::uint32_t element_type, const std::vector<std::uintptr_t>& elements,
                   const std::vector<char>& nulls);
  template <class Value, class ToDatum>
  Query& add_nullable_array(std::uint32_t array_type, std::uint32_t element_type,
                            const std::vector<std::optional<Value>>& values, ToDatum to_datum);
  std::uintptr_t keep_text(std::string_view value);
  std::uintptr_t value(std::size_t row, Column column) const;

  Statement& statement_;
  std::vector<std::uint32_t> types_;
  std::vector<std::uintptr_t> values_;
  std::string nulls_;             // as SPI_execute_plan() expects them
  std::deque<std::string> kept_;  // what the values point to
  void* rows_ = nullptr;          // SPITupleTable
};

}  // namespace webhook::pg

#include "pg/input_table.h"

extern "C" {
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/queryenvironment.h"
#include "utils/tuplestore.h"
}

#include <cstring>

#include "pg/encoding.h"
#include "pg/guard.h"
#include "pg/timestamps.h"

namespace webhook::pg {
namespace {

// The planner's estimate of the number of rows: a batch of results under load.
constexpr double kTypicalRows = 256;

Oid type_oid(InputTable::Type type) {
  switch (type) {
    case InputTable::Type::kInteger:
      return INT4OID;
    case InputTable::Type::kBigint:
      return INT8OID;
    case InputTable::Type::kDouble:
      return FLOAT8OID;
    case InputTable::Type::kText:
      return TEXTOID;
    case InputTable::Type::kTimestamp:
      return TIMESTAMPTZOID;
    case InputTable::Type::kUuid:
      return UUIDOID;
  }
  return InvalidOid;
}

}  // namespace

InputTable::InputTable(const char* name, std::span<const Column> columns) : name_(name), texts_(columns.size()) {
  values_.reserve(columns.size());
  nulls_.reserve(columns.size());
  guarded([this, first = columns.data(), count = static_cast<int>(columns.size())] {
    TupleDesc description = CreateTemplateTupleDesc(count);
    for (int i = 0; i < count; ++i) {
      TupleDescInitEntry(description, static_cast<AttrNumber>(i + 1), first[i].name, type_oid(first[i].type), -1, 0);
    }
    Tuplestorestate* rows = tuplestore_begin_heap(false, false, work_mem);

    auto* relation = static_cast<EphemeralNamedRelation>(palloc0(sizeof(EphemeralNamedRelationData)));
    relation->md.name = const_cast<char*>(name_);
    relation->md.reliddesc = InvalidOid;
    relation->md.tupdesc = description;
    relation->md.enrtype = ENR_NAMED_TUPLESTORE;
    relation->md.enrtuples = kTypicalRows;
    relation->reldata = rows;
    // Removes a table left over from an earlier error: a function in another language may have connected to SPI, and
    // the destructor then unregistered in that connection.
    SPI_unregister_relation(name_);
    const int code = SPI_register_relation(relation);
    if (code < 0) elog(ERROR, "SPI_register_relation failed: %s", SPI_result_code_string(code));
    description_ = description;
    rows_ = rows;
  });
}

InputTable::~InputTable() {
  try {
    guarded([this] {
      SPI_unregister_relation(name_);
      tuplestore_end(static_cast<Tuplestorestate*>(rows_));
    });
  } catch (...) {
    // The transaction's end removes it.
  }
}

InputTable& InputTable::add(std::uintptr_t datum, bool is_null) {
  values_.push_back(datum);
  nulls_.push_back(is_null ? 1 : 0);
  return *this;
}

InputTable& InputTable::put(std::int32_t value) { return add(Int32GetDatum(value)); }
InputTable& InputTable::put(std::int64_t value) { return add(Int64GetDatum(value)); }
InputTable& InputTable::put(double value) { return add(Float8GetDatum(value)); }
InputTable& InputTable::put(Time value) { return add(Int64GetDatum(to_timestamptz(value))); }
InputTable& InputTable::put(const Uuid& value) { return add(PointerGetDatum(value.bytes.data())); }
InputTable& InputTable::put_null() { return add(0, true); }

// Builds the text datum outside PostgreSQL's memory, so that no PostgreSQL allocation can fail.
InputTable& InputTable::put(std::string_view value) {
  std::string& datum = texts_.at(values_.size());
  datum.assign(VARHDRSZ, '\0');
  append_from_utf8(datum, value);
  SET_VARSIZE(datum.data(), datum.size());
  return add(PointerGetDatum(datum.data()));
}

void InputTable::end_row() {
  static_assert(sizeof(bool) == sizeof(char) && sizeof(Datum) == sizeof(std::uintptr_t));
  guarded([this] {
    Assert(static_cast<TupleDesc>(description_)->natts == static_cast<int>(values_.size()));
    tuplestore_putvalues(static_cast<Tuplestorestate*>(rows_), static_cast<TupleDesc>(description_),
                         reinterpret_cast<Datum*>(values_.data()), reinterpret_cast<bool*>(nulls_.data()));
  });
  values_.clear();
  nulls_.clear();
}

}  // namespace webhook::pg

#include "pg/spi.h"

extern "C" {
#include "postgres.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
}

#include <cstring>

#include "pg/encoding.h"
#include "pg/guard.h"
#include "pg/timestamps.h"

namespace webhook::pg {
namespace {

Datum timestamp_datum(Time time) { return Int64GetDatum(to_timestamptz(time)); }

// OIDs from the catalog that have no macro in pg_type.h.
constexpr Oid kUuidArray = 2951;

std::string& extension_schema() {
  static std::string& name = *new std::string;  // never destroyed, because FATAL runs exit()
  return name;
}

std::string qualified(std::string_view sql) {
  constexpr std::string_view kPlaceholder = "@extschema@";
  std::string text;
  for (std::size_t at; (at = sql.find(kPlaceholder)) != std::string_view::npos;) {
    text.append(sql.substr(0, at)).append(extension_schema());
    sql.remove_prefix(at + kPlaceholder.size());
  }
  return text.append(sql);
}

const char* text_between_transactions = "webhook: starting";

// Rolls back everything that is open. If that fails, the process cannot go on and ends.
void rollback() noexcept {
  bool failed = false;
  // The current context may be deleted with the transaction.
  MemoryContextSwitchTo(TopMemoryContext);
  try {
    guarded([] {
      HOLD_INTERRUPTS();
      AbortOutOfAnyTransaction();
      MemoryContextSwitchTo(TopMemoryContext);
      pgstat_report_stat(false);
      pgstat_report_activity(STATE_IDLE, text_between_transactions);
      RESUME_INTERRUPTS();
    });
  } catch (...) {
    failed = true;
  }
  // Needs no guard: FATAL exits instead of jumping.
  if (failed) ereport(FATAL, (errmsg("webhook worker could not roll back a transaction")));
}

}  // namespace

void show_between_transactions(const char* text) {
  text_between_transactions = text;
  guarded([text] { pgstat_report_activity(STATE_IDLE, text); });
}

void set_extension_schema(const std::string& quoted_name) { extension_schema() = quoted_name; }

Transaction::Transaction(const char* activity, Isolation isolation) {
  try {
    guarded([activity, isolation] {
      SetCurrentStatementStartTimestamp();
      StartTransactionCommand();
      if (isolation == Isolation::kRepeatableRead) XactIsoLevel = XACT_REPEATABLE_READ;
      PushActiveSnapshot(GetTransactionSnapshot());
      if (SPI_connect() != SPI_OK_CONNECT) elog(ERROR, "SPI_connect failed");
      pgstat_report_activity(STATE_RUNNING, activity);
    });
  } catch (...) {
    rollback();
    throw;
  }
}

void Transaction::commit() {
  // SPI_finish() deletes the current context, and later steps of the commit may raise an error.
  MemoryContextSwitchTo(TopMemoryContext);
  guarded([] {
    SPI_finish();
    PopActiveSnapshot();
    CommitTransactionCommand();
    pgstat_report_stat(false);
    pgstat_report_activity(STATE_IDLE, text_between_transactions);
  });
  open_ = false;
}

Transaction::~Transaction() {
  if (open_) rollback();
}

Subtransaction::Subtransaction() : context_(CurrentMemoryContext), owner_(CurrentResourceOwner) {
  guarded([this] {
    BeginInternalSubTransaction(nullptr);
    MemoryContextSwitchTo(static_cast<MemoryContext>(context_));
  });
}

void Subtransaction::release() {
  guarded([] { ReleaseCurrentSubTransaction(); });
  open_ = false;
  MemoryContextSwitchTo(static_cast<MemoryContext>(context_));
  CurrentResourceOwner = static_cast<ResourceOwner>(owner_);
}

Subtransaction::~Subtransaction() {
  if (!open_) return;
  bool failed = false;
  try {
    guarded([] { RollbackAndReleaseCurrentSubTransaction(); });
  } catch (...) {
    failed = true;
  }
  // Needs no guard: FATAL exits instead of jumping.
  if (failed) ereport(FATAL, (errmsg("webhook worker could not roll back a subtransaction")));
  MemoryContextSwitchTo(static_cast<MemoryContext>(context_));
  CurrentResourceOwner = static_cast<ResourceOwner>(owner_);
}

namespace {

TimeoutId time_limit() {
  static const TimeoutId id = guarded([] {
    return RegisterTimeout(USER_TIMEOUT, []() noexcept {
      // The same as pg_cancel_backend().
      QueryCancelPending = 1;
      InterruptPending = 1;
      SetLatch(MyLatch);
    });
  });
  return id;
}

}  // namespace

TimeLimit::TimeLimit(int limit_ms) {
  guarded([limit_ms] { enable_timeout_after(time_limit(), limit_ms); });
}

TimeLimit::~TimeLimit() {
  // Needs no guard: it disarms a timer, and raises an error only if the timer does not exist.
  disable_timeout(time_limit(), false);
  // Clears a request that arrived after the work was done.
  QueryCancelPending = 0;
}

// --- Parameters ------------------------------------------------------------------------------------------------------

Query& Query::add(std::uint32_t type, std::uintptr_t datum) {
  types_.push_back(type);
  values_.push_back(datum);
  nulls_.push_back(' ');
  return *this;
}

Query& Query::bind(std::int32_t value) { return add(INT4OID, Int32GetDatum(value)); }
Query& Query::bind(std::int64_t value) { return add(INT8OID, Int64GetDatum(value)); }
Query& Query::bind(bool value) { return add(BOOLOID, BoolGetDatum(value)); }
Query& Query::bind_xid(FullXid value) { return add(XID8OID, UInt64GetDatum(value)); }
Query& Query::bind(Time value) { return add(TIMESTAMPTZOID, timestamp_datum(value)); }
Query& Query::bind(std::string_view value) { return add(TEXTOID, keep_text(value)); }

Query& Query::bind_optional(const std::optional<std::string>& value) {
  if (value) return bind(std::string_view(*value));
  add(TEXTOID, 0);
  nulls_.back() = 'n';
  return *this;
}

Query& Query::bind_optional(const std::optional<Time>& value) {
  if (value) return bind(*value);
  add(TIMESTAMPTZOID, 0);
  nulls_.back() = 'n';
  return *this;
}

Query& Query::bind_optional(const std::optional<Uuid>& value) {
  if (value) return bind(*value);
  add(UUIDOID, 0);
  nulls_.back() = 'n';
  return *this;
}

Query& Query::bind(const Uuid& value) {
  kept_.emplace_back(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
  return add(UUIDOID, PointerGetDatum(kept_.back().data()));
}

// Builds the text datum outside PostgreSQL's memory, so that no PostgreSQL allocation can fail.
std::uintptr_t Query::keep_text(std::string_view value) {
  const std::string encoded = from_utf8(value);
  std::string& datum = kept_.emplace_back();
  datum.resize(VARHDRSZ + encoded.size());
  SET_VARSIZE(datum.data(), datum.size());
  std::memcpy(datum.data() + VARHDRSZ, encoded.data(), encoded.size());
  return PointerGetDatum(datum.data());
}

Query& Query::add_array(std::uint32_t array_type, std::uint32_t element_type,
                        const std::vector<std::uintptr_t>& elements, const std::vector<char>& nulls) {
  static_assert(sizeof(bool) == sizeof(char) && sizeof(Datum) == sizeof(std::uintptr_t));
  int count = static_cast<int>(elements.size());
  auto* values = const_cast<Datum*>(reinterpret_cast<const Datum*>(elements.data()));
  auto* null_flags = nulls.empty() ? nullptr : const_cast<bool*>(reinterpret_cast<const bool*>(nulls.data()));
  const Datum array = guarded([&] {
    int16 length = 0;
    bool by_value = false;
    char alignment = 0;
    get_typlenbyvalalign(element_type, &length, &by_value, &alignment);
    if (count == 0) return PointerGetDatum(construct_empty_array(element_type));
    int low = 1;
    return PointerGetDatum(
        construct_md_array(values, null_flags, 1, &count, &low, element_type, length, by_value, alignment));
  });
  return add(array_type, array);
}

Query& Query::bind(const std::vector<std::int32_t>& values) {
  std::vector<std::uintptr_t> elements;
  elements.reserve(values.size());
  for (const std::int32_t value : values) elements.push_back(Int32GetDatum(value));
  return add_array(INT4ARRAYOID, INT4OID, elements, {});
}

Query& Query::bind(const std::vector<std::int64_t>& values) {
  std::vector<std::uintptr_t> elements;
  elements.reserve(values.size());
  for (const std::int64_t value : values) elements.push_back(Int64GetDatum(value));
  return add_array(INT8ARRAYOID, INT8OID, elements, {});
}

Query& Query::bind(const std::vector<double>& values) {
  std::vector<std::uintptr_t> elements;
  elements.reserve(values.size());
  for (const double value : values) elements.push_back(Float8GetDatum(value));
  return add_array(FLOAT8ARRAYOID, FLOAT8OID, elements, {});
}

Query& Query::bind(const std::vector<Time>& values) {
  std::vector<std::uintptr_t> elements;
  elements.reserve(values.size());
  for (const Time value : values) elements.push_back(timestamp_datum(value));
  return add_array(TIMESTAMPTZARRAYOID, TIMESTAMPTZOID, elements, {});
}

template <class Value, class ToDatum>
Query& Query::add_nullable_array(std::uint32_t array_type, std::uint32_t element_type,
                                 const std::vector<std::optional<Value>>& values, ToDatum to_datum) {
  std::vector<std::uintptr_t> elements;
  std::vector<char> nulls;
  elements.reserve(values.size());
  nulls.reserve(values.size());
  for (const std::optional<Value>& value : values) {
    elements.push_back(value ? to_datum(*value) : 0);
    nulls.push_back(value ? 0 : 1);
  }
  return add_array(array_type, element_type, elements, nulls);
}

Query& Query::bind(const std::vector<std::optional<Time>>& values) {
  return add_nullable_array(TIMESTAMPTZARRAYOID, TIMESTAMPTZOID, values, timestamp_datum);
}

Query& Query::bind(const std::vector<Uuid>& values) {
  std::vector<std::uintptr_t> elements;
  elements.reserve(values.size());
  for (const Uuid& value : values) elements.push_back(PointerGetDatum(value.bytes.data()));
  return add_array(kUuidArray, UUIDOID, elements, {});
}

Query& Query::bind(const std::vector<std::optional<std::string>>& values) {
  return add_nullable_array(TEXTARRAYOID, TEXTOID, values, [this](const std::string& text) { return keep_text(text); });
}

Query& Query::bind_xids(const std::vector<FullXid>& values) {
  std::vector<std::uintptr_t> elements;
  elements.reserve(values.size());
  for (const FullXid value : values) elements.push_back(UInt64GetDatum(value));
  return add_array(XID8ARRAYOID, XID8OID, elements, {});
}

// --- Execution -------------------------------------------------------------------------------------------------------

std::size_t Query::run(std::size_t rows_max) {
  if (statement_.plan_ == nullptr) {
    const std::string sql = qualified(statement_.sql_);
    statement_.plan_ = guarded([this, text = sql.c_str()]() -> void* {
      SPIPlanPtr plan = SPI_prepare(text, static_cast<int>(types_.size()), types_.data());
      if (plan == nullptr) elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
      if (SPI_keepplan(plan) != 0) elog(ERROR, "SPI_keepplan failed");
      return plan;
    });
  }
  struct Outcome {
    std::size_t count;
    SPITupleTable* rows;
  };
  const Outcome outcome = guarded([this, rows_max]() -> Outcome {
    CHECK_FOR_INTERRUPTS();
    const int code =
        SPI_execute_plan(static_cast<SPIPlanPtr>(statement_.plan_), reinterpret_cast<Datum*>(values_.data()),
                         nulls_.c_str(), false, static_cast<long>(rows_max));
    if (code < 0) elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(code));
    return {static_cast<std::size_t>(SPI_processed), SPI_tuptable};
  });
  rows_ = outcome.rows;
  return outcome.count;
}

// --- Results ---------------------------------------------------------------------------------------------------------

Column Query::column(const char* name) const {
  const auto* const table = static_cast<const SPITupleTable*>(rows_);
  // Needs no guard: SPI_fnumber() compares names, and raises no error.
  const int number = table == nullptr ? 0 : SPI_fnumber(table->tupdesc, name);
  if (number <= 0) throw Error("XX000", "a statement of the worker returns no column \"" + std::string(name) + '"');
  return Column(number);
}

bool Query::is_null(std::size_t row, Column column) const {
  auto* table = static_cast<SPITupleTable*>(rows_);
  bool is_null = false;
  // Needs no guard: SPI_getbinval() reports an unknown column in SPI_result and raises no error.
  SPI_getbinval(table->vals[row], table->tupdesc, column.number_, &is_null);
  return is_null;
}

std::uintptr_t Query::value(std::size_t row, Column column) const {
  auto* table = static_cast<SPITupleTable*>(rows_);
  bool is_null = false;
  // Needs no guard: see is_null().
  const Datum datum = SPI_getbinval(table->vals[row], table->tupdesc, column.number_, &is_null);
  if (is_null) {
    const char* const name = NameStr(TupleDescAttr(table->tupdesc, column.number_ - 1)->attname);
    throw Error("XX000", "unexpected null in column \"" + std::string(name) + "\" of a webhook table");
  }
  return datum;
}

std::int16_t Query::get_int16(std::size_t row, Column column) const { return DatumGetInt16(value(row, column)); }
std::int32_t Query::get_int32(std::size_t row, Column column) const { return DatumGetInt32(value(row, column)); }
std::int64_t Query::get_int64(std::size_t row, Column column) const { return DatumGetInt64(value(row, column)); }
std::uint32_t Query::get_oid(std::size_t row, Column column) const { return DatumGetObjectId(value(row, column)); }
bool Query::get_boolean(std::size_t row, Column column) const { return DatumGetBool(value(row, column)); }
double Query::get_double(std::size_t row, Column column) const { return DatumGetFloat8(value(row, column)); }
FullXid Query::get_xid(std::size_t row, Column column) const { return DatumGetUInt64(value(row, column)); }

Time Query::get_time(std::size_t row, Column column) const {
  return from_timestamptz(DatumGetInt64(value(row, column)));
}

std::optional<Time> Query::get_optional_time(std::size_t row, Column column) const {
  if (is_null(row, column)) return std::nullopt;
  return get_time(row, column);
}

Uuid Query::get_uuid(std::size_t row, Column column) const {
  Uuid uuid;
  std::memcpy(uuid.bytes.data(), DatumGetUUIDP(value(row, column))->data, uuid.bytes.size());
  return uuid;
}

std::string Query::get_text(std::size_t row, Column column, std::string (*convert)(std::string_view)) const {
  const Datum datum = value(row, column);
  varlena* const text = guarded([datum] { return PG_DETOAST_DATUM_PACKED(datum); });
  std::string utf8 = convert(view_of(text));
  // Needs no guard: the pointer is valid. Freed at once, because hundreds of expanded values would stay until the end
  // of the transaction.
  if (text != reinterpret_cast<varlena*>(DatumGetPointer(datum))) pfree(text);
  return utf8;
}

std::string Query::get_text(std::size_t row, Column column) const { return get_text(row, column, to_utf8); }

std::optional<std::string> Query::get_organization(std::size_t row, Column column) const {
  if (is_null(row, column)) return std::nullopt;
  return get_text(row, column, identifier_to_utf8);
}

std::size_t Query::expanded_bytes(std::size_t row, Column column) const {
  if (is_null(row, column)) return 0;
  const Datum datum = value(row, column);
  return guarded([datum] { return toast_raw_datum_size(datum); });
}

std::optional<std::string> Query::get_optional_text(std::size_t row, Column column) const {
  if (is_null(row, column)) return std::nullopt;
  return get_text(row, column);
}

std::vector<std::string> Query::get_texts(std::size_t row, Column column) const {
  if (is_null(row, column)) return {};
  const Datum datum = value(row, column);
  struct Elements {
    Datum* values;
    int count;
  };
  const Elements elements = guarded([datum]() -> Elements {
    Elements all{};
    bool* nulls = nullptr;
    deconstruct_array(DatumGetArrayTypeP(datum), TEXTOID, -1, false, TYPALIGN_INT, &all.values, &nulls, &all.count);
    for (int i = 0; i < all.count; ++i) {
      if (nulls[i]) elog(ERROR, "unexpected null in an array of a webhook table");
    }
    return all;
  });
  std::vector<std::string> texts;
  texts.reserve(static_cast<std::size_t>(elements.count));
  for (int i = 0; i < elements.count; ++i) {
    texts.push_back(to_utf8(view_of(reinterpret_cast<const varlena*>(DatumGetPointer(elements.values[i])))));
  }
  return texts;
}

std::vector<std::int64_t> Query::get_int64s(std::size_t row, Column column) const {
  if (is_null(row, column)) return {};
  const Datum datum = value(row, column);
  struct Elements {
    Datum* values;
    int count;
  };
  const Elements elements = guarded([datum]() -> Elements {
    Elements all{};
    deconstruct_array(DatumGetArrayTypeP(datum), INT8OID, sizeof(int64), true, TYPALIGN_DOUBLE, &all.values, nullptr,
                      &all.count);
    return all;
  });
  return {reinterpret_cast<std::int64_t*>(elements.values),
          reinterpret_cast<std::int64_t*>(elements.values) + elements.count};
}

}  // namespace webhook::pg

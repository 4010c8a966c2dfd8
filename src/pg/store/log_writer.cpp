#include "pg/store/log_writer.h"

extern "C" {
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
}

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.h"
#include "pg/bulk_insert.h"
#include "pg/capture/replication.h"
#include "pg/catalog.h"
#include "pg/encoding.h"
#include "pg/guard.h"
#include "pg/input_table.h"
#include "pg/rings.h"
#include "pg/server/organization_shares.h"
#include "pg/spi.h"
#include "pg/store/statements.h"
#include "pg/timestamps.h"

namespace webhook::pg {
namespace {

// What a row takes besides its texts: the tuple and its index entries.
constexpr std::uint64_t kRowBytes = 200;

// Rows for the main ring, and rows for the excess ring.
using Parts = std::array<std::vector<const LogRow*>, 2>;

Parts parts_of(const std::vector<LogRow>& rows) {
  Parts parts;
  for (const LogRow& row : rows) {
    const std::uint64_t bytes =
        kRowBytes + row.event.size() + row.response_body.size() + row.response_headers.size() + row.error.size();
    const bool is_beyond = row.organization_id && !take_share(Storage::kLogs, *row.organization_id, bytes);
    parts[is_beyond ? 1 : 0].push_back(&row);
  }
  return parts;
}

// --- The columns -----------------------------------------------------------------------------------------------------

// In their order in webhook_logs.
enum LogColumn {
  kSlot,
  kId,
  kCreatedAt,
  kConfigurationId,
  kOrganizationId,
  kEventId,
  kEvent,
  kAttempt,
  kConfigurationVersion,
  kStatus,
  kResponseStatus,
  kResponseBody,
  kResponseHeaders,
  kError,
  kDurationMs,
  kRemoteIp,
  kNextAttemptAt,
  kLogColumns
};

struct LogColumnType {
  const char* name;
  Oid type;                // in webhook_logs
  InputTable::Type input;  // in new_logs, which has no id
};

constexpr LogColumnType kColumns[kLogColumns] = {{"slot", INT2OID, InputTable::Type::kInteger},
                                                 {"id", INT8OID, InputTable::Type::kBigint},
                                                 {"created_at", TIMESTAMPTZOID, InputTable::Type::kTimestamp},
                                                 {"configuration_id", UUIDOID, InputTable::Type::kUuid},
                                                 {"organization_id", TEXTOID, InputTable::Type::kText},
                                                 {"event_id", INT8OID, InputTable::Type::kBigint},
                                                 {"event", TEXTOID, InputTable::Type::kText},
                                                 {"attempt", INT4OID, InputTable::Type::kInteger},
                                                 {"configuration_version", INT4OID, InputTable::Type::kInteger},
                                                 {"status", TEXTOID, InputTable::Type::kText},
                                                 {"response_status", INT4OID, InputTable::Type::kInteger},
                                                 {"response_body", TEXTOID, InputTable::Type::kText},
                                                 {"response_headers", TEXTOID, InputTable::Type::kText},
                                                 {"error", TEXTOID, InputTable::Type::kText},
                                                 {"duration_ms", FLOAT8OID, InputTable::Type::kDouble},
                                                 {"remote_ip", INETOID, InputTable::Type::kText},
                                                 {"next_attempt_at", TIMESTAMPTZOID, InputTable::Type::kTimestamp}};

// The columns of new_logs.
constexpr auto kInputColumns = [] {
  std::array<InputTable::Column, kLogColumns - 1> columns{};
  std::size_t count = 0;
  for (int i = 0; i < kLogColumns; ++i) {
    if (i != kId) columns[count++] = {kColumns[i].name, kColumns[i].input};
  }
  return columns;
}();

// Takes the next name off the text, whatever stands before it.
constexpr std::string_view take_name(std::string_view* text) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz_";
  text->remove_prefix(std::min(text->find_first_of(kLetters), text->size()));
  const std::string_view name = text->substr(0, text->find_first_not_of(kLetters));
  text->remove_prefix(name.size());
  return name;
}

// Whether "INSERT INTO t (a, b) SELECT l.a, l.b::type FROM …" names the columns of new_logs, both times in their order.
constexpr bool inserts_our_columns(std::string_view sql) {
  sql.remove_prefix(sql.find('('));
  std::string_view columns = sql.substr(0, sql.find(')'));
  std::string_view values = sql.substr(columns.size());
  for (const InputTable::Column& column : kInputColumns) {
    if (take_name(&columns) != column.name) return false;
    values.remove_prefix(std::min(values.find("l."), values.size() - 2) + 2);
    if (take_name(&values) != column.name) return false;
  }
  return take_name(&columns).empty() && values.find("l.") == std::string_view::npos;
}
static_assert(inserts_our_columns(statements::kInsertLogs));

// Puts the values of a row into all columns but slot and id, in the order of the columns. A null pointer and an empty
// optional are null.
template <class To>
void put_values(const LogRow& row, To* to) {
  const auto text_or_null = [](const std::string& of) { return of.empty() ? nullptr : &of; };
  const auto number_or_null = [](int of) { return of == 0 ? std::nullopt : std::optional(of); };
  to->put(kCreatedAt, std::optional(row.created_at));
  to->put(kConfigurationId, row.webhook);
  to->put(kOrganizationId, row.organization_id ? &*row.organization_id : nullptr);
  to->put(kEventId, row.event_id);
  to->put(kEvent, &row.event);
  to->put(kAttempt, std::optional(row.attempt));
  to->put(kConfigurationVersion, number_or_null(row.configuration_version));
  to->put_status(row.success);
  to->put(kResponseStatus, number_or_null(row.response_status));
  to->put(kResponseBody, text_or_null(row.response_body));
  to->put(kResponseHeaders, text_or_null(row.response_headers));
  to->put(kError, text_or_null(row.error));
  to->put(kDurationMs, static_cast<double>(row.elapsed.count()) / 1000.0);
  to->put_address(text_or_null(row.remote_ip));
  to->put(kNextAttemptAt, row.next_attempt_at);
}

// --- By a statement --------------------------------------------------------------------------------------------------

// A row of new_logs.
class InputRow {
 public:
  explicit InputRow(InputTable* table) : table_(*table) {}

  void put(LogColumn /*column*/, const std::string* text) { text == nullptr ? table_.put_null() : table_.put(*text); }
  template <class Value>
  void put(LogColumn /*column*/, const Value& value) {
    table_.put(value);
  }
  void put_status(bool is_success) { table_.put(is_success ? "success" : "failed"); }
  void put_address(const std::string* text) { put(kRemoteIp, text); }

 private:
  InputTable& table_;
};

void insert(const Parts& parts, const std::array<int, 2>& segments) {
  InputTable table("new_logs", kInputColumns);
  InputRow to(&table);
  for (std::size_t part = 0; part < parts.size(); ++part) {
    for (const LogRow* row : parts[part]) {
      table.put(segments[part]);
      put_values(*row, &to);
      table.end_row();
    }
  }
  Query(statements::insert_logs).run();
}

// --- Without the executor --------------------------------------------------------------------------------------------

bool has_our_columns(TupleDesc shape) {
  if (shape->natts != kLogColumns) return false;
  for (int i = 0; i < kLogColumns; ++i) {
    const Form_pg_attribute attribute = TupleDescAttr(shape, i);
    if (attribute->attisdropped || attribute->atttypid != kColumns[i].type) return false;
    if (std::strcmp(NameStr(attribute->attname), kColumns[i].name) != 0) return false;
  }
  return true;
}

// The extension's own triggers on the table fire only for a subscriber of logical replication.
bool fires_a_trigger(const TriggerDesc* triggers) {
  const char not_here =
      SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA ? TRIGGER_FIRES_ON_ORIGIN : TRIGGER_FIRES_ON_REPLICA;
  for (int i = 0; triggers != nullptr && i < triggers->numtriggers; ++i) {
    const Trigger& trigger = triggers->triggers[i];
    if (!TRIGGER_FOR_INSERT(trigger.tgtype)) continue;
    if (trigger.tgenabled != TRIGGER_DISABLED && trigger.tgenabled != not_here) return true;
  }
  return false;
}

// Whether an INSERT would only append rows.
bool is_plain(Relation table) { return !fires_a_trigger(table->trigdesc) && table->rd_rules == nullptr; }

bool is_plain_segment(Relation segment) {
  const Form_pg_class form = segment->rd_rel;
  return is_plain(segment) && form->relkind == RELKIND_RELATION && form->relispartition &&
         has_our_columns(RelationGetDescr(segment));
}

// Fills slots with the values of one row after another.
class Filler {
 public:
  Filler(int segment, Oid sequence) : segment_(segment), sequence_(sequence) {}

  void fill(TupleTableSlot* slot, const LogRow& row) {
    to_ = slot;
    set(kSlot, Int16GetDatum(static_cast<int16>(segment_)));
    set(kId, Int64GetDatum(nextval_internal(sequence_, false)));
    put_values(row, this);
    ExecStoreVirtualTuple(slot);
  }

  // For put_values().
  void put(LogColumn column, const std::optional<Time>& time) {
    set(column, time ? TimestampTzGetDatum(to_timestamptz(*time)) : 0, !time);
  }
  void put(LogColumn column, const Uuid& value) { set(column, PointerGetDatum(value.bytes.data())); }
  void put(LogColumn column, const std::string* text) { set(column, text ? datum(*text) : 0, text == nullptr); }
  void put(LogColumn column, std::int64_t value) { set(column, Int64GetDatum(value)); }
  void put(LogColumn column, const std::optional<int>& value) { set(column, Int32GetDatum(value.value_or(0)), !value); }
  void put(LogColumn column, double value) { set(column, Float8GetDatum(value)); }
  void put_status(bool is_success) { set(kStatus, is_success ? success_ : failed_); }
  void put_address(const std::string* text) { set(kRemoteIp, text ? address(*text) : 0, text == nullptr); }

 private:
  void set(LogColumn column, Datum value, bool is_null = false) {
    to_->tts_values[column] = value;
    to_->tts_isnull[column] = is_null;
  }

  static Datum datum(std::string_view text) {
    return PointerGetDatum(cstring_to_text_with_len(text.data(), static_cast<int>(text.size())));
  }

  // Mostly the same address as in the row before.
  Datum address(const std::string& text) {
    if (address_text_ == nullptr || *address_text_ != text) {
      address_ = DirectFunctionCall1(inet_in, CStringGetDatum(text.c_str()));
      address_text_ = &text;
    }
    return address_;
  }

  const int segment_;
  const Oid sequence_;
  const Datum success_ = datum("success");
  const Datum failed_ = datum("failed");
  TupleTableSlot* to_ = nullptr;
  const std::string* address_text_ = nullptr;
  Datum address_ = 0;
};

void append(Relation segment, int number, Oid sequence, const std::vector<const LogRow*>& rows) {
  MemoryContext const context = AllocSetContextCreate(CurrentMemoryContext, "webhook logs", ALLOCSET_DEFAULT_SIZES);
  MemoryContext const previous = MemoryContextSwitchTo(context);
  // A copy of the descriptor has no reference count that each slot would have to track.
  TupleDesc const shape = CreateTupleDescCopy(RelationGetDescr(segment));
  auto** slots = static_cast<TupleTableSlot**>(palloc(sizeof(TupleTableSlot*) * rows.size()));
  Filler filler(number, sequence);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    slots[i] = MakeSingleTupleTableSlot(shape, &TTSOpsVirtual);
    filler.fill(slots[i], *rows[i]);
  }
  PushActiveSnapshot(GetTransactionSnapshot());
  bulk_insert(segment, slots, rows.size(), Constraints::kChecked, kId + 1);
  PopActiveSnapshot();
  for (std::size_t i = 0; i < rows.size(); ++i) ExecDropSingleTupleTableSlot(slots[i]);
  CommandCounterIncrement();
  MemoryContextSwitchTo(previous);
  MemoryContextDelete(context);
}

// Returns false, with nothing written, if an INSERT is needed.
bool append_directly(int number, const std::vector<const LogRow*>& rows) {
  if (GetDatabaseEncoding() != PG_UTF8) return false;
  const Catalog* const catalog = find_catalog();
  if (catalog == nullptr) return false;
  return guarded([number, schema = catalog->schema, &rows] {
    char name[NAMEDATALEN];
    snprintf(name, sizeof name, "webhook_logs_%d", number);
    const Oid parent_id = get_relname_relid("webhook_logs", schema);
    const Oid segment_id = get_relname_relid(name, schema);
    const Oid sequence = get_relname_relid("webhook_logs_id_seq", schema);
    if (!OidIsValid(parent_id) || !OidIsValid(segment_id) || !OidIsValid(sequence)) return false;
    Relation parent = table_open(parent_id, RowExclusiveLock);
    Relation segment = table_open(segment_id, RowExclusiveLock);
    const bool is_simple = is_plain(parent) && is_plain_segment(segment);
    if (is_simple) append(segment, number, sequence, rows);
    table_close(segment, NoLock);
    table_close(parent, NoLock);
    return is_simple;
  });
}

// --- Rows of another server ------------------------------------------------------------------------------------------

// The values by the names of the columns. A segment may have other columns, or another order of them.
void copy_values(TupleTableSlot* from, TupleTableSlot* to) {
  TupleDesc const source = from->tts_tupleDescriptor;
  TupleDesc const target = to->tts_tupleDescriptor;
  for (int i = 0; i < target->natts; ++i) {
    const char* const name = NameStr(TupleDescAttr(target, i)->attname);
    const auto has_name = [&](int k) { return std::strcmp(NameStr(TupleDescAttr(source, k)->attname), name) == 0; };
    int at = i < source->natts && has_name(i) ? i : 0;
    while (at < source->natts && !has_name(at)) ++at;
    to->tts_isnull[i] = at == source->natts || from->tts_isnull[at];
    to->tts_values[i] = to->tts_isnull[i] ? 0 : from->tts_values[at];
  }
}

void set_value(TupleTableSlot* slot, LogColumn column, Datum value) {
  for (int i = 0; i < slot->tts_tupleDescriptor->natts; ++i) {
    if (std::strcmp(NameStr(TupleDescAttr(slot->tts_tupleDescriptor, i)->attname), kColumns[column].name) != 0)
      continue;
    slot->tts_values[i] = value;
    slot->tts_isnull[i] = false;
  }
}

bool is_within_share(Relation source, TupleTableSlot* row, std::size_t bytes) {
  const AttrNumber organization = get_attnum(RelationGetRelid(source), kColumns[kOrganizationId].name);
  bool is_null = true;
  const Datum value = organization > 0 ? slot_getattr(row, organization, &is_null) : 0;
  return is_null || take_share(Storage::kLogs, view_of(DatumGetTextPP(value)), bytes);
}

void receive(const Catalog& catalog, Relation source, TupleTableSlot* row) {
  slot_getallattrs(row);
  const std::size_t bytes =
      kRowBytes + heap_compute_data_size(row->tts_tupleDescriptor, row->tts_values, row->tts_isnull);
  const bool is_within = is_within_share(source, row, bytes);
  LockRelationOid(catalog.rings, AccessShareLock);
  const int number = read_ring(catalog.rings, is_within ? "logs" : "excess_logs");
  char name[NAMEDATALEN];
  snprintf(name, sizeof name, "webhook_logs_%d", number);
  Relation segment = table_open(get_relname_relid(name, catalog.schema), RowExclusiveLock);
  TupleTableSlot* slot = MakeSingleTupleTableSlot(RelationGetDescr(segment), &TTSOpsVirtual);
  copy_values(row, slot);
  set_value(slot, kSlot, Int16GetDatum(static_cast<int16>(number)));
  set_value(slot, kId,
            Int64GetDatum(nextval_internal(get_relname_relid("webhook_logs_id_seq", catalog.schema), false)));
  ExecStoreVirtualTuple(slot);
  bulk_insert(segment, &slot, 1, Constraints::kChecked);
  ExecDropSingleTupleTableSlot(slot);
  table_close(segment, NoLock);
}

}  // namespace

void receive_log(FunctionCallInfoBaseData* call) {
  const TriggerData& trigger = trigger_of_insert(call, "webhook_receive_log");
  const Catalog* const catalog = find_catalog();
  if (catalog == nullptr || !applied_subscription().starts_with("webhook_node_")) return;
  guarded([&, known = *catalog] { receive(known, trigger.tg_relation, trigger.tg_trigslot); });
}

void write_logs(const std::vector<LogRow>& rows) {
  Query rings(statements::current_log_segments);
  rings.run();
  const Column main = rings.column("main");
  const Column excess = rings.column("excess");
  if (rings.is_null(0, main) || rings.is_null(0, excess))
    throw Error("XX001", "webhook_rings does not name the current segments");
  const std::array<int, 2> segments{rings.get_int16(0, main), rings.get_int16(0, excess)};
  Parts parts = parts_of(rows);
  for (std::size_t part = 0; part < parts.size(); ++part) {
    if (!parts[part].empty() && append_directly(segments[part], parts[part])) parts[part].clear();
  }
  if (!parts[0].empty() || !parts[1].empty()) insert(parts, segments);
}

}  // namespace webhook::pg

#include "pg/store/log_writer.h"

extern "C" {
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
}

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.h"
#include "pg/bulk_insert.h"
#include "pg/catalog.h"
#include "pg/guard.h"
#include "pg/input_table.h"
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
    const std::uint64_t bytes = kRowBytes + row.event.size() + row.response_body.size() + row.error.size();
    const bool is_beyond = row.organization_id && !take_share(Storage::kLogs, *row.organization_id, bytes);
    parts[is_beyond ? 1 : 0].push_back(&row);
  }
  return parts;
}

void insert(const Parts& parts, const std::array<int, 2>& slots) {
  using enum InputTable::Type;
  InputTable table("new_logs", {{"slot", kInteger},
                                {"created_at", kTimestamp},
                                {"configuration_id", kUuid},
                                {"organization_id", kText},
                                {"event_id", kBigint},
                                {"event", kText},
                                {"attempt", kInteger},
                                {"status", kText},
                                {"response_status", kInteger},
                                {"response_body", kText},
                                {"error", kText},
                                {"duration_ms", kDouble},
                                {"remote_ip", kText},
                                {"next_attempt_at", kTimestamp}});
  const auto put = [&table](int slot, const LogRow& row) {
    table.put(slot).put(row.created_at).put(row.webhook).put(row.organization_id).put(row.event_id).put(row.event);
    table.put(row.attempt).put(row.success ? "success" : "failed");
    if (row.response_status == 0) {
      table.put_null();
    } else {
      table.put(row.response_status);
    }
    table.put_or_null(row.response_body).put_or_null(row.error);
    table.put(static_cast<double>(row.elapsed.count()) / 1000.0);
    table.put_or_null(row.remote_ip).put(row.next_attempt_at).end_row();
  };
  for (std::size_t part = 0; part < parts.size(); ++part) {
    for (const LogRow* row : parts[part]) put(slots[part], *row);
  }
  Query(statements::insert_logs).run();
}

// --- Without the executor --------------------------------------------------------------------------------------------

enum LogColumn {
  kSlot,
  kId,
  kCreatedAt,
  kConfigurationId,
  kOrganizationId,
  kEventId,
  kEvent,
  kAttempt,
  kStatus,
  kResponseStatus,
  kResponseBody,
  kError,
  kDurationMs,
  kRemoteIp,
  kNextAttemptAt,
  kLogColumns
};

struct Column {
  const char* name;
  Oid type;
};

constexpr Column kColumns[kLogColumns] = {{"slot", INT2OID},
                                          {"id", INT8OID},
                                          {"created_at", TIMESTAMPTZOID},
                                          {"configuration_id", UUIDOID},
                                          {"organization_id", TEXTOID},
                                          {"event_id", INT8OID},
                                          {"event", TEXTOID},
                                          {"attempt", INT4OID},
                                          {"status", TEXTOID},
                                          {"response_status", INT4OID},
                                          {"response_body", TEXTOID},
                                          {"error", TEXTOID},
                                          {"duration_ms", FLOAT8OID},
                                          {"remote_ip", INETOID},
                                          {"next_attempt_at", TIMESTAMPTZOID}};

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
  Filler(int slot, Oid sequence) : slot_(slot), sequence_(sequence) {}

  void fill(TupleTableSlot* slot, const LogRow& row) {
    to_ = slot;
    set(kSlot, Int16GetDatum(static_cast<int16>(slot_)));
    set(kId, Int64GetDatum(nextval_internal(sequence_, false)));
    set(kCreatedAt, TimestampTzGetDatum(to_timestamptz(row.created_at)));
    set(kConfigurationId, PointerGetDatum(row.webhook.bytes.data()));
    set_text(kOrganizationId, row.organization_id ? &*row.organization_id : nullptr);
    set(kEventId, Int64GetDatum(row.event_id));
    set_text(kEvent, &row.event);
    set(kAttempt, Int32GetDatum(row.attempt));
    set(kStatus, row.success ? success_ : failed_);
    set(kResponseStatus, Int32GetDatum(row.response_status), row.response_status == 0);
    set_text(kResponseBody, row.response_body.empty() ? nullptr : &row.response_body);
    set_text(kError, row.error.empty() ? nullptr : &row.error);
    set(kDurationMs, Float8GetDatum(static_cast<double>(row.elapsed.count()) / 1000.0));
    set(kRemoteIp, row.remote_ip.empty() ? 0 : address(row.remote_ip), row.remote_ip.empty());
    set(kNextAttemptAt, row.next_attempt_at ? TimestampTzGetDatum(to_timestamptz(*row.next_attempt_at)) : 0,
        !row.next_attempt_at);
    ExecStoreVirtualTuple(slot);
  }

 private:
  void set(LogColumn column, Datum value, bool is_null = false) {
    to_->tts_values[column] = value;
    to_->tts_isnull[column] = is_null;
  }

  void set_text(LogColumn column, const std::string* text) { set(column, text ? datum(*text) : 0, text == nullptr); }

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

  const int slot_;
  const Oid sequence_;
  const Datum success_ = datum("success");
  const Datum failed_ = datum("failed");
  TupleTableSlot* to_ = nullptr;
  const std::string* address_text_ = nullptr;
  Datum address_ = 0;
};

void append(Relation segment, int slot, Oid sequence, const std::vector<const LogRow*>& rows) {
  MemoryContext const context = AllocSetContextCreate(CurrentMemoryContext, "webhook logs", ALLOCSET_DEFAULT_SIZES);
  MemoryContext const previous = MemoryContextSwitchTo(context);
  // A copy of the descriptor has no reference count that each slot would have to track.
  TupleDesc const shape = CreateTupleDescCopy(RelationGetDescr(segment));
  auto** slots = static_cast<TupleTableSlot**>(palloc(sizeof(TupleTableSlot*) * rows.size()));
  Filler filler(slot, sequence);
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
bool append_directly(int slot, const std::vector<const LogRow*>& rows) {
  if (GetDatabaseEncoding() != PG_UTF8) return false;
  const Catalog* const catalog = find_catalog();
  if (catalog == nullptr) return false;
  return guarded([slot, schema = catalog->schema, &rows] {
    char name[NAMEDATALEN];
    snprintf(name, sizeof name, "webhook_logs_%d", slot);
    const Oid parent_id = get_relname_relid("webhook_logs", schema);
    const Oid segment_id = get_relname_relid(name, schema);
    const Oid sequence = get_relname_relid("webhook_logs_id_seq", schema);
    if (!OidIsValid(parent_id) || !OidIsValid(segment_id) || !OidIsValid(sequence)) return false;
    Relation parent = table_open(parent_id, RowExclusiveLock);
    Relation segment = table_open(segment_id, RowExclusiveLock);
    const bool is_simple = is_plain(parent) && is_plain_segment(segment);
    if (is_simple) append(segment, slot, sequence, rows);
    table_close(segment, NoLock);
    table_close(parent, NoLock);
    return is_simple;
  });
}

}  // namespace

void write_logs(const std::vector<LogRow>& rows) {
  Query rings(statements::current_log_segments);
  rings.run();
  if (rings.is_null(0, 0) || rings.is_null(0, 1))
    throw Error("XX001", "webhook_rings does not name the current segments");
  const std::array<int, 2> slots{rings.get_int16(0, 0), rings.get_int16(0, 1)};
  Parts parts = parts_of(rows);
  for (std::size_t part = 0; part < parts.size(); ++part) {
    if (!parts[part].empty() && append_directly(slots[part], parts[part])) parts[part].clear();
  }
  if (!parts[0].empty() || !parts[1].empty()) insert(parts, slots);
}

}  // namespace webhook::pg

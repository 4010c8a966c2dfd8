#include "pg/capture/capture.h"

extern "C" {
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
}

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "core/crypto.h"
#include "core/event_buffer.h"
#include "pg/capture/capture_plan.h"
#include "pg/capture/event_writer.h"
#include "pg/capture/replication.h"
#include "pg/capture/row_json.h"
#include "pg/capture/subscriptions.h"
#include "pg/capture/written_times.h"
#include "pg/catalog.h"
#include "pg/encoding.h"
#include "pg/event_table.h"
#include "pg/guard.h"
#include "pg/server/event_ids.h"
#include "pg/server/wakes.h"
#include "pg/settings.h"
#include "pg/timestamps.h"

namespace webhook::pg {
namespace {

// The buffer for a payload's text is kept between rows, up to this size, so that it need not grow again.
constexpr std::size_t kScratchBytesMax = 256 * 1024;

// --- Names and keys --------------------------------------------------------------------------------------------------

// An event's name, organization and key go through every table and queue, and into indexes. A longer value is cut, and
// its SHA-256 in hexadecimal is appended. So equal values stay equal and different ones stay different. No webhook's
// organization has an id this long.
constexpr std::size_t kIdentifierBytesMax = 1000;
constexpr std::size_t kIdentifierBytesKept = 900;

// Returns the number of bytes cut off. kept stores the shortened text, if text was too long.
std::size_t shorten(std::string_view* text, std::string* kept) {
  if (text->size() <= kIdentifierBytesMax) return 0;
  const std::size_t lost = text->size() - kIdentifierBytesKept;
  // Needs no guard: it only reads the text.
  const int size = pg_mbcliplen(text->data(), kIdentifierBytesMax, kIdentifierBytesKept);
  kept->assign(text->substr(0, static_cast<std::size_t>(size))).append("...");
  append_hex(*kept, sha256(*text));
  *text = *kept;
  return lost;
}

// The same, if there is a text.
std::size_t shorten(std::optional<std::string_view>* text, std::string* kept) {
  return *text ? shorten(&**text, kept) : 0;
}

// --- The transaction -------------------------------------------------------------------------------------------------

// Never destroyed, so that no code of ours runs at the process's exit.
EventBuffer& buffer() {
  static auto* const instance = new EventBuffer;
  return *instance;
}

// Never destroyed, likewise.
WrittenEvents& written() {
  static auto* const instance = new WrittenEvents;
  return *instance;
}

bool is_finishing = false;  // the last write has begun: later events are written at once

void write_own(SubtransactionId sub, Flush flush = Flush::kEarly) { write_events(buffer(), sub, flush, &written()); }

// The bytes cut off from names and keys count as payload.
void append(BufferedEvent event) {
  std::string name;
  std::string organization_id;
  std::string key;
  const std::size_t beyond =
      shorten(&event.name, &name) + shorten(&event.organization_id, &organization_id) + shorten(&event.key, &key);
  const std::size_t bytes = event.data.size() + event.previous.size() + beyond;
  if (beyond > 0 && event.oversized_bytes == 0 && bytes > payload_bytes_max()) {
    event.oversized_bytes = static_cast<std::int64_t>(bytes);
    event.data = event.previous = {};
  }
  const SubtransactionId sub = GetCurrentSubTransactionId();
  buffer().append(sub, event);
  if (is_finishing || buffer().is_full(sub)) write_own(sub);
}

// --- The time of a change --------------------------------------------------------------------------------------------

// Receivers use it to tell which of a row's changes is the last. So it is later with each change, even if the clock is
// not.
Time last_change_at{};

// Of a transaction that logical replication applies, the first change: when it was applied. The source's commit becomes
// known only at the end of the transaction. Until then its changes are a microsecond apart, and all of them are shifted
// together then.
std::optional<Time> first_applied_at;
Duration shift{};             // in this transaction, of what is captured after that
Time last_applied_change_at;  // the last change as it was shifted

// Stores the time or times of a change that has just been made.
void stamp(BufferedEvent* event) {
  if (first_applied_at) {
    last_change_at += Duration(1);
  } else {
    last_change_at = std::max(from_timestamptz(GetCurrentTimestamp()), last_change_at + Duration(1));
    if (is_applying()) first_applied_at = last_change_at;
  }
  event->created_at = last_change_at + shift;
  event->applied_at = first_applied_at;
}

// At the end of a transaction: if it was applied, its changes get the time of the source's commit.
void take_source_time() {
  if (!first_applied_at) return;
  const std::optional<Time> source = source_commit_time();
  if (!source) return;
  shift = std::max(*source, last_applied_change_at + Duration(1)) - *first_applied_at;
  last_applied_change_at = last_change_at + shift;
  buffer().shift_times(shift);
  shift_written_times(written(), shift);
  publish_shift(written(), shift);
}

// --- One row ---------------------------------------------------------------------------------------------------------

// State for one statement, or strictly for each time that the executor prepares the trigger. Kept in fn_extra. If it
// exists, the statement has learned what other sessions have committed.
struct Statement {
  std::uint64_t plan_serial;  // 0: none yet
  FmgrInfo* functions;        // one per payload column
  ExprState** expressions;    // one per virtual column
  ExprContext* context;
};

struct Row {
  RowValues current;   // NEW, or OLD for DELETE
  RowValues previous;  // OLD for UPDATE
  bool is_event = false;
  std::optional<std::string_view> organization_id;
  std::optional<std::string_view> key;
};

const TriggerData& checked_trigger(FunctionCallInfo call) {
  constexpr const char* kHint =
      "Create it as AFTER INSERT, UPDATE or DELETE ... FOR EACH ROW, or with webhook_watch().";
  if (!CALLED_AS_TRIGGER(call)) throw Error("39P01", "webhook_capture() was not called by a trigger", {}, kHint);
  const auto& trigger = *reinterpret_cast<TriggerData*>(call->context);
  if (!TRIGGER_FIRED_AFTER(trigger.tg_event) || !TRIGGER_FIRED_FOR_ROW(trigger.tg_event)) {
    throw Error("39P01",
                std::string("trigger \"") + trigger.tg_trigger->tgname +
                    "\" calls webhook_capture() otherwise than AFTER ... FOR EACH ROW",
                {}, kHint);
  }
  return trigger;
}

Statement* statement_of(FunctionCallInfo call) {
  FmgrInfo* const info = call->flinfo;
  if (info->fn_extra == nullptr) {
    accept_subscription_changes();
    info->fn_extra = guarded([&] { return MemoryContextAllocZero(info->fn_mcxt, sizeof(Statement)); });
  }
  return static_cast<Statement*>(info->fn_extra);
}

#if PG_VERSION_NUM >= 180000
void prepare_virtual_columns(Statement* statement, const CapturePlan& plan, Relation relation) {
  if (plan.virtual_columns.empty()) return;
  statement->context = CreateStandaloneExprContext();
  statement->expressions = static_cast<ExprState**>(palloc(sizeof(ExprState*) * plan.virtual_columns.size()));
  for (std::size_t i = 0; i < plan.virtual_columns.size(); ++i) {
    Node* expression = build_generation_expression(relation, plan.virtual_columns[i].number);
    statement->expressions[i] = ExecInitExpr(expression_planner(reinterpret_cast<Expr*>(expression)), nullptr);
  }
}
#else
void prepare_virtual_columns(Statement*, const CapturePlan&, Relation) {}
#endif

// Prepares everything that belongs to one statement and depends on the plan.
void prepare(Statement* statement, const CapturePlan& plan, Relation relation, MemoryContext context) {
  MemoryContext const previous = MemoryContextSwitchTo(context);
  statement->functions = static_cast<FmgrInfo*>(palloc0(sizeof(FmgrInfo) * (plan.payload.size() + 1)));
  for (std::size_t i = 0; i < plan.payload.size(); ++i) {
    const Oid function = plan.payload[i].json_function;
    if (OidIsValid(function)) fmgr_info(function, &statement->functions[i]);
  }
  prepare_virtual_columns(statement, plan, relation);
  statement->plan_serial = plan.serial;
  MemoryContextSwitchTo(previous);
}

// PostgreSQL leaves the virtual columns of a trigger's row undefined, so this computes them in a copy.
RowValues compute_virtual_columns(const Statement* statement, const CapturePlan& plan, TupleTableSlot* slot) {
  const auto count = static_cast<std::size_t>(slot->tts_tupleDescriptor->natts);
  auto* values = static_cast<Datum*>(palloc(sizeof(Datum) * count));
  auto* nulls = static_cast<bool*>(palloc(sizeof(bool) * count));
  std::memcpy(values, slot->tts_values, sizeof(Datum) * count);
  std::memcpy(nulls, slot->tts_isnull, sizeof(bool) * count);
  statement->context->ecxt_scantuple = slot;
  for (std::size_t i = 0; i < plan.virtual_columns.size(); ++i) {
    const auto index = static_cast<std::size_t>(plan.virtual_columns[i].number - 1);
    values[index] = ExecEvalExpr(statement->expressions[i], statement->context, &nulls[index]);
  }
  return {values, nulls};
}

RowValues values_of(const Statement* statement, const CapturePlan& plan, TupleTableSlot* slot) {
  slot_getallattrs(slot);
  if (!plan.virtual_columns.empty()) return compute_virtual_columns(statement, plan, slot);
  return {slot->tts_values, slot->tts_isnull};
}

bool has_changed(const CapturePlan& plan, RowValues before, RowValues after) {
  return !std::ranges::all_of(plan.compared,
                              [&](const Column& column) { return is_same_image(column, before, after); });
}

std::optional<std::string_view> organization_of(const CapturePlan& plan, RowValues row) {
  if (!plan.organization) return std::nullopt;
  const auto index = static_cast<std::size_t>(plan.organization->number - 1);
  if (row.nulls[index]) return std::nullopt;
  return text_of(*plan.organization, row.values[index]);
}

// The texts of the key columns, separated by commas, with nulls as empty texts. nullopt if all are null.
std::optional<std::string_view> key_of(const CapturePlan& plan, RowValues row) {
  StringInfoData key;
  initStringInfo(&key);
  bool is_null = true;
  for (std::size_t i = 0; i < plan.key.size(); ++i) {
    if (i > 0) appendStringInfoChar(&key, ',');
    const auto index = static_cast<std::size_t>(plan.key[i].number - 1);
    if (row.nulls[index]) continue;
    is_null = false;
    const std::string_view text = text_of(plan.key[i], row.values[index]);
    if (plan.key.size() == 1) return text;
    appendBinaryStringInfo(&key, text.data(), static_cast<int>(text.size()));
  }
  if (is_null) return std::nullopt;
  return std::string_view(key.data, static_cast<std::size_t>(key.len));
}

Row read_row(FunctionCallInfo call, Statement* statement, const CapturePlan& plan) {
  const auto* trigger = reinterpret_cast<const TriggerData*>(call->context);
  if (statement->plan_serial != plan.serial) {
    prepare(statement, plan, trigger->tg_relation, call->flinfo->fn_mcxt);
  }
  Row row;
  const bool is_update = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
  row.current = values_of(statement, plan, is_update ? trigger->tg_newslot : trigger->tg_trigslot);
  if (is_update) row.previous = values_of(statement, plan, trigger->tg_trigslot);
  row.is_event = !is_update || has_changed(plan, row.previous, row.current);
  if (!row.is_event) return row;
  row.organization_id = organization_of(plan, row.current);
  if (!plan.key.empty()) row.key = key_of(plan, row.current);
  return row;
}

// A string to build a payload in. It reuses the memory of the last one. A nested capture gets a new string, because the
// output function of a type may itself change rows.
class Scratch {
 public:
  Scratch() : text_(std::move(kept())) { text_.clear(); }
  ~Scratch() {
    if (text_.capacity() <= kScratchBytesMax) kept() = std::move(text_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string& text() { return text_; }

 private:
  static std::string& kept() {
    static auto* const instance = new std::string;
    return *instance;
  }

  std::string text_;
};

struct Payload {
  std::size_t data_bytes = 0;       // the previous values follow them
  std::size_t oversized_bytes = 0;  // above zero: the size at which the payload was too large
};

Payload build_payload(std::string& out, const Statement* statement, const CapturePlan& plan, const Row& row) {
  const std::size_t bytes_max = payload_bytes_max();
  Payload payload;
  payload.oversized_bytes = append_row(out, plan.payload, statement->functions, row.current, bytes_max);
  payload.data_bytes = out.size();
  if (payload.oversized_bytes > 0 || !plan.include_previous || row.previous.values == nullptr) return payload;
  payload.oversized_bytes = append_row(out, plan.payload, statement->functions, row.previous, bytes_max, &row.current);
  return payload;
}

// Whether the event is to be recorded.
bool is_wanted(std::optional<std::string_view> organization_id, std::string_view event) {
  return capture_mode() == CaptureMode::kAll || is_subscribed(organization_id, event);
}

// --- Callbacks -------------------------------------------------------------------------------------------------------

void end_transaction(bool committed) noexcept {
  withdraw_ids();
  if (committed && written().segments.any()) wake_listening_workers();
  if (has_applied_commit_prepared() && committed) wake_workers();
  buffer().clear();
  written().segments.reset();
  written().early.clear();
  is_finishing = false;
  first_applied_at.reset();
  shift = {};
}

void on_transaction(XactEvent event, void* /*argument*/) {
  switch (event) {
    case XACT_EVENT_PRE_COMMIT:
    case XACT_EVENT_PRE_PREPARE:
      entry([event] {
        is_finishing = true;
        take_source_time();
        // Another process will commit what is prepared.
        write_own(GetCurrentSubTransactionId(), event == XACT_EVENT_PRE_COMMIT ? Flush::kAtCommit : Flush::kEarly);
      });
      break;
    case XACT_EVENT_COMMIT:
      end_transaction(true);
      break;
    case XACT_EVENT_PREPARE:
    case XACT_EVENT_ABORT:
      end_transaction(false);
      break;
    case XACT_EVENT_PARALLEL_PRE_COMMIT:
    case XACT_EVENT_PARALLEL_COMMIT:
    case XACT_EVENT_PARALLEL_ABORT:
      break;
  }
}

void on_subtransaction(SubXactEvent event, SubTransactionId sub, SubTransactionId parent, void* /*argument*/) {
  switch (event) {
    case SUBXACT_EVENT_START_SUB:
      break;
    case SUBXACT_EVENT_PRE_COMMIT_SUB:
      if (buffer().is_full_for_commit(sub)) entry([&] { write_own(sub); });
      break;
    case SUBXACT_EVENT_COMMIT_SUB:
      buffer().commit_sub(sub, parent);
      break;
    case SUBXACT_EVENT_ABORT_SUB:
      buffer().abort_sub(sub);
      break;
  }
}

void on_relation_change(Datum /*argument*/, Oid relation) noexcept {
  invalidate_catalog(relation);
  invalidate_subscriptions(relation);
  invalidate_plans(relation);
}

void on_type_change(Datum /*argument*/, int /*cache*/, uint32 hash) noexcept { invalidate_plans_of_type(hash); }

// Casts change so seldom that all plans are made again.
void on_cast_change(Datum /*argument*/, int /*cache*/, uint32 /*hash*/) noexcept { invalidate_plans_of_type(0); }

}  // namespace

void init_capture() {
  // Creates what the callbacks use, because they may not allocate.
  buffer().clear();
  written().early.clear();
  invalidate_plans(InvalidOid);
  invalidate_subscriptions(InvalidOid);
  guarded([] {
    RegisterXactCallback(on_transaction, nullptr);
    RegisterSubXactCallback(on_subtransaction, nullptr);
    CacheRegisterRelcacheCallback(on_relation_change, 0);
    CacheRegisterSyscacheCallback(TYPEOID, on_type_change, 0);
    CacheRegisterSyscacheCallback(CASTSOURCETARGET, on_cast_change, 0);
  });
}

void capture_row_change(FunctionCallInfoBaseData* call) {
  const TriggerData& trigger = checked_trigger(call);
  if (capture_mode() == CaptureMode::kOff) return;
  Statement* const statement = statement_of(call);
  const std::shared_ptr<const CapturePlan> plan = plan_of(trigger);
  if (!plan->captures) return;
  const bool is_backfill = is_copying_table();
  if (is_backfill && !plan->backfill) return;

  Scratch scratch;
  Payload payload;
  BufferedEvent event{.name = plan->event, .is_backfill = is_backfill};
  {
    std::optional<IsoSettings> settings;
    if (plan->reads_settings) settings.emplace();
    const Row row = guarded([&] { return read_row(call, statement, *plan); });
    if (!row.is_event || !is_wanted(row.organization_id, plan->event)) return;
    event.known_switch = known_switch();
    event.organization_id = row.organization_id;
    event.key = row.key;
    payload = guarded([&] { return build_payload(scratch.text(), statement, *plan, row); });
  }
  event.oversized_bytes = static_cast<std::int64_t>(payload.oversized_bytes);
  if (event.oversized_bytes == 0) {
    const std::string_view text = scratch.text();
    event.data = text.substr(0, payload.data_bytes);
    event.previous = text.substr(payload.data_bytes);
  }
  stamp(&event);
  append(event);
}

void capture_event(std::string_view name, std::string_view data, std::optional<std::string_view> organization_id,
                   std::optional<std::string_view> key) {
  if (capture_mode() == CaptureMode::kOff) return;
  accept_subscription_changes();
  if (!is_wanted(organization_id, name)) return;
  BufferedEvent event{.name = name, .organization_id = organization_id, .key = key, .known_switch = known_switch()};
  if (data.size() > payload_bytes_max()) {
    event.oversized_bytes = static_cast<std::int64_t>(data.size());
  } else {
    event.data = data;
  }
  stamp(&event);
  append(event);
}

namespace {

// The texts of a row of webhook_events, in the memory of the trigger.
struct ReceivedRow {
  BufferedEvent event;
  std::int64_t id;
};

ReceivedRow read_received(Relation segment, TupleTableSlot* slot) {
  int places[kEventColumns];
  find_event_columns(RelationGetDescr(segment), RelationGetRelationName(segment), places);
  slot_getallattrs(slot);
  const auto value = [&](EventColumn column) { return slot->tts_values[places[column]]; };
  const auto is_null = [&](EventColumn column) { return slot->tts_isnull[places[column]]; };
  const auto text_at = [&](EventColumn column) -> std::optional<std::string_view> {
    if (is_null(column)) return std::nullopt;
    return view_of(DatumGetTextPP(value(column)));
  };
  ReceivedRow row{.event = {}, .id = DatumGetInt64(value(kId))};
  row.event.created_at = from_timestamptz(DatumGetTimestampTz(value(kCreatedAt)));
  row.event.name = text_at(kEvent).value_or(std::string_view());
  row.event.organization_id = text_at(kOrganizationId);
  row.event.key = text_at(kKey);
  row.event.data = text_at(kData).value_or(std::string_view());
  row.event.previous = text_at(kPrevious).value_or(std::string_view());
  row.event.oversized_bytes = is_null(kOversizedBytes) ? 0 : DatumGetInt64(value(kOversizedBytes));
  row.event.known_switch = DatumGetInt32(value(kKnownSwitch));
  row.event.is_backfill = !is_null(kBackfill) && DatumGetBool(value(kBackfill));
  return row;
}

// Of a trigger BEFORE INSERT ... FOR EACH ROW. nullptr: the row is not of the subscription to a home.
const TriggerData* received_from_home(const FunctionCallInfoBaseData* call, const char* name) {
  const TriggerData& trigger = trigger_of_insert(call, name);
  return applied_subscription() == "webhook_home" ? &trigger : nullptr;
}

}  // namespace

void receive_event(FunctionCallInfoBaseData* call) {
  const TriggerData* const trigger = received_from_home(call, "webhook_receive");
  if (trigger == nullptr) return;
  ReceivedRow row = guarded([&] { return read_received(trigger->tg_relation, trigger->tg_trigslot); });
  row.event.applied_at = from_timestamptz(GetCurrentTimestamp());
  const SubtransactionId sub = GetCurrentSubTransactionId();
  // Events get their ids in the order of the buffer.
  if (buffer().count_without_id() > 0) write_own(sub);
  buffer().append(sub, row.event);
  buffer().give_id(row.id);
  if (is_finishing || buffer().is_full(sub)) write_own(sub);
}

void receive_shift(FunctionCallInfoBaseData* call) {
  const TriggerData* const trigger = received_from_home(call, "webhook_receive_shift");
  if (trigger == nullptr) return;
  write_own(GetCurrentSubTransactionId());
  std::int64_t values[3];
  guarded([&] {
    slot_getallattrs(trigger->tg_trigslot);
    for (int i = 0; i < 3; ++i) values[i] = DatumGetInt64(trigger->tg_trigslot->tts_values[i]);
  });
  shift_written_times({.segments = written().segments, .early = {{values[0], values[1]}}}, Duration(values[2]));
}

void flush_captured_events() { write_own(GetCurrentSubTransactionId()); }

}  // namespace webhook::pg

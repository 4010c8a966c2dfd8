// object_access_hook reports each column that is renamed or dropped, in whatever way. PostgreSQL calls it before a
// catalog scan can see the change. So the old name comes from the syscache, and the new one from a scan with
// SnapshotSelf.
//
// No dependency in pg_depend connects the trigger to its columns. With one, ALTER COLUMN ... TYPE would fail for a
// column that is only excluded or part of the key.
#include "pg/capture/watched_columns.h"

extern "C" {
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/array_literal.h"
#include "pg/guard.h"

namespace webhook::pg {
namespace {

using Texts = std::vector<std::string>;

constexpr std::string_view kIgnoreColumns = "ignore_columns";
constexpr std::string_view kOrganizationColumn = "organization_column";
constexpr std::array<std::string_view, 5> kColumnLists = {"key_columns", kIgnoreColumns, "changed_columns",
                                                          "include_columns", "exclude_columns"};

object_access_hook_type previous_access_hook = nullptr;
ProcessUtility_hook_type previous_utility_hook = nullptr;

// A statement that may drop columns, while it runs. Scopes nest.
struct DropScope {
  Node* statement;
  MemoryContext context;
  List* triggers;  // to drop after the statement, because a column that they need was dropped by CASCADE
  DropScope* outer;
};

DropScope* current_scope = nullptr;

// --- The arguments of a trigger --------------------------------------------------------------------------------------

// An argument name=value. The value is a column or a list of columns.
struct Option {
  std::string_view name;
  Texts columns;
};

// nullopt if the argument names no columns, or if it is malformed, which capture reports.
std::optional<Option> parse_columns(std::string_view argument) {
  const std::size_t sign = argument.find('=');
  if (sign == std::string_view::npos) return std::nullopt;
  const std::string_view name = argument.substr(0, sign);
  const std::string_view value = argument.substr(sign + 1);
  if (name == kOrganizationColumn) return Option{name, {std::string(value)}};
  if (std::ranges::find(kColumnLists, name) == kColumnLists.end()) return std::nullopt;
  std::optional<Texts> columns = parse_array_literal(value);
  if (!columns) return std::nullopt;
  return Option{name, std::move(*columns)};
}

std::string format_columns(const Option& option) {
  return std::string(option.name) + '=' +
         (option.name == kOrganizationColumn ? option.columns.front() : format_array_literal(option.columns));
}

// Returns whether anything was replaced.
bool rename_column(Texts& arguments, const std::string& from, const std::string& to) {
  bool has_changed = false;
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    std::optional<Option> option = parse_columns(arguments[i]);
    if (!option || std::ranges::find(option->columns, from) == option->columns.end()) continue;
    std::ranges::replace(option->columns, from, to);
    arguments[i] = format_columns(*option);
    has_changed = true;
  }
  return has_changed;
}

bool forget_ignored(Texts& arguments, const std::string& column) {
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    std::optional<Option> option = parse_columns(arguments[i]);
    if (!option || option->name != kIgnoreColumns || std::erase(option->columns, column) == 0) continue;
    if (option->columns.empty()) {
      arguments.erase(arguments.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      arguments[i] = format_columns(*option);
    }
    return true;
  }
  return false;
}

// The first option other than ignore_columns that names a column for which is_meant is true, and that column.
template <class IsMeant>
std::optional<std::pair<std::string, std::string>> find_needed(const Texts& arguments, IsMeant is_meant) {
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    const std::optional<Option> option = parse_columns(arguments[i]);
    if (!option || option->name == kIgnoreColumns) continue;
    const auto found = std::ranges::find_if(option->columns, is_meant);
    if (found != option->columns.end()) return std::pair(std::string(option->name), *found);
  }
  return std::nullopt;
}

// --- pg_trigger ------------------------------------------------------------------------------------------------------

struct Trigger {
  Oid oid = InvalidOid;
  Oid relation = InvalidOid;
  bool is_clone = false;  // of a partitioned table's trigger
  std::string name;
  Texts arguments;
};

bool is_capture(Oid function) {
  const Oid extension = get_extension_oid("webhook", true);
  if (!OidIsValid(extension)) return false;
  const char* const name = get_func_name(function);
  return name != nullptr && strcmp(name, "webhook_capture") == 0 &&
         getExtensionOfObject(ProcedureRelationId, function) == extension;
}

Texts read_arguments(HeapTuple tuple, TupleDesc shape, int count) {
  bool is_null = false;
  const Datum value = heap_getattr(tuple, Anum_pg_trigger_tgargs, shape, &is_null);
  Texts arguments;
  if (is_null) return arguments;
  const char* text = VARDATA_ANY(DatumGetByteaPP(value));
  for (int i = 0; i < count; ++i) {
    arguments.emplace_back(text);
    text += arguments.back().size() + 1;
  }
  return arguments;
}

void add_if_capture(std::vector<Trigger>* found, HeapTuple tuple, TupleDesc shape) {
  auto* row = reinterpret_cast<Form_pg_trigger>(GETSTRUCT(tuple));
  if (!is_capture(row->tgfoid)) return;
  found->push_back({row->oid, row->tgrelid, OidIsValid(row->tgparentid), NameStr(row->tgname),
                    read_arguments(tuple, shape, row->tgnargs)});
}

// Calls act(row, pg_trigger) for each row that the scan finds. Only inside guarded().
template <class Act>
void scan_triggers(LOCKMODE lock, Oid index, AttrNumber column, Oid value, Snapshot snapshot, Act act) {
  ScanKeyData key;
  ScanKeyInit(&key, column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(value));
  Relation triggers = table_open(TriggerRelationId, lock);
  SysScanDesc scan = systable_beginscan(triggers, index, true, snapshot, 1, &key);
  while (HeapTuple tuple = systable_getnext(scan)) act(tuple, triggers);
  systable_endscan(scan);
  table_close(triggers, lock);
}

std::vector<Trigger> capture_triggers_of(Oid relation) {
  std::vector<Trigger> found;
  guarded([&] {
    scan_triggers(
        AccessShareLock, TriggerRelidNameIndexId, Anum_pg_trigger_tgrelid, relation, nullptr,
        [&](HeapTuple tuple, Relation triggers) { add_if_capture(&found, tuple, RelationGetDescr(triggers)); });
  });
  return found;
}

// Also finds a trigger that the current command has created.
std::optional<Trigger> capture_trigger(Oid trigger) {
  std::vector<Trigger> found;
  guarded([&] {
    scan_triggers(
        AccessShareLock, TriggerOidIndexId, Anum_pg_trigger_oid, trigger, SnapshotSelf,
        [&](HeapTuple tuple, Relation triggers) { add_if_capture(&found, tuple, RelationGetDescr(triggers)); });
  });
  if (found.empty()) return std::nullopt;
  return std::move(found.front());
}

void write_arguments(const Trigger& trigger) {
  std::string text;
  for (const std::string& argument : trigger.arguments) text.append(argument).push_back('\0');
  guarded([&] {
    bytea* const arguments =
        reinterpret_cast<bytea*>(cstring_to_text_with_len(text.data(), static_cast<int>(text.size())));
    scan_triggers(RowExclusiveLock, TriggerOidIndexId, Anum_pg_trigger_oid, trigger.oid, nullptr,
                  [&](HeapTuple tuple, Relation triggers) {
                    Datum values[Natts_pg_trigger] = {};
                    bool nulls[Natts_pg_trigger] = {};
                    bool replaces[Natts_pg_trigger] = {};
                    values[Anum_pg_trigger_tgnargs - 1] = Int16GetDatum(static_cast<int16>(trigger.arguments.size()));
                    values[Anum_pg_trigger_tgargs - 1] = PointerGetDatum(arguments);
                    replaces[Anum_pg_trigger_tgnargs - 1] = replaces[Anum_pg_trigger_tgargs - 1] = true;
                    HeapTuple changed = heap_modify_tuple(tuple, RelationGetDescr(triggers), values, nulls, replaces);
                    CatalogTupleUpdate(triggers, &tuple->t_self, changed);
                  });
    CacheInvalidateRelcacheByRelid(trigger.relation);
  });
}

// --- Renamed and dropped columns -------------------------------------------------------------------------------------

// Empty if the column does not exist.
std::string column_name(Oid relation, AttrNumber column) {
  const char* const name = guarded([&] { return get_attname(relation, column, true); });
  return name == nullptr ? std::string() : std::string(name);
}

// The name after the current command.
std::string new_column_name(Oid relation, AttrNumber column) {
  std::string name;
  guarded([&] {
    ScanKeyData keys[2];
    ScanKeyInit(&keys[0], Anum_pg_attribute_attrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relation));
    ScanKeyInit(&keys[1], Anum_pg_attribute_attnum, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(column));
    Relation attributes = table_open(AttributeRelationId, AccessShareLock);
    SysScanDesc scan = systable_beginscan(attributes, AttributeRelidNumIndexId, true, SnapshotSelf, 2, keys);
    const HeapTuple tuple = systable_getnext(scan);
    if (HeapTupleIsValid(tuple)) name = NameStr(reinterpret_cast<Form_pg_attribute>(GETSTRUCT(tuple))->attname);
    systable_endscan(scan);
    table_close(attributes, AccessShareLock);
  });
  return name;
}

std::string in_quotes(std::string_view text) { return '"' + std::string(text) + '"'; }

std::string relation_name(Oid relation) {
  const char* const name = guarded([&] { return get_rel_name(relation); });
  return name == nullptr ? std::string() : in_quotes(name);
}

bool has_triggers(Oid relation) {
  const char kind = guarded([&] { return get_rel_relkind(relation); });
  return kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE;
}

void follow_rename(Oid relation, AttrNumber column) {
  if (!has_triggers(relation)) return;
  const std::string from = column_name(relation, column);
  const std::string to = new_column_name(relation, column);
  if (from.empty() || to.empty() || from == to) return;
  for (Trigger& trigger : capture_triggers_of(relation)) {
    if (rename_column(trigger.arguments, from, to)) write_arguments(trigger);
  }
}

// Whether the running statement drops the column by name and without CASCADE. A column that is dropped in another way
// is dropped by CASCADE.
bool is_restricted(const std::string& column) {
  if (current_scope == nullptr || !IsA(current_scope->statement, AlterTableStmt)) return false;
  const List* const commands = reinterpret_cast<AlterTableStmt*>(current_scope->statement)->cmds;
  ListCell* cell = nullptr;
  foreach (cell, commands) {
    const auto* command = lfirst_node(AlterTableCmd, cell);
    if (command->subtype == AT_DropColumn && column == command->name) return command->behavior == DROP_RESTRICT;
  }
  return false;
}

void drop_later(const Trigger& trigger) {
  if (current_scope == nullptr) return;
  guarded([&] {
    MemoryContext const previous = MemoryContextSwitchTo(current_scope->context);
    current_scope->triggers = list_append_unique_oid(current_scope->triggers, trigger.oid);
    MemoryContextSwitchTo(previous);
  });
}

void follow_drop(Oid relation, AttrNumber number) {
  if (!has_triggers(relation)) return;
  const std::string column = column_name(relation, number);
  if (column.empty()) return;
  for (Trigger& trigger : capture_triggers_of(relation)) {
    if (const auto needed = find_needed(trigger.arguments, [&](const std::string& name) { return name == column; })) {
      // The partitioned table's column is dropped too, and its trigger decides.
      if (trigger.is_clone) continue;
      if (is_restricted(column)) {
        throw Error("2BP01",
                    "cannot drop column " + in_quotes(column) + " of table " + relation_name(relation) +
                        " because an event is declared with it",
                    "Trigger " + in_quotes(trigger.name) + " names it in " + needed->first + ".",
                    "Declare the event without it, by webhook_watch() or webhook_unwatch(); or use DROP ... CASCADE to "
                    "drop the trigger too.");
      }
      drop_later(trigger);
    } else if (forget_ignored(trigger.arguments, column)) {
      write_arguments(trigger);
    }
  }
}

void check_new_trigger(Oid oid) {
  const std::optional<Trigger> trigger = capture_trigger(oid);
  if (!trigger) return;
  const auto missing = find_needed(trigger->arguments, [&](const std::string& name) {
    return guarded([&] { return get_attnum(trigger->relation, name.c_str()); }) <= 0;
  });
  if (!missing) return;
  throw Error(
      "42703",
      "column " + in_quotes(missing->second) + " of relation " + relation_name(trigger->relation) + " does not exist",
      "Trigger " + in_quotes(trigger->name) + " names it in " + missing->first + ".",
      "Declare the event with webhook_watch(), which writes the arguments.");
}

void on_object_access(ObjectAccessType access, Oid object_class, Oid object, int number, void* argument) noexcept {
  if (previous_access_hook != nullptr) previous_access_hook(access, object_class, object, number, argument);
  if (object_class == TriggerRelationId && access == OAT_POST_CREATE) {
    entry([&] { check_new_trigger(object); });
  } else if (object_class == RelationRelationId && number > 0) {
    if (access == OAT_POST_ALTER) entry([&] { follow_rename(object, static_cast<AttrNumber>(number)); });
    if (access == OAT_DROP) entry([&] { follow_drop(object, static_cast<AttrNumber>(number)); });
  }
}

// --- Tables that inherit ---------------------------------------------------------------------------------------------

// The table that the statement makes inherit from others, or nullptr. Partitions do not count, because they get the
// partitioned table's triggers.
const RangeVar* new_child(const Node* statement) {
  if (IsA(statement, CreateStmt) || IsA(statement, CreateForeignTableStmt)) {
    const auto* create = reinterpret_cast<const CreateStmt*>(statement);
    return create->inhRelations != NIL && create->partbound == nullptr ? create->relation : nullptr;
  }
  if (!IsA(statement, AlterTableStmt)) return nullptr;
  const auto* alter = reinterpret_cast<const AlterTableStmt*>(statement);
  ListCell* cell = nullptr;
  foreach (cell, alter->cmds) {
    if (lfirst_node(AlterTableCmd, cell)->subtype == AT_AddInherit) return alter->relation;
  }
  return nullptr;
}

// The ancestors at all levels, nearest first, each once.
std::vector<Oid> ancestors_of(Oid child) {
  std::vector<Oid> found = {child};
  guarded([&] {
    Relation inherits = table_open(InheritsRelationId, AccessShareLock);
    for (std::size_t i = 0; i < found.size(); ++i) {
      CHECK_FOR_INTERRUPTS();
      ScanKeyData key;
      ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(found[i]));
      SysScanDesc scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, nullptr, 1, &key);
      while (HeapTuple tuple = systable_getnext(scan)) {
        const Oid parent = reinterpret_cast<Form_pg_inherits>(GETSTRUCT(tuple))->inhparent;
        if (std::ranges::find(found, parent) == found.end()) found.push_back(parent);
      }
      systable_endscan(scan);
    }
    table_close(inherits, AccessShareLock);
  });
  found.erase(found.begin());
  return found;
}

// The events declared on the table and not on the child, separated by commas.
std::string uninherited_events(Oid table, const std::vector<Trigger>& of_child) {
  std::string names;
  for (const Trigger& trigger : capture_triggers_of(table)) {
    if (trigger.is_clone || trigger.arguments.empty()) continue;
    const std::string& event = trigger.arguments.front();
    const auto is_same = [&](const Trigger& own) { return !own.arguments.empty() && own.arguments.front() == event; };
    if (std::ranges::any_of(of_child, is_same)) continue;
    names.append(names.empty() ? "" : ", ").append(event);
  }
  return names;
}

void tell_of_inheritance(const RangeVar* name) {
  const Oid child = guarded([&] { return RangeVarGetRelid(name, NoLock, true); });
  if (!OidIsValid(child)) return;
  const std::vector<Trigger> of_child = capture_triggers_of(child);
  for (const Oid ancestor : ancestors_of(child)) {
    const std::string events = uninherited_events(ancestor, of_child);
    if (events.empty()) continue;
    const std::string table = relation_name(child);
    const std::string parent = relation_name(ancestor);
    guarded([&] {
      ereport(NOTICE,
              (errmsg("rows of %s are no events of %s: triggers are not inherited", table.c_str(), parent.c_str()),
               errdetail("Declared on %s: %s.", parent.c_str(), events.c_str()),
               errhint("Declare the events for the table too, by webhook_watch().")));
    });
  }
}

// --- The statement ---------------------------------------------------------------------------------------------------

// From here on no frame holds a C++ object, so errors may pass through.

bool may_drop_columns(const Node* statement) {
  switch (nodeTag(statement)) {
    case T_AlterTableStmt:
    case T_DropStmt:
    case T_DropOwnedStmt:
      return true;
    default:
      return false;
  }
}

void drop_trigger(Oid trigger) {
  ObjectAddress const address = {TriggerRelationId, trigger, 0};
  const char* const description = getObjectDescription(&address, true);
  if (description == nullptr) return;
  ereport(NOTICE, (errmsg("drop cascades to %s", description)));
  performDeletion(&address, DROP_CASCADE, 0);
}

void drop_triggers(List* triggers) {
  if (triggers == NIL) return;
  CommandCounterIncrement();
  ListCell* cell = nullptr;
  foreach (cell, triggers) drop_trigger(lfirst_oid(cell));
  CommandCounterIncrement();
}

void run_utility(PlannedStmt* planned, const char* text, bool read_only_tree, ProcessUtilityContext context,
                 ParamListInfo params, QueryEnvironment* environment, DestReceiver* receiver,
                 QueryCompletion* completion) {
  const auto run = previous_utility_hook != nullptr ? previous_utility_hook : standard_ProcessUtility;
  run(planned, text, read_only_tree, context, params, environment, receiver, completion);
}

void on_utility(PlannedStmt* planned, const char* text, bool read_only_tree, ProcessUtilityContext context,
                ParamListInfo params, QueryEnvironment* environment, DestReceiver* receiver,
                QueryCompletion* completion) noexcept {
  // Determined before the statement runs, because running it may change the tree.
  const RangeVar* const child = new_child(planned->utilityStmt);
  if (!may_drop_columns(planned->utilityStmt)) {
    run_utility(planned, text, read_only_tree, context, params, environment, receiver, completion);
    if (child != nullptr) entry([&] { tell_of_inheritance(child); });
    return;
  }
  DropScope scope = {planned->utilityStmt, CurrentMemoryContext, NIL, current_scope};
  PG_TRY();
  {
    current_scope = &scope;
    run_utility(planned, text, read_only_tree, context, params, environment, receiver, completion);
  }
  PG_CATCH();
  {
    current_scope = scope.outer;
    PG_RE_THROW();
  }
  PG_END_TRY();
  current_scope = scope.outer;
  drop_triggers(scope.triggers);
  if (child != nullptr) entry([&] { tell_of_inheritance(child); });
}

}  // namespace

void install_column_hooks() noexcept {
  previous_access_hook = object_access_hook;
  object_access_hook = on_object_access;
  previous_utility_hook = ProcessUtility_hook;
  ProcessUtility_hook = on_utility;
}

}  // namespace webhook::pg

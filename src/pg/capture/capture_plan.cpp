#include "pg/capture/capture_plan.h"

extern "C" {
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "commands/trigger.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"
#include "utils/syscache.h"
}

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "core/array_literal.h"
#include "core/event_pattern.h"
#include "pg/catalog.h"
#include "pg/guard.h"

namespace webhook::pg {
namespace {

using Names = std::vector<std::string>;

// The clones of a partitioned table's trigger have OIDs of their own. The table is part of the key all the same.
struct PlanKey {
  Oid trigger;
  Oid relation;
  bool operator==(const PlanKey&) const = default;
};

struct PlanKeyHash {
  std::size_t operator()(const PlanKey& key) const noexcept {
    return (static_cast<std::size_t>(key.trigger) << 32 | key.relation) * 0x9e3779b97f4a7c15ULL;
  }
};

using Plans = std::unordered_map<PlanKey, std::shared_ptr<CapturePlan>, PlanKeyHash>;

// Never destroyed, so that no code of ours runs at the process's exit.
Plans& plans() {
  static auto* const instance = new Plans;
  return *instance;
}

std::uint64_t last_serial = 0;

// Incremented by each invalidation, so that one that arrives while a plan is being made is noticed.
std::uint64_t invalidations = 0;

// The trigger's arguments, as in CREATE TRIGGER.
struct Arguments {
  std::string event;
  std::optional<std::string> organization_column;
  std::optional<Names> key_columns;  // nullopt: the primary key
  Names ignore_columns;
  Names changed_columns;
  std::optional<Names> include_columns;
  Names exclude_columns;
  bool include_previous = false;
  bool large_numbers_as_text = false;
  bool backfill = false;
};

constexpr const char* kDeclareHint = "Declare the event with webhook_watch(), which writes the arguments.";

[[noreturn]] void fail_on_argument(const TriggerData& trigger, std::string detail) {
  throw Error("22023",
              std::string("invalid argument of webhook_capture() in trigger \"") + trigger.tg_trigger->tgname + "\"",
              std::move(detail), kDeclareHint);
}

std::string in_quotes(std::string_view text) { return '"' + std::string(text) + '"'; }

Names parse_names(const TriggerData& trigger, std::string_view option, std::string_view value) {
  std::optional<Names> names = parse_array_literal(value);
  if (!names) fail_on_argument(trigger, in_quotes(option) + " needs a list such as {id,\"odd name\"}.");
  return std::move(*names);
}

bool parse_boolean(const TriggerData& trigger, std::string_view option, std::string_view value) {
  if (value == "true") return true;
  if (value == "false") return false;
  fail_on_argument(trigger, in_quotes(option) + " needs true or false.");
}

void parse_option(const TriggerData& trigger, std::string_view argument, Arguments& arguments) {
  const std::size_t sign = argument.find('=');
  const std::string_view option = argument.substr(0, sign);
  const std::string_view value = sign == std::string_view::npos ? std::string_view() : argument.substr(sign + 1);
  if (option == "organization_column") {
    arguments.organization_column = value;
  } else if (option == "key_columns") {
    arguments.key_columns = parse_names(trigger, option, value);
  } else if (option == "ignore_columns") {
    arguments.ignore_columns = parse_names(trigger, option, value);
  } else if (option == "changed_columns") {
    arguments.changed_columns = parse_names(trigger, option, value);
  } else if (option == "include_columns") {
    arguments.include_columns = parse_names(trigger, option, value);
  } else if (option == "exclude_columns") {
    arguments.exclude_columns = parse_names(trigger, option, value);
  } else if (option == "include_previous") {
    arguments.include_previous = parse_boolean(trigger, option, value);
  } else if (option == "large_numbers_as_text") {
    arguments.large_numbers_as_text = parse_boolean(trigger, option, value);
  } else if (option == "backfill") {
    arguments.backfill = parse_boolean(trigger, option, value);
  } else {
    fail_on_argument(trigger,
                     in_quotes(option) +
                         " is none of organization_column, key_columns, ignore_columns, changed_columns, "
                         "include_columns, exclude_columns, include_previous, large_numbers_as_text, backfill.");
  }
}

Arguments parse_arguments(const TriggerData& trigger) {
  Arguments arguments;
  const int count = trigger.tg_trigger->tgnargs;
  if (count == 0) fail_on_argument(trigger, "The first argument, the event's name, is missing.");
  arguments.event = trigger.tg_trigger->tgargs[0];
  if (const auto problem = event_name_problem(arguments.event)) {
    fail_on_argument(trigger, in_quotes(arguments.event) + " is no event's name: " + *problem + ".");
  }
  for (int i = 1; i < count; ++i) parse_option(trigger, trigger.tg_trigger->tgargs[i], arguments);
  return arguments;
}

// Recording an event, or its outcome, would cause another event, without end. CREATE TRIGGER refuses such a trigger
// (utility_hook.cpp), but a table can get one in other ways, and a server may run without our hooks.
void check_relation(const TriggerData& trigger) {
  const Catalog* catalog = find_catalog();
  if (catalog == nullptr) return;
  const Oid extension = catalog->extension;
  const Oid relation = RelationGetRelid(trigger.tg_relation);
  if (guarded([relation] { return getExtensionOfObject(RelationRelationId, relation); }) != extension) return;
  const char* name = RelationGetRelationName(trigger.tg_relation);
  throw Error("42809",
              "trigger " + in_quotes(trigger.tg_trigger->tgname) + " cannot capture the rows of " + in_quotes(name) +
                  ", which belongs to the extension webhook",
              "Its rows are no events: each would cause the next.",
              "DROP TRIGGER, and declare events on tables that hold your own rows.");
}

// --- The columns -----------------------------------------------------------------------------------------------------

bool contains(const Names& names, const std::string& name) { return std::ranges::find(names, name) != names.end(); }

// The first column that is named by an argument other than ignore_columns and missing in the table. There is none
// unless a process without our hooks changed the table: see watched_columns.h.
std::optional<std::string> find_missing(const Arguments& arguments, const std::vector<Column>& columns) {
  Names needed = arguments.key_columns.value_or(Names());
  const Names included = arguments.include_columns.value_or(Names());
  for (const Names* names : {&arguments.changed_columns, &included, &arguments.exclude_columns}) {
    needed.insert(needed.end(), names->begin(), names->end());
  }
  if (arguments.organization_column) needed.push_back(*arguments.organization_column);
  const auto is_there = [&](const std::string& name) {
    return std::ranges::find(columns, name, &Column::name) != columns.end();
  };
  const auto missing = std::ranges::find_if_not(needed, is_there);
  if (missing == needed.end()) return std::nullopt;
  return *missing;
}

void log_missing(const TriggerData& trigger, const std::string& column) {
  guarded([&] {
    ereport(LOG,
            (errmsg("trigger \"%s\" on table \"%s\" captures nothing: it names column \"%s\", which does not exist",
                    trigger.tg_trigger->tgname, RelationGetRelationName(trigger.tg_relation), column.c_str()),
             errhint("Declare the event again with webhook_watch(), or drop the trigger.")));
  });
}

// The columns in the order of names. All names must exist.
std::vector<Column> find_all(const Names& names, const std::vector<Column>& columns) {
  std::vector<Column> found;
  for (const std::string& name : names) found.push_back(*std::ranges::find(columns, name, &Column::name));
  return found;
}

// The numbers of the primary key's columns, in the key's order. Empty without a primary key.
std::vector<int> primary_key(Relation relation) {
  // No C++ container may grow inside guarded(): its exception would pass through PostgreSQL's error handler.
  std::array<int, INDEX_MAX_KEYS> numbers{};
  const int count = guarded([&] {
    int found = 0;
    ListCell* cell = nullptr;
    foreach (cell, RelationGetIndexList(relation)) {
      HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));
      if (!HeapTupleIsValid(tuple)) continue;
      auto* index = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
      if (index->indisprimary) {
        found = index->indnkeyatts;
        std::copy_n(index->indkey.values, found, numbers.begin());
      }
      ReleaseSysCache(tuple);
    }
    return found;
  });
  return {numbers.begin(), numbers.begin() + count};
}

std::vector<Column> key_columns(const Arguments& arguments, const std::vector<Column>& columns, Relation relation) {
  if (arguments.key_columns) return find_all(*arguments.key_columns, columns);
  std::vector<Column> found;
  for (const int number : primary_key(relation)) {
    found.push_back(*std::ranges::find(columns, number, &Column::number));
  }
  return found;
}

template <class Keep>
std::vector<Column> filter(const std::vector<Column>& columns, Keep keep) {
  std::vector<Column> kept;
  std::ranges::copy_if(columns, std::back_inserter(kept), keep);
  return kept;
}

std::vector<Column> payload_columns(const Arguments& arguments, const std::vector<Column>& columns) {
  return filter(columns, [&](const Column& column) {
    return (!arguments.include_columns || contains(*arguments.include_columns, column.name)) &&
           !contains(arguments.exclude_columns, column.name);
  });
}

std::vector<Column> compared_columns(const Arguments& arguments, const std::vector<Column>& columns) {
  return filter(columns, [&](const Column& column) {
    return (arguments.changed_columns.empty() || contains(arguments.changed_columns, column.name)) &&
           !contains(arguments.ignore_columns, column.name);
  });
}

bool reads_settings(const CapturePlan& plan) {
  return std::ranges::any_of(plan.payload, json_reads_settings) || std::ranges::any_of(plan.key, text_reads_settings) ||
         (plan.organization && text_reads_settings(*plan.organization)) || !plan.virtual_columns.empty();
}

std::shared_ptr<CapturePlan> make_plan(const TriggerData& trigger) {
  check_relation(trigger);
  const Arguments arguments = parse_arguments(trigger);
  const std::vector<Column> columns = describe_columns(RelationGetDescr(trigger.tg_relation));

  auto plan = std::make_shared<CapturePlan>();
  plan->serial = ++last_serial;
  plan->event = arguments.event;
  if (const auto missing = find_missing(arguments, columns)) {
    log_missing(trigger, *missing);
    return plan;
  }
  plan->captures = true;
  plan->payload = payload_columns(arguments, columns);
  if (arguments.large_numbers_as_text) std::ranges::for_each(plan->payload, write_large_numbers_as_text);
  if (arguments.organization_column) {
    plan->organization = find_all({*arguments.organization_column}, columns).front();
  }
  plan->key = key_columns(arguments, columns, trigger.tg_relation);
  plan->compared = compared_columns(arguments, columns);
  plan->virtual_columns = filter(columns, [](const Column& column) { return column.is_virtual; });
  plan->include_previous = arguments.include_previous;
  plan->backfill = arguments.backfill;
  plan->reads_settings = reads_settings(*plan);
  for (const Column& column : columns) {
    plan->type_hashes.push_back(guarded([&] { return GetSysCacheHashValue1(TYPEOID, ObjectIdGetDatum(column.type)); }));
  }
  return plan;
}

}  // namespace

std::shared_ptr<const CapturePlan> plan_of(const TriggerData& trigger) {
  const PlanKey key{trigger.tg_trigger->tgoid, RelationGetRelid(trigger.tg_relation)};
  const auto known = plans().find(key);
  if (known != plans().end() && known->second->is_valid) return known->second;

  std::erase_if(plans(), [](const auto& entry) { return !entry.second->is_valid; });
  const std::uint64_t before = invalidations;
  std::shared_ptr<CapturePlan> plan = make_plan(trigger);
  if (before == invalidations) plans().insert_or_assign(key, plan);
  return plan;
}

void invalidate_plans(std::uint32_t relation) noexcept {
  ++invalidations;
  for (auto& [key, plan] : plans()) {
    if (relation == InvalidOid || key.relation == relation) plan->is_valid = false;
  }
}

void invalidate_plans_of_type(std::uint32_t type_hash) noexcept {
  ++invalidations;
  for (auto& [key, plan] : plans()) {
    if (type_hash == 0 || std::ranges::find(plan->type_hashes, type_hash) != plan->type_hashes.end()) {
      plan->is_valid = false;
    }
  }
}

}  // namespace webhook::pg

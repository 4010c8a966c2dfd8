#include "pg/server/utility_hook.h"

extern "C" {
#include "postgres.h"

#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/wait_event.h"
}

#include <cstring>

#include "pg/server/database_entries.h"
#include "pg/server/database_holds.h"
#include "pg/server/launcher_calls.h"
#include "pg/server/relation_guard.h"
#include "pg/server/wakes.h"

// No frame in this file holds a C++ object, so errors may pass through.

namespace webhook::pg {
namespace {

constexpr long kPollMs = 10;
constexpr int kPollsMax = 500;  // five seconds, the time for which PostgreSQL itself waits for other sessions to leave

ProcessUtility_hook_type previous_hook = nullptr;

// The database that the statement needs without sessions, or nullptr.
const char* wanted_database(Node* statement) {
  switch (nodeTag(statement)) {
    case T_DropdbStmt:
      return reinterpret_cast<DropdbStmt*>(statement)->dbname;
    case T_RenameStmt: {
      auto* rename = reinterpret_cast<RenameStmt*>(statement);
      return rename->renameType == OBJECT_DATABASE ? rename->subname : nullptr;
    }
    case T_AlterDatabaseStmt: {
      auto* alter = reinterpret_cast<AlterDatabaseStmt*>(statement);
      ListCell* cell = nullptr;
      foreach (cell, alter->options) {
        if (strcmp(lfirst_node(DefElem, cell)->defname, "tablespace") == 0) return alter->dbname;
      }
      return nullptr;
    }
    case T_CreatedbStmt: {
      ListCell* cell = nullptr;
      foreach (cell, reinterpret_cast<CreatedbStmt*>(statement)->options) {
        auto* option = lfirst_node(DefElem, cell);
        if (strcmp(option->defname, "template") == 0 && option->arg != nullptr) return defGetString(option);
      }
      return nullptr;
    }
    default:
      return nullptr;
  }
}

bool is_owner(Oid database) {
#if PG_VERSION_NUM >= 160000
  return object_ownercheck(DatabaseRelationId, database, GetUserId());
#else
  return pg_database_ownercheck(database, GetUserId());
#endif
}

// Waits until the database's workers have left. If they do not leave in time, the statement itself raises the error.
void wait_until_vacated(Oid database) {
  for (int i = 0; i < kPollsMax && !is_vacated(database); ++i) {
    CHECK_FOR_INTERRUPTS();
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kPollMs, PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
  }
}

bool updates_extension(Node* statement) {
  return IsA(statement, AlterExtensionStmt) &&
         strcmp(reinterpret_cast<AlterExtensionStmt*>(statement)->extname, "webhook") == 0;
}

// Whether the statement may install the extension in this database, or change its version.
bool brings_extension(Node* statement) {
  switch (nodeTag(statement)) {
    case T_CreateExtensionStmt: {
      auto* create = reinterpret_cast<CreateExtensionStmt*>(statement);
      if (strcmp(create->extname, "webhook") == 0) return true;
      // CASCADE creates required extensions without calling a hook for them.
      ListCell* cell = nullptr;
      foreach (cell, create->options) {
        if (strcmp(lfirst_node(DefElem, cell)->defname, "cascade") == 0) return true;
      }
      return false;
    }
    default:
      return updates_extension(statement);
  }
}

// After ALTER EXTENSION UPDATE: gives the roles with a level what the new version has for it. sql/parts/grant.sql says why
// the script cannot.
void grant_new_privileges() {
  const Oid webhook = get_extension_oid("webhook", true);
  char schema[] = "webhook_internal";
  char name[] = "grant_new_privileges";
  const Oid function = LookupFuncName(list_make2(makeString(schema), makeString(name)), 0, nullptr, true);
  if (!OidIsValid(function) || getExtensionOfObject(ProcedureRelationId, function) != webhook) return;
  CommandCounterIncrement();
  OidFunctionCall0(function);
}

// Whether the statement drops the extension by name. If a CASCADE drops it, the worker finds out by itself.
bool drops_extension(Node* statement) {
  if (!IsA(statement, DropStmt)) return false;
  auto* drop = reinterpret_cast<DropStmt*>(statement);
  if (drop->removeType != OBJECT_EXTENSION) return false;
  ListCell* cell = nullptr;
  foreach (cell, drop->objects) {
    if (strcmp(strVal(lfirst(cell)), "webhook") == 0) return true;
  }
  return false;
}

bool is_transaction(Node* statement, TransactionStmtKind kind) {
  return IsA(statement, TransactionStmt) && reinterpret_cast<TransactionStmt*>(statement)->kind == kind;
}

// A prepared transaction may have contained CREATE EXTENSION. It is already committed, so nothing here may raise an
// error.
void look_for_extension() {
  if (has_extension_here()) return;
  bool may_be_there = true;
  HOLD_INTERRUPTS();
  if (ConditionalLockRelationOid(ExtensionRelationId, AccessShareLock)) {
    may_be_there = OidIsValid(get_extension_oid("webhook", true));
    UnlockRelationOid(ExtensionRelationId, AccessShareLock);
  }
  RESUME_INTERRUPTS();
  if (may_be_there) request_probe(MyDatabaseId);
}

// A trigger that captures rows of the extension's own tables would make each event cause another. If such a trigger
// comes about in another way, it fails when it fires: see capture_plan.cpp.
void refuse_capture_of_our_own(CreateTrigStmt* create) {
  const Oid webhook = get_extension_oid("webhook", true);
  const Oid relation = RangeVarGetRelid(create->relation, NoLock, true);
  if (!OidIsValid(webhook) || getExtensionOfObject(RelationRelationId, relation) != webhook) return;
  const Oid function = LookupFuncName(create->funcname, 0, nullptr, true);
  if (getExtensionOfObject(ProcedureRelationId, function) != webhook) return;
  if (strcmp(get_func_name(function), "webhook_capture") != 0) return;
  ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                  errmsg("trigger \"%s\" cannot capture the rows of \"%s\", which belongs to the extension webhook",
                         create->trigname, create->relation->relname),
                  errdetail("Its rows are no events: each would cause the next."),
                  errhint("Declare events on tables that hold your own rows.")));
}

// Functions and the library name the schemas of the extension.
void refuse_renaming_our_schema(RenameStmt* rename) {
  if (rename->renameType != OBJECT_SCHEMA) return;
  const Oid webhook = get_extension_oid("webhook", true);
  const Oid schema = get_namespace_oid(rename->subname, true);
  if (!OidIsValid(webhook) || !OidIsValid(schema)) return;
  const Oid instance = get_relname_relid("webhook_instance", schema);
  const bool holds_it = OidIsValid(instance) && getExtensionOfObject(RelationRelationId, instance) == webhook;
  if (!holds_it && getExtensionOfObject(NamespaceRelationId, schema) != webhook) return;
  ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                  errmsg("schema \"%s\" cannot be renamed, because the extension webhook is in it", rename->subname),
                  errdetail("Its functions name the schema. Nothing would be delivered any more."),
                  errhint("Move your own objects to a new schema with ALTER ... SET SCHEMA.")));
}

// The arguments that the hook was called with.
struct Call {
  PlannedStmt* planned;
  const char* text;
  bool read_only_tree;
  ProcessUtilityContext context;
  ParamListInfo params;
  QueryEnvironment* environment;
  DestReceiver* receiver;
  QueryCompletion* completion;
};

void run(const Call& call) {
  (previous_hook != nullptr ? previous_hook : standard_ProcessUtility)(call.planned, call.text, call.read_only_tree,
                                                                       call.context, call.params, call.environment,
                                                                       call.receiver, call.completion);
}

void run_without_worker(Oid database, const Call& call) {
  PG_TRY();
  {
    hold_database(database);
    wait_until_vacated(database);
    run(call);
  }
  PG_CATCH();
  {
    release_hold();
    PG_RE_THROW();
  }
  PG_END_TRY();
}

void hook(PlannedStmt* planned, const char* text, bool read_only_tree, ProcessUtilityContext context,
          ParamListInfo params, QueryEnvironment* environment, DestReceiver* receiver,
          QueryCompletion* completion) noexcept {
  planned = guard_relations(planned);
  const Call call{planned, text, read_only_tree, context, params, environment, receiver, completion};
  Node* statement = planned->utilityStmt;
  const bool commits_prepared = is_transaction(statement, TRANS_STMT_COMMIT_PREPARED);
  const char* name = wanted_database(statement);
  const Oid database = name == nullptr ? InvalidOid : get_database_oid(name, true);
  if (IsA(statement, CreatedbStmt)) wake_at_commit(AtCommit::kCallLauncher);
  if (brings_extension(statement)) wake_at_commit(AtCommit::kProbe);
  if (drops_extension(statement)) wake_at_commit(AtCommit::kWake);
  if (is_transaction(statement, TRANS_STMT_PREPARE)) forget_wakes();
  if (commits_prepared) begin_commit();
  if (IsA(statement, CreateTrigStmt)) refuse_capture_of_our_own(reinterpret_cast<CreateTrigStmt*>(statement));
  if (IsA(statement, RenameStmt)) refuse_renaming_our_schema(reinterpret_cast<RenameStmt*>(statement));

  if (OidIsValid(database) && is_owner(database)) {
    run_without_worker(database, call);
  } else {
    run(call);
  }

  if (updates_extension(statement)) grant_new_privileges();
  if (commits_prepared) {
    wake_workers();
    look_for_extension();
  }
}

}  // namespace

void install_utility_hook() noexcept {
  previous_hook = ProcessUtility_hook;
  ProcessUtility_hook = hook;
}

}  // namespace webhook::pg

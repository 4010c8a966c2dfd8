#include "pg/server/relation_guard.h"

extern "C" {
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_rewrite.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "rewrite/rewriteSupport.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
}

#include <cstring>

// No frame in this file holds a C++ object, so errors may pass through.

namespace webhook::pg {
namespace {

// The state of checking a statement. The first pass leaves the statement as it is, which is usually enough. The second
// pass works on a copy and qualifies names.
struct Inspection {
  Oid extension;
  bool pins;        // names may be qualified
  bool has_to_pin;  // found a name that could come to mean another relation
};

// --- Ownership -------------------------------------------------------------------------------------------------------

// TOAST tables do not count, because only a superuser may look up names in their schema.
bool is_of_extension(Oid relation, const Inspection& inspection) {
  const char kind = get_rel_relkind(relation);
  if (kind == RELKIND_INDEX || kind == RELKIND_PARTITIONED_INDEX) relation = IndexGetRelation(relation, true);
  return OidIsValid(relation) && getExtensionOfObject(RelationRelationId, relation) == inspection.extension;
}

bool is_owner(Oid relation) {
#if PG_VERSION_NUM >= 160000
  return object_ownercheck(RelationRelationId, relation, GetUserId());
#else
  return pg_class_ownercheck(relation, GetUserId());
#endif
}

void refuse(Oid relation, const Inspection& inspection) {
  if (!is_of_extension(relation, inspection) || is_owner(relation)) return;
  ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                  errmsg("permission denied to lock or change \"%s\", which belongs to the extension webhook",
                         get_rel_name(relation)),
                  errdetail("While the lock is held or waited for, events and deliveries would wait for it."),
                  errhint("Only the owner of the relation may.")));
}

// --- Names -----------------------------------------------------------------------------------------------------------

// Fixes what the name means now, whatever other sessions drop or rename.
void pin(RangeVar* name, Oid relation, Inspection* inspection) {
  if (name->schemaname != nullptr) return;
  inspection->has_to_pin = true;
  if (inspection->pins) name->schemaname = get_namespace_name(get_rel_namespace(relation));
}

// Whether another schema of the search_path has a relation with this name.
bool is_ambiguous(const char* name, Oid relation) {
  ListCell* cell = nullptr;
  foreach (cell, fetch_search_path(true)) {
    const Oid other = get_relname_relid(name, lfirst_oid(cell));
    if (OidIsValid(other) && other != relation) return true;
  }
  return false;
}

void inspect(RangeVar* name, Inspection* inspection) {
  if (name == nullptr) return;
  if (!OidIsValid(inspection->extension)) inspection->extension = get_extension_oid("webhook", true);
  if (!OidIsValid(inspection->extension)) return;
  const Oid relation = RangeVarGetRelid(name, NoLock, true);
  if (!OidIsValid(relation)) return;
  refuse(relation, *inspection);
  if (name->schemaname == nullptr && is_ambiguous(name->relname, relation)) pin(name, relation, inspection);
}

void inspect_all(List* names, Inspection* inspection) {
  ListCell* cell = nullptr;
  foreach (cell, names) {
    auto* node = static_cast<Node*>(lfirst(cell));
    if (IsA(node, RangeVar)) inspect(reinterpret_cast<RangeVar*>(node), inspection);
  }
}

// Checks a relation's name given as a list of words. The last `trailing` words name a part of the relation. Returns the
// list, with the schema if the name was qualified.
List* inspect_words(List* words, int trailing, Inspection* inspection) {
  const int length = list_length(words) - trailing;
  if (length < 1 || length > 3) return words;
  RangeVar* const name = makeRangeVarFromNameList(list_copy_head(words, length));
  inspect(name, inspection);
  const bool is_pinned = length == 1 && name->schemaname != nullptr;
  return is_pinned ? lcons(makeString(name->schemaname), words) : words;
}

// How many words follow the relation's name in the name of an object of this type. Negative: no relation is named.
int words_behind_relation(ObjectType type) {
  switch (type) {
    case OBJECT_TABLE:
    case OBJECT_VIEW:
    case OBJECT_MATVIEW:
    case OBJECT_FOREIGN_TABLE:
    case OBJECT_SEQUENCE:
    case OBJECT_INDEX:
      return 0;
    case OBJECT_COLUMN:
    case OBJECT_RULE:
    case OBJECT_TRIGGER:
    case OBJECT_POLICY:
    case OBJECT_TABCONSTRAINT:
      return 1;
    default:
      return -1;
  }
}

// Changes the name only if names may be qualified, because the statement may belong to a cached plan.
void inspect_object(ObjectType type, Node** object, Inspection* inspection) {
  const int trailing = words_behind_relation(type);
  if (trailing < 0 || !IsA(*object, List)) return;
  List* const words = inspect_words(reinterpret_cast<List*>(*object), trailing, inspection);
  if (inspection->pins) *object = reinterpret_cast<Node*>(words);
}

// --- LOCK TABLE ------------------------------------------------------------------------------------------------------

#if PG_VERSION_NUM >= 170000
constexpr AclMode kMayLock = ACL_MAINTAIN | ACL_UPDATE | ACL_DELETE | ACL_TRUNCATE;
#else
constexpr AclMode kMayLock = ACL_UPDATE | ACL_DELETE | ACL_TRUNCATE;
#endif

// The relations that a view reads, found by the dependencies of its rule.
List* relations_of_view(Oid view) {
  const Oid rule = get_rewrite_oid(view, ViewSelectRuleName, true);
  ScanKeyData keys[2];
  ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(RewriteRelationId));
  ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(rule));
  Relation dependencies = table_open(DependRelationId, AccessShareLock);
  SysScanDesc scan = systable_beginscan(dependencies, DependDependerIndexId, true, nullptr, 2, keys);
  List* relations = NIL;
  for (HeapTuple tuple; HeapTupleIsValid(tuple = systable_getnext(scan));) {
    auto* depend = reinterpret_cast<Form_pg_depend>(GETSTRUCT(tuple));
    if (depend->refclassid == RelationRelationId && depend->refobjid != view) {
      relations = list_append_unique_oid(relations, depend->refobjid);
    }
  }
  systable_endscan(scan);
  table_close(dependencies, AccessShareLock);
  return relations;
}

void lock(Oid view, const LockStmt* statement) {
  if (!statement->nowait) {
    LockRelationOid(view, statement->mode);
  } else if (!ConditionalLockRelationOid(view, statement->mode)) {
    ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
                    errmsg("could not obtain lock on relation \"%s\"", get_rel_name(view))));
  }
}

// LOCK TABLE on a view also locks what the view reads, with the view owner's privileges. As LOCK TABLE does, this
// checks the privilege first, then locks the view, then checks what it reads. So nobody can change the view's query in
// between.
void inspect_view(Oid view, Oid user, const LockStmt* statement, Inspection* inspection) {
  check_stack_depth();
  if (pg_class_aclcheck(view, user, kMayLock) != ACLCHECK_OK) {
    aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_VIEW, get_rel_name(view));
  }
  lock(view, statement);
  List* const relations = relations_of_view(view);
  ListCell* cell = nullptr;
  foreach (cell, relations) refuse(lfirst_oid(cell), *inspection);
  Relation opened = try_relation_open(view, NoLock);
  if (opened == nullptr) return;
  const bool as_invoker = opened->rd_rel->relkind == RELKIND_VIEW && RelationHasSecurityInvoker(opened);
  const Oid next_user = as_invoker ? user : opened->rd_rel->relowner;
  relation_close(opened, NoLock);
  foreach (cell, relations) {
    if (get_rel_relkind(lfirst_oid(cell)) != RELKIND_VIEW) continue;
    inspect_view(lfirst_oid(cell), next_user, statement, inspection);
  }
}

void inspect_lock(LockStmt* statement, Inspection* inspection) {
  if (statement->mode <= RowExclusiveLock) return;
  inspect_all(statement->relations, inspection);
  ListCell* cell = nullptr;
  foreach (cell, statement->relations) {
    auto* name = lfirst_node(RangeVar, cell);
    const Oid relation = RangeVarGetRelid(name, NoLock, true);
    if (get_rel_relkind(relation) != RELKIND_VIEW) continue;
    pin(name, relation, inspection);
    // Only once the name is qualified and so cannot change its meaning.
    if (name->schemaname != nullptr) inspect_view(relation, GetUserId(), statement, inspection);
  }
}

// --- The other statements --------------------------------------------------------------------------------------------

void inspect_constraints(List* constraints, Inspection* inspection) {
  ListCell* cell = nullptr;
  foreach (cell, constraints) {
    auto* constraint = static_cast<Node*>(lfirst(cell));
    if (IsA(constraint, Constraint)) inspect(reinterpret_cast<Constraint*>(constraint)->pktable, inspection);
  }
}

// Checks what a subcommand of ALTER TABLE names besides the table: a partition, a parent, or a table that a foreign key
// refers to.
void inspect_subcommands(List* commands, Inspection* inspection) {
  ListCell* cell = nullptr;
  foreach (cell, commands) {
    Node* const definition = lfirst_node(AlterTableCmd, cell)->def;
    if (definition == nullptr) continue;
    switch (nodeTag(definition)) {
      case T_RangeVar:
        inspect(reinterpret_cast<RangeVar*>(definition), inspection);
        break;
      case T_PartitionCmd:
        inspect(reinterpret_cast<PartitionCmd*>(definition)->name, inspection);
        break;
      case T_ColumnDef:
        inspect_constraints(reinterpret_cast<ColumnDef*>(definition)->constraints, inspection);
        break;
      case T_Constraint:
        inspect_constraints(list_make1(definition), inspection);
        break;
      default:
        break;
    }
  }
}

void inspect_dropped(DropStmt* statement, Inspection* inspection) {
  ListCell* cell = nullptr;
  foreach (cell, statement->objects) {
    inspect_object(statement->removeType, reinterpret_cast<Node**>(&lfirst(cell)), inspection);
  }
}

void inspect_published(List* objects, Inspection* inspection) {
  ListCell* cell = nullptr;
  foreach (cell, objects) {
    auto* object = lfirst_node(PublicationObjSpec, cell);
    if (object->pubtable != nullptr) inspect(object->pubtable->relation, inspection);
  }
}

// VACUUM and ANALYZE check privileges before they lock, and take a weaker lock, except for VACUUM FULL.
void inspect_vacuumed(VacuumStmt* statement, Inspection* inspection) {
  bool is_full = false;
  ListCell* cell = nullptr;
  foreach (cell, statement->options) {
    auto* option = lfirst_node(DefElem, cell);
    if (strcmp(option->defname, "full") == 0) is_full = defGetBoolean(option);
  }
  if (!is_full) return;
  foreach (cell, statement->rels) inspect(lfirst_node(VacuumRelation, cell)->relation, inspection);
}

template <class Statement>
Statement* as(Node* statement) {
  return reinterpret_cast<Statement*>(statement);
}

// Covers every statement that locks a relation by name in a stronger mode than ROW EXCLUSIVE.
void inspect_statement(Node* statement, Inspection* inspection) {
  switch (nodeTag(statement)) {
    case T_LockStmt:
      return inspect_lock(as<LockStmt>(statement), inspection);
    case T_RuleStmt:
      return inspect(as<RuleStmt>(statement)->relation, inspection);
    case T_CreateTrigStmt:
      return inspect(as<CreateTrigStmt>(statement)->relation, inspection);
    case T_IndexStmt:
      return inspect(as<IndexStmt>(statement)->relation, inspection);
    case T_AlterTableStmt:
      inspect(as<AlterTableStmt>(statement)->relation, inspection);
      return inspect_subcommands(as<AlterTableStmt>(statement)->cmds, inspection);
    case T_RenameStmt:
      return inspect(as<RenameStmt>(statement)->relation, inspection);
    case T_AlterObjectSchemaStmt:
      return inspect(as<AlterObjectSchemaStmt>(statement)->relation, inspection);
    case T_AlterObjectDependsStmt:
      return inspect(as<AlterObjectDependsStmt>(statement)->relation, inspection);
    case T_CreatePolicyStmt:
      return inspect(as<CreatePolicyStmt>(statement)->table, inspection);
    case T_AlterPolicyStmt:
      return inspect(as<AlterPolicyStmt>(statement)->table, inspection);
    case T_CommentStmt:
      return inspect_object(as<CommentStmt>(statement)->objtype, &as<CommentStmt>(statement)->object, inspection);
    case T_SecLabelStmt:
      return inspect_object(as<SecLabelStmt>(statement)->objtype, &as<SecLabelStmt>(statement)->object, inspection);
    case T_AlterExtensionContentsStmt:
      return inspect_object(as<AlterExtensionContentsStmt>(statement)->objtype,
                            &as<AlterExtensionContentsStmt>(statement)->object, inspection);
    case T_DropStmt:
      return inspect_dropped(as<DropStmt>(statement), inspection);
    case T_TruncateStmt:
      return inspect_all(as<TruncateStmt>(statement)->relations, inspection);
    case T_VacuumStmt:
      return inspect_vacuumed(as<VacuumStmt>(statement), inspection);
    case T_ClusterStmt:
      return inspect(as<ClusterStmt>(statement)->relation, inspection);
    case T_ReindexStmt:
      return inspect(as<ReindexStmt>(statement)->relation, inspection);
    case T_CreateStatsStmt:
      return inspect_all(as<CreateStatsStmt>(statement)->relations, inspection);
    case T_CreatePublicationStmt:
      return inspect_published(as<CreatePublicationStmt>(statement)->pubobjects, inspection);
    case T_AlterPublicationStmt:
      return inspect_published(as<AlterPublicationStmt>(statement)->pubobjects, inspection);
    case T_CreateStmt:
    case T_CreateForeignTableStmt:
      return inspect_all(as<CreateStmt>(statement)->inhRelations, inspection);
    case T_ViewStmt:
      if (as<ViewStmt>(statement)->replace) inspect(as<ViewStmt>(statement)->view, inspection);
      return;
    case T_AlterSeqStmt:
      return inspect(as<AlterSeqStmt>(statement)->sequence, inspection);
    default:
      return;
  }
}

}  // namespace

PlannedStmt* guard_relations(PlannedStmt* planned) {
  // Statements that run outside a transaction name no relation.
  if (!IsTransactionState() || superuser()) return planned;
  Inspection inspection{};
  inspect_statement(planned->utilityStmt, &inspection);
  if (!inspection.has_to_pin) return planned;
  inspection.pins = true;
  auto* copy = static_cast<PlannedStmt*>(copyObjectImpl(planned));
  inspect_statement(copy->utilityStmt, &inspection);
  return copy;
}

}  // namespace webhook::pg

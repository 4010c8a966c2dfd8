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
struct Look {
  Oid extension;
  bool pins;        // names may be qualified
  bool has_to_pin;  // found a name that could come to mean another relation
};

// --- Ownership -------------------------------------------------------------------------------------------------------

// TOAST tables do not count, because only a superuser may look up names in their schema.
bool is_of_extension(Oid relation, const Look& look) {
  const char kind = get_rel_relkind(relation);
  if (kind == RELKIND_INDEX || kind == RELKIND_PARTITIONED_INDEX) relation = IndexGetRelation(relation, true);
  return OidIsValid(relation) && getExtensionOfObject(RelationRelationId, relation) == look.extension;
}

bool is_owner(Oid relation) {
#if PG_VERSION_NUM >= 160000
  return object_ownercheck(RelationRelationId, relation, GetUserId());
#else
  return pg_class_ownercheck(relation, GetUserId());
#endif
}

void refuse(Oid relation, const Look& look) {
  if (!is_of_extension(relation, look) || is_owner(relation)) return;
  ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                  errmsg("permission denied to lock or change \"%s\", which belongs to the extension webhook",
                         get_rel_name(relation)),
                  errdetail("While the lock is held or waited for, events and deliveries would wait for it."),
                  errhint("Only the owner of the relation may.")));
}

// --- Names -----------------------------------------------------------------------------------------------------------

// Fixes what the name means now, whatever other sessions drop or rename.
void pin(RangeVar* name, Oid relation, Look* look) {
  if (name->schemaname != nullptr) return;
  look->has_to_pin = true;
  if (look->pins) name->schemaname = get_namespace_name(get_rel_namespace(relation));
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

void look_at(RangeVar* name, Look* look) {
  if (name == nullptr) return;
  if (!OidIsValid(look->extension)) look->extension = get_extension_oid("webhook", true);
  if (!OidIsValid(look->extension)) return;
  const Oid relation = RangeVarGetRelid(name, NoLock, true);
  if (!OidIsValid(relation)) return;
  refuse(relation, *look);
  if (name->schemaname == nullptr && is_ambiguous(name->relname, relation)) pin(name, relation, look);
}

void look_at_all(List* names, Look* look) {
  ListCell* cell = nullptr;
  foreach (cell, names) {
    auto* node = static_cast<Node*>(lfirst(cell));
    if (IsA(node, RangeVar)) look_at(reinterpret_cast<RangeVar*>(node), look);
  }
}

// Checks a relation's name given as a list of words. The last `trailing` words name a part of the relation. Returns the
// list, with the schema if the name was qualified.
List* look_at_words(List* words, int trailing, Look* look) {
  const int length = list_length(words) - trailing;
  if (length < 1 || length > 3) return words;
  RangeVar* const name = makeRangeVarFromNameList(list_copy_head(words, length));
  look_at(name, look);
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
void look_at_object(ObjectType type, Node** object, Look* look) {
  const int trailing = words_behind_relation(type);
  if (trailing < 0 || !IsA(*object, List)) return;
  List* const words = look_at_words(reinterpret_cast<List*>(*object), trailing, look);
  if (look->pins) *object = reinterpret_cast<Node*>(words);
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
void look_at_view(Oid view, Oid user, const LockStmt* statement, Look* look) {
  check_stack_depth();
  if (pg_class_aclcheck(view, user, kMayLock) != ACLCHECK_OK) {
    aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_VIEW, get_rel_name(view));
  }
  lock(view, statement);
  List* const relations = relations_of_view(view);
  ListCell* cell = nullptr;
  foreach (cell, relations) refuse(lfirst_oid(cell), *look);
  Relation opened = try_relation_open(view, NoLock);
  if (opened == nullptr) return;
  const bool as_invoker = opened->rd_rel->relkind == RELKIND_VIEW && RelationHasSecurityInvoker(opened);
  const Oid next_user = as_invoker ? user : opened->rd_rel->relowner;
  relation_close(opened, NoLock);
  foreach (cell, relations) {
    if (get_rel_relkind(lfirst_oid(cell)) != RELKIND_VIEW) continue;
    look_at_view(lfirst_oid(cell), next_user, statement, look);
  }
}

void look_at_lock(LockStmt* statement, Look* look) {
  if (statement->mode <= RowExclusiveLock) return;
  look_at_all(statement->relations, look);
  ListCell* cell = nullptr;
  foreach (cell, statement->relations) {
    auto* name = lfirst_node(RangeVar, cell);
    const Oid relation = RangeVarGetRelid(name, NoLock, true);
    if (get_rel_relkind(relation) != RELKIND_VIEW) continue;
    pin(name, relation, look);
    // Only once the name is qualified and so cannot change its meaning.
    if (name->schemaname != nullptr) look_at_view(relation, GetUserId(), statement, look);
  }
}

// --- The other statements --------------------------------------------------------------------------------------------

void look_at_constraints(List* constraints, Look* look) {
  ListCell* cell = nullptr;
  foreach (cell, constraints) {
    auto* constraint = static_cast<Node*>(lfirst(cell));
    if (IsA(constraint, Constraint)) look_at(reinterpret_cast<Constraint*>(constraint)->pktable, look);
  }
}

// Checks what a subcommand of ALTER TABLE names besides the table: a partition, a parent, or a table that a foreign key
// refers to.
void look_at_subcommands(List* commands, Look* look) {
  ListCell* cell = nullptr;
  foreach (cell, commands) {
    Node* const definition = lfirst_node(AlterTableCmd, cell)->def;
    if (definition == nullptr) continue;
    switch (nodeTag(definition)) {
      case T_RangeVar:
        look_at(reinterpret_cast<RangeVar*>(definition), look);
        break;
      case T_PartitionCmd:
        look_at(reinterpret_cast<PartitionCmd*>(definition)->name, look);
        break;
      case T_ColumnDef:
        look_at_constraints(reinterpret_cast<ColumnDef*>(definition)->constraints, look);
        break;
      case T_Constraint:
        look_at_constraints(list_make1(definition), look);
        break;
      default:
        break;
    }
  }
}

void look_at_dropped(DropStmt* statement, Look* look) {
  ListCell* cell = nullptr;
  foreach (cell, statement->objects) {
    look_at_object(statement->removeType, reinterpret_cast<Node**>(&lfirst(cell)), look);
  }
}

void look_at_published(List* objects, Look* look) {
  ListCell* cell = nullptr;
  foreach (cell, objects) {
    auto* object = lfirst_node(PublicationObjSpec, cell);
    if (object->pubtable != nullptr) look_at(object->pubtable->relation, look);
  }
}

// VACUUM and ANALYZE check privileges before they lock, and take a weaker lock, except for VACUUM FULL.
void look_at_vacuumed(VacuumStmt* statement, Look* look) {
  bool is_full = false;
  ListCell* cell = nullptr;
  foreach (cell, statement->options) {
    auto* option = lfirst_node(DefElem, cell);
    if (strcmp(option->defname, "full") == 0) is_full = defGetBoolean(option);
  }
  if (!is_full) return;
  foreach (cell, statement->rels) look_at(lfirst_node(VacuumRelation, cell)->relation, look);
}

template <class Statement>
Statement* as(Node* statement) {
  return reinterpret_cast<Statement*>(statement);
}

// Covers every statement that locks a relation by name in a stronger mode than ROW EXCLUSIVE.
void look_at_statement(Node* statement, Look* look) {
  switch (nodeTag(statement)) {
    case T_LockStmt:
      return look_at_lock(as<LockStmt>(statement), look);
    case T_RuleStmt:
      return look_at(as<RuleStmt>(statement)->relation, look);
    case T_CreateTrigStmt:
      return look_at(as<CreateTrigStmt>(statement)->relation, look);
    case T_IndexStmt:
      return look_at(as<IndexStmt>(statement)->relation, look);
    case T_AlterTableStmt:
      look_at(as<AlterTableStmt>(statement)->relation, look);
      return look_at_subcommands(as<AlterTableStmt>(statement)->cmds, look);
    case T_RenameStmt:
      return look_at(as<RenameStmt>(statement)->relation, look);
    case T_AlterObjectSchemaStmt:
      return look_at(as<AlterObjectSchemaStmt>(statement)->relation, look);
    case T_AlterObjectDependsStmt:
      return look_at(as<AlterObjectDependsStmt>(statement)->relation, look);
    case T_CreatePolicyStmt:
      return look_at(as<CreatePolicyStmt>(statement)->table, look);
    case T_AlterPolicyStmt:
      return look_at(as<AlterPolicyStmt>(statement)->table, look);
    case T_CommentStmt:
      return look_at_object(as<CommentStmt>(statement)->objtype, &as<CommentStmt>(statement)->object, look);
    case T_SecLabelStmt:
      return look_at_object(as<SecLabelStmt>(statement)->objtype, &as<SecLabelStmt>(statement)->object, look);
    case T_AlterExtensionContentsStmt:
      return look_at_object(as<AlterExtensionContentsStmt>(statement)->objtype,
                            &as<AlterExtensionContentsStmt>(statement)->object, look);
    case T_DropStmt:
      return look_at_dropped(as<DropStmt>(statement), look);
    case T_TruncateStmt:
      return look_at_all(as<TruncateStmt>(statement)->relations, look);
    case T_VacuumStmt:
      return look_at_vacuumed(as<VacuumStmt>(statement), look);
    case T_ClusterStmt:
      return look_at(as<ClusterStmt>(statement)->relation, look);
    case T_ReindexStmt:
      return look_at(as<ReindexStmt>(statement)->relation, look);
    case T_CreateStatsStmt:
      return look_at_all(as<CreateStatsStmt>(statement)->relations, look);
    case T_CreatePublicationStmt:
      return look_at_published(as<CreatePublicationStmt>(statement)->pubobjects, look);
    case T_AlterPublicationStmt:
      return look_at_published(as<AlterPublicationStmt>(statement)->pubobjects, look);
    case T_CreateStmt:
    case T_CreateForeignTableStmt:
      return look_at_all(as<CreateStmt>(statement)->inhRelations, look);
    case T_ViewStmt:
      if (as<ViewStmt>(statement)->replace) look_at(as<ViewStmt>(statement)->view, look);
      return;
    case T_AlterSeqStmt:
      return look_at(as<AlterSeqStmt>(statement)->sequence, look);
    default:
      return;
  }
}

}  // namespace

PlannedStmt* guard_relations(PlannedStmt* planned) {
  // Statements that run outside a transaction name no relation.
  if (!IsTransactionState() || superuser()) return planned;
  Look look{};
  look_at_statement(planned->utilityStmt, &look);
  if (!look.has_to_pin) return planned;
  look.pins = true;
  auto* copy = static_cast<PlannedStmt*>(copyObjectImpl(planned));
  look_at_statement(copy->utilityStmt, &look);
  return copy;
}

}  // namespace webhook::pg

// Keeps strong locks off the extension's relations.
//
// PostgreSQL locks what a statement names before it asks, in many of its statements, whether the caller may: CREATE RULE, CREATE
// TRIGGER, COMMENT, DROP TRIGGER, CREATE STATISTICS, a foreign key, a partition. The lock waits for whoever reads the relation,
// and the application's INSERT waits behind it. LOCK TABLE asks first, but an UPDATE or DELETE that is granted will do for it.
// So these statements are refused before they begin.
#pragma once

struct PlannedStmt;

namespace webhook::pg {

// Before a utility statement runs. An ereport(ERROR), 42501, if it would lock a relation of ours in a stronger mode than ROW
// EXCLUSIVE, and the user is neither the relation's owner nor a superuser. Returns the statement to run: the one that was given,
// or a copy in which names that could come to mean a relation of ours are qualified.
PlannedStmt* guard_relations(PlannedStmt* planned);

}  // namespace webhook::pg

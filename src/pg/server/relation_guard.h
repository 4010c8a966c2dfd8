// Keeps strong locks off the extension's relations.
//
// Many statements lock the relation that they name before PostgreSQL checks the caller's privileges: CREATE RULE,
// CREATE TRIGGER, COMMENT, DROP TRIGGER, CREATE STATISTICS, a foreign key, a partition. Such a lock waits for every
// reader of the relation, and the application's INSERT waits behind it. LOCK TABLE checks first, but UPDATE or DELETE
// privilege is enough for it. So these statements are refused before they begin.
#pragma once

struct PlannedStmt;

namespace webhook::pg {

// To be called before a utility statement runs. Raises an ERROR (42501) if the statement would lock one of the
// extension's relations in a stronger mode than ROW EXCLUSIVE and the user is neither the relation's owner nor a
// superuser. Returns the statement to run: the given one, or a copy that schema-qualifies names which could otherwise
// come to mean one of these relations.
PlannedStmt* guard_relations(PlannedStmt* planned);

}  // namespace webhook::pg

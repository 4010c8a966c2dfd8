// Appends rows to a table past the executor. Raises errors of PostgreSQL's: for guarded code.
#pragma once

#include <cstddef>

struct RelationData;
struct TupleTableSlot;

namespace webhook::pg {

enum class Constraints : bool { kUnchecked, kChecked };

// The table is open and locked, the slots are virtual and filled, and a snapshot is active. All rows go in together and
// get their index entries one by one. No trigger fires and no default is filled in. Checked: NOT NULL and CHECK.
void bulk_insert(RelationData* table, TupleTableSlot** slots, std::size_t count, Constraints constraints);

}  // namespace webhook::pg

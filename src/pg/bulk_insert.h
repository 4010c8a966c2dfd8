// Appends rows to a table past the executor. Raises errors of PostgreSQL's: for guarded code.
#pragma once

#include <cstddef>

struct RelationData;
struct TupleTableSlot;

namespace webhook::pg {

enum class Constraints : bool { kUnchecked, kChecked };

// The table is open and locked, the slots are virtual and filled, and a snapshot is active. All rows go in together and
// get their index entries one by one. No trigger fires and no default is filled in. Checked: NOT NULL and CHECK.
// ascending: the number, from 1, of a bigint column in which the rows ascend; 0: there is none. A BRIN index on it alone
// learns nothing from what lies between the first and the last row of a page, and is not asked to.
void bulk_insert(RelationData* table, TupleTableSlot** slots, std::size_t count, Constraints constraints,
                 int ascending = 0);

}  // namespace webhook::pg

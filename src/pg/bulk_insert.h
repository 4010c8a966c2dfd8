// Appends rows to a table without the executor. Raises PostgreSQL errors, so call it inside guarded().
#pragma once

#include <cstddef>
#include <optional>

struct RelationData;
struct TupleTableSlot;

namespace webhook::pg {

enum class Constraints : bool { kUnchecked, kChecked };

// The table must be open and locked, the slots virtual and filled, and a snapshot active. All rows are inserted
// together and get their index entries one by one. No trigger fires and no default is filled in. kChecked: checks NOT
// NULL and CHECK constraints. ascending: the number, from 1, of a bigint column in which the rows ascend; 0: none. For
// a BRIN index on this column alone, only the first and the last row of a page get an index call, because the rows
// between them add nothing.
void bulk_insert(RelationData* table, TupleTableSlot** slots, std::size_t count, Constraints constraints,
                 int ascending = 0);

// The number, from 1, of the column that is not null in the rows that the index has; 0 if it has all rows. nullopt if its
// predicate is of another form than "column IS NOT NULL".
std::optional<int> column_not_null(RelationData* index);

}  // namespace webhook::pg

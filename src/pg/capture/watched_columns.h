// Keeps the columns that triggers of webhook_capture() name by their arguments true to the table, as PostgreSQL does for a
// trigger's WHEN: renamed columns are followed, and a column that a trigger needs is not dropped without it.
#pragma once

namespace webhook::pg {

// From _PG_init, once per process. From then on, in this process:
//
// - CREATE TRIGGER is an error (42703) if an argument names a column that the table does not have. ignore_columns may.
// - A renamed column is renamed in the arguments.
// - A dropped column leaves ignore_columns. If another argument names it, ALTER TABLE ... DROP COLUMN is an error (2BP01);
//   a drop by CASCADE takes the trigger with it.
// - A NOTICE says that a table that comes to inherit from a watched one does not inherit its events.
void install_column_hooks() noexcept;

}  // namespace webhook::pg

// Keeps the column names in the arguments of webhook_capture() triggers in step with the table, as PostgreSQL does for
// a trigger's WHEN: a renamed column is renamed there, and a column that a trigger needs is not dropped without the
// trigger.
#pragma once

namespace webhook::pg {

// For _PG_init, once per process. From then on, in this process:
//
// - CREATE TRIGGER raises an error (42703) if an argument other than ignore_columns names a column that the table
//   lacks.
// - A renamed column is renamed in the arguments.
// - A dropped column is removed from ignore_columns. If another argument names it, ALTER TABLE ... DROP COLUMN raises
//   an error (2BP01), and a drop by CASCADE drops the trigger too.
// - If a table comes to inherit from a watched table, a NOTICE says that it does not inherit its events.
void install_column_hooks() noexcept;

}  // namespace webhook::pg

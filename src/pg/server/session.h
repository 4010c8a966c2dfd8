// Whose settings a worker's session has: postgresql.conf's and its own. ALTER DATABASE … SET, ALTER ROLE … SET and ALTER
// ROLE … IN DATABASE … SET are meant for applications. A role, a timeout or a planner setting of theirs would keep a worker
// from its work: see process_settings() in PostgreSQL's utils/init/postinit.c, which applies them to every session.
#pragma once

namespace webhook::pg {

// What the settings are before the process is connected to a database. May raise an error; not freed.
struct SettingsBefore;
SettingsBefore* note_settings();

// After the connection: gives those their value back that the database or the role has set otherwise. The extension's own
// settings stay as they are set. Needs a transaction. May raise an error.
void restore_settings(const SettingsBefore* before);

}  // namespace webhook::pg

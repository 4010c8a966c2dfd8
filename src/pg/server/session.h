// Keeps a worker's session on postgresql.conf's settings and its own. ALTER DATABASE … SET, ALTER ROLE … SET and ALTER
// ROLE … IN DATABASE … SET are meant for applications: a role, a timeout or a planner setting from them would keep a
// worker from its work. PostgreSQL applies them to every session, see process_settings() in utils/init/postinit.c.
#pragma once

namespace webhook::pg {

// The settings' values before the process connects to a database. May raise an error. Never freed.
struct SettingsBefore;
SettingsBefore* note_settings();

// After the connection: restores the values of settings that the database or the role has set. Leaves the extension's
// own settings as they are. Needs a transaction. May raise an error.
void restore_settings(const SettingsBefore* before);

}  // namespace webhook::pg

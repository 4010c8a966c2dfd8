#include "pg/server/session.h"

extern "C" {
#include "postgres.h"

#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/memutils.h"
}

#include <cstring>

namespace webhook::pg {

// No frame in this file holds a C++ object, so errors may pass through.

struct SettingsBefore {
  struct Setting {
    char* name;
    char* value;  // nullptr: the value is not available
  };
  Setting* settings;
  int count;
};

namespace {

config_generic** all_settings(int* count) {
#if PG_VERSION_NUM >= 160000
  return get_guc_variables(count);
#else
  *count = GetNumConfigOptions();
  return get_guc_variables();
#endif
}

bool is_ours(const char* name) { return strncmp(name, "webhook.", strlen("webhook.")) == 0; }

// The sources that pg_db_role_setting uses, and nothing else uses.
bool is_of_database_or_role(GucSource source) {
  switch (source) {
    case PGC_S_GLOBAL:
    case PGC_S_DATABASE:
    case PGC_S_USER:
    case PGC_S_DATABASE_USER:
      return true;
    default:
      return false;
  }
}

// nullptr: the setting did not exist, or its value is not available.
const char* value_before(const SettingsBefore* before, const char* name) {
  for (int i = 0; i < before->count; ++i) {
    if (strcmp(before->settings[i].name, name) == 0) return before->settings[i].value;
  }
  return nullptr;
}

}  // namespace

SettingsBefore* note_settings() {
  int count = 0;
  config_generic** all = all_settings(&count);
  MemoryContext const context = MemoryContextSwitchTo(TopMemoryContext);
  auto* before = static_cast<SettingsBefore*>(palloc(sizeof(SettingsBefore)));
  before->settings =
      static_cast<SettingsBefore::Setting*>(palloc0(sizeof(SettingsBefore::Setting) * static_cast<Size>(count)));
  before->count = 0;
  for (int i = 0; i < count; ++i) {
    const bool can_be_set = all[i]->context == PGC_SUSET || all[i]->context == PGC_USERSET;
    if (!can_be_set || is_ours(all[i]->name)) continue;
    const char* const value = GetConfigOption(all[i]->name, true, false);
    before->settings[before->count++] = {pstrdup(all[i]->name), value == nullptr ? nullptr : pstrdup(value)};
  }
  MemoryContextSwitchTo(context);
  return before;
}

void restore_settings(const SettingsBefore* before) {
  int count = 0;
  config_generic** all = all_settings(&count);
  for (int i = 0; i < count; ++i) {
    if (!is_of_database_or_role(all[i]->source)) continue;
    const char* const value = value_before(before, all[i]->name);
    if (value == nullptr) continue;
    // The worker goes on even if a value cannot be restored.
    (void)set_config_option(all[i]->name, value, PGC_SUSET, PGC_S_OVERRIDE, GUC_ACTION_SET, true, WARNING, false);
  }
}

}  // namespace webhook::pg

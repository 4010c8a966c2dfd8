// PostgreSQL's entry points: the library's start and the background processes. The C functions that sql/parts declares
// are in pg/functions.
extern "C" {
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
}

#include <memory>
#include <string>

#include "core/log_text.h"
#include "core/share.h"
#include "core/version.h"
#include "http/curl_client.h"
#include "pg/capture/capture.h"
#include "pg/capture/watched_columns.h"
#include "pg/guard.h"
#include "pg/server/apply_errors.h"
#include "pg/server/database_entries.h"
#include "pg/server/launcher.h"
#include "pg/server/shared_memory.h"
#include "pg/server/test_requests.h"
#include "pg/server/utility_hook.h"
#include "pg/server/worker_process.h"
#include "pg/server/worker_slots.h"
#include "pg/settings.h"
#include "pg/store/spi_store.h"
#include "worker/worker.h"

// PostgreSQL looks these symbols up by name. Before version 16 its macros do not make them visible.
#pragma GCC visibility push(default)
extern "C" {

#ifdef PG_MODULE_MAGIC_EXT
PG_MODULE_MAGIC_EXT(.name = "webhook", .version = WEBHOOK_VERSION);
#else
PG_MODULE_MAGIC;
#endif

void _PG_init(void);
void webhook_launcher_main(Datum argument);
void webhook_worker_main(Datum argument);

}  // extern "C"
#pragma GCC visibility pop

using webhook::pg::entry;

void _PG_init(void) {
  entry([] {
    webhook::pg::define_settings();
    webhook::pg::init_capture();
    // A server that pg_upgrade runs delivers nothing and changes no columns.
    if (IsBinaryUpgrade) return;
    webhook::pg::install_column_hooks();
    if (!process_shared_preload_libraries_in_progress) return;
    webhook::pg::request_shared_state();
    webhook::pg::request_test_memory();
    webhook::pg::request_apply_errors();
    webhook::pg::install_utility_hook();
    webhook::pg::register_launcher();
  });
}

// --- The background processes ----------------------------------------------------------------------------------------

void webhook_launcher_main(Datum /*argument*/) {
  entry([] { webhook::pg::run_launcher(); });
  // Needs no guard, because proc_exit() does not return. With status 0 the postmaster would never restart the launcher.
  proc_exit(1);
}

namespace {

// Until ALTER EXTENSION UPDATE, or the restart of the server, the launcher starts a worker now and then, and only the
// first of them writes to the log.
void wait_for_update(webhook::Process& process, const webhook::pg::OtherVersion& other) {
  using webhook::SqlVersion;
  webhook::pg::set_exit_reason(webhook::pg::WorkerExit::kOtherVersion);
  if (webhook::pg::last_exit_of_this_slot() == webhook::pg::WorkerExit::kOtherVersion) return;
  const bool is_older =
      webhook::compare_sql_version(other.installed(), webhook::library_version()) == SqlVersion::kOlder;
  process.log(webhook::LogLevel::kWarning, other.message(),
              "Nothing is delivered in this database until then. Events are captured and kept.",
              is_older ? "Run ALTER EXTENSION webhook UPDATE in this database."
                       : "Install that version of the library and restart the server.");
}

// The worker itself finds out whether it has anything to do: see launcher.h.
void run_worker(Oid database) {
  const webhook::WorkerShare share = webhook::pg::share_of_this_worker();
  const std::unique_ptr<webhook::Process> process = webhook::pg::begin_worker(database, share);
  if (!process) return;
  try {
    webhook::pg::SpiStore store;
    webhook::pg::note_extension();
    webhook::init_http();
    webhook::CurlClient http(process->settings().http);
    webhook::pg::SharedTestRequests tests;
    webhook::pg::note_end(webhook::Worker(*process, store, http, tests, share).run());
  } catch (const webhook::ExtensionGone&) {
    webhook::pg::set_exit_reason(webhook::pg::WorkerExit::kNoExtension);
  } catch (const webhook::pg::OtherVersion& other) {
    wait_for_update(*process, other);
  } catch (const webhook::Error& error) {
    // This error goes to the server's log only, and may quote text that a tenant wrote.
    using webhook::LogText;
    throw webhook::Error(error.sqlstate().c_str(), LogText(error.message()).text(), LogText(error.detail()).text(),
                         LogText(error.hint()).text(), {.context = LogText(error.origin().context_in_a_line()).text()});
  }
}

}  // namespace

// argument: the database's OID. The launcher restarts this process when needed: see launcher.cpp.
void webhook_worker_main(Datum argument) {
  entry([argument] { run_worker(DatumGetObjectId(argument)); });
}

// Where PostgreSQL enters: the library's start and the background processes. What sql/parts declares in LANGUAGE C stands in
// pg/functions.
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
#include "http/curl_client.h"
#include "pg/capture/capture.h"
#include "pg/capture/watched_columns.h"
#include "pg/guard.h"
#include "pg/server/background.h"
#include "pg/server/shared_state.h"
#include "pg/server/test_requests.h"
#include "pg/server/utility_hook.h"
#include "pg/settings.h"
#include "pg/store/spi_store.h"
#include "worker/worker.h"

// What PostgreSQL looks up by name. Until version 16 its macros do not make it visible themselves.
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
    // pg_upgrade's servers deliver nothing, and change no columns.
    if (IsBinaryUpgrade) return;
    webhook::pg::install_column_hooks();
    if (!process_shared_preload_libraries_in_progress) return;
    webhook::pg::request_shared_state();
    webhook::pg::request_test_memory();
    webhook::pg::install_utility_hook();
    webhook::pg::register_launcher();
  });
}

// --- The background processes ---------------------------------------------------------------------------------------------

void webhook_launcher_main(Datum /*argument*/) {
  entry([] { webhook::pg::run_launcher(); });
  // Unguarded: it does not return. Not 0, with which the launcher would never be started again.
  proc_exit(1);
}

namespace {

// Whether a worker has something to do is for the worker to find out: see background.h.
void run_worker(Oid database) {
  const webhook::WorkerShare share = webhook::pg::share_of_this_worker();
  const std::unique_ptr<webhook::pg::Process> process = webhook::pg::begin_worker(database, share);
  if (!process) return;
  try {
    webhook::pg::SpiStore store;
    if (store.installed_version() != WEBHOOK_VERSION) {
      throw webhook::pg::Error("55000",
                               "version " + store.installed_version() +
                                   " of extension \"webhook\" is installed, but the " + "library is of version " +
                                   WEBHOOK_VERSION,
                               "Events are recorded and kept.", "Run ALTER EXTENSION webhook UPDATE.");
    }
    webhook::pg::note_extension();
    webhook::init_http();
    webhook::CurlClient http(process->settings().http);
    webhook::pg::SharedTestRequests tests;
    webhook::Worker(*process, store, http, tests, share).run();
    webhook::pg::note_shutdown();
  } catch (const webhook::pg::ExtensionGone&) {
    webhook::pg::set_exit_reason(webhook::pg::WorkerExit::kNoExtension);
  } catch (const webhook::pg::Error& error) {
    // It ends in the server's log alone, and may quote what a tenant wrote.
    using webhook::LogText;
    throw webhook::pg::Error(error.sqlstate().c_str(), LogText(error.message()).text(), LogText(error.detail()).text(),
                             LogText(error.hint()).text(),
                             {.context = LogText(error.origin().context_in_a_line()).text()});
  }
}

}  // namespace

// argument: the database's OID. The launcher starts it again, if need be: see background.cpp.
void webhook_worker_main(Datum argument) {
  entry([argument] { run_worker(DatumGetObjectId(argument)); });
}

#include "pg/server/background_process.h"

extern "C" {
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "utils/wait_event.h"
}

#include "pg/guard.h"

namespace webhook::pg {

// Before PostgreSQL 17 an extension has no wait events of its own.
#if PG_VERSION_NUM >= 170000
std::uint32_t main_wait_event() {
  static const std::uint32_t event = guarded([] { return WaitEventExtensionNew("WebhookMain"); });
  return event;
}

std::uint32_t idle_wait_event() {
  static const std::uint32_t event = guarded([] { return WaitEventExtensionNew("WebhookIdle"); });
  return event;
}

std::uint32_t network_wait_event() {
  static const std::uint32_t event = guarded([] { return WaitEventExtensionNew("WebhookNetwork"); });
  return event;
}
#else
std::uint32_t main_wait_event() { return PG_WAIT_EXTENSION; }
std::uint32_t idle_wait_event() { return PG_WAIT_EXTENSION; }
std::uint32_t network_wait_event() { return PG_WAIT_EXTENSION; }
#endif

void set_signal_handlers() {
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
  BackgroundWorkerUnblockSignals();
}

// There is no statement that pg_cancel_backend() could mean, and its error would end the process.
void check_for_interrupts() {
  QueryCancelPending = 0;
  CHECK_FOR_INTERRUPTS();
}

}  // namespace webhook::pg

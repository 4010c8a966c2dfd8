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

std::uint32_t main_wait_event() {
#if PG_VERSION_NUM >= 170000
  static const std::uint32_t event = guarded([] { return WaitEventExtensionNew("WebhookMain"); });
  return event;
#else
  return PG_WAIT_EXTENSION;
#endif
}

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

#include "pg/server/process_latch.h"

extern "C" {
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/proc.h"
}

namespace webhook::pg {

std::uint32_t my_process_number() noexcept {
#if PG_VERSION_NUM >= 170000
  return static_cast<std::uint32_t>(MyProcNumber);
#else
  return static_cast<std::uint32_t>(MyProc->pgprocno);
#endif
}

void set_latch_of(std::uint32_t process) noexcept {
  if (process != kNoProcess) SetLatch(&ProcGlobal->allProcs[process].procLatch);
}

}  // namespace webhook::pg

// How webhook_test() in a backend asks a worker of its database to send something now, and gets the answer: through
// core/test_slots.h in shared memory. The caller waits on its latch, so that a cancel ends the waiting; the worker never
// waits for a caller.
//
// It exists, as shared_state.h, only if the library was in shared_preload_libraries.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/share.h"
#include "core/test_slots.h"
#include "core/time.h"
#include "core/uuid.h"

namespace webhook::pg {

// The worker's side.
class TestRequests {
 public:
  virtual ~TestRequests() = default;

  // Whether take() would return a request. Cheap while there is none.
  virtual bool any(const WorkerShare& share) = 0;
  // The longest waiting request of this database for a webhook of that share. It is to be answered; those that are not
  // when the process ends are answered with kWorkerEnded.
  virtual std::optional<TestRequest> take(const WorkerShare& share) = 0;
  // Dropped if the caller has given up.
  virtual void answer(const TestTicket& ticket, const TestAnswer& answer) = 0;
};

// In the worker's process, once.
class SharedTestRequests final : public TestRequests {
 public:
  SharedTestRequests();

  bool any(const WorkerShare& share) override;
  std::optional<TestRequest> take(const WorkerShare& share) override;
  void answer(const TestTicket& ticket, const TestAnswer& answer) override;
};

// From _PG_init, while the server loads shared_preload_libraries: asks for the memory and sets the hooks.
void request_test_memory();

// In a backend: has a worker of this database send the event's example to the webhook, which was created then and is the
// organization's, or nobody's if that is empty, and returns what became of it, which is always kSent. Throws Error if nothing was sent, if
// too many are being sent, in all or of the organization, if no worker is there, if the answer has not come after
// wait_max, or if the statement is cancelled.
TestAnswer run_test(const Uuid& webhook, Time webhook_created_at, std::string_view organization, std::string_view event,
                    Duration wait_max);

}  // namespace webhook::pg

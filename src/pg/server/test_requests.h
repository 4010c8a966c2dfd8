// How webhook_test() in a backend asks a worker of its database to send a request now, and gets the answer: through
// core/test_slots.h in shared memory. The caller waits on its latch, so a cancel ends the wait. The worker never waits
// for a caller.
//
// The event's data is in a segment of dynamic shared memory that belongs to the caller's transaction. The worker copies it
// and leaves the segment, so nothing of it is left when either of them ends, however it ends.
//
// Like shared_memory.h, this exists only if the library was in shared_preload_libraries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/share.h"
#include "core/test_slots.h"
#include "core/time.h"
#include "core/uuid.h"
#include "worker/test_requests.h"

namespace webhook::pg {

// One per worker process.
class SharedTestRequests final : public TestRequests {
 public:
  SharedTestRequests();

  bool any(const WorkerShare& share) override;
  std::optional<TakenTest> take(const WorkerShare& share) override;
  void answer(const TestTicket& ticket, const TestAnswer& answer) override;
};

// What run_test() asks for. The webhook is the one with this id, creation time and organization (empty: none).
struct TestWanted {
  Uuid webhook;
  Time webhook_created_at{};
  std::string_view organization;
  std::string_view event;
  std::string_view data;  // JSON in UTF-8
};

// From _PG_init, while the server loads shared_preload_libraries: asks for the memory and sets the hooks.
void request_test_memory();

// In a backend: asks a worker of this database to send an event with this data to a webhook, and returns the result,
// which is always kSent. Throws Error if nothing was sent, if the data is too large, if too many tests are running (in
// total, or for the organization), if there is no worker, if no answer comes within wait_max, or if the statement is
// cancelled.
TestAnswer run_test(const TestWanted& wanted, Duration wait_max);

}  // namespace webhook::pg

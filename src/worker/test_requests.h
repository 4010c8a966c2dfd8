// The tests that sessions have asked for with webhook_test(), as the worker sees them. pg/server/test_requests.h implements
// it in shared memory, the unit tests in memory.
#pragma once

#include <optional>

#include "core/share.h"
#include "core/test_slots.h"

namespace webhook {

class TestRequests {
 public:
  virtual ~TestRequests() = default;

  // Whether take() would return a request. Cheap when there is none.
  virtual bool any(const WorkerShare& share) = 0;
  // Takes the longest waiting request of this database for a webhook of this share; nullopt if there is none. The
  // worker must answer it. A request that is unanswered when the process ends is answered with kWorkerEnded.
  virtual std::optional<TestRequest> take(const WorkerShare& share) = 0;
  // The answer is dropped if the caller has given up.
  virtual void answer(const TestTicket& ticket, const TestAnswer& answer) = 0;
};

}  // namespace webhook

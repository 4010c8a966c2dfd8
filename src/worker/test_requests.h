// The tests that sessions have asked for with webhook_test(), as the worker sees them. pg/server/test_requests.h implements
// it in shared memory, the unit tests in memory.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "core/share.h"
#include "core/test_slots.h"

namespace webhook {

// How many bytes of data all running tests together may have if workers have this much memory: webhook.worker_memory.
constexpr std::size_t test_data_max(std::size_t worker_memory) { return worker_memory / 8; }

// A request that a worker has taken, with the event's data: JSON in UTF-8.
struct TakenTest {
  TestRequest request;
  std::string data;
};

class TestRequests {
 public:
  virtual ~TestRequests() = default;

  // Whether take() would return a request. Cheap when there is none.
  virtual bool any(const WorkerShare& share) = 0;
  // Takes the longest waiting request of this database for a webhook of this share; nullopt if there is none. The
  // worker must answer it. A request that is unanswered when the process ends is answered with kWorkerEnded. Throws Error
  // if the data cannot be read; the request is answered then.
  virtual std::optional<TakenTest> take(const WorkerShare& share) = 0;
  // The answer is dropped if the caller has given up.
  virtual void answer(const TestTicket& ticket, const TestAnswer& answer) = 0;
};

}  // namespace webhook

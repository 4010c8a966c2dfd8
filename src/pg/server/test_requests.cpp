#include "pg/server/test_requests.h"

extern "C" {
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
}

#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "core/error.h"
#include "pg/encoding.h"
#include "pg/guard.h"
#include "pg/server/database_entries.h"
#include "pg/server/database_holds.h"
#include "pg/server/process_latch.h"
#include "pg/server/wakes.h"
#include "pg/settings.h"
#include "pg/timestamps.h"

namespace webhook::pg {
namespace {

constexpr const char* kName = "webhook_test";
constexpr long kPollIntervalMs = 1000;  // how often to check that a worker still runs

struct Shared {
  LWLock* lock;
  pg_atomic_uint32 waiting;  // number of waiting requests in all databases; written under lock
  TestSlots slots;
};

Shared* shared = nullptr;
shmem_request_hook_type previous_shmem_request = nullptr;
shmem_startup_hook_type previous_shmem_startup = nullptr;

std::optional<TestTicket> my_ticket;  // this backend's request

std::uint32_t wait_event() {
#if PG_VERSION_NUM >= 170000
  static const std::uint32_t event = guarded([] { return WaitEventExtensionNew("WebhookTest"); });
  return event;
#else
  return PG_WAIT_EXTENSION;
#endif
}

void request() noexcept {
  if (previous_shmem_request != nullptr) previous_shmem_request();
  // Needs no guard, like startup(): the postmaster has no C++ frames above.
  RequestAddinShmemSpace(MAXALIGN(sizeof(Shared)));
  RequestNamedLWLockTranche(kName, 1);
}

void startup() noexcept {
  if (previous_shmem_startup != nullptr) previous_shmem_startup();
  bool found = false;
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  shared = static_cast<Shared*>(ShmemInitStruct(kName, sizeof(Shared), &found));
  if (!found) {
    shared->lock = &GetNamedLWLockTranche(kName)->lock;
    pg_atomic_init_u32(&shared->waiting, 0);
    new (&shared->slots) TestSlots();
  }
  LWLockRelease(AddinShmemInitLock);
}

// Locks the slots. Nothing in its scope may allocate or raise an error.
class Locked {
 public:
  Locked() { LWLockAcquire(shared->lock, LW_EXCLUSIVE); }
  ~Locked() {
    pg_atomic_write_u32(&shared->waiting, static_cast<std::uint32_t>(shared->slots.waiting()));
    LWLockRelease(shared->lock);
  }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

  TestSlots* operator->() { return &shared->slots; }
};

void withdraw_mine() noexcept {
  if (!my_ticket) return;
  Locked()->withdraw(*my_ticket);
  my_ticket.reset();
}

// Needed because terminating a backend unwinds no C++ scope.
void withdraw_at_exit(int /*code*/, Datum /*argument*/) noexcept { withdraw_mine(); }

void abandon_at_exit(int /*code*/, Datum /*argument*/) noexcept {
  Locked locked;
  while (const auto caller = locked->abandon_one(my_process_number())) set_latch_of(*caller);
}

// The organization as a number. Organizations with the same number only share their slots.
std::uint64_t number_of(std::string_view organization) {
  if (organization.empty()) return TestSlots::kNoOrganization;
  const std::uint64_t hash = hash_bytes_extended(reinterpret_cast<const unsigned char*>(organization.data()),
                                                 static_cast<int>(organization.size()), MyDatabaseId);
  return hash == TestSlots::kNoOrganization ? 1 : hash;
}

// What a segment of dynamic shared memory begins with. The event's data follows.
struct SegmentHead {
  std::uint64_t number;  // of the request
  std::size_t data_bytes;
};

// The caller's segment with the event's data. Freed by close(), or with the transaction.
class DataSegment {
 public:
  DataSegment(std::uint64_t number, std::string_view data) {
    const SegmentHead head{number, data.size()};
    guarded([this, &head, data] {
      segment_ = dsm_create(sizeof head + data.size(), 0);
      auto* const start = static_cast<char*>(dsm_segment_address(segment_));
      memcpy(start, &head, sizeof head);
      memcpy(start + sizeof head, data.data(), data.size());
    });
  }

  std::uint32_t handle() const { return dsm_segment_handle(segment_); }  // a plain read
  void close() {
    guarded([this] { dsm_detach(segment_); });
  }

 private:
  dsm_segment* segment_ = nullptr;
};

// The worker's copy of the data. nullopt: the caller has given up, and its segment is gone.
std::optional<std::string> read_data(const TestRequest& request) {
  dsm_segment* const segment = guarded([&request] { return dsm_attach(request.data); });
  if (segment == nullptr) return std::nullopt;
  std::optional<std::string> data;
  const auto* const start = static_cast<const char*>(dsm_segment_address(segment));
  const std::size_t bytes = dsm_segment_map_length(segment);
  SegmentHead head{};
  if (bytes >= sizeof head) std::memcpy(&head, start, sizeof head);
  // Another segment may have got the handle of one that is gone. No request has the number 0.
  const bool is_its = head.number == request.ticket.number && head.data_bytes <= bytes - sizeof head;
  try {
    if (is_its) data.emplace(start + sizeof head, head.data_bytes);
  } catch (...) {
    guarded([segment] { dsm_detach(segment); });
    throw;
  }
  guarded([segment] { dsm_detach(segment); });
  return data;
}

// This backend's request. It is withdrawn however the scope is left.
class MyRequest {
 public:
  explicit MyRequest(const TestWanted& wanted) {
    static bool registered = false;
    if (!registered) {
      guarded([] { before_shmem_exit(withdraw_at_exit, 0); });
      registered = true;
    }
    const std::uint64_t number = number_of(wanted.organization);
    const std::size_t data_max = test_data_max(worker_memory());
    bool is_used_up = false;
    {
      Locked locked;
      is_used_up = locked->is_used_up_by(MyDatabaseId, number);
      my_ticket = locked->put(MyDatabaseId, my_process_number(), number,
                              {wanted.webhook, wanted.webhook_created_at, wanted.event, wanted.data.size()}, data_max);
    }
    if (my_ticket) return;
    if (is_used_up) {
      throw Error(
          "53000",
          "too many tests of webhooks of organization \"" + std::string(wanted.organization) + "\" are under way",
          "At most " + std::to_string(TestSlots::kSlotsOfOrganization) +
              " are sent at once, those included whose callers have given up.",
          "Try again when one of them has ended, at the latest after the timeout_ms of its webhook.");
    }
    throw Error("53000", "too many tests of webhooks are under way",
                "The server sends at most " + std::to_string(TestSlots::kSlots) + " at once, with " +
                    std::to_string(data_max) + " bytes of data, and leaves as much free as an organization has.",
                "Try again in a few seconds.");
  }
  ~MyRequest() { withdraw_mine(); }
  MyRequest(const MyRequest&) = delete;
  MyRequest& operator=(const MyRequest&) = delete;

  static std::uint64_t number() { return my_ticket->number; }
  static void submit(std::uint32_t data) { Locked()->submit(*my_ticket, data); }
  static std::optional<TestAnswer> answer() { return Locked()->answer_to(*my_ticket); }
};

void check_data(std::string_view data) {
  const std::size_t of_tests_max = TestSlots::data_of_request_max(test_data_max(worker_memory()));
  const bool is_memory = of_tests_max < payload_bytes_max();
  const std::size_t bytes_max = is_memory ? of_tests_max : payload_bytes_max();
  if (data.size() <= bytes_max) return;
  throw Error("54000", "the data of a test can have at most " + std::to_string(bytes_max) + " bytes",
              "It has " + std::to_string(data.size()) + ".",
              is_memory ? "The limit is a sixteenth of webhook.worker_memory."
                        : "The limit is webhook.max_payload, as for the data of events.");
}

void check_may_test() {
  guarded([] {
    PreventCommandDuringRecovery("webhook_test()");
    PreventCommandIfReadOnly("webhook_test()");
    PreventCommandIfParallelMode("webhook_test()");
  });
  if (shared != nullptr) return;
  throw Error("55000", "no webhook can be tested: the server does not preload the library",
              "Only workers send requests, and there are none.",
              "Add webhook to shared_preload_libraries in postgresql.conf and restart the server.");
}

void check_worker() {
  // A worker that has left comes back, or takes its turn.
  if (!is_vacated(MyDatabaseId) || has_extension_here()) return;
  throw Error("55000", "no webhook can be tested: no worker runs for this database", {},
              "One starts within moments. If none does, the server log says why: too few max_worker_processes, or a "
              "library of another version than the extension.");
}

TestAnswer wait_for_answer(Duration wait_max) {
  const Time deadline = from_timestamptz(GetCurrentTimestamp()) + wait_max;
  for (;;) {
    if (const std::optional<TestAnswer> answer = MyRequest::answer()) return *answer;
    check_worker();
    if (from_timestamptz(GetCurrentTimestamp()) > deadline) {
      throw Error("55000", "the worker has not answered in time", {},
                  "Look into webhook_logs whether the test was sent, and into the server log for what holds the worker "
                  "up.");
    }
    guarded([] {
      WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kPollIntervalMs, wait_event());
      ResetLatch(MyLatch);
      CHECK_FOR_INTERRUPTS();
    });
  }
}

// Throws Error if the test was not sent.
void check_sent(const TestAnswer& answer, const Uuid& webhook, std::string_view event) {
  const std::string error = from_utf8(answer.error.view());
  switch (answer.outcome) {
    case TestOutcome::kSent:
      return;
    case TestOutcome::kNoWebhook:
      throw Error("55000", "webhook " + to_string(webhook) + " is not committed yet, or has been deleted",
                  "A worker sends the test, and sees what is committed.",
                  "Commit the transaction that creates the webhook, then test it.");
    case TestOutcome::kNoEvent:
      throw Error("55000", "event \"" + std::string(event) + "\" is not committed yet, or has been deleted",
                  "A worker sends the test, and sees what is committed.",
                  "Commit the transaction that registers the event, then test it.");
    case TestOutcome::kPaused:
      throw Error("55000", "no webhook can be tested: this database is paused",
                  error.empty() ? std::string() : "The reason: " + error + ".", "An operator calls webhook_resume().");
    case TestOutcome::kDisabled:
      throw Error("55000", "no webhook can be tested: webhook.enabled is off", {},
                  "Set it to on in postgresql.conf and reload.");
    case TestOutcome::kFailed:
      throw Error("55000", "the worker could not read the webhook", error, "Try again in a few seconds.");
    case TestOutcome::kWorkerEnded:
      throw Error("55000", "the worker ended before the test did", "The request may have arrived.",
                  "Another worker starts within moments: try again.");
  }
}

}  // namespace

void request_test_memory() {
  previous_shmem_request = shmem_request_hook;
  shmem_request_hook = request;
  previous_shmem_startup = shmem_startup_hook;
  shmem_startup_hook = startup;
}

TestAnswer run_test(const TestWanted& wanted, Duration wait_max) {
  check_may_test();
  check_data(wanted.data);
  check_worker();
  const MyRequest mine(wanted);
  DataSegment data(MyRequest::number(), wanted.data);
  MyRequest::submit(data.handle());
  wake_workers();
  const TestAnswer answer = wait_for_answer(wait_max);
  data.close();
  check_sent(answer, wanted.webhook, wanted.event);
  return answer;
}

SharedTestRequests::SharedTestRequests() {
  guarded([] { before_shmem_exit(abandon_at_exit, 0); });
}

bool SharedTestRequests::any(const WorkerShare& share) {
  if (pg_atomic_read_u32(&shared->waiting) == 0) return false;
  return Locked()->is_waiting(MyDatabaseId, share);
}

std::optional<TakenTest> SharedTestRequests::take(const WorkerShare& share) {
  while (pg_atomic_read_u32(&shared->waiting) > 0) {
    const std::optional<TestRequest> request = Locked()->take(MyDatabaseId, my_process_number(), share);
    if (!request) break;
    try {
      if (std::optional<std::string> data = read_data(*request)) return TakenTest{*request, std::move(*data)};
      answer(request->ticket, {});
    } catch (const Error& error) {
      TestAnswer failed{.outcome = TestOutcome::kFailed};
      failed.error = decltype(failed.error)(error.message());
      answer(request->ticket, failed);
      throw;
    }
  }
  return std::nullopt;
}

void SharedTestRequests::answer(const TestTicket& ticket, const TestAnswer& answer) {
  const auto caller = Locked()->answer(ticket, answer);
  if (caller) set_latch_of(*caller);
}

}  // namespace webhook::pg

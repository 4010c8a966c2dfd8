// The consequences of an attempt: a log row, perhaps a retry, perhaps a change of the endpoint's circuit, and
// operational events. If the endpoint has failed for long or is gone, its webhook is switched off.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "core/circuit.h"
#include "core/statistics.h"
#include "core/time.h"
#include "core/token_bucket.h"
#include "core/uuid.h"
#include "http/http_client.h"
#include "worker/attempt_result.h"
#include "worker/deadlines.h"
#include "worker/in_flight.h"
#include "worker/pending.h"
#include "worker/process.h"
#include "worker/recorder.h"
#include "worker/recording.h"
#include "worker/recovery.h"
#include "worker/store.h"
#include "worker/subscribers.h"
#include "worker/tester.h"

namespace webhook {

class Outcomes {
 public:
  // All of these outlive it.
  Outcomes(Process& process, Store& store, Subscribers& subscribers, Statistics& statistics, Recorder& recorder,
           Recording& recording, Recovery& recovery, Pending& pending)
      : process_(process),
        store_(store),
        subscribers_(subscribers),
        statistics_(statistics),
        recorder_(recorder),
        recording_(recording),
        recovery_(recovery),
        pending_(pending) {}

  // The request is no longer open. Returns whether the attempt was a success.
  bool conclude(const OpenRequest& request, const HttpResponse& response);
  // A successful test counts for the endpoint like a delivery. A failed one does not count, because testing must do no
  // harm.
  void note_test(const Tester::Outcome& test);

  // Switches off the webhooks that have failed for too long, each in a transaction of its own. If somebody has locked a
  // webhook's row, it is tried again later. If this throws Error, the rest is tried again later.
  void disable_webhooks();
  // The webhook is gone, or what was held against it does not concern the endpoint that it has now.
  void forget(const Uuid& webhook) { to_disable_.erase(webhook); }
  // Forgets organizations that need not be remembered. To be called now and then.
  void forget_idle();

  // Whether no webhook is to be switched off.
  bool is_idle() const { return to_disable_.empty(); }

  std::optional<Time> next_at(Time now) const;
  void clock_set_back(Time now) { deadlines_.clock_set_back(now); }

 private:
  enum class Deadline : std::uint8_t { kDisable, kCount };

  void retry_or_give_up(const OpenRequest& request, const Subscriber& subscriber, const AttemptResult& judgement,
                        LogRow* row);
  std::optional<Time> next_attempt_at(const OpenRequest& request, const Subscriber& subscriber,
                                      const AttemptResult& judgement, std::string* error);
  void emit(const Subscriber& subscriber, OperationalEvent event);
  void note_endpoint(Subscriber& subscriber, const LogRow& row, Circuit::Change change);
  void tell_that_it_fails(Subscriber& subscriber, Time failing_since, const std::string& error);
  void note_failure(Subscriber& subscriber, const LogRow& row);
  void note_opened(const Subscriber& subscriber, const std::string& error);
  void note_closed(const Subscriber& subscriber);
  void disable(const Subscriber& subscriber, const std::string& reason);
  bool try_to_disable(const Uuid& webhook, const std::string& reason);

  Process& process_;
  Store& store_;
  Subscribers& subscribers_;
  Statistics& statistics_;
  Recorder& recorder_;
  Recording& recording_;
  Recovery& recovery_;
  Pending& pending_;
  Deadlines<Deadline> deadlines_;
  std::unordered_map<std::string, TokenBucket> event_limits_;  // of operational events, by organization
  std::unordered_map<Uuid, std::string> to_disable_;           // webhooks, and why
};

}  // namespace webhook

// What follows from an attempt: a log row; a retry, or none; what it tells of the endpoint, whose circuit may open or close;
// operational events; and that a webhook is switched off whose endpoint has failed for long, or is gone.
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
#include "worker/targets.h"
#include "worker/tester.h"

namespace webhook {

class Outcomes {
 public:
  // All of these outlive it.
  Outcomes(Process& process, Store& store, Targets& targets, Statistics& statistics, Recorder& recorder,
           Recording& recording, Recovery& recovery, Pending& pending)
      : process_(process),
        store_(store),
        targets_(targets),
        statistics_(statistics),
        recorder_(recorder),
        recording_(recording),
        recovery_(recovery),
        pending_(pending) {}

  // The request is no longer open. Returns whether the attempt was a success.
  bool conclude(const OpenRequest& request, const HttpResponse& response);
  // A test tells of the endpoint what a delivery does; but one that fails tells nothing, since testing must do no harm.
  void note_test(const Tester::Outcome& test);

  // Switches off the webhooks that are to be, each by a transaction of its own, if it is time. One whose row somebody has
  // locked is tried again later. Throws Error: likewise.
  void disable_webhooks();
  // The webhook is gone.
  void forget(const Uuid& webhook) { to_disable_.erase(webhook); }
  // Forgets organizations of which nothing needs to be known. For now and then.
  void forget_idle();

  std::optional<Time> next_at(Time now) const;
  void clock_set_back(Time now) { deadlines_.clock_set_back(now); }

 private:
  enum class Deadline : std::uint8_t { kDisable, kCount };

  void retry_or_give_up(const OpenRequest& request, const Target& target, const AttemptResult& judgement, LogRow* row);
  std::optional<Time> next_attempt_at(const OpenRequest& request, const Target& target, const AttemptResult& judgement,
                                      std::string* error);
  void emit(const Target& target, OperationalEvent event);
  void note_endpoint(Target& target, const LogRow& row, Circuit::Change change);
  void note_failure(Target& target, const LogRow& row);
  void note_opened(const Target& target, const std::string& error);
  void note_closed(const Target& target);
  void disable(const Target& target, const std::string& reason);
  bool try_to_disable(const Uuid& webhook, const std::string& reason);

  Process& process_;
  Store& store_;
  Targets& targets_;
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

// Which receivers of an event are left once their filters are asked. Tenants write filters: none may take up the worker's
// time. One that takes too long is left alone, for longer each time, and counts as no match meanwhile. All those of an
// organization together may take a tenth of the time: a tenant may have a thousand, give them new texts all the time, and
// find expressions that cannot be interrupted. Who has no organization is not limited: no tenant creates such a webhook.
#pragma once

#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/event.h"
#include "core/time.h"
#include "core/time_allowance.h"
#include "core/uuid.h"
#include "pg/process.h"
#include "pg/store.h"
#include "worker/targets.h"

namespace webhook {

class Filters {
 public:
  Filters(pg::Process& process, pg::Store& store) : process_(process), store_(store) {}

  // receivers: of each event; those whose filters do not match are taken out. Throws pg::Error.
  void apply(const std::vector<Event>& events, std::vector<std::vector<Target*>>* receivers);

  // What says nothing: an organization without an entry has its full allowance.
  void forget_full_allowances();
  void clock_set_back(Time now) { next_refusal_log_ = std::min(next_refusal_log_, now); }

 private:
  Duration* allowance(const Target& target);
  void note_overrun(Target& target);
  void note_refusal(const Target& target);

  pg::Process& process_;
  pg::Store& store_;
  std::unordered_map<std::string, TimeAllowance> allowances_;  // by organization
  Time next_refusal_log_{};
};

}  // namespace webhook

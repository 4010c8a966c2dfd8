#include "worker/filters.h"

#include <chrono>
#include <cstddef>
#include <utility>

namespace webhook {
namespace {

constexpr Duration kRestMin = std::chrono::seconds(1);  // after a filter took too long; doubles each time
constexpr Duration kRestMax = std::chrono::hours(1);
constexpr Duration kRefusalLogInterval = std::chrono::minutes(1);

}  // namespace

// A filter sees the data of the event; where that was too large to be kept, there is nothing to match.
void Filters::apply(const std::vector<Event>& events, std::vector<std::vector<Target*>>* receivers) {
  const Time now = process_.now();
  std::vector<pg::FilterQuestion> questions;
  std::vector<std::pair<std::size_t, Target*>> asked;
  for (std::size_t i = 0; i < events.size(); ++i) {
    std::erase_if((*receivers)[i], [&](Target* target) {
      if (target->webhook.filter.empty()) return false;
      if (events[i].oversized_bytes == 0 && now >= target->filter_rests_until) {
        questions.push_back({&target->webhook.filter, &events[i].data, allowance(*target)});
        asked.emplace_back(i, target);
      }
      return true;
    });
  }
  if (questions.empty()) return;
  const std::vector<pg::FilterAnswer> answers = store_.filter(questions);
  for (std::size_t n = 0; n < answers.size(); ++n) {
    const auto& [event, target] = asked[n];
    if (answers[n] == pg::FilterAnswer::kMatch) (*receivers)[event].push_back(target);
    if (answers[n] == pg::FilterAnswer::kRefused) {
      note_refusal(*target);
    } else if (answers[n] == pg::FilterAnswer::kOverrun) {
      note_overrun(*target);
    } else if (now >= target->filter_rests_until) {
      target->filter_overruns = 0;
    }
  }
}

// The pointer is good as long as the allowance is there.
Duration* Filters::allowance(const Target& target) {
  if (!target.webhook.organization_id) return nullptr;
  const Time now = process_.now();
  return &allowances_.try_emplace(*target.webhook.organization_id, now).first->second.left(now);
}

void Filters::forget_full_allowances() {
  std::erase_if(allowances_, [now = process_.now()](const auto& entry) { return entry.second.is_full(now); });
}

void Filters::note_refusal(const Target& target) {
  const Time now = process_.now();
  if (now < next_refusal_log_) return;
  next_refusal_log_ = now + kRefusalLogInterval;
  process_.log(pg::LogLevel::kLog,
               "the filters of organization \"" + target.webhook.organization_id.value_or("") + "\" take too much time",
               "They may take a tenth of the worker's time, and count as no match beyond that.",
               "The filter of " + described(target.webhook) + " is one of those that were not evaluated.");
}

void Filters::note_overrun(Target& target) {
  const Time now = process_.now();
  if (now < target.filter_rests_until) return;
  const Duration rest = std::min<Duration>(kRestMin * (1LL << std::min(target.filter_overruns, 20)), kRestMax);
  target.filter_rests_until = now + rest;
  if (target.filter_overruns++ > 0) return;
  process_.log_about(target.webhook.organization_id, pg::LogLevel::kLog,
                     "the filter of " + described(target.webhook) + " took too long",
                     "It counts as no match, and is left alone for " +
                         std::to_string(std::chrono::duration_cast<std::chrono::seconds>(rest).count()) +
                         " s, doubling each time.");
}

}  // namespace webhook

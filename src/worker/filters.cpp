#include "worker/filters.h"

#include <chrono>
#include <utility>

#include "core/json_bounds.h"
#include "core/utf8.h"

namespace webhook {
namespace {

constexpr Duration kRestMin = std::chrono::seconds(1);  // after a filter took too long; doubles each time
constexpr Duration kRestMax = std::chrono::hours(1);
constexpr Duration kLogInterval = std::chrono::minutes(1);  // an organization's lines, of one kind
constexpr std::size_t kQuestionsOfOneMax = 250;             // of one call
constexpr int kOverrunLinesMax = 10;                        // in that time: each names another webhook
constexpr std::size_t kAskedAboutMax = 100;
constexpr std::size_t kErrorBytesMax = 1000;  // of webhook_endpoints.filter_error

// No organization and the organization '' are two things.
std::string key_of(const std::optional<std::string>& organization_id) {
  return organization_id ? '=' + *organization_id : std::string();
}

std::vector<Uuid> ids_of(const std::vector<Subscriber*>& subscribers) {
  std::vector<Uuid> ids;
  ids.reserve(subscribers.size());
  for (const Subscriber* const subscriber : subscribers) ids.push_back(subscriber->id());
  return ids;
}

std::size_t size_of(const Event& event) { return sizeof(Filters::Waiting) + event.data.size() + event.previous.size(); }

}  // namespace

// --- Those that wait ------------------------------------------------------------------------------------------------------

bool Filters::has_room(const Event& event, const std::vector<Subscriber*>& subscribers) {
  Organization& organization = organization_of(event.organization_id);
  // A filter sees the data of the event; where that was too large to be kept, there is nothing to match.
  const bool is_beyond = event.oversized_bytes > 0 || event.data.size() > kJsonBytesMax;
  const std::size_t bytes = organization.bytes + size_of(event) + subscribers.size() * sizeof(Uuid);
  const bool has_room =
      organization.waiting.size() < kEventsMax - waiting_events_ && bytes + waiting_bytes_ <= budget_.filtered_max();
  if (!is_beyond && has_room) return true;
  for (Subscriber* const subscriber : subscribers) {
    note(organization, *subscriber, is_beyond ? Undecided::kBeyond : Undecided::kRefused);
  }
  return false;
}

void Filters::ask(Event event, Ledger::Entry entry, std::shared_ptr<const Outgoing> outgoing,
                  const std::vector<Subscriber*>& subscribers) {
  Organization& organization = organization_of(event.organization_id);
  std::vector<Uuid> ids = ids_of(subscribers);
  std::size_t bytes = size_of(event);
  if (organization.asked_about.size() >= kAskedAboutMax) organization.asked_about.clear();
  std::shared_ptr<const std::vector<Uuid>>& known = organization.asked_about[event.name];
  if (known == nullptr || *known != ids) {
    bytes += ids.size() * sizeof(Uuid);
    known = std::make_shared<const std::vector<Uuid>>(std::move(ids));
  }
  if (organization.waiting.empty()) turns_.push_back(&organization);
  organization.waiting.push_back({.event = std::move(event),
                                  .entry = entry,
                                  .outgoing = std::move(outgoing),
                                  .webhooks = known,
                                  .made = {},
                                  .since = process_.now(),
                                  .bytes = bytes,
                                  .charge = budget_.charge(bytes)});
  organization.bytes += bytes;
  waiting_bytes_ += bytes;
  ++waiting_events_;
}

void Filters::take_out_oldest(Organization& organization) {
  no_longer_waits(organization, organization.waiting.front());
  organization.waiting.pop_front();
  if (organization.waiting.empty()) organization.asked_about.clear();
}

void Filters::no_longer_waits(Organization& organization, const Waiting& waiting) {
  organization.bytes -= waiting.bytes;
  waiting_bytes_ -= waiting.bytes;
  --waiting_events_;
}

Filters::Organization& Filters::organization_of(const std::optional<std::string>& id) {
  return organizations_.try_emplace(key_of(id), id, process_.now()).first->second;
}

// --- Answers --------------------------------------------------------------------------------------------------------------

Time Filters::next_turn_of(Organization& organization, Time now) {
  return organization.id ? organization.allowance.next(now) : now;
}

std::optional<Time> Filters::next_at(Time now) {
  if (empty()) return std::nullopt;
  Time next = Time::max();
  for (Organization* const organization : turns_) next = std::min(next, next_turn_of(*organization, now));
  return next;
}

bool Filters::may_ask(const std::optional<std::string>& organization) {
  const Time now = process_.now();
  return next_turn_of(organization_of(organization), now) <= now;
}

void Filters::charge(const std::optional<std::string>& organization, Duration cost) {
  if (organization && cost > Duration::zero()) {
    organization_of(organization).allowance.left(process_.now()) -= cost;
  }
}

void Filters::answer(const Conclude& conclude) {
  std::vector<FilterGroup> groups;
  std::vector<Turn> turns = prepare_turns(&groups, conclude);
  try {
    const bool asks =
        std::any_of(groups.begin(), groups.end(), [](const FilterGroup& group) { return !group.questions.empty(); });
    if (asks) store_.filter(&groups);
  } catch (...) {
    for (const Turn& turn : turns) turns_.push_back(turn.organization);
    throw;
  }
  std::vector<Organization*> unasked;
  for (std::size_t i = 0; i < turns.size(); ++i) {
    const Turn& turn = turns[i];
    const bool had_turn = conclude_turn(turn, groups[i], conclude);
    if (turn.organization->waiting.empty()) continue;
    if (had_turn) {
      turns_.push_back(turn.organization);
    } else {
      unasked.push_back(turn.organization);
    }
  }
  turns_.insert(turns_.begin(), unasked.begin(), unasked.end());
}

// Takes organizations out of turns_ that may be asked about, each with a group. Of the others, what has waited for too long is refused.
std::vector<Filters::Turn> Filters::prepare_turns(std::vector<FilterGroup>* groups, const Conclude& conclude) {
  const Time now = process_.now();
  std::vector<Turn> turns;
  std::size_t steps = 0;
  for (std::size_t n = turns_.size(); n > 0 && steps < kQuestionsMax; --n) {
    Organization& organization = *turns_.front();
    turns_.pop_front();
    if (next_turn_of(organization, now) <= now) {
      turns.push_back(
          prepare(organization, std::min(kQuestionsMax - steps, kQuestionsOfOneMax), &groups->emplace_back()));
      steps += turns.back().steps.size();
      continue;
    }
    while (!organization.waiting.empty() &&
           now - std::max(organization.waiting.front().since, held_until_) > kWaitMax) {
      refuse_oldest(organization, conclude);
    }
    if (!organization.waiting.empty()) turns_.push_back(&organization);
  }
  return turns;
}

// The organization's next questions, of the oldest events first.
Filters::Turn Filters::prepare(Organization& organization, std::size_t steps_max, FilterGroup* group) {
  const Time now = process_.now();
  Turn turn{.organization = &organization};
  for (Waiting& waiting : organization.waiting) {
    for (std::size_t i = waiting.next; i < waiting.webhooks->size(); ++i) {
      if (turn.steps.size() == steps_max) break;
      Step step{.webhook = (*waiting.webhooks)[i]};
      Subscriber* const subscriber = find(waiting, step.webhook);
      if (subscriber != nullptr && now >= subscriber->details().filter_rests_until) {
        std::unique_ptr<CompiledFilter>& compiled = subscriber->details().compiled_filter;
        if (compiled == nullptr) compiled = std::make_unique<CompiledFilter>();
        step.question = group->questions.size();
        group->questions.push_back({.filter = &subscriber->webhook().filter,
                                    .compiled = compiled.get(),
                                    .data = &waiting.event.data,
                                    .made = &waiting.made});
      }
      turn.steps.push_back(step);
    }
    if (turn.steps.size() == steps_max) break;
  }
  return turn;
}

// Returns whether it had its turn: whether anything was answered.
bool Filters::conclude_turn(const Turn& turn, const FilterGroup& group, const Conclude& conclude) {
  Organization& organization = *turn.organization;
  if (organization.id) organization.allowance.left(process_.now()) -= group.cost;
  bool had_turn = false;
  for (const Step& step : turn.steps) {
    Waiting& waiting = organization.waiting.front();
    Subscriber* const subscriber = find(waiting, step.webhook);
    bool is_match = false;
    if (step.question) {
      const FilterQuestion& question = group.questions[*step.question];
      if (question.answer == FilterAnswer::kNotAsked) break;
      is_match = judge(organization, subscriber, question);
    } else if (subscriber != nullptr) {
      note(organization, *subscriber, Undecided::kOverrun);
    }
    conclude(waiting, is_match ? subscriber : nullptr);
    had_turn = true;
    if (++waiting.next == waiting.webhooks->size()) take_out_oldest(organization);
  }
  return had_turn;
}

// The webhook, if it is still one that may get the event.
Subscriber* Filters::find(const Waiting& waiting, const Uuid& webhook) const {
  Subscriber* const subscriber = subscribers_.find(webhook);
  const bool is_another = subscriber == nullptr || subscriber->organization_id() != waiting.event.organization_id ||
                          !subscriber->webhook().was_active(waiting.event.known_switch);
  return is_another ? nullptr : subscriber;
}

// Returns whether the filter matches.
bool Filters::judge(Organization& organization, Subscriber* subscriber, const FilterQuestion& question) {
  const FilterAnswer answer = question.answer;
  if (answer == FilterAnswer::kOverrun) {
    note_overrun(organization, *subscriber);
    return false;
  }
  if (process_.now() >= subscriber->details().filter_rests_until) subscriber->details().filter_overruns = 0;
  if (answer == FilterAnswer::kError) note(organization, *subscriber, Undecided::kError, question.error);
  if (answer == FilterAnswer::kBeyond) note(organization, *subscriber, Undecided::kBeyond);
  return answer == FilterAnswer::kMatch;
}

void Filters::refuse_oldest(Organization& organization, const Conclude& conclude) {
  Waiting& waiting = organization.waiting.front();
  for (; waiting.next < waiting.webhooks->size(); ++waiting.next) {
    Subscriber* const subscriber = find(waiting, (*waiting.webhooks)[waiting.next]);
    if (subscriber != nullptr) note(organization, *subscriber, Undecided::kRefused);
    conclude(waiting, nullptr);
  }
  take_out_oldest(organization);
}

void Filters::refuse_old(Ledger::Entry newest, const Conclude& conclude) {
  if (empty()) return;
  for (Organization* const organization : turns_) {
    while (!organization->waiting.empty() && newest - organization->waiting.front().entry > kWaitEventsMax) {
      refuse_oldest(*organization, conclude);
    }
  }
  std::erase_if(turns_, [](const Organization* organization) { return organization->waiting.empty(); });
}

// --- What changes ---------------------------------------------------------------------------------------------------------

void Filters::forget_idle() {
  const Time now = process_.now();
  std::erase_if(organizations_, [now](const auto& entry) {
    const Organization& organization = entry.second;
    const bool logs_later = std::any_of(organization.next_log.begin(), organization.next_log.end(),
                                        [now](Time next) { return next > now; });
    return organization.waiting.empty() && !logs_later && organization.allowance.is_full(now);
  });
}

bool Filters::has_older_than(Ledger::Entry entry, const std::optional<std::string>& organization) const {
  const auto found = organizations_.find(key_of(organization));
  return found != organizations_.end() && !found->second.waiting.empty() && found->second.waiting.front().entry < entry;
}

void Filters::filter_removed(const Subscriber& subscriber, const Conclude& conclude) {
  const auto found = organizations_.find(key_of(subscriber.organization_id()));
  if (found == organizations_.end() || found->second.waiting.empty()) return;
  Organization& organization = found->second;
  struct Others {
    std::size_t place = 0;  // of the webhook in the list; its size: not there
    std::shared_ptr<const std::vector<Uuid>> webhooks;
  };
  // By the list with the webhook. Most events wait for the same webhooks, so a list is searched once.
  std::unordered_map<std::shared_ptr<const std::vector<Uuid>>, Others> others_of;
  for (Waiting& waiting : organization.waiting) {
    const auto [known, is_new] = others_of.try_emplace(waiting.webhooks);
    Others& others = known->second;
    if (is_new) {
      auto webhooks = std::make_shared<std::vector<Uuid>>(*waiting.webhooks);
      const auto own = std::find(webhooks->begin(), webhooks->end(), subscriber.id());
      others.place = static_cast<std::size_t>(own - webhooks->begin());
      if (own != webhooks->end()) webhooks->erase(own);
      others.webhooks = std::move(webhooks);
    }
    if (others.place < waiting.next || others.place == waiting.webhooks->size()) continue;
    conclude(waiting, find(waiting, subscriber.id()));
    waiting.webhooks = others.webhooks;
    if (waiting.next == waiting.webhooks->size()) no_longer_waits(organization, waiting);
  }
  std::erase_if(organization.waiting, [](const Waiting& waiting) { return waiting.next == waiting.webhooks->size(); });
  if (!organization.waiting.empty()) return;
  organization.asked_about.clear();
  std::erase(turns_, &organization);
}

void Filters::clock_set_back(Time now) {
  held_until_ = std::min(held_until_, now);
  for (auto& [key, organization] : organizations_) {
    for (Time& next : organization.next_log) next = std::min(next, now);
    for (Waiting& waiting : organization.waiting) waiting.since = std::min(waiting.since, now);
  }
}

// --- What is said ---------------------------------------------------------------------------------------------------------

// A delivery is not made.
void Filters::note(Organization& organization, Subscriber& subscriber, Undecided why, const std::string& error) {
  const auto kind = static_cast<std::size_t>(why);
  const Time now = process_.now();
  count(organization, subscriber, why, error);
  if (why == Undecided::kOverrun || now < organization.next_log[kind]) return;
  organization.next_log[kind] = now + kLogInterval;
  const std::string name = organization.id ? "organization \"" + *organization.id + "\"" : "no organization";
  const std::string count =
      " It is one of " + std::to_string(organization.undecided[kind]) + " that were not made so far.";
  if (why == Undecided::kError) {
    process_.log_about(organization.id, LogLevel::kLog,
                       "the filter of " + described(subscriber.webhook()) +
                           " could not be evaluated: " + subscriber.endpoint().filter_error,
                       "It counts as no match." + count, "webhook_explain() says so of each event.");
  } else if (why == Undecided::kBeyond) {
    process_.log_about(organization.id, LogLevel::kLog, "data of " + name + " is beyond what filters may see",
                       "It counts as no match." + count + " This one was for " + described(subscriber.webhook()) + ".",
                       "The bounds are in the description of webhook_configurations.filter.");
  } else {
    process_.log_about(
        organization.id, LogLevel::kLog, "the filters of " + name + " take too much time",
        "They may take a tenth of the worker's time. A delivery that waits for them for too long is not made." + count,
        "The filter of " + described(subscriber.webhook()) + " is one of those that were not evaluated.");
  }
}

// For webhook_stats and webhook_check().
void Filters::count(Organization& organization, Subscriber& subscriber, Undecided why, const std::string& error) {
  const auto reason = [&]() -> std::string {
    switch (why) {
      case Undecided::kError:
        return error;
      case Undecided::kBeyond:
        return "the data is beyond what filters may see";
      case Undecided::kOverrun:
        return "it took too long";
      case Undecided::kRefused:
        return "the organization's filters take too much time";
    }
    return {};
  };
  ++organization.undecided[static_cast<std::size_t>(why)];
  subscriber.endpoint().filter_failed_at = process_.now();
  subscriber.endpoint().filter_error = utf8_prefix(reason(), kErrorBytesMax);
  statistics_.count_unjudged(subscriber.id(), subscriber.created_at(), process_.now());
}

void Filters::note_overrun(Organization& organization, Subscriber& subscriber) {
  const auto kind = static_cast<std::size_t>(Undecided::kOverrun);
  const Time now = process_.now();
  count(organization, subscriber, Undecided::kOverrun, {});
  Subscriber::Details& known = subscriber.details();
  if (now < known.filter_rests_until) return;
  const Duration rest = std::min<Duration>(kRestMin * (1LL << std::min(known.filter_overruns, 20)), kRestMax);
  known.filter_rests_until = now + rest;
  if (known.filter_overruns++ > 0) return;
  if (now >= organization.next_log[kind]) {
    organization.next_log[kind] = now + kLogInterval;
    organization.overrun_lines = 0;
  }
  if (organization.overrun_lines++ >= kOverrunLinesMax) return;
  process_.log_about(subscriber.organization_id(), LogLevel::kLog,
                     "the filter of " + described(subscriber.webhook()) + " took too long",
                     "It counts as no match, and is left alone for " +
                         std::to_string(std::chrono::duration_cast<std::chrono::seconds>(rest).count()) +
                         " s, doubling each time.");
}

}  // namespace webhook

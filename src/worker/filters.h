// Evaluates webhooks' filters on events. Tenants write both the filters and the data, so their organization pays for
// the time and the memory.
//
// An event is admitted at once. Its deliveries to webhooks with a filter wait here for the answers. They delay neither
// other organizations' events nor the organization's webhooks without a filter. Organizations take turns, each with its
// own questions, failures and limits. An organization's filters, with the conversion of the data, may take a tenth of
// the time, and 2 s before that limit applies (TimeAllowance). After that, the remaining questions wait.
//
// In these cases a delivery is not made, as if the filter did not match; note() counts and reports it:
//   - the filter cannot be evaluated on the data;
//   - the data exceeds the bounds for filters (core/json_bounds.h);
//   - the filter takes too long, or recently took too long: it then rests, each time for longer;
//   - there is no room to wait;
//   - the delivery has waited for kWaitMax while the organization's time was used up, or for kWaitEventsMax events.
// Webhooks without an organization are not charged, because no tenant creates them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/byte_budget.h"
#include "core/event.h"
#include "core/ledger.h"
#include "core/outgoing.h"
#include "core/statistics.h"
#include "core/time.h"
#include "core/time_allowance.h"
#include "core/uuid.h"
#include "worker/process.h"
#include "worker/store.h"
#include "worker/subscribers.h"

namespace webhook {

class Filters {
 public:
  // For all organizations together, in addition to the bytes of ByteBudget::filtered_max(). As with lanes, no
  // organization has more than half of it, or more than the others leave.
  static constexpr std::size_t kEventsMax = 20'000;
  static constexpr std::size_t kQuestionsMax = 1'000;  // of one call of the store
  static constexpr Duration kWaitMax = std::chrono::minutes(1);
  static constexpr Ledger::Entry kWaitEventsMax = 25'000;

  // An event with webhooks whose filters are to be asked.
  struct Waiting {
    Event event;
    Ledger::Entry entry = 0;
    std::shared_ptr<const Outgoing> outgoing;  // once somebody gets it
    std::shared_ptr<const std::vector<Uuid>> webhooks;
    std::size_t next = 0;  // of those, the first without an answer
    FilterData made;
    Time since{};
    std::size_t bytes = 0;
    ByteBudget::Charge charge;  // for these
  };

  // What the answer is for: nullptr if the webhook is not to get the event.
  using Conclude = std::function<void(Waiting&, Subscriber*)>;

  // All of these outlive it.
  Filters(Process& process, Store& store, Subscribers& subscribers, ByteBudget& budget, Statistics& statistics)
      : process_(process), store_(store), subscribers_(subscribers), budget_(budget), statistics_(statistics) {}

  // Whether there is room for an event to wait for these webhooks' filters. If not, they do not get it.
  bool has_room(const Event& event, const std::vector<Subscriber*>& subscribers);
  // There must be room.
  void ask(Event event, Ledger::Entry entry, std::shared_ptr<const Outgoing> outgoing,
           const std::vector<Subscriber*>& subscribers);

  // Whether an event of the organization that is older than the entry waits.
  bool has_older_than(Ledger::Entry entry, const std::optional<std::string>& organization) const;
  // Whether none waits.
  bool empty() const { return waiting_events_ == 0; }
  // When the next filters may be evaluated, at the earliest now; nullopt if no event waits.
  std::optional<Time> next_at(Time now);
  bool is_due(Time now) { return next_at(now) == now; }
  // Evaluates the filters whose turn it is in one call of the store, and concludes the answered events, in their order
  // within each organization. If it throws Error, events without an answer still wait.
  void answer(const Conclude& conclude);
  // Refuses events that have waited for too many newer ones. newest: the last entry of the ledger.
  void refuse_old(Ledger::Entry newest, const Conclude& conclude);
  // The time until now does not count as waiting, because no filter was evaluated.
  void hold(Time now) { held_until_ = now; }

  // The webhook has no filter any more. It gets the events that wait for its answer before newer ones.
  void filter_removed(const Subscriber& subscriber, const Conclude& conclude);
  // For filters that are evaluated elsewhere within the same allowance: whether the organization's may take time now, and
  // what they took.
  bool may_ask(const std::optional<std::string>& organization);
  void charge(const std::optional<std::string>& organization, Duration cost);

  // Forgets organizations that need not be remembered. To be called now and then.
  void forget_idle();
  void clock_set_back(Time now);

 private:
  // Why a webhook does not get an event, though its filter did not say so.
  enum class Undecided : std::uint8_t { kError, kBeyond, kOverrun, kRefused };
  static constexpr std::size_t kUndecided = 4;

  struct Organization {
    std::optional<std::string> id;
    TimeAllowance allowance;
    std::deque<Waiting> waiting;
    std::size_t bytes = 0;  // that these take
    // Which webhooks were last asked about an event of that name: mostly the next ones, too.
    std::unordered_map<std::string, std::shared_ptr<const std::vector<Uuid>>> asked_about;
    std::array<std::uint64_t, kUndecided> undecided{};
    std::array<Time, kUndecided> next_log{};
    int overrun_lines = 0;

    explicit Organization(std::optional<std::string> name, Time now) : id(std::move(name)), allowance(now) {}
  };

  // A webhook's answer about an event.
  struct Step {
    Uuid webhook;
    std::optional<std::size_t> question;  // nothing: it does not get the event
  };
  struct Turn {
    Organization* organization = nullptr;
    std::vector<Step> steps;
  };

  Organization& organization_of(const std::optional<std::string>& id);
  Time next_turn_of(Organization& organization, Time now);
  std::vector<Turn> prepare_turns(std::vector<FilterGroup>* groups, const Conclude& conclude);
  Turn prepare(Organization& organization, std::size_t steps_max, FilterGroup* group);
  bool conclude_turn(const Turn& turn, const FilterGroup& group, const Conclude& conclude);
  Subscriber* find(const Waiting& waiting, const Uuid& webhook) const;
  bool judge(Organization& organization, Subscriber* subscriber, const FilterQuestion& question);
  void refuse_oldest(Organization& organization, const Conclude& conclude);
  void take_out_oldest(Organization& organization);
  void no_longer_waits(Organization& organization, const Waiting& waiting);
  void note(Organization& organization, Subscriber& subscriber, Undecided why, const std::string& error = {});
  void count(Organization& organization, Subscriber& subscriber, Undecided why, const std::string& error);
  void note_overrun(Organization& organization, Subscriber& subscriber);

  Process& process_;
  Store& store_;
  Subscribers& subscribers_;
  ByteBudget& budget_;
  Statistics& statistics_;
  std::unordered_map<std::string, Organization> organizations_;
  std::deque<Organization*> turns_;  // those of which something waits
  std::size_t waiting_events_ = 0;
  std::size_t waiting_bytes_ = 0;
  Time held_until_{};
};

}  // namespace webhook

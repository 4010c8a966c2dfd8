// Deliveries of events with many subscribers that the webhooks' lanes do not accept. They are to be written to
// webhook_deliveries. Writing a million at once would hold up all later events, so they wait here and are taken a few
// at a time.
//
// Organizations take turns. Within an organization, deliveries are taken in the order of their events. While deliveries
// for a webhook wait here, new deliveries for the webhook must wait here too, or they would overtake them.
//
// Pure.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/byte_budget.h"
#include "core/ledger.h"
#include "core/outgoing.h"
#include "core/time.h"
#include "core/turn_queue.h"
#include "core/uuid.h"

namespace webhook {

class FanOuts {
 public:
  static constexpr std::size_t kDirectMax = 20;  // an event with so many deliveries or fewer need not wait here
  static constexpr std::size_t kTurn = 50;       // deliveries taken from an organization before the next one's turn
  static constexpr std::size_t kListsMax = 100;  // lists of subscribers per organization that events can share

  struct Subscriber {
    Uuid webhook;
    Time created_at{};

    bool operator==(const Subscriber&) const = default;
  };
  struct Taken {
    std::shared_ptr<const Outgoing> event;
    Ledger::Entry entry = 0;
    Subscriber subscriber;
  };

  // The budget must outlive this object.
  explicit FanOuts(ByteBudget& budget) : budget_(budget) {}

  bool empty() const { return turns_.empty(); }
  // Whether no event may be admitted until some deliveries have been taken.
  bool is_full() const { return bytes_ >= budget_.fan_outs_max(); }
  // Whether an event with a lower entry waits.
  bool has_older_than(Ledger::Entry entry) const;
  // Whether deliveries of the webhook wait.
  bool contains(const Uuid& webhook) const { return waiting_.contains(webhook); }

  // event: needs no body. subscribers: at least one.
  void add(std::shared_ptr<const Outgoing> event, Ledger::Entry entry, std::vector<Subscriber> subscribers);
  // The next delivery. Nothing if none waits.
  std::optional<Taken> take();

 private:
  using Subscribers = std::shared_ptr<const std::vector<Subscriber>>;
  struct FanOut {
    std::shared_ptr<const Outgoing> event;
    Ledger::Entry entry = 0;
    Subscribers subscribers;
    std::size_t next = 0;
    std::size_t bytes = 0;
  };
  struct Organization : TurnQueueLink<Organization> {
    std::deque<FanOut> waiting;
    std::unordered_map<std::string, Subscribers> lists;  // by the event's name
  };

  void count(std::ptrdiff_t bytes);

  ByteBudget& budget_;
  std::unordered_map<std::optional<std::string>, Organization> organizations_;  // with waiting deliveries
  TurnQueue<Organization> turns_;
  std::size_t taken_ = 0;                          // deliveries of turns_.front(), in this turn
  std::unordered_map<Uuid, std::size_t> waiting_;  // deliveries per webhook
  std::size_t bytes_ = 0;
  ByteBudget::Charge charge_;  // for bytes_
};

}  // namespace webhook

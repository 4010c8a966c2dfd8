// Deliveries of events that go to many webhooks whose lanes do not take them: they are to be written into
// webhook_deliveries. All at once, a million of them would hold up whatever was committed since, so they wait here, and are
// taken a few at a time.
//
// Organizations take turns. Within one, deliveries are taken in the order of their events; what is made for a webhook while
// something waits here for it must wait here, too, or it would pass that.
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
#include "core/lanes.h"
#include "core/ledger.h"
#include "core/time.h"
#include "core/turn_queue.h"
#include "core/uuid.h"

namespace webhook {

class FanOuts {
 public:
  static constexpr std::size_t kDirectMax = 20;  // deliveries of an event that need not wait here
  static constexpr std::size_t kTurn = 50;       // deliveries of an organization, before it is another's turn
  static constexpr std::size_t kListsMax = 100;  // lists of receivers of an organization that events share

  struct Receiver {
    Uuid webhook;
    Time created_at{};

    bool operator==(const Receiver&) const = default;
  };
  struct Taken {
    std::shared_ptr<const Outgoing> event;
    Ledger::Entry entry = 0;
    Receiver receiver;
  };

  // The budget outlives it.
  explicit FanOuts(ByteBudget& budget) : budget_(budget) {}

  bool empty() const { return turns_.empty(); }
  // Whether no event is to be admitted before some have gone.
  bool is_full() const { return bytes_ >= budget_.fan_outs_max(); }
  // Whether an event waits whose entry is lower.
  bool has_older_than(Ledger::Entry entry) const;
  // Whether deliveries of the webhook wait.
  bool contains(const Uuid& webhook) const { return waiting_.contains(webhook); }

  // event: its body is not needed. There is at least one receiver.
  void add(std::shared_ptr<const Outgoing> event, Ledger::Entry entry, std::vector<Receiver> receivers);
  // The next delivery; nothing: none waits.
  std::optional<Taken> take();

 private:
  using Receivers = std::shared_ptr<const std::vector<Receiver>>;
  struct FanOut {
    std::shared_ptr<const Outgoing> event;
    Ledger::Entry entry = 0;
    Receivers receivers;
    std::size_t next = 0;
    std::size_t bytes = 0;
  };
  struct Organization : TurnQueueLink<Organization> {
    std::deque<FanOut> waiting;
    std::unordered_map<std::string, Receivers> lists;  // by the event's name
  };

  void count(std::ptrdiff_t bytes);

  ByteBudget& budget_;
  std::unordered_map<std::optional<std::string>, Organization> organizations_;  // of which something waits
  TurnQueue<Organization> turns_;
  std::size_t taken_ = 0;                          // of the first of these, in this turn
  std::unordered_map<Uuid, std::size_t> waiting_;  // how many deliveries
  std::size_t bytes_ = 0;
  ByteBudget::Charge charge_;  // for these
};

}  // namespace webhook

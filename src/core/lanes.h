// One lane a webhook: a bounded queue of deliveries and a cap on how many are in flight. Lanes that have something to
// send take turns, so that a busy webhook does not hold up a quiet one.
//
// A lane that is full refuses, and from then on everything until its overflow has been fetched back from
// webhook_deliveries: otherwise new events would pass the older ones that overflowed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/event.h"
#include "core/ledger.h"
#include "core/time.h"
#include "core/uuid.h"

namespace webhook {

// An event ready to be sent: shared by its deliveries.
struct Outgoing {
  std::int64_t event_id = 0;
  Time created_at{};
  std::string event_name;
  std::optional<std::string> organization_id;
  std::optional<std::string> key;
  std::string webhook_id;  // EventIdCipher::encode
  std::string body;
};

struct Delivery {
  Uuid webhook;
  std::shared_ptr<const Outgoing> event;
  int attempt = 1;                     // the number of the attempt to come
  std::optional<Ledger::Entry> entry;  // as long as the event log, and no row, stands for it
  bool has_row = false;                // webhook_deliveries holds it
};

class Lanes {
 public:
  static constexpr std::size_t kQueuedMax = 1000;             // deliveries a lane
  static constexpr std::size_t kQueuedBytesMax = 4ULL << 20;  // a lane's bodies; one delivery always fits

  // Makes the lane, or changes its cap.
  void set_lane(const Uuid& webhook, int max_in_flight);
  // Forgets the lane with all that waits in it, which is returned. What is in flight stays so.
  std::deque<Delivery> remove_lane(const Uuid& webhook);

  // The webhooks that have one.
  std::vector<Uuid> lanes() const;

  // Puts a delivery at the end of its webhook's lane, which must exist. False: the lane overflows.
  bool offer(const Delivery& delivery);
  // As offer, for what comes back from the overflow: an overflowing lane takes it while it has room.
  bool refill(const Delivery& delivery);
  // How many deliveries refill() would take now.
  std::size_t room(const Uuid& webhook) const;
  bool overflows(const Uuid& webhook) const;
  // More is owed to the webhook than its lane could take.
  void begin_overflow(const Uuid& webhook);
  // The overflow has been fetched back whole.
  void end_overflow(const Uuid& webhook);

  // The next delivery in fair turn, now in flight; nothing: no lane has something it may send.
  std::optional<Delivery> take();
  // A delivery of the webhook is no longer in flight.
  void finish(const Uuid& webhook);

  std::size_t queued() const { return queued_; }
  std::size_t queued_bytes() const { return queued_bytes_; }

  // The waiting deliveries, for what must be written down before it is sent.
  template <class Visit>
  void for_each_queued(Visit visit) {
    for (auto& [id, lane] : lanes_) {
      for (Delivery& delivery : lane.queue) visit(delivery);
    }
  }

 private:
  struct Lane {
    std::deque<Delivery> queue;
    std::size_t bytes = 0;
    int in_flight = 0;
    int max_in_flight = 1;
    bool overflows = false;
    bool removed = false;  // kept until nothing is in flight
    bool in_turn = false;  // stands in turns_
  };

  bool has_room(const Lane& lane, std::size_t bytes) const;
  void enqueue(Lane& lane, const Delivery& delivery);
  void enter_turns(const Uuid& webhook, Lane& lane);

  std::unordered_map<Uuid, Lane> lanes_;
  std::deque<Uuid> turns_;  // lanes with something they may send, each once
  std::size_t queued_ = 0;
  std::size_t queued_bytes_ = 0;
};

}  // namespace webhook

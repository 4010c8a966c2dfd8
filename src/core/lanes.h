// Each webhook has a lane: a bounded queue of deliveries, with the rules for when the next one may be sent. The rules
// are the cap on requests in flight, the rate limit, the ordering, and the circuit. Organizations with something to
// send take turns, and so do the lanes of one organization. A busy webhook therefore does not delay a quiet one, and
// a thousand webhooks of one organization do not delay another organization. Webhooks without an organization count
// as one.
//
// A slow or dead endpoint must not cost the others anything. The scarce resource is the number of open requests:
//
//   - A request becomes slow after kPatience. Requests that are not slow are "fast". At most a quarter of all
//     requests may be fast (SlotLimits), so requests that hang do not occupy the slots of those that do not.
//   - A lane is trusted once its endpoint has answered, until it fails or one of its requests becomes slow. An
//     untrusted lane sends one request at a time. All untrusted lanes together hold at most half of the slots. Those
//     whose last request was slow hold at most three quarters of that half, so a new endpoint, or one that failed
//     once, finds a slot.
//   - A trusted lane starts with one request at a time and doubles with each round of answers. It never holds more
//     slots than it leaves free. In the same way, no lane's queue is longer than the room that is left for all
//     queues.
//
// These rules apply within an organization's share. An organization that is alone may use each pool entirely.
// Otherwise:
//
//   - An organization takes at most as much of a pool as it leaves free. The limit of fast requests is then doubled,
//     so that an organization that is the only one to send still has a quarter of all slots. If n organizations want
//     all they can get, each ends up with pool / (n + 1), and as much stays free for the next, which does not have to
//     wait.
//   - An eighth of all slots is reserved for organizations that have no request in flight, one slot each, trusted or
//     not. Such an organization waits only while all slots are taken. With 256 slots, that takes about forty
//     organizations whose requests are all open at the same time. It then gets its turn as slots become free: when
//     requests are answered or time out, or, as long as only fast ones are open, within kPatience.
//
// The bytes of deliveries, queued and in flight, follow the same rules (set_bytes_max()). Untrusted lanes hold at
// most half of them, one lane at most a quarter, and an organization at most as much as it leaves free. An eighth is
// reserved for organizations that hold nothing. A body counts once for each of its deliveries. A delivery larger than
// half of all bytes is not counted; one of those may be held at a time.
//
// A full lane refuses deliveries, and keeps refusing until its overflow has been fetched back from
// webhook_deliveries. Otherwise new events would overtake the older ones that overflowed.
//
// Pure: the caller gives the time.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/byte_budget.h"
#include "core/circuit.h"
#include "core/delivery.h"
#include "core/ordering.h"
#include "core/time.h"
#include "core/token_bucket.h"
#include "core/turn_queue.h"
#include "core/uuid.h"

namespace webhook {

struct LaneLimits {
  int max_in_flight = 1;
  double rate_per_s = 0;  // 0: none
  Ordering ordering = Ordering::kRelaxed;

  bool operator==(const LaneLimits&) const = default;
};

// Limits of all lanes together.
struct SlotLimits {
  std::size_t total = 1;  // requests open at once
  std::size_t fast = 1;   // requests of one organization that are not slow
  std::size_t spare = 0;  // part of the total, reserved for organizations without a request in flight

  static SlotLimits of(std::size_t total);
};

class Lanes {
 public:
  static constexpr std::size_t kQueuedMax = 1000;             // deliveries in a lane
  static constexpr std::size_t kQueuedBytesMax = 4ULL << 20;  // bytes of bodies in a lane; one delivery always fits
  static constexpr std::size_t kAllQueuedMax = 20'000;        // deliveries in all lanes; one always fits into each
  static constexpr std::size_t kBlockedKeysMax = 10'000;  // keys of a lane with pending rows that are known one by one
  static constexpr std::size_t kAllBlockedBytesMax = 8ULL << 20;  // bytes of such keys in all lanes
  static constexpr Duration kPatience = std::chrono::seconds(1);
  // After a delivery of another organization, lanes cause no backpressure for this long.
  static constexpr Duration kSharedTime = std::chrono::seconds(10);

  // What an attempt shows about its endpoint.
  enum class Health : std::uint8_t {
    kSuccess,
    kAnswered,  // the endpoint is alive, but did not accept the delivery
    kFailed,
  };

  void set_slots(const SlotLimits& slots) { slots_ = slots; }
  // The bytes that deliveries in all lanes may hold, queued and in flight.
  void set_bytes_max(std::size_t bytes) { bytes_max_ = bytes; }

  bool has_lane(const Uuid& webhook) const { return lanes_.contains(webhook); }
  // Creates the lane, or changes its limits and its organization.
  void set_lane(const Uuid& webhook, const LaneLimits& limits, Time now,
                const std::optional<std::string>& organization = std::nullopt);
  // Removes the lane and returns its queued deliveries. Requests in flight are not affected.
  std::vector<Delivery> remove_lane(const Uuid& webhook);

  // The same, and for good: finish() of a request that is still in flight has no effect on a new lane with this id.
  std::vector<Delivery> forget_lane(const Uuid& webhook);
  // Removes the lane if nothing but the trust in its endpoint is lost by it: nothing waits or is in flight, and a new lane
  // would send as much. Returns whether there is no lane any more.
  bool remove_if_idle(const Uuid& webhook, Time now);
  // How many organizations have webhooks, whether they have lanes now or not.
  void set_organizations(std::size_t count) { known_organizations_ = count; }
  // A number shared by all lanes of an organization while it has any. 0: there is no lane.
  std::uint64_t organization_number(const Uuid& webhook) const;

  // Appends a delivery to its webhook's lane, which must exist. Returns false if the lane overflows, its circuit is open, or
  // an older delivery with its key is pending. The caller then writes a row for it.
  bool offer(const Delivery& delivery);
  // Appends a delivery that comes from webhook_deliveries. An overflowing lane takes it while it has room.
  bool refill(const Delivery& delivery);
  // How many deliveries refill() would take now. While the circuit is open: one when a probe is due, else none.
  std::size_t room(const Uuid& webhook, Time now) const;
  // Whether the bytes that other lanes hold leave room for a delivery of this size.
  bool has_bytes_for(const Uuid& webhook, std::size_t bytes) const;
  // If untrusted lanes hold more bytes than their half: the one to evict. Lanes whose first delivery has a row come first,
  // then the one with the most queued bytes.
  std::optional<Uuid> lane_to_relieve() const;
  // Whether the lane has enough room for a fetch to be worth it.
  bool wants_refill(const Uuid& webhook, Time now) const;
  bool overflows(const Uuid& webhook) const;
  // The webhook has pending rows that its lane does not hold.
  void begin_overflow(const Uuid& webhook);
  // All pending rows have been fetched. No effect while the pending keys are not known (set_pending()).
  void end_overflow(const Uuid& webhook);
  bool knows_pending(const Uuid& webhook) const;

  // The next delivery in fair turn, which is then in flight. Nothing: no lane may send anything.
  std::optional<Delivery> take(Time now);
  // A delivery is no longer in flight. not_before: the endpoint asked for no probe before that time.
  Circuit::Change finish(const Delivery& delivery, Health verdict, Time now, double random,
                         std::optional<Time> not_before = std::nullopt);
  // When take() may return something that it does not return now, without a call of finish() or offer().
  std::optional<Time> next_turn_at() const;

  // Removes all queued deliveries from the lane.
  std::vector<Delivery> evict(const Uuid& webhook);
  // Removes the queued deliveries that must not overtake a failed one. With relaxed ordering there are none.
  std::vector<Delivery> withdraw_behind(const Delivery& failed);

  // For kKey and kEndpoint: a delivery has got a row, or its row is gone. In between, offer() refuses its key.
  void note_pending(const Uuid& webhook, const std::optional<std::string>& key, std::int64_t event_id);
  void note_settled(const Uuid& webhook, const std::optional<std::string>& key, std::int64_t event_id);
  // Replaces the counts of rows by ordering_key(). Nothing: they are not known, and everything overflows.
  void set_pending(const Uuid& webhook, const std::optional<std::unordered_map<std::string, std::int64_t>>& pending);

  // Nothing if there is no lane.
  const Circuit* circuit(const Uuid& webhook) const;
  // Opens the circuit as another process left it.
  void reopen_circuit(const Uuid& webhook, Time opened_at, Time now);
  // Forgets all failures, because a test was answered, or because the webhook has another endpoint.
  Circuit::Change close_circuit(const Uuid& webhook, Time now);
  // Checks everything again that waits for a time.
  void clock_set_back(Time now);

  std::size_t queued() const { return queued_; }
  std::size_t queued_bytes() const { return queued_bytes_; }  // of bodies
  std::size_t held_bytes() const { return held_bytes_; }      // queued and in flight, without large deliveries
  // Backpressure: whether to wait a little before offering more, because an active lane is half full, or active lanes fill
  // half of the room that stalled ones leave. Never while several organizations are active: waiting for one would delay
  // the others, so a lane that is offered too much overflows instead.
  bool is_crowded() const {
    if (now_ < shared_until_) return false;
    return crowded_lanes_ > 0 || (queued_moving_ > 0 && queued_moving_ >= room_of_moving() / 2);
  }
  // Whether active lanes fill three quarters of that room, and would soon overflow.
  bool is_full() const { return queued_moving_ >= room_of_moving() / 4 * 3; }
  std::size_t in_flight() const { return fast_.size() + slow_.size(); }
  // Lanes with an open circuit, and how many organizations have such lanes.
  std::size_t open_circuits() const { return open_circuits_; }
  std::size_t failing_organizations() const { return failing_organizations_; }
  // Requests in flight that are not slow.
  std::size_t fast() const { return fast_.size(); }
  std::size_t queued(const Uuid& webhook) const;

  // Visits the queued deliveries until a visit returns false. Returns whether no visit did.
  template <class Visit>
  bool for_each_queued(Visit visit) {
    for (auto& [id, lane] : lanes_) {
      for (Delivery& delivery : lane.ready) {
        if (!visit(delivery)) return false;
      }
      for (auto& [key, parked] : lane.parked) {
        for (Delivery& delivery : parked) {
          if (!visit(delivery)) return false;
        }
      }
    }
    return true;
  }

 private:
  // What is known of an endpoint, and so how many places may go to such at once.
  enum class Standing : std::uint8_t {
    kTrusted,   // it has answered
    kUnproven,  // it has not yet, or has just failed
    kSlow,      // a request is slow, or the last one was
  };
  static constexpr std::size_t kStandings = 3;
  static constexpr std::size_t index_of(Standing standing) { return static_cast<std::size_t>(standing); }

  struct Organization;
  struct Lane : TurnQueueLink<Lane> {  // in line for its turn within its organization
    Uuid webhook;
    Organization* organization = nullptr;
    LaneLimits limits;
    // Lists: an empty one owns no memory, unlike an empty deque.
    std::list<Delivery> ready;
    // The keys that a delivery holds, in flight or the next to be, and what waits behind it: mostly nothing.
    std::unordered_map<std::string, std::list<Delivery>> parked;
    std::size_t queued = 0;      // ready and parked
    std::size_t bytes = 0;       // of bodies, likewise
    std::size_t held_bytes = 0;  // waiting and in flight
    int in_flight = 0;
    int slow = 0;    // of those
    int window = 1;  // how many may be, by the answers so far
    // Of those in flight, the ones that were when its circuit closed: with tickets below that one. The answer that closed it
    // tells more than their silence, so they take no place of those that follow.
    int excused = 0;
    std::uint64_t excused_below = 0;
    Standing standing = Standing::kUnproven;
    bool is_stalled = false;  // its last attempt failed, or one is slow: nothing is gained by waiting for it
    bool overflows = false;
    bool removed = false;              // kept until nothing is in flight
    bool counts_as_open = false;       // among the open circuits
    int settling = 0;                  // of those in flight, the ones of another ordering: they go first,
    std::uint64_t settles_before = 0;  // by their tickets
    std::optional<Time> timer;
    TokenBucket bucket;
    Circuit circuit;
    std::unordered_map<std::string, std::int64_t> pending;  // by ordering_key(), how many
    std::size_t pending_bytes = 0;                          // that they take
    bool pending_is_incomplete = false;                     // there were too many keys
  };
  // What its lanes have in common, and the sums of what they hold.
  struct Organization : TurnQueueLink<Organization> {
    std::optional<std::string> id;
    std::uint64_t number = 0;
    std::size_t lanes = 0;
    std::size_t open_circuits = 0;  // of its lanes
    std::size_t queued = 0;
    std::size_t held_bytes = 0;       // waiting and in flight
    std::size_t untrusted_bytes = 0;  // of those, of lanes that are not trusted
    std::size_t in_flight = 0;
    std::size_t slow = 0;                            // of those
    std::array<std::size_t, kStandings> of_lanes{};  // of those, by the standing of their lanes
    std::array<TurnQueue<Lane>, kStandings> turns;   // lanes with something they may send
    std::size_t next_standing = 0;                   // whose turn it is among these

    std::size_t fast() const { return in_flight - slow; }
    std::size_t untrusted() const { return in_flight - of_lanes[0]; }
    bool has_turns() const;
  };
  struct Flight {
    Lane* lane = nullptr;
    Time started_at{};
  };

  bool is_alone() const { return std::max(organizations_.size(), known_organizations_) <= 1; }
  std::size_t share(std::size_t pool, std::size_t of_all, std::size_t own) const;
  std::size_t left(std::size_t pool, std::size_t of_all, std::size_t own) const;
  std::size_t spare_bytes() const;
  std::size_t untrusted_bytes_max() const;
  std::size_t fast_pool() const { return is_alone() ? slots_.fast : 2 * slots_.fast; }
  bool may_start(const Organization& organization, Standing standing) const;
  void join(Lane& lane, const std::optional<std::string>& organization);
  void leave(Lane& lane);
  void note_activity(const Organization& organization);
  std::size_t queue_max(const Organization& organization) const;
  std::size_t room_of_moving() const;
  bool has_room(const Lane& lane, std::size_t bytes) const;
  bool has_bytes_for(const Lane& lane, std::size_t bytes) const;
  bool is_large(std::size_t bytes) const { return bytes > bytes_max_ / 2; }
  void hold(Lane& lane, Delivery* delivery);
  void let_go(Lane& lane, const Delivery& delivery);
  bool has_room_for_pending(const Lane& lane, const std::string& key) const;
  void count_pending_key(Lane& lane, const std::string& key, int sign);
  void forget_pending(Lane& lane);
  static int allowance(const Lane& lane, Time now);
  Lane& lane_of(std::uint64_t ticket);
  static std::optional<std::string> serial_key(const Lane& lane, const Delivery& delivery);
  void enqueue(Lane& lane, const Delivery& delivery);
  void dequeued(Lane& lane, const Delivery& delivery);
  void set_overflows(Lane& lane, bool overflows);
  void set_stalled(Lane& lane, bool stalled);
  void count_moving(const Lane& lane, int sign);
  void note_circuit(Lane& lane, Circuit::Change change);
  void count_circuit(Lane& lane, bool is_open);
  void enter_turns(Lane& lane, Time now);
  void line_up(Lane& lane);
  void wait_until(Lane& lane, Time at);
  void fire_timers(Time now);
  void age_flights(Time now);
  std::optional<Delivery> take_from(Organization& organization, Time now);
  std::optional<Delivery> take_from(TurnQueue<Lane>& turns, std::size_t fast_left, Time now);
  std::optional<Delivery> next_ready(Lane& lane);
  void start(Lane& lane, Delivery* delivery, Time now);
  bool land(Lane& lane, const Delivery& delivery);
  void release_key(Lane& lane, const Delivery& delivery);
  void taken_out(Lane& lane, std::vector<Delivery>* deliveries);
  void forget(std::unordered_map<Uuid, Lane>::iterator lane);
  void set_standing(Lane& lane, Standing standing);

  std::unordered_map<std::optional<std::string>, Organization> organizations_;  // that have a lane
  std::unordered_map<Uuid, Lane> lanes_;
  TurnQueue<Organization> turns_;  // of which a lane has something that it may send
  std::size_t known_organizations_ = 0;
  std::uint64_t last_organization_number_ = 0;
  std::uint64_t active_organization_ = 0;   // which got the last delivery
  Time shared_until_{};                     // until then another one may have to do, too
  std::set<std::pair<Time, Uuid>> timers_;  // lanes that wait for a token or a probe
  std::map<std::uint64_t, Flight> fast_;    // by ticket, so in the order in which they started
  std::map<std::uint64_t, Flight> slow_;
  std::uint64_t next_ticket_ = 1;
  std::uint64_t forgotten_ = 0;  // lanes that were forgotten with something in flight
  std::size_t open_circuits_ = 0;
  std::size_t failing_organizations_ = 0;  // with an open circuit
  std::size_t untrusted_in_flight_ = 0;    // of lanes that are not trusted
  SlotLimits slots_;
  std::size_t queued_ = 0;
  std::size_t queued_bytes_ = 0;
  std::size_t bytes_max_ = ByteBudget::kDefault / 2;
  std::size_t held_bytes_ = 0;       // waiting and in flight,
  std::size_t untrusted_bytes_ = 0;  // and of those in lanes that are not trusted
  std::size_t large_ = 0;            // deliveries that are not counted there
  std::size_t pending_bytes_ = 0;    // of the keys with something pending, in all lanes
  std::size_t queued_moving_ = 0;    // in lanes that neither overflow nor are stalled
  std::size_t crowded_lanes_ = 0;    // of those, lanes that are half full
  Time now_{};                       // of the last take() or finish()
};

}  // namespace webhook

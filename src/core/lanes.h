// One lane a webhook: a bounded queue of deliveries, and the rules for when the next of them may be sent: the cap on how
// many are in flight, the rate limit, the order of deliveries with the same key, the circuit. Organizations with something
// to send take turns, and so do the lanes of each: a busy webhook does not hold up a quiet one, nor do a thousand of one
// organization hold up another's. Webhooks without an organization are one organization's.
//
// A slow or dead endpoint must cost the others nothing. What is scarce is the requests that may be open at once, so:
//
//   - a request that has been out for kPatience is slow, and no longer counts among the brisk ones, of which there may be
//     a quarter of all (SlotLimits): those that hang do not take the places of those that don't;
//   - a lane is trusted once its endpoint has answered, until it fails or a request of its becomes slow. Lanes that are
//     not trusted send one request at a time, and together never hold more than half of all places; those whose last
//     request was slow never hold more than three quarters of that, so that one that is new, or has failed once, finds a
//     place beside them;
//   - a trusted lane begins with one request at a time and doubles with the answers; and it never holds more places than
//     it leaves free. Likewise no lane's queue is ever longer than what is left of the room for all queues.
//
// All this is so within an organization, of whose share the lane's limits are parts. What an organization may have, of
// each of these pools, is all as long as no other has a lane. Otherwise:
//
//   - it takes no more of a pool than it leaves free, whatever its webhooks do. Of the brisk requests there may then be
//     twice as many, so that one that is alone in sending still has its quarter of all places. n organizations that want
//     all they can get end up with pool / (n + 1) each, and as much is free for the next: it need not wait;
//   - an eighth of all places is for organizations that have no request in flight, one for each, whatever is known of the
//     webhook. Such a one waits only while all places are held. That takes some eight organizations of which each holds
//     half of what it found free, and then as many as there are places for one each: of 256 places, forty organizations
//     whose requests are all open at the same time. Then it takes its turn among them as places become free, which is
//     when requests are answered or time out; while no more than the brisk ones are held, within kPatience.
//
// The same holds for bytes, of what waits and what is in flight together (set_bytes_max()): lanes that are not trusted
// never get more than half of them, one lane no more than a quarter, and an organization no more than it leaves free. An
// eighth is for organizations that hold nothing. A body counts for each of its deliveries. One that is larger than half of
// all is not counted: there is one of those at a time, whatever else is held.
//
// A lane that is full refuses, and from then on everything until its overflow has been fetched back from
// webhook_deliveries: otherwise new events would pass the older ones that overflowed.
//
// Pure: the time is the caller's.
#pragma once

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
};

// Of all lanes together.
struct SlotLimits {
  std::size_t total = 1;  // requests open at once
  std::size_t brisk = 1;  // of those, the ones that are not slow, of an organization
  std::size_t spare = 0;  // of the total, the ones for organizations that have none

  static SlotLimits of(std::size_t total);
};

class Lanes {
 public:
  static constexpr std::size_t kQueuedMax = 1000;             // deliveries a lane
  static constexpr std::size_t kQueuedBytesMax = 4ULL << 20;  // a lane's bodies; one delivery always fits
  static constexpr std::size_t kAllQueuedMax = 20'000;        // deliveries in all lanes; one always fits into each
  static constexpr std::size_t kBlockedKeysMax = 10'000;  // a lane's keys with something owed, remembered one by one
  static constexpr std::size_t kAllBlockedBytesMax = 8ULL << 20;  // those of all lanes
  static constexpr Duration kPatience = std::chrono::seconds(1);
  // For so long after a delivery of another organization nobody is to wait for one that is crowded.
  static constexpr Duration kSharedTime = std::chrono::seconds(10);

  // What an attempt says of its endpoint.
  enum class Verdict : std::uint8_t {
    kSuccess,
    kAnswered,  // not what was hoped for, but it is alive
    kFailed,
  };

  void set_slots(const SlotLimits& slots) { slots_ = slots; }
  // Of all lanes together, waiting and in flight.
  void set_bytes_max(std::size_t bytes) { bytes_max_ = bytes; }

  // Makes the lane, or changes its limits and whose it is.
  void set_lane(const Uuid& webhook, const LaneLimits& limits, Time now,
                const std::optional<std::string>& organization = std::nullopt);
  // Forgets the lane with all that waits in it, which is returned. What is in flight stays so.
  std::vector<Delivery> remove_lane(const Uuid& webhook);

  // Likewise for good: what is in flight may be finished, and has no effect on a lane that the id may get again.
  std::vector<Delivery> forget_lane(const Uuid& webhook);
  // A number that the lanes of an organization have in common, as long as it has one; 0: there is no lane.
  std::uint64_t organization_number(const Uuid& webhook) const;

  // Puts a delivery at the end of its webhook's lane, which must exist. False: the lane overflows, its circuit is open,
  // or an older delivery with its key is owed: it is to be owed, too.
  bool offer(const Delivery& delivery);
  // As offer, for what comes back from webhook_deliveries: an overflowing lane takes it while it has room.
  bool refill(const Delivery& delivery);
  // How many deliveries refill() would take now: while the circuit is open, one, when a probe is due.
  std::size_t room(const Uuid& webhook, Time now) const;
  // Whether a delivery of so many bytes would find room in the lane, as far as it is up to the bytes that others hold.
  bool has_bytes_for(const Uuid& webhook, std::size_t bytes) const;
  // A lane that is not trusted and has something to give up, if such lanes hold more than their half: the one in which
  // most waits, before others one whose first delivery has a row in webhook_deliveries.
  std::optional<Uuid> lane_to_relieve() const;
  // Whether so much is free that fetching is worth it.
  bool wants_refill(const Uuid& webhook, Time now) const;
  bool overflows(const Uuid& webhook) const;
  // More is owed to the webhook than its lane could take.
  void begin_overflow(const Uuid& webhook);
  // The overflow has been fetched back whole. Without effect while what is owed is not known (set_owed()).
  void end_overflow(const Uuid& webhook);
  bool knows_owed(const Uuid& webhook) const;

  // The next delivery in fair turn, now in flight; nothing: no lane has something it may send.
  std::optional<Delivery> take(Time now);
  // A delivery is no longer in flight.
  // not_before: no probe before then, as the endpoint asked.
  Circuit::Change finish(const Delivery& delivery, Verdict verdict, Time now, double random,
                         std::optional<Time> not_before = std::nullopt);
  // When take() may have something that it has not now, though nothing is finished or offered.
  std::optional<Time> next_turn_at() const;

  // Takes all that waits out of the lane.
  std::vector<Delivery> evict(const Uuid& webhook);
  // Takes out what waits behind a failed delivery and must not pass it; nothing in a lane of relaxed ordering.
  std::vector<Delivery> withdraw_behind(const Delivery& failed);

  // For kKey and kEndpoint: a delivery is in webhook_deliveries, and no longer. Until then nothing with its key is taken
  // by offer().
  void note_owed(const Uuid& webhook, const std::optional<std::string>& key, std::int64_t event_id);
  void note_settled(const Uuid& webhook, const std::optional<std::string>& key, std::int64_t event_id);
  // Makes these all of them: by ordering_key(), how many. Nothing: they are not known, so that all overflows.
  void set_owed(const Uuid& webhook, const std::optional<std::unordered_map<std::string, std::int64_t>>& owed);

  // Nothing if there is no lane.
  const Circuit* circuit(const Uuid& webhook) const;
  // As another process left it.
  void reopen_circuit(const Uuid& webhook, Time opened_at, Time now);
  // As if nothing had ever failed: something else than a delivery has told that the endpoint answers, or it is another.
  Circuit::Change close_circuit(const Uuid& webhook, Time now);
  // All that waits for a time is looked at again.
  void clock_set_back(Time now);

  std::size_t queued() const { return queued_; }
  std::size_t queued_bytes() const { return queued_bytes_; }  // bodies
  std::size_t held_bytes() const { return held_bytes_; }      // waiting and in flight, but for large ones
  // Whether it is worth a little waiting before more is offered: lanes that move and do not overflow yet have much to do,
  // compared with the room that the others leave. Never while several organizations have something to do: what waits
  // for one makes all wait, so one that is offered more than it can take overflows.
  bool is_crowded() const {
    if (now_ < shared_until_) return false;
    return crowded_lanes_ > 0 || (queued_moving_ > 0 && queued_moving_ >= room_of_moving() / 2);
  }
  // Whether they have so much of that room that they would soon overflow.
  bool is_full() const { return queued_moving_ >= room_of_moving() / 4 * 3; }
  std::size_t in_flight() const { return brisk_.size() + slow_.size(); }
  // Of those, the ones that are not slow.
  std::size_t brisk() const { return brisk_.size(); }
  std::size_t queued(const Uuid& webhook) const;

  // Visits the waiting deliveries, for what must be written down before it is sent, until a visit gives false. Returns
  // whether none has.
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
    int settling = 0;                  // of those in flight, the ones of another ordering: they go first,
    std::uint64_t settles_before = 0;  // by their tickets
    std::optional<Time> timer;
    TokenBucket bucket;
    Circuit circuit;
    std::unordered_map<std::string, std::int64_t> owed;  // by ordering_key(), how many
    std::size_t owed_bytes = 0;                          // that they take
    bool owed_is_incomplete = false;                     // there were too many keys
  };
  // What its lanes have in common, and the sums of what they hold.
  struct Organization : TurnQueueLink<Organization> {
    std::optional<std::string> id;
    std::uint64_t number = 0;
    std::size_t lanes = 0;
    std::size_t queued = 0;
    std::size_t held_bytes = 0;       // waiting and in flight
    std::size_t untrusted_bytes = 0;  // of those, of lanes that are not trusted
    std::size_t in_flight = 0;
    std::size_t slow = 0;                            // of those
    std::array<std::size_t, kStandings> of_lanes{};  // of those, by the standing of their lanes
    std::array<TurnQueue<Lane>, kStandings> turns;   // lanes with something they may send
    std::size_t next_standing = 0;                   // whose turn it is among these

    std::size_t brisk() const { return in_flight - slow; }
    std::size_t untrusted() const { return in_flight - of_lanes[0]; }
    bool has_turns() const;
  };
  struct Flight {
    Lane* lane = nullptr;
    Time started_at{};
  };

  bool is_alone() const { return organizations_.size() <= 1; }
  std::size_t share(std::size_t pool, std::size_t of_all, std::size_t own) const;
  std::size_t left(std::size_t pool, std::size_t of_all, std::size_t own) const;
  std::size_t spare_bytes() const;
  std::size_t untrusted_bytes_max() const;
  std::size_t brisk_pool() const { return is_alone() ? slots_.brisk : 2 * slots_.brisk; }
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
  bool has_room_for_owed(const Lane& lane, const std::string& key) const;
  void count_owed(Lane& lane, const std::string& key, int sign);
  void forget_owed(Lane& lane);
  static int allowance(const Lane& lane, Time now);
  Lane& lane_of(std::uint64_t ticket);
  static std::optional<std::string> serial_key(const Lane& lane, const Delivery& delivery);
  void enqueue(Lane& lane, const Delivery& delivery);
  void dequeued(Lane& lane, const Delivery& delivery);
  void set_overflows(Lane& lane, bool overflows);
  void set_stalled(Lane& lane, bool stalled);
  void count_moving(const Lane& lane, int sign);
  void note_circuit(Lane& lane, Circuit::Change change);
  void enter_turns(Lane& lane, Time now);
  void line_up(Lane& lane);
  void wait_until(Lane& lane, Time at);
  void fire_timers(Time now);
  void age_flights(Time now);
  std::optional<Delivery> take_from(Organization& organization, Time now);
  std::optional<Delivery> take_from(TurnQueue<Lane>& turns, std::size_t brisk_left, Time now);
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
  std::uint64_t last_organization_number_ = 0;
  std::uint64_t active_organization_ = 0;   // which got the last delivery
  Time shared_until_{};                     // until then another one may have to do, too
  std::set<std::pair<Time, Uuid>> timers_;  // lanes that wait for a token or a probe
  std::map<std::uint64_t, Flight> brisk_;   // by ticket, so in the order in which they started
  std::map<std::uint64_t, Flight> slow_;
  std::uint64_t next_ticket_ = 1;
  std::uint64_t forgotten_ = 0;          // lanes that were forgotten with something in flight
  std::size_t untrusted_in_flight_ = 0;  // of lanes that are not trusted
  SlotLimits slots_;
  std::size_t queued_ = 0;
  std::size_t queued_bytes_ = 0;
  std::size_t bytes_max_ = ByteBudget::kDefault / 2;
  std::size_t held_bytes_ = 0;       // waiting and in flight,
  std::size_t untrusted_bytes_ = 0;  // and of those in lanes that are not trusted
  std::size_t large_ = 0;            // deliveries that are not counted there
  std::size_t owed_bytes_ = 0;       // of the keys with something owed, in all lanes
  std::size_t queued_moving_ = 0;    // in lanes that neither overflow nor are stalled
  std::size_t crowded_lanes_ = 0;    // of those, lanes that are half full
  Time now_{};                       // of the last take() or finish()
};

}  // namespace webhook

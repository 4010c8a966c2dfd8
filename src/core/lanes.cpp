#include "core/lanes.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <iterator>
#include <utility>

namespace webhook {

namespace {
constexpr std::size_t kFastMin = 16;  // or all slots, if there are fewer
constexpr std::size_t kFastShare = 4;
constexpr std::size_t kSpareShare = 8;
constexpr std::size_t kPendingKeyBytes = 96;  // memory per key, in addition to its text

// Adds to a sum (sign 1) what is counted in it, or removes that again (sign -1).
void count(std::size_t* sum, std::size_t what, int sign) {
  if (sign > 0) {
    *sum += what;
  } else {
    *sum -= what;
  }
}

}  // namespace

SlotLimits SlotLimits::of(std::size_t total) {
  return {
      .total = total, .fast = std::max(std::min(total, kFastMin), total / kFastShare), .spare = total / kSpareShare};
}

// --- Lanes come and go -----------------------------------------------------------------------------------------------

void Lanes::set_lane(const Uuid& webhook, const LaneLimits& limits, Time now,
                     const std::optional<std::string>& organization) {
  Lane& lane = lanes_[webhook];
  lane.webhook = webhook;
  join(lane, organization);
  if (lane.limits.ordering != limits.ordering) {
    lane.settling = lane.in_flight;
    lane.settles_before = next_ticket_;
  }
  lane.limits = limits;
  lane.bucket.set_rate(limits.rate_per_s, now);
  lane.removed = false;
  count_circuit(lane, lane.circuit.is_open());
  if (limits.ordering == Ordering::kRelaxed) {
    forget_pending(lane);
    lane.pending_is_incomplete = false;
  }
  enter_turns(lane, now);
}

void Lanes::join(Lane& lane, const std::optional<std::string>& organization) {
  if (lane.organization != nullptr) {
    if (lane.organization->id == organization) return;
    leave(lane);
  }
  const auto [found, is_new] = organizations_.try_emplace(organization);
  Organization& joined = found->second;
  if (is_new) {
    joined.id = organization;
    joined.number = ++last_organization_number_;
  }
  lane.organization = &joined;
  ++joined.lanes;
  joined.queued += lane.queued;
  joined.held_bytes += lane.held_bytes;
  if (lane.standing != Standing::kTrusted) joined.untrusted_bytes += lane.held_bytes;
  joined.in_flight += static_cast<std::size_t>(lane.in_flight);
  joined.slow += static_cast<std::size_t>(lane.slow);
  joined.of_lanes[index_of(lane.standing)] += static_cast<std::size_t>(lane.in_flight);
}

void Lanes::leave(Lane& lane) {
  lane.leave_queue();
  count_circuit(lane, false);
  Organization& left = *std::exchange(lane.organization, nullptr);
  left.queued -= lane.queued;
  left.held_bytes -= lane.held_bytes;
  if (lane.standing != Standing::kTrusted) left.untrusted_bytes -= lane.held_bytes;
  left.in_flight -= static_cast<std::size_t>(lane.in_flight);
  left.slow -= static_cast<std::size_t>(lane.slow);
  left.of_lanes[index_of(lane.standing)] -= static_cast<std::size_t>(lane.in_flight);
  if (--left.lanes > 0) return;
  left.leave_queue();
  organizations_.erase(organizations_.find(left.id));
}

std::vector<Delivery> Lanes::remove_lane(const Uuid& webhook) {
  const auto found = lanes_.find(webhook);
  if (found == lanes_.end()) return {};
  std::vector<Delivery> waiting = evict(webhook);
  Lane& lane = found->second;
  lane.leave_queue();
  if (lane.timer) timers_.erase({*lane.timer, webhook});
  lane.timer.reset();
  lane.removed = true;
  count_circuit(lane, false);
  if (lane.in_flight > 0) return waiting;
  forget(found);
  return waiting;
}

bool Lanes::remove_if_idle(const Uuid& webhook, Time now) {
  const auto found = lanes_.find(webhook);
  if (found == lanes_.end()) return true;
  const Lane& lane = found->second;
  const bool is_idle =
      lane.queued == 0 && lane.in_flight == 0 && lane.parked.empty() && !lane.in_queue() && !lane.timer;
  const bool is_as_new = !lane.is_stalled && !lane.overflows && lane.circuit.is_untouched() && lane.pending.empty() &&
                         !lane.pending_is_incomplete && lane.bucket.is_full(now);
  if (!is_idle || !is_as_new) return false;
  remove_lane(webhook);
  return true;
}

void Lanes::forget(std::unordered_map<Uuid, Lane>::iterator lane) {
  forget_pending(lane->second);
  leave(lane->second);
  lanes_.erase(lane);
}

// A lane with requests in flight lives on under a key that no webhook has, because no UUID has version 15.
std::vector<Delivery> Lanes::forget_lane(const Uuid& webhook) {
  std::vector<Delivery> waiting = remove_lane(webhook);
  auto lane = lanes_.extract(webhook);
  if (lane.empty()) return waiting;
  Uuid key;
  key.bytes.fill(0xff);
  ++forgotten_;
  std::memcpy(key.bytes.data() + 8, &forgotten_, sizeof forgotten_);
  lane.key() = lane.mapped().webhook = key;
  lanes_.insert(std::move(lane));
  return waiting;
}

Lanes::Lane& Lanes::lane_of(std::uint64_t ticket) {
  const auto fast = fast_.find(ticket);
  if (fast != fast_.end()) return *fast->second.lane;
  const auto slow = slow_.find(ticket);
  assert(slow != slow_.end());
  return *slow->second.lane;
}

std::uint64_t Lanes::organization_number(const Uuid& webhook) const {
  const auto found = lanes_.find(webhook);
  return found == lanes_.end() ? 0 : found->second.organization->number;
}

// --- Shares ----------------------------------------------------------------------------------------------------------

// How much of a pool an organization that holds `own` of it may hold. If the organization is alone, that is all that
// others leave. Otherwise it is as much as the organization leaves free.
std::size_t Lanes::share(std::size_t pool, std::size_t of_all, std::size_t own) const {
  const std::size_t not_of_others = pool - std::min(pool, of_all - own);
  return is_alone() ? not_of_others : (not_of_others + 1) / 2;
}

// How much more the organization may hold.
std::size_t Lanes::left(std::size_t pool, std::size_t of_all, std::size_t own) const {
  const std::size_t may_hold = share(pool, of_all, own);
  return may_hold - std::min(may_hold, own);
}

// The bytes reserved for organizations that hold none.
std::size_t Lanes::spare_bytes() const { return is_alone() ? 0 : bytes_max_ / kSpareShare; }

// For all lanes that are not trusted together.
std::size_t Lanes::untrusted_bytes_max() const { return bytes_max_ / 2 + spare_bytes(); }

// Whether the organization's limits allow one more request from a lane of that standing. A slot must be free.
bool Lanes::may_start(const Organization& organization, Standing standing) const {
  if (organization.in_flight == 0) return true;
  if (left(slots_.total - slots_.spare, in_flight(), organization.in_flight) == 0) return false;
  if (left(fast_pool(), fast_.size(), organization.fast()) == 0) return false;
  if (standing == Standing::kTrusted || organization.untrusted() == 0) return true;
  const std::size_t untrusted = share(slots_.total / 2, untrusted_in_flight_, organization.untrusted());
  if (organization.untrusted() >= untrusted) return false;
  const std::size_t of_slow_lanes = organization.of_lanes[index_of(Standing::kSlow)];
  return standing != Standing::kSlow || of_slow_lanes == 0 || of_slow_lanes < untrusted / 4 * 3;
}

// Notes whether more than one organization gets deliveries.
void Lanes::note_activity(const Organization& organization) {
  if (organization.number == active_organization_) return;
  if (active_organization_ != 0) shared_until_ = now_ + kSharedTime;
  active_organization_ = organization.number;
}

// --- What waits ------------------------------------------------------------------------------------------------------

bool Lanes::offer(const Delivery& delivery) {
  Lane& lane = lanes_.at(delivery.webhook);
  if (lane.overflows || lane.circuit.is_open() || !has_room(lane, delivery.event->bytes())) {
    set_overflows(lane, true);
    return false;
  }
  if (!lane.pending.empty()) {
    const auto key = ordering_key(lane.limits.ordering, delivery.event->key, delivery.event->event_id);
    if (key && lane.pending.contains(*key)) return false;
  }
  enqueue(lane, delivery);
  return true;
}

bool Lanes::refill(const Delivery& delivery) {
  Lane& lane = lanes_.at(delivery.webhook);
  if (!has_room(lane, delivery.event->bytes())) return false;
  enqueue(lane, delivery);
  return true;
}

std::size_t Lanes::room(const Uuid& webhook, Time now) const {
  const auto found = lanes_.find(webhook);
  if (found == lanes_.end()) return 0;
  const Lane& lane = found->second;
  if (lane.circuit.is_open()) {
    return lane.queued == 0 && lane.in_flight == 0 && now >= lane.circuit.next_probe_at() ? 1 : 0;
  }
  if (!has_room(lane, 1)) return 0;
  const std::size_t most = queue_max(*lane.organization);
  return std::max<std::size_t>(1, most - std::min(lane.queued, most));
}

bool Lanes::wants_refill(const Uuid& webhook, Time now) const {
  const std::size_t free = room(webhook, now);
  if (free == 0) return false;
  const Lane& lane = lanes_.at(webhook);
  return lane.queued == 0 || (free >= lane.queued && lane.bytes <= kQueuedBytesMax / 2);
}

bool Lanes::has_bytes_for(const Uuid& webhook, std::size_t bytes) const {
  const auto found = lanes_.find(webhook);
  return found != lanes_.end() && has_bytes_for(found->second, bytes);
}

std::optional<Uuid> Lanes::lane_to_relieve() const {
  if (untrusted_bytes_ <= untrusted_bytes_max()) return std::nullopt;
  std::optional<Uuid> heaviest;
  std::pair<bool, std::size_t> most(false, 0);
  for (const auto& [id, lane] : lanes_) {
    if (lane.standing == Standing::kTrusted || lane.ready.empty()) continue;
    const std::pair<bool, std::size_t> weight(lane.ready.front().has_row, lane.bytes);
    if (heaviest && weight <= most) continue;
    heaviest = id;
    most = weight;
  }
  return heaviest;
}

bool Lanes::overflows(const Uuid& webhook) const {
  const auto found = lanes_.find(webhook);
  return found != lanes_.end() && found->second.overflows;
}

void Lanes::begin_overflow(const Uuid& webhook) { set_overflows(lanes_.at(webhook), true); }

void Lanes::end_overflow(const Uuid& webhook) {
  Lane& lane = lanes_.at(webhook);
  if (!lane.pending_is_incomplete) set_overflows(lane, false);
}

bool Lanes::knows_pending(const Uuid& webhook) const {
  const auto found = lanes_.find(webhook);
  return found != lanes_.end() && !found->second.pending_is_incomplete;
}

std::vector<Delivery> Lanes::evict(const Uuid& webhook) {
  Lane& lane = lanes_.at(webhook);
  std::vector<Delivery> waiting(std::make_move_iterator(lane.ready.begin()), std::make_move_iterator(lane.ready.end()));
  lane.ready.clear();
  for (auto& [key, parked] : lane.parked) {
    std::move(parked.begin(), parked.end(), std::back_inserter(waiting));
    parked.clear();
  }
  taken_out(lane, &waiting);
  return waiting;
}

std::vector<Delivery> Lanes::withdraw_behind(const Delivery& failed) {
  const auto found = lanes_.find(failed.webhook);
  if (found == lanes_.end()) return {};
  Lane& lane = found->second;
  const Ordering ordering = lane.limits.ordering;
  const auto key = ordering_key(ordering, failed.event->key, failed.event->event_id);
  std::vector<Delivery> behind;
  if (!key) return behind;
  if (const auto parked = lane.parked.find(*key); parked != lane.parked.end()) {
    std::move(parked->second.begin(), parked->second.end(), std::back_inserter(behind));
    parked->second.clear();
  }
  const auto rest = std::stable_partition(lane.ready.begin(), lane.ready.end(), [&](const Delivery& delivery) {
    return ordering_key(ordering, delivery.event->key, delivery.event->event_id) != key;
  });
  std::move(rest, lane.ready.end(), std::back_inserter(behind));
  lane.ready.erase(rest, lane.ready.end());
  taken_out(lane, &behind);
  return behind;
}

void Lanes::taken_out(Lane& lane, std::vector<Delivery>* deliveries) {
  for (Delivery& delivery : *deliveries) {
    dequeued(lane, delivery);
    let_go(lane, delivery);
    delivery.held_bytes = 0;
    delivery.is_large = false;
    if (delivery.holds) lane.parked.erase(*delivery.holds);
    delivery.holds.reset();
  }
}

void Lanes::note_pending(const Uuid& webhook, const std::optional<std::string>& key, std::int64_t event_id) {
  const auto found = lanes_.find(webhook);
  if (found == lanes_.end()) return;
  Lane& lane = found->second;
  const auto ordered_by = ordering_key(lane.limits.ordering, key, event_id);
  if (!ordered_by) return;
  if (!lane.pending.contains(*ordered_by)) {
    if (!has_room_for_pending(lane, *ordered_by)) {
      lane.pending_is_incomplete = true;
      set_overflows(lane, true);
      return;
    }
    count_pending_key(lane, *ordered_by, 1);
  }
  ++lane.pending[*ordered_by];
}

bool Lanes::has_room_for_pending(const Lane& lane, const std::string& key) const {
  return lane.pending.size() < kBlockedKeysMax && pending_bytes_ + kPendingKeyBytes + key.size() <= kAllBlockedBytesMax;
}

// Adds the key to what is counted (sign 1) or removes it (sign -1).
void Lanes::count_pending_key(Lane& lane, const std::string& key, int sign) {
  const std::size_t bytes = kPendingKeyBytes + key.size();
  count(&lane.pending_bytes, bytes, sign);
  count(&pending_bytes_, bytes, sign);
}

void Lanes::forget_pending(Lane& lane) {
  pending_bytes_ -= lane.pending_bytes;
  lane.pending_bytes = 0;
  lane.pending = {};
}

void Lanes::note_settled(const Uuid& webhook, const std::optional<std::string>& key, std::int64_t event_id) {
  const auto found = lanes_.find(webhook);
  if (found == lanes_.end()) return;
  Lane& lane = found->second;
  const auto ordered_by = ordering_key(lane.limits.ordering, key, event_id);
  if (!ordered_by) return;
  const auto count = lane.pending.find(*ordered_by);
  if (count == lane.pending.end() || --count->second > 0) return;
  count_pending_key(lane, count->first, -1);
  lane.pending.erase(count);
}

void Lanes::set_pending(const Uuid& webhook,
                        const std::optional<std::unordered_map<std::string, std::int64_t>>& pending) {
  const auto found = lanes_.find(webhook);
  if (found == lanes_.end()) return;
  Lane& lane = found->second;
  forget_pending(lane);
  lane.pending_is_incomplete = !pending;
  if (pending) {
    for (const auto& [key, count] : *pending) {
      lane.pending_is_incomplete = !has_room_for_pending(lane, key);
      if (lane.pending_is_incomplete) break;
      count_pending_key(lane, key, 1);
      lane.pending.emplace(key, count);
    }
  }
  if (!lane.pending_is_incomplete) return;
  forget_pending(lane);
  set_overflows(lane, true);
}

std::size_t Lanes::queued(const Uuid& webhook) const {
  const auto found = lanes_.find(webhook);
  return found == lanes_.end() ? 0 : found->second.queued;
}

// An empty lane has room for one delivery of any size, if the other lanes leave enough bytes.
bool Lanes::has_room(const Lane& lane, std::size_t bytes) const {
  if (!has_bytes_for(lane, bytes)) return false;
  if (lane.queued == 0) return true;
  return lane.queued < queue_max(*lane.organization) && lane.bytes + bytes <= kQueuedBytesMax;
}

// A bound always allows one delivery where nothing is held yet. Otherwise it could never be sent.
bool Lanes::has_bytes_for(const Lane& lane, std::size_t bytes) const {
  if (is_large(bytes)) return large_ == 0;
  const auto fits = [bytes](std::size_t held, std::size_t max) { return held == 0 || held + bytes <= max; };
  if (!fits(lane.held_bytes, bytes_max_ / 4) || !fits(held_bytes_, bytes_max_)) return false;
  const bool is_trusted = lane.standing == Standing::kTrusted;
  if (!is_trusted && !fits(untrusted_bytes_, untrusted_bytes_max())) return false;
  const Organization& organization = *lane.organization;
  if (organization.held_bytes == 0) return true;
  const std::size_t may_hold = share(bytes_max_ - spare_bytes(), held_bytes_, organization.held_bytes);
  if (organization.held_bytes + bytes > may_hold) return false;
  return is_trusted ||
         fits(organization.untrusted_bytes, share(bytes_max_ / 2, untrusted_bytes_, organization.untrusted_bytes));
}

void Lanes::hold(Lane& lane, Delivery* delivery) {
  const std::size_t bytes = delivery->event->bytes();
  delivery->is_large = is_large(bytes);
  delivery->held_bytes = delivery->is_large ? 0 : bytes;
  if (delivery->is_large) ++large_;
  lane.held_bytes += delivery->held_bytes;
  held_bytes_ += delivery->held_bytes;
  lane.organization->held_bytes += delivery->held_bytes;
  if (lane.standing == Standing::kTrusted) return;
  untrusted_bytes_ += delivery->held_bytes;
  lane.organization->untrusted_bytes += delivery->held_bytes;
}

void Lanes::let_go(Lane& lane, const Delivery& delivery) {
  if (delivery.is_large) --large_;
  assert(lane.held_bytes >= delivery.held_bytes);
  lane.held_bytes -= delivery.held_bytes;
  held_bytes_ -= delivery.held_bytes;
  lane.organization->held_bytes -= delivery.held_bytes;
  if (lane.standing == Standing::kTrusted) return;
  untrusted_bytes_ -= delivery.held_bytes;
  lane.organization->untrusted_bytes -= delivery.held_bytes;
}

// How long the queue of one of the organization's lanes may be now.
std::size_t Lanes::queue_max(const Organization& organization) const {
  return std::min(kQueuedMax, left(kAllQueuedMax, queued_, organization.queued));
}

// How many deliveries may be queued in the active lanes: the space that stalled and overflowing lanes leave.
std::size_t Lanes::room_of_moving() const {
  const std::size_t room = share(kAllQueuedMax, 0, 0);
  const std::size_t standing = queued_ - queued_moving_;
  return room - std::min(room, standing);
}

void Lanes::enqueue(Lane& lane, const Delivery& delivery) {
  count_moving(lane, -1);
  lane.bytes += delivery.event->body.size();
  queued_bytes_ += delivery.event->body.size();
  ++lane.queued;
  ++queued_;
  ++lane.organization->queued;
  count_moving(lane, 1);
  note_activity(*lane.organization);
  lane.ready.push_back(delivery);
  hold(lane, &lane.ready.back());
  enter_turns(lane, now_);
}

void Lanes::dequeued(Lane& lane, const Delivery& delivery) {
  count_moving(lane, -1);
  lane.bytes -= delivery.event->body.size();
  queued_bytes_ -= delivery.event->body.size();
  --lane.queued;
  --queued_;
  --lane.organization->queued;
  count_moving(lane, 1);
}

void Lanes::set_overflows(Lane& lane, bool overflows) {
  count_moving(lane, -1);
  lane.overflows = overflows;
  count_moving(lane, 1);
}

void Lanes::set_stalled(Lane& lane, bool stalled) {
  count_moving(lane, -1);
  lane.is_stalled = stalled;
  count_moving(lane, 1);
}

// Adds the lane to the counts of is_crowded() (sign 1) or removes it (sign -1).
void Lanes::count_moving(const Lane& lane, int sign) {
  if (lane.overflows || lane.is_stalled) return;
  const bool is_half_full = lane.queued >= kQueuedMax / 2 || lane.bytes >= kQueuedBytesMax / 2;
  count(&queued_moving_, lane.queued, sign);
  if (is_half_full) count(&crowded_lanes_, 1, sign);
}

// --- Turns -----------------------------------------------------------------------------------------------------------

// How many requests the lane's own limits allow in flight.
int Lanes::allowance(const Lane& lane, Time now) {
  if (lane.settling > 0) return 0;  // requests of another ordering hold other keys, or none
  if (lane.circuit.is_open()) return now >= lane.circuit.next_probe_at() ? 1 : 0;
  if (lane.limits.ordering == Ordering::kEndpoint) return 1;
  if (lane.standing == Standing::kUnproven || lane.slow > 0)
    return std::min(1 + lane.excused, lane.limits.max_in_flight);
  return std::min(lane.window, lane.limits.max_in_flight);
}

void Lanes::enter_turns(Lane& lane, Time now) {
  if (lane.in_queue() || lane.removed || lane.ready.empty()) return;
  if (lane.circuit.is_open() && lane.in_flight == 0 && now < lane.circuit.next_probe_at()) {
    wait_until(lane, lane.circuit.next_probe_at());
    return;
  }
  if (lane.in_flight >= allowance(lane, now)) return;
  if (!lane.bucket.has_token(now)) {
    wait_until(lane, lane.bucket.next_token_at(now));
    return;
  }
  line_up(lane);
}

void Lanes::line_up(Lane& lane) {
  Organization& organization = *lane.organization;
  organization.turns[index_of(lane.standing)].push_back(&lane);
  if (!organization.in_queue()) turns_.push_back(&organization);
}

void Lanes::wait_until(Lane& lane, Time at) {
  if (lane.timer) timers_.erase({*lane.timer, lane.webhook});
  lane.timer = at;
  timers_.emplace(at, lane.webhook);
}

void Lanes::fire_timers(Time now) {
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const Uuid webhook = timers_.begin()->second;
    timers_.erase(timers_.begin());
    Lane& lane = lanes_.at(webhook);
    lane.timer.reset();
    enter_turns(lane, now);
  }
}

void Lanes::age_flights(Time now) {
  while (!fast_.empty() && now - fast_.begin()->second.started_at >= kPatience) {
    Lane& lane = *fast_.begin()->second.lane;
    ++lane.slow;
    ++lane.organization->slow;
    set_standing(lane, Standing::kSlow);
    set_stalled(lane, true);
    slow_.insert(fast_.extract(fast_.begin()));
  }
}

std::optional<Delivery> Lanes::take(Time now) {
  now_ = now;
  fire_timers(now);
  age_flights(now);
  const std::size_t fast_max = is_alone() ? slots_.fast : fast_pool() + slots_.spare;
  if (fast_.size() >= fast_max || in_flight() >= slots_.total) return std::nullopt;
  // The loop is bounded: organizations that may not send now have requests in flight, so there are no more than slots.
  for (std::size_t waiting = turns_.size(); waiting > 0; --waiting) {
    Organization& organization = *turns_.pop_front();
    std::optional<Delivery> delivery = take_from(organization, now);
    if (organization.has_turns() && !organization.in_queue()) turns_.push_back(&organization);
    if (delivery) return delivery;
  }
  return std::nullopt;
}

bool Lanes::Organization::has_turns() const {
  return std::any_of(turns.begin(), turns.end(), [](const TurnQueue<Lane>& queue) { return !queue.empty(); });
}

std::optional<Delivery> Lanes::take_from(Organization& organization, Time now) {
  const std::size_t fast_left = left(fast_pool(), fast_.size(), organization.fast());
  for (std::size_t tried = 0; tried < kStandings; ++tried) {
    const std::size_t standing =
        std::exchange(organization.next_standing, (organization.next_standing + 1) % kStandings);
    TurnQueue<Lane>& turns = organization.turns[standing];
    if (turns.empty() || !may_start(organization, static_cast<Standing>(standing))) continue;
    if (std::optional<Delivery> delivery = take_from(turns, fast_left, now)) return delivery;
  }
  return std::nullopt;
}

// A lane may have lost its right to a turn since it entered the queue, so this checks again.
std::optional<Delivery> Lanes::take_from(TurnQueue<Lane>& turns, std::size_t fast_left, Time now) {
  for (std::size_t waiting = turns.size(); waiting > 0; --waiting) {
    Lane& lane = *turns.pop_front();
    if (lane.in_flight >= allowance(lane, now) || !lane.bucket.has_token(now)) {
      enter_turns(lane, now);
      continue;
    }
    if (lane.in_flight > 0 && static_cast<std::size_t>(lane.in_flight) >= fast_left) {
      turns.push_back(&lane);
      continue;
    }
    std::optional<Delivery> delivery = next_ready(lane);
    if (!delivery) continue;
    start(lane, &*delivery, now);
    enter_turns(lane, now);
    return delivery;
  }
  return std::nullopt;
}

// Deliveries with the same serial key are sent one after the other. Nothing if the delivery waits for no other.
std::optional<std::string> Lanes::serial_key(const Lane& lane, const Delivery& delivery) {
  if (lane.limits.ordering != Ordering::kRelaxed) {
    return ordering_key(lane.limits.ordering, delivery.event->key, delivery.event->event_id);
  }
  return delivery.attempt == 1 ? delivery.event->key : std::nullopt;
}

// Returns the first delivery with a key that is not in flight. Parks the deliveries before it until their keys are
// free.
std::optional<Delivery> Lanes::next_ready(Lane& lane) {
  while (!lane.ready.empty()) {
    Delivery delivery = std::move(lane.ready.front());
    lane.ready.pop_front();
    if (!delivery.holds) {
      std::optional<std::string> key = serial_key(lane, delivery);
      if (key) {
        const auto [held, is_new] = lane.parked.try_emplace(*key);
        if (!is_new) {
          held->second.push_back(std::move(delivery));
          continue;
        }
        delivery.holds = std::move(key);
      }
    }
    dequeued(lane, delivery);
    return delivery;
  }
  return std::nullopt;
}

void Lanes::start(Lane& lane, Delivery* delivery, Time now) {
  lane.bucket.take();
  delivery->ticket = next_ticket_++;
  fast_.emplace_hint(fast_.end(), delivery->ticket, Flight{&lane, now});
  ++lane.in_flight;
  ++lane.organization->in_flight;
  ++lane.organization->of_lanes[index_of(lane.standing)];
  if (lane.standing != Standing::kTrusted) ++untrusted_in_flight_;
}

// --- Results ---------------------------------------------------------------------------------------------------------

Circuit::Change Lanes::finish(const Delivery& delivery, Health verdict, Time now, double random,
                              std::optional<Time> not_before) {
  now_ = now;
  Lane& lane = lane_of(delivery.ticket);
  const bool was_slow = land(lane, delivery) || lane.slow > 0;
  release_key(lane, delivery);
  Circuit::Change change = Circuit::Change::kNone;
  if (verdict == Health::kFailed) {
    lane.window = 1;
    set_standing(lane, was_slow ? Standing::kSlow : Standing::kUnproven);
    set_stalled(lane, true);
    change = lane.circuit.failed(now, random, not_before);
  } else {
    if (verdict == Health::kSuccess) lane.window = std::min(lane.window + 1, lane.limits.max_in_flight);
    set_standing(lane, was_slow ? Standing::kSlow : Standing::kTrusted);
    set_stalled(lane, lane.slow > 0);
    change = lane.circuit.answered();
    note_circuit(lane, change);
  }
  if (lane.removed) {  // nobody needs to know about its circuit
    if (lane.in_flight == 0) forget(lanes_.find(lane.webhook));
    return Circuit::Change::kNone;
  }
  count_circuit(lane, lane.circuit.is_open());
  enter_turns(lane, now);
  return change;
}

// Returns whether the request was slow.
bool Lanes::land(Lane& lane, const Delivery& delivery) {
  let_go(lane, delivery);
  const bool was_slow = fast_.erase(delivery.ticket) == 0;
  if (was_slow) {
    [[maybe_unused]] const std::size_t erased = slow_.erase(delivery.ticket);
    assert(erased == 1);
    --lane.slow;
    --lane.organization->slow;
  }
  assert(lane.in_flight > 0);
  --lane.in_flight;
  if (delivery.ticket < lane.settles_before && lane.settling > 0) --lane.settling;
  if (lane.excused > 0 && delivery.ticket < lane.excused_below) --lane.excused;
  --lane.organization->in_flight;
  --lane.organization->of_lanes[index_of(lane.standing)];
  if (lane.standing != Standing::kTrusted) --untrusted_in_flight_;
  return was_slow;
}

// The next delivery with the key goes to the front of the ready ones, because it is older than most of them.
void Lanes::release_key(Lane& lane, const Delivery& delivery) {
  if (!delivery.holds) return;
  const auto held = lane.parked.find(*delivery.holds);
  if (held == lane.parked.end()) return;
  if (held->second.empty()) {
    lane.parked.erase(held);
    return;
  }
  Delivery next = std::move(held->second.front());
  held->second.pop_front();
  next.holds = delivery.holds;
  lane.ready.push_front(std::move(next));
}

void Lanes::set_standing(Lane& lane, Standing standing) {
  if (lane.standing == standing) return;
  const auto in_flight = static_cast<std::size_t>(lane.in_flight);
  std::array<std::size_t, kStandings>& of_lanes = lane.organization->of_lanes;
  of_lanes[index_of(lane.standing)] -= in_flight;
  of_lanes[index_of(standing)] += in_flight;
  if (lane.standing == Standing::kTrusted) {
    untrusted_in_flight_ += in_flight;
    untrusted_bytes_ += lane.held_bytes;
    lane.organization->untrusted_bytes += lane.held_bytes;
  }
  if (standing == Standing::kTrusted) {
    untrusted_in_flight_ -= in_flight;
    untrusted_bytes_ -= lane.held_bytes;
    lane.organization->untrusted_bytes -= lane.held_bytes;
  }
  lane.standing = standing;
  if (!lane.in_queue()) return;
  lane.leave_queue();
  line_up(lane);
}

std::optional<Time> Lanes::next_turn_at() const {
  std::optional<Time> next;
  if (!timers_.empty()) next = timers_.begin()->first;
  // When a request becomes slow, it makes room for another fast one.
  if (!turns_.empty() && !fast_.empty() && in_flight() < slots_.total) {
    const Time aged = fast_.begin()->second.started_at + kPatience;
    next = next ? std::min(*next, aged) : aged;
  }
  return next;
}

const Circuit* Lanes::circuit(const Uuid& webhook) const {
  const auto found = lanes_.find(webhook);
  return found == lanes_.end() ? nullptr : &found->second.circuit;
}

void Lanes::reopen_circuit(const Uuid& webhook, Time opened_at, Time now) {
  Lane& lane = lanes_.at(webhook);
  lane.circuit.reopen(opened_at, now);
  count_circuit(lane, true);
}

Circuit::Change Lanes::close_circuit(const Uuid& webhook, Time now) {
  Lane& lane = lanes_.at(webhook);
  const Circuit::Change change = lane.circuit.answered();
  note_circuit(lane, change);
  count_circuit(lane, false);
  enter_turns(lane, now);
  return change;
}

void Lanes::count_circuit(Lane& lane, bool is_open) {
  if (lane.counts_as_open == is_open) return;
  lane.counts_as_open = is_open;
  Organization& organization = *lane.organization;
  if (is_open) {
    ++open_circuits_;
    if (organization.open_circuits++ == 0) ++failing_organizations_;
  } else {
    --open_circuits_;
    if (--organization.open_circuits == 0) --failing_organizations_;
  }
}

void Lanes::note_circuit(Lane& lane, Circuit::Change change) {
  if (change != Circuit::Change::kClosed) return;
  lane.excused = lane.in_flight;
  lane.excused_below = next_ticket_;
}

void Lanes::clock_set_back(Time now) {
  now_ = now;
  shared_until_ = std::min(shared_until_, now + kSharedTime);
  timers_.clear();
  for (auto& [webhook, lane] : lanes_) {
    lane.timer.reset();
    lane.circuit.clock_set_back(now);
    enter_turns(lane, now);
  }
  for (auto& [ticket, flight] : fast_) flight.started_at = std::min(flight.started_at, now);
}

}  // namespace webhook

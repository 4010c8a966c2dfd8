#include "worker/maintenance.h"

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace webhook {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr Duration kInterval = seconds(5);
constexpr Duration kBusyInterval = seconds(1);  // while the rings grow
constexpr Duration kExpiryInterval = minutes(10);
constexpr Duration kWarningInterval = minutes(1);  // before the same warning is given again
constexpr Duration kCleanUpInterval = minutes(1);  // though no webhook was deleted lately
constexpr Duration kCleanUpPause = seconds(1);     // after a webhook was deleted
constexpr int kCleanUpShare = 5;                   // cleaning up takes a fifth of the time at most
constexpr int kServeShare = 5;                     // and so does serving nodes

}  // namespace

void Maintenance::maintain() {
  const Time now = process_.now();
  deadlines_.set(Deadline::kMaintenance, now + kInterval);
  serve_nodes(now);
  if (share_.number > 1) return;
  quotas_.turn();
  deadlines_.bring_forward(Deadline::kMaintenance, quotas_.next_turn());
  store_.refill_ids();
  maintain_rings();
  if (deadlines_.has_passed(Deadline::kExpiry, now)) delete_expired(now);
}

void Maintenance::serve_nodes(Time now) {
  if (!configuration_.is_loaded()) return;
  served_ = store_.serve_nodes(gone_nodes_);
  if (!served_->has_more) return;
  const Time end = process_.now();
  deadlines_.bring_forward(Deadline::kMaintenance, end + (end - now) * (kServeShare - 1));
}

void Maintenance::delete_expired(Time now) {
  deadlines_.set(Deadline::kExpiry, now);
  if (store_.delete_expired(now - process_.settings().event_retention)) {
    deadlines_.set(Deadline::kMaintenance, now);
  } else {
    deadlines_.set(Deadline::kExpiry, now + kExpiryInterval);
  }
}

void Maintenance::clean_up() {
  const Time begun = process_.now();
  if (!deadlines_.has_passed(Deadline::kCleanUp, begun) || !configuration_.is_loaded()) return;
  deadlines_.set(Deadline::kCleanUp, begun + kCleanUpInterval);
  const bool has_more = store_.clean_up(configuration_.known());
  is_clean_ = !has_more;
  const Time end = process_.now();
  if (has_more) deadlines_.set(Deadline::kCleanUp, end + (end - begun) * (kCleanUpShare - 1));
}

void Maintenance::note_growth(Time now) { deadlines_.bring_forward(Deadline::kMaintenance, now + kBusyInterval); }

void Maintenance::clean_up_soon(Time now) {
  deadlines_.bring_forward(Deadline::kCleanUp, now + kCleanUpPause);
  is_clean_ = false;
}

void Maintenance::maintain_rings() {
  const WorkerSettings& settings = process_.settings();
  maintain_ring(Ring::kEvents, {settings.event_retention, shared_bytes(settings.event_bytes_max)});
  maintain_ring(Ring::kExcessEvents,
                {settings.event_retention, excess_bytes(settings.event_bytes_max), kExcessSegments});
  maintain_ring(Ring::kLogs, {settings.log_retention, shared_bytes(settings.log_bytes_max)});
  maintain_ring(Ring::kExcessLogs, {settings.log_retention, excess_bytes(settings.log_bytes_max), kExcessSegments});
}

void Maintenance::maintain_ring(Ring ring, const RingLimits& limits) {
  KeptSegment& kept = kept_[static_cast<std::size_t>(ring)];
  const RingReport report = store_.maintain_ring(ring, limits);
  const Time now = process_.now();
  if (report.more) deadlines_.set(Deadline::kMaintenance, now);
  kept.bytes = report.bytes;
  if (report.kept_because != kept.reason) {
    if (kept.reason.empty()) kept.since = now;
    kept.reason = report.kept_because;
    kept.next_warning = now + kInterval;
  }
  if (kept.reason.empty() || now < kept.next_warning) return;
  kept.next_warning = now + kWarningInterval;
  const bool events = holds_events(ring);
  process_.log(LogLevel::kWarning,
               std::string("the oldest segment of ") + (events ? "webhook_events" : "webhook_logs") +
                   " is kept beyond its retention or size",
               "The reason: " + report.kept_because + ". The current segment grows meanwhile.",
               events ? "Look for webhooks that are behind, for a paused database, and for long transactions that "
                        "have read webhook_events."
                      : "Look for long transactions that have read webhook_logs.");
}

bool Maintenance::is_idle(Time now) const {
  const bool turns =
      std::all_of(kept_.begin(), kept_.end(), [](const KeptSegment& kept) { return kept.reason.empty(); });
  const bool are_nodes_served = served_ && !served_->is_waiting && !served_->is_checkpoint_wanted;
  return is_clean_ && turns && quotas_.is_idle() && are_nodes_served && !is_due(now);
}

void Maintenance::report(WorkerFigures* figures) const {
  if (share_.number > 1) return;
  figures->deliveries = quotas_.totals();
  figures->events = storage(Ring::kEvents, Ring::kExcessEvents);
  figures->logs = storage(Ring::kLogs, Ring::kExcessLogs);
}

StorageFigures Maintenance::storage(Ring ring, Ring excess) const {
  StorageFigures both;
  for (const Ring part : {ring, excess}) {
    const KeptSegment& kept = kept_[static_cast<std::size_t>(part)];
    both.bytes += kept.bytes;
    if (!kept.reason.empty()) both.kept_since = std::min(both.kept_since.value_or(kept.since), kept.since);
  }
  return both;
}

std::optional<Time> Maintenance::next_at(Time /*now*/) const {
  Earliest next;
  next.add(deadlines_[Deadline::kMaintenance]);
  if (configuration_.is_loaded()) next.add(deadlines_[Deadline::kCleanUp]);
  return next.time();
}

void Maintenance::clock_set_back(Time now) {
  deadlines_.clock_set_back(now);
  quotas_.clock_set_back(now);
  for (KeptSegment& kept : kept_) {
    kept.next_warning = std::min(kept.next_warning, now);
    kept.since = std::min(kept.since, now);
  }
}

}  // namespace webhook

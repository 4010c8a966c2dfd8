#include "worker/quotas.h"

#include <algorithm>
#include <utility>

#include "core/level.h"

namespace webhook {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kTurnTime = milliseconds(1);
constexpr int kCountShare = 50;            // of the time goes into counting at most
constexpr int kGiveUpShare = 2;            // likewise into giving up
constexpr Duration kRestMin = seconds(5);  // between two rounds
constexpr std::size_t kCountStep = 1'000;
constexpr std::size_t kGiveUpStep = 200;  // deliveries with one row in webhook_logs
constexpr std::size_t kSavedStep = 200;
// An organization beyond its quota gives up a tenth of the quota more. Otherwise each round would find a little to give
// up, and log it.
constexpr std::uint64_t kMarginShare = 10;

constexpr const char* kTooMany = "its organization has more than webhook.max_deliveries_per_organization";
constexpr const char* kTooLarge = "its organization's saved events take more than webhook.max_saved_size";

std::uint64_t with_margin(std::uint64_t quota) { return quota - quota / kMarginShare; }

}  // namespace

void Quotas::turn() {
  const Time begin = process_.now();
  if (begin < next_turn_) return;
  // If a step fails, soon enough again.
  next_turn_ = begin + seconds(1);
  bool is_round_over = false;
  Time now = begin;
  while (!is_round_over && now - begin < kTurnTime) {
    is_round_over = step();
    now = process_.now();
  }
  round_cost_ += now - begin;
  const bool gives_up = phase_ == Phase::kGiveUp || phase_ == Phase::kGiveUpSaved;
  next_turn_ = now + (now - begin) * ((gives_up ? kGiveUpShare : kCountShare) - 1);
  if (!is_round_over) return;
  next_turn_ = now + std::max<Duration>(kRestMin, round_cost_ * kCountShare);
  round_cost_ = {};
}

void Quotas::clock_set_back(Time now) {
  next_turn_ = std::min(next_turn_, now);
  round_cost_ = {};
  // Counting finds what the clock has dated that was ahead.
  phase_ = Phase::kCount;
  counted_to_.reset();
  counting_ = {};
  pending_.clear();
}

// Whether a round has ended.
bool Quotas::step() {
  switch (phase_) {
    case Phase::kCount:
      count();
      return false;
    case Phase::kGiveUp:
      give_up();
      return false;
    case Phase::kTidySaved:
      tidy_saved();
      return false;
    case Phase::kGiveUpSaved:
      give_up_saved();
      return phase_ == Phase::kCount;
  }
  return true;
}

void Quotas::count() {
  const DeliveryCounts step = store_.count_deliveries(counted_to_, kCountStep);
  for (const DeliveryCount& count : step.counts) {
    // Webhooks without an organization are not limited, because no tenant creates them.
    if (count.organization_id) pending_[*count.organization_id][count.webhook] += count.rows;
    counting_.pending += count.rows - count.dead;
    counting_.dead += count.dead;
  }
  counted_to_ = step.last;
  if (step.last) return;
  counting_.counted_at = process_.now();
  totals_ = std::exchange(counting_, {});
  find_excess();
  pending_.clear();
  phase_ = Phase::kGiveUp;
}

void Quotas::find_excess() {
  const std::uint64_t quota = process_.settings().deliveries_max;
  for (const auto& [organization, webhooks] : pending_) {
    std::vector<std::uint64_t> holdings;
    std::uint64_t total = 0;
    for (const auto& [webhook, rows] : webhooks) {
      holdings.push_back(rows);
      total += rows;
    }
    if (total <= quota) continue;
    const std::uint64_t level = common_level(std::move(holdings), with_margin(quota));
    for (const auto& [webhook, rows] : webhooks) {
      if (rows > level) excess_.push_back({webhook, rows - level});
    }
  }
}

void Quotas::give_up() {
  if (excess_.empty()) {
    phase_ = Phase::kTidySaved;
    return;
  }
  Excess& next = excess_.back();
  const std::size_t rows_max = std::min<std::uint64_t>(next.rows, kGiveUpStep);
  const std::size_t given_up = store_.give_up_excess(next.webhook, kTooMany, rows_max);
  next.rows -= std::min<std::uint64_t>(given_up, next.rows);
  // If there were fewer, somebody has locked or deleted the rest.
  if (next.rows == 0 || given_up < rows_max) excess_.pop_back();
}

void Quotas::tidy_saved() {
  const SavedStep step = store_.tidy_saved(tidied_to_, kSavedStep);
  for (const auto& [organization, bytes] : step.bytes) saved_bytes_[organization] += bytes;
  tidied_to_ = step.last.value_or(0);
  if (step.last) return;
  const std::uint64_t quota = process_.settings().saved_bytes_max;
  for (const auto& [organization, bytes] : saved_bytes_) {
    if (bytes > quota) saved_excess_.push_back({organization, bytes - with_margin(quota)});
  }
  saved_bytes_.clear();
  phase_ = Phase::kGiveUpSaved;
}

void Quotas::give_up_saved() {
  if (saved_excess_.empty()) {
    phase_ = Phase::kCount;
    return;
  }
  SavedExcess& next = saved_excess_.back();
  const SavedGivenUp given_up = store_.give_up_saved(next.organization, next.bytes, kTooLarge, kGiveUpStep);
  next.bytes -= std::min(given_up.bytes, next.bytes);
  if (next.bytes == 0 || !given_up.more) saved_excess_.pop_back();
}

}  // namespace webhook

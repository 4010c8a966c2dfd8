#include "worker/configuration_reader.h"

#include <algorithm>
#include <vector>

namespace webhook {

void ConfigurationReader::take_news() {
  switch (store_.take_news()) {
    case ConfigurationNews::kAnything:
      is_round_wanted_ = true;
      has_changes_ = true;
      break;
    case ConfigurationNews::kChanges:
      has_changes_ = true;
      break;
    case ConfigurationNews::kNone:
      break;
  }
}

std::optional<Time> ConfigurationReader::due_at() const {
  std::optional<Time> due;
  const auto at = [&due](Time time) { due = std::min(due.value_or(Time::max()), time); };
  if (is_in_round()) at(next_round_step_);
  if (has_changes_ && is_loaded_) at(next_changes_);
  if (!expiries_.empty()) at(expiries_.begin()->first);
  return due;
}

ConfigurationReader::Step ConfigurationReader::read_next(Time now) {
  if (has_changes_ && is_loaded_ && now >= next_changes_) return read_changes();
  if (!expiries_.empty() && expiries_.begin()->first <= now) return read_expired(now);
  return read_round();
}

// A pass of several steps ends at the snapshot of the first: what has changed since needs another pass.
ConfigurationReader::Step ConfigurationReader::read_changes() {
  Step step{.read = store_.changes(known_, kWebhooksPerStep)};
  if (!step.read.is_all) {
    is_in_pass_ = true;
    return step;
  }
  known_ = step.read.snapshot;
  has_changes_ = is_in_pass_;
  is_in_pass_ = false;
  return step;
}

// What changes during a round is announced, and read as a change: so the first page's snapshot is where changes begin.
ConfigurationReader::Step ConfigurationReader::read_round() {
  if (!is_round_under_way_) read_up_to_.reset();
  Step step{.read = store_.webhooks(read_up_to_, kWebhooksPerStep), .is_of_round = true};
  if (!is_round_under_way_) {
    ++round_;
    is_round_under_way_ = true;
    is_round_wanted_ = false;
    if (!is_loaded_) known_ = step.read.snapshot;
  }
  if (!step.read.webhooks.empty()) read_up_to_ = step.read.webhooks.back().id;
  if (!step.read.is_all) return step;
  is_round_under_way_ = false;
  step.has_ended_round = true;
  has_changes_ |= !is_loaded_;
  is_loaded_ = true;
  return step;
}

ConfigurationReader::Step ConfigurationReader::read_expired(Time now) {
  std::vector<Uuid> expired;
  for (const auto& [at, webhook] : expiries_) {
    if (at > now || expired.size() == kWebhooksPerStep) break;
    expired.push_back(webhook);
  }
  Step step{.read = store_.webhooks(expired)};
  for (const Uuid& webhook : expired) set_expiry(webhook, std::nullopt);
  return step;
}

void ConfigurationReader::note_cost(const Step& step, Time begun, Time ended) {
  const Duration cost = ended - begun;
  if (step.is_of_round) {
    // Nothing else is to be done before the first has ended.
    if (is_loaded_) next_round_step_ = ended + cost * kRoundPause;
    return;
  }
  pass_cost_ += cost;
  if (is_in_pass_) return;
  next_changes_ = ended + std::min<Duration>(pass_cost_ * kChangesPause, kChangesPauseMax);
  pass_cost_ = {};
}

void ConfigurationReader::set_expiry(const Uuid& webhook, std::optional<Time> at) {
  const auto known = expiry_of_.find(webhook);
  if (known != expiry_of_.end()) {
    expiries_.erase({known->second, webhook});
    expiry_of_.erase(known);
  }
  if (!at) return;
  expiries_.emplace(*at, webhook);
  expiry_of_.emplace(webhook, *at);
}

void ConfigurationReader::clock_set_back(Time now) {
  next_changes_ = std::min(next_changes_, now);
  next_round_step_ = std::min(next_round_step_, now);
}

}  // namespace webhook

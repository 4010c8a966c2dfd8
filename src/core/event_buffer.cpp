#include "core/event_buffer.h"

#include <algorithm>
#include <cassert>

namespace webhook {
namespace {

std::string_view take(std::string_view& rest, std::size_t bytes) noexcept {
  const std::string_view taken = rest.substr(0, bytes);
  rest.remove_prefix(bytes);
  return taken;
}

std::int32_t bytes_or(const std::optional<std::string_view>& text, std::int32_t null) {
  return text ? static_cast<std::int32_t>(text->size()) : null;
}

// Grows by doubling, unlike reserve().
template <class Container>
void make_room(Container& container, std::size_t count) {
  const std::size_t needed = container.size() + count;
  if (needed > container.capacity()) container.reserve(std::max(needed, 2 * container.capacity()));
}

}  // namespace

void EventBuffer::append(SubtransactionId sub, const BufferedEvent& event) {
  assert(levels_.empty() || levels_.back().sub <= sub);
  const std::size_t bytes = event.name.size() + (event.organization_id ? event.organization_id->size() : 0) +
                            (event.key ? event.key->size() : 0) + event.data.size() + event.previous.size();
  // Everything that may throw comes first.
  make_room(levels_, 1);
  make_room(records_, 1);
  make_room(texts_, bytes);

  if (levels_.empty() || levels_.back().sub != sub) levels_.push_back({sub, records_.size(), texts_.size()});
  records_.push_back({.created_at = event.created_at,
                      .id = 0,
                      .offset = texts_.size(),
                      .data_bytes = event.data.size(),
                      .previous_bytes = event.previous.size(),
                      .oversized_bytes = event.oversized_bytes,
                      .name_bytes = static_cast<std::int32_t>(event.name.size()),
                      .organization_bytes = bytes_or(event.organization_id, kNull),
                      .key_bytes = bytes_or(event.key, kNull),
                      .known_switch = event.known_switch,
                      .applied_at = event.applied_at,
                      .is_backfill = event.is_backfill});
  texts_ += event.name;
  if (event.organization_id) texts_ += *event.organization_id;
  if (event.key) texts_ += *event.key;
  texts_ += event.data;
  texts_ += event.previous;
}

bool EventBuffer::is_full(SubtransactionId sub) const noexcept {
  const Level* level = level_of(sub);
  if (level == nullptr) return false;
  return records_.size() - level->first_record >= kEventsMax || texts_.size() - level->first_byte >= kBytesMax ||
         records_.size() >= kNestedFactor * kEventsMax || texts_.size() >= kNestedFactor * kBytesMax;
}

bool EventBuffer::is_full_for_commit(SubtransactionId sub) const noexcept {
  return level_of(sub) != nullptr && (records_.size() >= kEventsMax || texts_.size() >= kBytesMax);
}

std::size_t EventBuffer::count_of(SubtransactionId sub) const noexcept {
  const Level* level = level_of(sub);
  return level == nullptr ? 0 : records_.size() - level->first_record;
}

BufferedEvent EventBuffer::event_of(SubtransactionId sub, std::size_t index) const noexcept {
  assert(index < count_of(sub));
  const Record& record = records_[level_of(sub)->first_record + index];
  std::string_view rest = std::string_view(texts_).substr(record.offset);
  BufferedEvent event{.created_at = record.created_at,
                      .oversized_bytes = record.oversized_bytes,
                      .known_switch = record.known_switch,
                      .applied_at = record.applied_at,
                      .is_backfill = record.is_backfill};
  event.name = take(rest, static_cast<std::size_t>(record.name_bytes));
  if (record.organization_bytes != kNull) {
    event.organization_id = take(rest, static_cast<std::size_t>(record.organization_bytes));
  }
  if (record.key_bytes != kNull) event.key = take(rest, static_cast<std::size_t>(record.key_bytes));
  event.data = take(rest, record.data_bytes);
  event.previous = take(rest, record.previous_bytes);
  return event;
}

std::int64_t EventBuffer::id_of(SubtransactionId sub, std::size_t index) const noexcept {
  assert(index < count_of(sub));
  return records_[level_of(sub)->first_record + index].id;
}

void EventBuffer::give_id(std::int64_t id) noexcept {
  assert(count_without_id() > 0);
  records_[with_id_++].id = id;
}

void EventBuffer::forget_ids() noexcept {
  for (Record& record : records_) record.id = 0;
  with_id_ = 0;
}

void EventBuffer::shift_times(Duration shift) noexcept {
  for (Record& record : records_) record.created_at += shift;
}

void EventBuffer::commit_sub(SubtransactionId sub, SubtransactionId parent) noexcept {
  if (level_of(sub) == nullptr) return;
  const std::size_t below = levels_.size() - 1;
  if (below > 0 && levels_[below - 1].sub == parent) {
    levels_.pop_back();
  } else {
    levels_.back().sub = parent;
  }
}

void EventBuffer::discard(SubtransactionId sub) noexcept {
  const Level* level = level_of(sub);
  if (level == nullptr) return;
  records_.resize(level->first_record);
  with_id_ = std::min(with_id_, records_.size());
  texts_.resize(level->first_byte);
  levels_.pop_back();
  release_excess();
}

void EventBuffer::clear() noexcept {
  levels_.clear();
  records_.clear();
  with_id_ = 0;
  texts_.clear();
  release_excess();
}

// Only the innermost level can be sub's.
const EventBuffer::Level* EventBuffer::level_of(SubtransactionId sub) const noexcept {
  return levels_.empty() || levels_.back().sub != sub ? nullptr : &levels_.back();
}

// An idle session keeps no more memory than a full buffer needs.
void EventBuffer::release_excess() noexcept {
  if (!records_.empty()) return;
  if (texts_.capacity() > 2 * kBytesMax) std::string().swap(texts_);
  if (records_.capacity() > 2 * kEventsMax) std::vector<Record>().swap(records_);
}

}  // namespace webhook

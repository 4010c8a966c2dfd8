// The event log: windows, filters, and what recovery reads.
#include "pg/store/spi_store.h"

extern "C" {
#include "postgres.h"

#include "access/transam.h"
#include "access/xlog.h"
#include "storage/lwlock.h"
}

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "core/id_ranges.h"
#include "core/snapshot.h"
#include "pg/guard.h"
#include "pg/server/event_ids.h"
#include "pg/store/event_reader.h"
#include "pg/store/filter_evaluation.h"
#include "pg/store/spi_work.h"
#include "pg/store/statements.h"

namespace webhook::pg {
namespace {

// A window with at most this many events is read at once, to keep latency low.
constexpr std::size_t kFewEvents = 32;
// A window with at most this many events is found at once and sorted in memory, at 16 bytes per event.
constexpr std::size_t kFoundMax = 200'000;
// How many index entries one step through a larger window visits.
constexpr std::size_t kWalkStep = 5'000;

// Makes the commits of these transactions durable. With synchronous_commit off, a transaction may be visible before it
// is durable. Does nothing for durable ones.
void flush_commits(const std::vector<FullXid>& xids) {
  if (xids.empty()) return;
  const FullXid* begin = xids.data();
  const FullXid* end = begin + xids.size();
  guarded([begin, end] {
    XLogRecPtr newest = InvalidXLogRecPtr;
    const FullXid next = U64FromFullTransactionId(ReadNextFullTransactionId());
    LWLockAcquire(XactTruncationLock, LW_SHARED);
#if PG_VERSION_NUM >= 170000
    const TransactionId oldest_known = TransamVariables->oldestClogXid;
#else
    const TransactionId oldest_known = ShmemVariableCache->oldestClogXid;
#endif
    // Compares all 64 bits, because the lower 32 may have wrapped around while the event waited.
    const FullXid oldest = next - static_cast<TransactionId>(static_cast<TransactionId>(next) - oldest_known);
    FullXid last = 0;
    for (const FullXid* full = begin; full != end; ++full) {
      // A transaction that is no longer in the commit log was flushed long ago.
      if (*full == last || *full < oldest) continue;
      last = *full;
      newest = std::max(newest, TransactionIdGetCommitLSN(static_cast<TransactionId>(*full)));
    }
    LWLockRelease(XactTruncationLock);
    if (!XLogRecPtrIsInvalid(newest)) XLogFlush(newest);
  });
}

FoundEvents fetch_from(int segment, const std::vector<std::int64_t>& ids, std::size_t bytes_max) {
  if (std::optional<FoundEvents> found = read_events(segment, ids, bytes_max)) return std::move(*found);
  Query query(statements::read_events_by_id);
  const std::size_t rows = query.bind(segment).bind(ids).run();
  const EventTexts texts(query);
  const Column id = query.column("id");
  const Column xid = query.column("xid");
  const Column created_at = query.column("created_at");
  const Column oversized_bytes = query.column("oversized_bytes");
  const Column segment_column = query.column("slot");
  const Column known_switch = query.column("known_switch");
  const Column applied_at = query.column("applied_at");
  FoundEvents found;
  std::size_t bytes = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    bytes += texts.expanded_bytes(row);
    found.is_cut = row > 0 && bytes > bytes_max;
    if (found.is_cut) break;
    Event& event = found.events.emplace_back();
    event.id = query.get_int64(row, id);
    event.xid = query.get_xid(row, xid);
    event.created_at = query.get_time(row, created_at);
    texts.read(row, &event);
    event.oversized_bytes = query.get_int64(row, oversized_bytes);
    event.segment = query.get_int16(row, segment_column);
    event.known_switch = query.get_int32(row, known_switch);
    event.applied_at = query.get_optional_time(row, applied_at).value_or(Time{});
  }
  return found;
}

}  // namespace

// What the next snapshot may miss. If the pool is empty, it is filled first: nobody has announced ids then, and nobody can
// announce lower ones later.
UnfinishedIds SpiStore::ids_before_snapshot() {
  if (std::optional<UnfinishedIds> ids = unfinished_ids(events_sequence_)) return *std::move(ids);
  refill_ids();
  return unfinished_ids(events_sequence_).value_or(UnfinishedIds{});
}

LogHead SpiStore::current_head() {
  const UnfinishedIds ids = ids_before_snapshot();
  // Taken before this transaction has an xid, because a snapshot leaves out its own transaction.
  Work work(*this, "webhook: looking for events");
  Query query(statements::current_head);
  query.run();
  LogHead head{snapshot_of(query), query.get_int64(0, query.column("last_log_id"))};
  head.snapshot.ids = ids;
  note_changes_in_snapshot();
  work.commit();
  return head;
}

Chunk SpiStore::read(const Window& window, std::int64_t after_id, std::size_t events_max, std::size_t bytes_max) {
  Work work(*this, "webhook: reading events");
  Chunk chunk;
  if (reading_.window != window && !read_few(window, after_id, bytes_max, &chunk)) find(window, after_id);
  if (!chunk.window_is_read) read_found(window, after_id, events_max, bytes_max, &chunk);
  work.commit();
  if (chunk.window_is_read) reading_ = {};
  return chunk;
}

// Reads the next of the events that find() found. Removes none of them, so that the call can be repeated.
void SpiStore::read_found(const Window& window, std::int64_t after_id, std::size_t events_max, std::size_t bytes_max,
                          Chunk* chunk) {
  const auto first_behind = [this, after_id] {
    return std::upper_bound(reading_.found.begin(), reading_.found.end(), after_id,
                            [](std::int64_t id, const Found& found) { return id < found.id; });
  };
  auto first = first_behind();
  if (first == reading_.found.end() && !reading_.to_walk.empty()) {
    walk(window, events_max);
    first = first_behind();
  }
  auto last = first;
  for (std::size_t bytes = 0; last != reading_.found.end(); ++last) {
    bytes += static_cast<std::size_t>(last->stored_bytes);
    const auto count = static_cast<std::size_t>(last - first);
    // The expanded size is at least the stored size.
    if (count == events_max || (count > 0 && bytes > bytes_max)) break;
  }
  FoundEvents fetched = fetch({first, last}, bytes_max);
  chunk->events = std::move(fetched.events);
  chunk->window_is_read = last == reading_.found.end() && reading_.to_walk.empty() && !fetched.is_cut;
}

bool SpiStore::read_few(const Window& window, std::int64_t after_id, std::size_t bytes_max, Chunk* chunk) {
  std::optional<std::vector<IdRange>> ids = read_few_batches(window.ranges(), kFewEvents);
  if (!ids) return false;
  std::optional<std::vector<Event>> events =
      read_few_events(window, ids_of(window, *std::move(ids), after_id), kFewEvents, bytes_max);
  if (!events) return false;
  std::sort(events->begin(), events->end(), [](const Event& a, const Event& b) { return a.id < b.id; });
  std::vector<FullXid> xids;
  for (const Event& event : *events) xids.push_back(event.xid);
  flush_commits(xids);
  chunk->events = std::move(*events);
  chunk->window_is_read = true;
  return true;
}

// The ids that the window's events above after_id can have. batches: those of its transactions. Recent batches are left
// out otherwise, so that the rows of a large transaction are not visited before it ends.
std::vector<IdRange> SpiStore::ids_of(const Window& window, std::vector<IdRange> batches, std::int64_t after_id) const {
  std::vector<IdRange> ids = subtract(window.from.ids.ranges(), recent_batches(events_sequence_));
  ids.insert(ids.end(), batches.begin(), batches.end());
  for (IdRange& range : ids) range.first = std::max(range.first, after_id + 1);
  return merge(std::move(ids));
}

void SpiStore::find(const Window& window, std::int64_t after_id) {
  reading_ = {};
  const Window::Ranges xids = window.ranges();
  Query of_batches(statements::find_batches);
  const std::size_t count = of_batches.bind_xids(xids.low).bind_xids(xids.high).run();
  const Column first = of_batches.column("first");
  const Column limit = of_batches.column("limit");
  std::vector<IdRange> batches;
  batches.reserve(count);
  for (std::size_t row = 0; row < count; ++row) {
    batches.push_back({of_batches.get_int64(row, first), of_batches.get_int64(row, limit)});
  }
  std::vector<IdRange> ids = ids_of(window, std::move(batches), after_id);
  std::vector<std::int64_t> low;
  std::vector<std::int64_t> high;
  for (const IdRange& range : ids) {
    low.push_back(range.first);
    high.push_back(range.limit);
  }
  Query query(statements::find_events);
  const std::size_t rows = query.bind(low).bind(high).bind(static_cast<std::int64_t>(kFoundMax + 1)).run();
  if (rows > kFoundMax) {
    reading_.to_walk.assign(ids.begin(), ids.end());
  } else {
    reading_.found = found_of(query, rows, window);
    std::sort(reading_.found.begin(), reading_.found.end(), [](const Found& a, const Found& b) { return a.id < b.id; });
  }
  reading_.window = window;
}

// Takes one step through the ids of a large window. It may find no event of the window.
void SpiStore::walk(const Window& window, std::size_t events_max) {
  const std::size_t step = std::max(kWalkStep, events_max);
  std::deque<IdRange> left = reading_.to_walk;
  std::vector<Found> found;
  for (std::size_t visited = 0; visited < step && !left.empty();) {
    const std::size_t room = step - visited;
    Query query(statements::walk_events);
    query.bind(left.front().first).bind(left.front().limit).bind(static_cast<std::int64_t>(room));
    const std::size_t rows = query.run();
    for (const Found& event : found_of(query, rows, window)) found.push_back(event);
    visited += rows;
    if (rows == room) {
      left.front().first = query.get_int64(rows - 1, query.column("id")) + 1;
    } else {
      left.pop_front();
    }
  }
  // Only now: if anything above fails, the step is taken again.
  reading_.found = std::move(found);
  reading_.to_walk = std::move(left);
}

// The window's events among the rows of find_events or walk_events. Makes their commits durable.
std::vector<SpiStore::Found> SpiStore::found_of(const Query& query, std::size_t rows, const Window& window) {
  std::vector<FullXid> xids;
  std::vector<Found> found;
  found.reserve(rows);
  const Column id = query.column("id");
  const Column xid_column = query.column("xid");
  const Column stored_bytes = query.column("stored_bytes");
  const Column segment = query.column("slot");
  for (std::size_t row = 0; row < rows; ++row) {
    const FullXid xid = query.get_xid(row, xid_column);
    if (!window.contains(xid)) continue;
    if (xids.empty() || xids.back() != xid) xids.push_back(xid);
    found.push_back({query.get_int64(row, id), query.get_int32(row, stored_bytes), query.get_int16(row, segment)});
  }
  flush_commits(xids);
  return found;
}

// Returns the events in the order of found, which ascends by id across segments.
FoundEvents SpiStore::fetch(const std::vector<Found>& found, std::size_t bytes_max) {
  FoundEvents fetched;
  std::size_t bytes = 0;
  for (auto first = found.begin(); first != found.end() && !fetched.is_cut;) {
    std::vector<std::int64_t> ids;
    const int segment = first->segment;
    for (; first != found.end() && first->segment == segment; ++first) ids.push_back(first->id);
    FoundEvents of_segment = fetch_from(segment, ids, bytes_max - std::min(bytes, bytes_max));
    for (Event& event : of_segment.events) {
      bytes += event.bytes();
      fetched.events.push_back(std::move(event));
    }
    fetched.is_cut = of_segment.is_cut;
  }
  return fetched;
}

void SpiStore::filter(std::vector<FilterGroup>* groups) {
  const Duration begin = processor_time();
  Work work(*this, "webhook: evaluating filters");
  evaluate_filters(groups);
  work.commit();
  share_cost(groups, processor_time() - begin);
}

// --- Recovery --------------------------------------------------------------------------------------------------------

namespace {

std::vector<DeliveryKey> keys_of(const Query& query, std::size_t rows) {
  std::vector<DeliveryKey> keys;
  keys.reserve(rows);
  const Column event_id = query.column("event_id");
  const Column webhook = query.column("configuration_id");
  for (std::size_t row = 0; row < rows; ++row) {
    keys.push_back({query.get_int64(row, event_id), query.get_uuid(row, webhook)});
  }
  return keys;
}

}  // namespace

std::vector<DeliveryKey> SpiStore::logged_since(std::int64_t log_floor) {
  Work work(*this, "webhook: recovering");
  Query query(statements::read_logged);
  std::vector<DeliveryKey> keys = keys_of(query, query.bind(log_floor).run());
  work.commit();
  return keys;
}

std::vector<DeliveryKey> SpiStore::pending_of(const std::vector<std::int64_t>& event_ids) {
  if (event_ids.empty()) return {};
  Work work(*this, "webhook: recovering");
  const auto [lowest, highest] = std::minmax_element(event_ids.begin(), event_ids.end());
  Query query(statements::read_pending_of);
  std::vector<DeliveryKey> keys = keys_of(query, query.bind(event_ids).bind(*lowest).bind(*highest).run());
  work.commit();
  return keys;
}

}  // namespace webhook::pg

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
#include <optional>
#include <utility>
#include <vector>

#include "core/snapshot.h"
#include "pg/guard.h"
#include "pg/store/event_reader.h"
#include "pg/store/filter_evaluation.h"
#include "pg/store/spi_work.h"
#include "pg/store/statements.h"

namespace webhook::pg {
namespace {

// A window with at most this many events is read at once, to keep latency low.
constexpr std::size_t kFewEvents = 32;
// A window with at most this many events is found by transaction and sorted in memory, at 16 bytes per event.
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

LogHead SpiStore::current_head() {
  // Taken before this transaction has an xid, because a snapshot leaves out its own transaction.
  Work work(*this, "webhook: looking for events");
  Query query(statements::current_head);
  query.run();
  LogHead head{snapshot_of(query), query.get_int64(0, query.column("last_log_id"))};
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
  if (first == reading_.found.end() && reading_.too_large) {
    walk(window, after_id, events_max);
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
  chunk->window_is_read = last == reading_.found.end() && !reading_.too_large && !fetched.is_cut;
}

bool SpiStore::read_few(const Window& window, std::int64_t after_id, std::size_t bytes_max, Chunk* chunk) {
  std::optional<std::vector<Event>> events = read_few_events(window.ranges(), kFewEvents, bytes_max);
  if (!events) return false;
  std::erase_if(*events, [&](const Event& event) { return event.id <= after_id || !window.contains(event.xid); });
  std::sort(events->begin(), events->end(), [](const Event& a, const Event& b) { return a.id < b.id; });
  std::vector<FullXid> xids;
  for (const Event& event : *events) xids.push_back(event.xid);
  flush_commits(xids);
  chunk->events = std::move(*events);
  chunk->window_is_read = true;
  return true;
}

void SpiStore::find(const Window& window, std::int64_t after_id) {
  reading_ = {};
  const Window::Ranges ranges = window.ranges();
  Query query(statements::find_events);
  query.bind_xids(ranges.low).bind_xids(ranges.high).bind(static_cast<std::int64_t>(kFoundMax + 1));
  const std::size_t rows = query.run();
  if (rows > kFoundMax) {
    Query lowest(statements::find_lowest_event);
    lowest.bind_xids(ranges.low).bind_xids(ranges.high).run();
    reading_.walked_to = std::max(after_id, lowest.get_int64(0, lowest.column("lowest")) - 1);
    reading_.too_large = true;
  } else {
    note_found(query, rows, window);
    std::sort(reading_.found.begin(), reading_.found.end(), [](const Found& a, const Found& b) { return a.id < b.id; });
  }
  reading_.window = window;
}

// Takes one step through the id index. It may find no event of the window.
void SpiStore::walk(const Window& window, std::int64_t after_id, std::size_t events_max) {
  const std::size_t step = std::max(kWalkStep, events_max);
  Query query(statements::walk_events);
  query.bind(std::max(reading_.walked_to, after_id)).bind(static_cast<std::int64_t>(step));
  const std::size_t rows = query.run();
  reading_.found.clear();
  note_found(query, rows, window);
  if (rows > 0) reading_.walked_to = query.get_int64(rows - 1, query.column("id"));
  if (rows < step) reading_.too_large = false;
}

// Adds the window's events among the rows of find_events or walk_events, and makes their commits durable.
void SpiStore::note_found(const Query& query, std::size_t rows, const Window& window) {
  std::vector<FullXid> xids;
  reading_.found.reserve(rows);
  const Column id = query.column("id");
  const Column xid_column = query.column("xid");
  const Column stored_bytes = query.column("stored_bytes");
  const Column segment = query.column("slot");
  for (std::size_t row = 0; row < rows; ++row) {
    const FullXid xid = query.get_xid(row, xid_column);
    if (!window.contains(xid)) continue;
    if (xids.empty() || xids.back() != xid) xids.push_back(xid);
    reading_.found.push_back(
        {query.get_int64(row, id), query.get_int32(row, stored_bytes), query.get_int16(row, segment)});
  }
  flush_commits(xids);
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
  Work work(*this, "webhook: recovering");
  Query query(statements::read_pending_of);
  std::vector<DeliveryKey> keys = keys_of(query, query.bind(event_ids).run());
  work.commit();
  return keys;
}

}  // namespace webhook::pg

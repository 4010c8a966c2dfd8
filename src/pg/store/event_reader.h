// Reads events directly through the segments' indexes. The executor opens and closes all segments for each query, which
// takes longer than everything else between a commit and its request. It also takes twice as long for each row that it
// finds by id.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/event.h"
#include "core/id_ranges.h"
#include "core/snapshot.h"

namespace webhook::pg {

// The ids of the batches of transactions in these ranges, as far as they are visible to the Transaction's snapshot, in no
// particular order. nullopt if there are more than batches_max, or if a segment has lost its index on xid. Throws Error.
std::optional<std::vector<IdRange>> read_few_batches(const Window::Ranges& xids, std::size_t batches_max);

// The window's events with these ids, as far as they are visible to the Transaction's snapshot, in no particular order.
// nullopt if there are more than events_max, if they are larger than bytes_max when expanded, if very many others have
// such ids, or if a segment has lost its index on id. Throws Error.
std::optional<std::vector<Event>> read_few_events(const Window& window, const std::vector<IdRange>& ids,
                                                  std::size_t events_max, std::size_t bytes_max);

// The result of read_events(). is_cut: there are more events.
struct FoundEvents {
  std::vector<Event> events;
  bool is_cut = false;
};

// The events with these ids in the segment. ids must ascend, and the result is in their order. Returns the first event
// in any case, then more of them while their total expanded size is at most bytes_max. nullopt if the segment has lost
// its index on id. Throws Error.
std::optional<FoundEvents> read_events(int segment, const std::vector<std::int64_t>& ids, std::size_t bytes_max);

}  // namespace webhook::pg

// Reads events by the segments' indexes themselves. An executor that is to look into eight segments opens and closes them
// all for each look, which takes longer than all else between a commit and its request; and it takes twice as long for each
// row that it finds by an id.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/event.h"
#include "core/snapshot.h"

namespace webhook::pg {

// The events of transactions in these ranges that the snapshot of the Transaction sees, in no order. Nothing if there are
// more than events_max, or if they are larger than bytes_max once they are expanded, or if a segment has lost its index on
// xid. Throws Error.
std::optional<std::vector<Event>> read_few_events(const Window::Ranges& ranges, std::size_t events_max,
                                                  std::size_t bytes_max);

// What read_events() has found. is_cut: there are more.
struct FoundEvents {
  std::vector<Event> events;
  bool is_cut = false;
};

// Those of these events that are in the segment, in the order of the ids, which ascend: the first, and behind it those that
// do not take more than bytes_max together once they are expanded. Nothing if it has lost its index on id. Throws Error.
std::optional<FoundEvents> read_events(int slot, const std::vector<std::int64_t>& ids, std::size_t bytes_max);

}  // namespace webhook::pg

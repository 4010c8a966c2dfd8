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
// more than events_max, or if a segment has lost its index on xid. Throws Error.
std::optional<std::vector<Event>> read_few_events(const Window::Ranges& ranges, std::size_t events_max);

// Those of these events that are in the segment, in the order of the ids, which ascend. Nothing if it has lost its index on
// id. Throws Error.
std::optional<std::vector<Event>> read_events(int slot, const std::vector<std::int64_t>& ids);

}  // namespace webhook::pg

// Reads the few events of a window by the segments' indexes themselves. An executor that is to look into eight segments
// opens and closes them all for each look, which takes longer than all else between a commit and its request.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "core/event.h"
#include "core/snapshot.h"

namespace webhook::pg {

// The events of transactions in these ranges that the snapshot of the Transaction sees, in no order. Nothing if there are
// more than events_max, or if a segment has lost its index on xid. Throws Error.
std::optional<std::vector<Event>> read_few_events(const Window::Ranges& ranges, std::size_t events_max);

}  // namespace webhook::pg

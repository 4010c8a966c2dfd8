// The cursor into the log: its text form, and which transactions lie between two of them.
#include "core/snapshot.h"

#include <set>
#include <string>

#include "fuzz.h"

namespace webhook {
namespace {

using fuzz::require;

// What PostgreSQL guarantees of two snapshots in this order: what had finished has finished.
bool is_later(const Snapshot& later, const Snapshot& earlier) {
  if (later.xmin < earlier.xmin || later.xmax < earlier.xmax) return false;
  return std::all_of(later.running.begin(), later.running.end(),
                     [&](FullXid xid) { return !earlier.has_finished(xid); });
}

bool ranges_contain(const Window::Ranges& ranges, FullXid xid) {
  for (std::size_t i = 0; i < ranges.low.size(); ++i) {
    if (xid >= ranges.low[i] && xid < ranges.high[i]) return true;
  }
  return false;
}

void check_window(const Window& window) {
  const Window::Ranges ranges = window.ranges();
  require(ranges.low.size() == ranges.high.size(), "each range has two ends");
  for (std::size_t i = 0; i < ranges.low.size(); ++i) {
    require(ranges.low[i] < ranges.high[i], "no range is empty");
    require(i == 0 || ranges.high[i - 1] <= ranges.low[i], "the ranges ascend and do not overlap");
  }
  require(window.empty() == ranges.low.empty(), "an empty window has no ranges");
  // The transactions at which anything changes, and their neighbours.
  std::set<FullXid> edges;
  for (const Snapshot* snapshot : {&window.from, &window.to}) {
    for (const FullXid xid : {snapshot->xmin, snapshot->xmax}) edges.insert({xid - 1, xid, xid + 1});
    for (const FullXid xid : snapshot->running) edges.insert({xid - 1, xid, xid + 1});
  }
  for (const FullXid xid : edges) {
    require(window.contains(xid) == ranges_contain(ranges, xid), "the ranges hold what the window contains");
  }
}

void check(std::string_view first, std::string_view second) {
  const auto from = parse_snapshot(first);
  const auto to = parse_snapshot(second);
  for (const auto& snapshot : {from, to}) {
    if (!snapshot) continue;
    require(parse_snapshot(to_string(*snapshot)) == snapshot, "a snapshot can be written and read again");
    require(snapshot->xmin == 0 || snapshot->has_finished(snapshot->xmin - 1), "what is below xmin has finished");
    require(!snapshot->has_finished(snapshot->xmax), "what is at xmax has not");
  }
  if (from && to && is_later(*to, *from)) check_window({.from = *from, .to = *to});
}

}  // namespace
}  // namespace webhook

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = webhook::fuzz::text_of(data, size);
  const std::size_t end = std::min(input.find('\n'), input.size());
  webhook::check(input.substr(0, end), input.substr(std::min(end + 1, input.size())));
  return 0;
}

// Snapshots as pg_current_snapshot() returns them, and the window between two of them. The event log is read from
// snapshot to snapshot, as PgQ does (docs/architecture.md, "The event log and its cursor"). Ids are not committed in
// order, but in a snapshot a transaction is either finished or not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/id_ranges.h"

namespace webhook {

using FullXid = std::uint64_t;  // a transaction id with its epoch, as xid8

// Which transactions had finished at one moment: all below xmin, and those below xmax that are not in running.
struct Snapshot {
  FullXid xmin = 0;
  FullXid xmax = 0;
  std::vector<FullXid> running;  // ascending, in [xmin, xmax)
  UnfinishedIds ids{};           // only of snapshots that the event log is read with; not in the text form

  bool operator==(const Snapshot&) const = default;
  bool has_finished(FullXid xid) const;
  // Whether a transaction is finished in other but not in this one. Snapshots of one server are totally ordered.
  bool is_before(const Snapshot& other) const;

  // A snapshot before every transaction: a window from here holds the whole log.
  static Snapshot beginning() { return {.xmin = 3, .xmax = 3, .running = {}, .ids = {}}; }
};

// "xmin:xmax:running,…", the text form of pg_snapshot.
std::string to_string(const Snapshot& snapshot);
std::optional<Snapshot> parse_snapshot(std::string_view text);

// The transactions that finished between two snapshots. to must not be before from.
struct Window {
  Snapshot from;
  Snapshot to;

  bool operator==(const Window&) const = default;

  // Whether xid finished in the window.
  bool contains(FullXid xid) const { return to.has_finished(xid) && !from.has_finished(xid); }
  // Whether no transaction can have finished in the window.
  bool empty() const;
  // The transactions that were running in from and are finished in to.
  std::vector<FullXid> stragglers() const;
  // The transactions of the window as ascending half-open ranges [low, high): first each straggler by itself, then
  // [from.xmax, to.xmax) without the transactions that are still running in to, so that a scan skips their rows.
  struct Ranges {
    std::vector<FullXid> low;
    std::vector<FullXid> high;
  };
  Ranges ranges() const;
};

}  // namespace webhook

// Snapshots as pg_current_snapshot() gives them, and the window between two of them. The event log is read from
// snapshot to snapshot (DESIGN: "The log and its cursor"), as PgQ does: ids are not committed in their order, but a
// transaction is either finished in a snapshot or not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace webhook {

using FullXid = std::uint64_t;  // a transaction's number with its epoch, as xid8

// Which transactions had finished at one moment: all below xmin, and those below xmax that are not in running.
struct Snapshot {
  FullXid xmin = 0;
  FullXid xmax = 0;
  std::vector<FullXid> running;  // ascending, in [xmin, xmax)

  bool operator==(const Snapshot&) const = default;
  bool has_finished(FullXid xid) const;
  // Whether a transaction has finished in other that had not in this one. Snapshots of one server are totally ordered.
  bool is_before(const Snapshot& other) const;

  // Before every transaction: a window from here holds the whole log.
  static Snapshot beginning() { return {.xmin = 3, .xmax = 3, .running = {}}; }
};

// "xmin:xmax:running,…", the text form of pg_snapshot.
std::string to_string(const Snapshot& snapshot);
std::optional<Snapshot> parse_snapshot(std::string_view text);

// The transactions that finished between two snapshots, the later of which must be the later.
struct Window {
  Snapshot from;
  Snapshot to;

  bool operator==(const Window&) const = default;

  // Whether xid finished in the window.
  bool contains(FullXid xid) const { return to.has_finished(xid) && !from.has_finished(xid); }
  // Whether no transaction can have.
  bool empty() const;
  // Those that ran in from and have finished in to.
  std::vector<FullXid> stragglers() const;
  // All that contains() as ascending half-open ranges [low, high): each straggler by itself, then what lies in
  // [from.xmax, to.xmax) with those that still run cut out, so that nobody visits their rows.
  struct Ranges {
    std::vector<FullXid> low;
    std::vector<FullXid> high;
  };
  Ranges ranges() const;
};

}  // namespace webhook

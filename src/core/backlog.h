// The pending rows of each webhook, as far as the worker must know them: when the next row of webhook_deliveries is
// due, where to start searching for it, and which rows are in memory already.
//
// A search for due rows starts after the rows that the last search found, not at the start of the index. The index
// keeps dead rows for as long as an old snapshot can see them, and every search from the start would visit them. So
// code that adds a row before that position must report it here. Pure.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "core/time.h"
#include "core/uuid.h"

namespace webhook {

class Backlog {
 public:
  // In the order of webhook_deliveries_due_idx.
  struct Position {
    Time next_attempt_at{};
    std::int64_t event_id = 0;

    auto operator<=>(const Position&) const = default;
  };

  // Forgets everything about the webhook except which rows are in memory, and unschedules it. first_due: when its first
  // pending row is due. Nothing if it has none.
  void reset(const Uuid& webhook, std::optional<Time> first_due);
  // The webhook is gone.
  void forget(const Uuid& webhook);

  // A row is pending at that position and not in memory.
  void add(const Uuid& webhook, const Position& row);
  // A row is in memory, or is about to be written for a delivery in memory. request: as in the row.
  void hold(const Uuid& webhook, const Position& row, std::int64_t request = 0);
  bool is_held(const Uuid& webhook, std::int64_t event_id) const;
  // A search has found a row that is held. If its request differs from the held one, the row must be fetched again once
  // it is let go. Returns whether that is so.
  bool note_found(const Uuid& webhook, const Position& row, std::int64_t request);
  std::size_t held(const Uuid& webhook) const;
  // The row is no longer in memory and is still pending, unchanged. It must be fetched again.
  void put_back(const Uuid& webhook, std::int64_t event_id);
  // The row is no longer in memory: it is done, or it has been rewritten, which the caller reports with add(). Returns
  // whether it must be fetched again because of note_found().
  bool let_go(const Uuid& webhook, std::int64_t event_id);

  // Where the next search starts. All pending rows that are not held lie after it.
  Position position(const Uuid& webhook) const;
  // A search found all rows up to that position. next_due: when the first row after it is due. Nothing if there is
  // none.
  void advance(const Uuid& webhook, const Position& to, std::optional<Time> next_due);
  std::optional<Time> next_due(const Uuid& webhook) const;

  // The schedule: which webhooks to search next, in order of time within an organization. A webhook is scheduled at
  // most once. The caller chooses the organizations' numbers.
  void schedule(const Uuid& webhook, std::uint64_t organization, Time at);
  void unschedule(const Uuid& webhook);
  std::optional<Time> first_scheduled() const;
  // Unschedules and returns the first webhook that is due, from the organization that has the turn. Organizations take
  // turns. Nothing if none is due.
  std::optional<Uuid> take_scheduled(Time now);

 private:
  using Schedule = std::set<std::pair<Time, Uuid>>;
  struct Held {
    Time next_attempt_at{};
    std::int64_t request = 0;
    std::optional<Position> again;  // where note_found() saw it with another request
  };
  struct Rows {
    Position position;
    std::optional<Time> next_due;
    std::optional<Time> scheduled;
    std::uint64_t organization = 0;               // that it is scheduled for
    std::unordered_map<std::int64_t, Held> held;  // by event_id
  };

  struct Organization {
    Schedule schedule;
    std::optional<Time> listed_at;  // its time in upcoming_; nothing: it is in due_
  };

  void list_anew(std::uint64_t number, Organization& organization);

  std::unordered_map<Uuid, Rows> rows_;
  std::unordered_map<std::uint64_t, Organization> organizations_;  // each is in upcoming_ or due_, once
  std::set<std::pair<Time, std::uint64_t>> upcoming_;              // by the time of the organization's first webhook
  std::deque<std::uint64_t> due_;                                  // in turn; its webhooks may be unscheduled by now
};

}  // namespace webhook

// What is owed to each webhook, as far as the worker must know it: when the next row of webhook_deliveries is due, from
// where on to look for it, and which rows are in memory already.
//
// A look at what is due begins behind the rows that the last one found, not at the start of the index: rows that are done
// with stay there for as long as an old snapshot could see them, and would be visited by every look. So whatever makes a
// row that lies before that position says so here. Pure.
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

  // All that is known of the webhook is forgotten, but for what is in memory: what it is owed is first due then; nothing: it
  // is owed nothing. The webhook is not scheduled.
  void reset(const Uuid& webhook, std::optional<Time> first_due);
  // The webhook is gone.
  void forget(const Uuid& webhook);

  // A row is pending, at that position.
  void owe(const Uuid& webhook, const Position& row);
  // A row is in memory, or is about to be written for what is. request: as in the row.
  void hold(const Uuid& webhook, const Position& row, std::int64_t request = 0);
  bool is_held(const Uuid& webhook, std::int64_t event_id) const;
  // A look has found a row that is held. If another request stands there than was held, it is to be fetched once it is let go.
  void note_found(const Uuid& webhook, const Position& row, std::int64_t request);
  std::size_t held(const Uuid& webhook) const;
  // It is not in memory any more and still pending, as it was: it has to be fetched again.
  void put_back(const Uuid& webhook, std::int64_t event_id);
  // It is not in memory any more: done with, or written anew, which owe() says. Returns whether it is to be fetched again.
  bool let_go(const Uuid& webhook, std::int64_t event_id);

  // Where the next look begins: all pending rows that are not held lie behind it.
  Position position(const Uuid& webhook) const;
  // A look found all rows up to there. next_due: of those behind; nothing: there are none.
  void advance(const Uuid& webhook, const Position& to, std::optional<Time> next_due);
  std::optional<Time> next_due(const Uuid& webhook) const;

  // The webhooks to look at, each organization's by time. A webhook stands in it at most once. Organizations are numbers,
  // the caller's matter.
  void schedule(const Uuid& webhook, std::uint64_t organization, Time at);
  void unschedule(const Uuid& webhook);
  std::optional<Time> first_scheduled() const;
  // Takes out the first of an organization, if its time has come. Organizations take turns.
  std::optional<Uuid> take_scheduled(Time now);

 private:
  using Schedule = std::set<std::pair<Time, Uuid>>;
  struct Held {
    Time next_attempt_at{};
    std::int64_t request = 0;
    std::optional<Position> again;  // where it stands with another request
  };
  struct Owed {
    Position position;
    std::optional<Time> next_due;
    std::optional<Time> scheduled;
    std::uint64_t organization = 0;               // for which it is
    std::unordered_map<std::int64_t, Held> held;  // by event_id
  };

  struct Organization {
    Schedule schedule;
    std::optional<Time> listed_at;  // where it stands in upcoming_; nothing: in due_
  };

  void list_anew(std::uint64_t number, Organization& organization);

  std::unordered_map<Uuid, Owed> owed_;
  std::unordered_map<std::uint64_t, Organization> organizations_;  // those in one of these two, once:
  std::set<std::pair<Time, std::uint64_t>> upcoming_;              // by their first webhook's time
  std::deque<std::uint64_t> due_;                                  // in turn; may have been unscheduled since
};

}  // namespace webhook

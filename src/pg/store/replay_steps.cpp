#include "pg/store/replay_steps.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "pg/keyed_lock.h"
#include "pg/spi.h"
#include "pg/store/filter_evaluation.h"
#include "pg/store/results.h"
#include "pg/store/spi_work.h"
#include "pg/store/statements.h"

namespace webhook::pg {
namespace {

constexpr const char* kIsDeleted = "the webhook was deleted";
constexpr const char* kIsInactive = "the webhook is switched off";
constexpr const char* kFilterOverran = "the webhook's filter took too long";
constexpr const char* kIsHeld = "another transaction writes the webhook's deliveries";
constexpr const char* kHasPending = "the webhook has many pending deliveries";

// A row of webhook_replays, with its webhook.
struct Replay {
  std::int64_t id = 0;
  WebhookIdentity webhook;
  std::int64_t position = 0;
  std::int64_t last_event_id = 0;
  bool only_failed = false;
  bool has_webhook = false;
  bool is_active = false;
  std::string filter;  // empty: none
};

// An event of the webhook's organization, or the last one of a step.
struct Walked {
  std::int64_t id = 0;
  Time created_at{};
  bool is_own = false;
  bool is_wanted = false;
  std::optional<std::string> data;  // of a wanted one, if there is a filter
};

struct Walk {
  std::vector<Walked> events;  // by id, without repetition
  std::int64_t position = 0;   // up to which they are all of the step
  bool is_all = false;         // there are no more events behind it
};

// What follows from a walk.
struct Progress {
  std::int64_t position = 0;
  bool is_done = false;
  std::vector<std::int64_t> queued;
  Duration filter_cost{};
  bool has_overrun = false;
};

std::optional<Replay> take(std::int64_t id) {
  Query query(statements::take_replay);
  if (query.bind(id).run() == 0) return std::nullopt;
  return Replay{.id = id,
                .webhook = {.id = query.get_uuid(0, query.column("configuration_id")),
                            .created_at = query.get_time(0, query.column("configuration_created_at")),
                            .organization_id = query.get_organization(0, query.column("organization_id"))},
                .position = query.get_int64(0, query.column("position")),
                .last_event_id = query.get_int64(0, query.column("last_event_id")),
                .only_failed = query.get_boolean(0, query.column("only_failed")),
                .has_webhook = query.get_boolean(0, query.column("has_webhook")),
                .is_active = query.get_boolean(0, query.column("is_active")),
                .filter = query.get_text(0, query.column("filter"))};
}

ReplayStep failed(const Replay& replay, const std::string& reason) {
  end_replay(replay.id, reason);
  return {.outcome = ReplayStep::Outcome::kEnded, .failure = reason};
}

ReplayStep waits(const Replay& replay, const char* reason) {
  Query query(statements::let_replay_wait);
  query.bind(replay.id).bind(reason).run();
  return {.outcome = ReplayStep::Outcome::kWaits};
}

// How much room there is. A replay that has to wait goes on when half of what is pending is gone, so that it does not
// count for each delivery.
std::size_t find_room(const Replay& replay, const ReplayBounds& bounds) {
  if (bounds.room > 0) return bounds.room;
  const std::size_t low = bounds.pending_max / 2;
  Query query(statements::count_pending);
  bind(query, replay.webhook).bind(static_cast<std::int64_t>(low + 1)).run();
  const auto pending = static_cast<std::size_t>(query.get_int64(0, query.column("pending")));
  return pending > low ? 0 : bounds.pending_max - pending;
}

// Takes events until it has so many wanted ones or so many bytes. One wanted event is taken in any case.
Walk take_walked(const Query& query, std::size_t rows, const ReplayBounds& bounds, std::size_t wanted_max,
                 bool has_filter) {
  const Column event_id = query.column("id");
  const Column created_at = query.column("created_at");
  const Column is_own = query.column("is_own");
  const Column is_wanted = query.column("is_wanted");
  const Column data = query.column("data");
  Walk found{.position = query.get_int64(rows - 1, event_id),
             .is_all = static_cast<std::size_t>(query.get_int64(0, query.column("visited"))) < bounds.events_max};
  std::size_t wanted = 0;
  std::size_t bytes = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::int64_t id = query.get_int64(row, event_id);
    if (!found.events.empty() && found.events.back().id == id) continue;
    Walked event{.id = id,
                 .created_at = query.get_time(row, created_at),
                 .is_own = query.get_boolean(row, is_own),
                 .is_wanted = query.get_boolean(row, is_wanted)};
    if (event.is_wanted) {
      bytes += query.expanded_bytes(row, data);
      if (wanted == wanted_max || (wanted > 0 && bytes > bounds.bytes_max)) {
        found.position = id - 1;
        found.is_all = false;
        break;
      }
      ++wanted;
      if (has_filter) event.data = query.get_optional_text(row, data);
    }
    found.events.push_back(std::move(event));
  }
  return found;
}

Walk walk(const Replay& replay, const ReplayBounds& bounds, std::size_t wanted_max) {
  const bool has_filter = !replay.filter.empty();
  Query query(statements::walk_replay);
  bind(query, replay.webhook).bind(replay.position).bind(replay.last_event_id);
  query.bind(static_cast<std::int64_t>(bounds.events_max)).bind(replay.only_failed).bind(has_filter).bind(replay.id);
  const std::size_t rows = query.run();
  if (rows == 0) return {.position = replay.last_event_id, .is_all = true};
  return take_walked(query, rows, bounds, wanted_max, has_filter);
}

// What a node that is gone may not have delivered.
Walk walk_takeover(const Replay& heir, const ReplayBounds& bounds, std::size_t wanted_max) {
  const bool has_filter = !heir.filter.empty();
  Query query(statements::walk_takeover);
  bind(query, heir.webhook).bind(static_cast<std::int64_t>(bounds.events_max)).bind(has_filter);
  const std::size_t rows = query.run();
  if (rows == 0) return {.is_all = true};
  return take_walked(query, rows, bounds, wanted_max, has_filter);
}

// Asks the filter about the wanted events, and stops where the time is over.
Progress judge(const Replay& replay, const Walk& walked) {
  Progress progress{.position = walked.position, .is_done = walked.is_all};
  std::vector<const Walked*> wanted;
  for (const Walked& event : walked.events) {
    if (event.is_wanted) wanted.push_back(&event);
  }
  if (replay.filter.empty()) {
    for (const Walked* const event : wanted) progress.queued.push_back(event->id);
    return progress;
  }
  if (wanted.empty()) return progress;
  CompiledFilter compiled;
  std::vector<FilterData> made(wanted.size());
  std::vector<FilterGroup> groups(1);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    groups[0].questions.push_back(
        {.filter = &replay.filter, .compiled = &compiled, .data = &*wanted[i]->data, .made = &made[i]});
  }
  const Duration begin = processor_time();
  evaluate_filters(&groups);
  share_cost(&groups, processor_time() - begin);
  progress.filter_cost = groups[0].cost;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const FilterAnswer answer = groups[0].questions[i].answer;
    if (answer == FilterAnswer::kMatch) progress.queued.push_back(wanted[i]->id);
    progress.has_overrun |= answer == FilterAnswer::kOverrun;
    if (answer != FilterAnswer::kNotAsked) continue;
    progress.position = wanted[i]->id - 1;
    progress.is_done = false;
    break;
  }
  return progress;
}

std::int64_t queue(const Replay& replay, const std::vector<std::int64_t>& events) {
  if (events.empty()) return 0;
  limit_waits_for_rows();
  Query query(statements::queue_events);
  if (bind(query, replay.webhook).bind(events).run() == 0) return 0;
  return query.get_int64(0, query.column("queued"));
}

void advance(const Replay& replay, const Walk& walked, const Progress& progress, std::int64_t queued) {
  std::int64_t examined = 0;
  std::optional<Time> oldest;
  std::optional<Time> newest;
  for (const Walked& event : walked.events) {
    if (!event.is_own || event.id > progress.position) continue;
    ++examined;
    if (!oldest) oldest = event.created_at;
    newest = event.created_at;
  }
  Query query(statements::advance_replay);
  query.bind(replay.id).bind(progress.is_done).bind(progress.position).bind(examined).bind(queued);
  query.bind_optional(oldest).bind_optional(newest).run();
}

// The step itself, when nothing stands in its way.
ReplayStep go_on(const Replay& replay, const ReplayBounds& bounds, std::size_t room) {
  const Walk walked = walk(replay, bounds, std::min(bounds.queued_max, room));
  const Progress progress = judge(replay, walked);
  if (progress.has_overrun) {
    ReplayStep step = failed(replay, kFilterOverran);
    step.filter_cost = progress.filter_cost;
    return step;
  }
  const std::int64_t queued = queue(replay, progress.queued);
  advance(replay, walked, progress, queued);
  return {.outcome = progress.is_done ? ReplayStep::Outcome::kEnded : ReplayStep::Outcome::kMore,
          .room = room - std::min(room, progress.queued.size()),
          .filter_cost = progress.filter_cost};
}

// As for events that are read: where the filter takes too long, there is no delivery, and however much is pending,
// these become so, too. They must not wait until their events are not stored any more.
ReplayStep go_on_taking_over(const Replay& heir, const ReplayBounds& bounds) {
  Query inherit(statements::inherit);
  bind(inherit, heir.webhook).bind(static_cast<std::int64_t>(bounds.queued_max));
  if (inherit.run() > 0 && inherit.get_int64(0, inherit.column("rows")) > 0) {
    return {.outcome = ReplayStep::Outcome::kMore};
  }
  const Walk walked = walk_takeover(heir, bounds, bounds.queued_max);
  const Progress progress = judge(heir, walked);
  queue(heir, progress.queued);
  Query advance(statements::advance_takeover);
  advance.bind(heir.webhook.id).bind(progress.position).run();
  return {.outcome = progress.is_done ? ReplayStep::Outcome::kEnded : ReplayStep::Outcome::kMore,
          .filter_cost = progress.filter_cost};
}

}  // namespace

UnfinishedReplays read_unfinished_replays(std::int64_t after, std::size_t rows_max) {
  Query query(statements::find_unfinished_replays);
  const std::size_t rows = query.bind(after).bind(static_cast<std::int64_t>(rows_max)).run();
  const Column id = query.column("id");
  const Column webhook = query.column("configuration_id");
  const Column organization_id = query.column("organization_id");
  UnfinishedReplays found{.is_all = rows < rows_max};
  for (std::size_t row = 0; row < rows; ++row) {
    found.replays.push_back({.id = query.get_int64(row, id),
                             .webhook = query.get_uuid(row, webhook),
                             .organization_id = query.get_organization(row, organization_id)});
  }
  return found;
}

ReplayStep take_replay_step(std::int64_t id, const ReplayBounds& bounds, bool is_deferred) {
  const std::optional<Replay> replay = take(id);
  if (!replay) return {};
  if (!replay->has_webhook) return failed(*replay, kIsDeleted);
  if (!replay->is_active) return failed(*replay, kIsInactive);
  if (is_deferred || !try_lock_keyed(KeyedLock::kDeliveries, name_of(replay->webhook.id)))
    return waits(*replay, kIsHeld);
  const std::size_t room = find_room(*replay, bounds);
  if (room == 0) return waits(*replay, kHasPending);
  return go_on(*replay, bounds, room);
}

std::vector<UnfinishedTakeover> read_unfinished_takeovers(const std::optional<Uuid>& after, std::size_t webhooks_max) {
  Query query(statements::find_takeovers);
  const std::size_t rows = query.bind_optional(after).bind(static_cast<std::int32_t>(webhooks_max)).run();
  const Column webhook = query.column("configuration_id");
  const Column organization_id = query.column("organization_id");
  std::vector<UnfinishedTakeover> found;
  for (std::size_t row = 0; row < rows; ++row) {
    found.push_back(
        {.webhook = query.get_uuid(row, webhook), .organization_id = query.get_organization(row, organization_id)});
  }
  return found;
}

ReplayStep take_takeover_step(const Uuid& webhook, const ReplayBounds& bounds, bool is_deferred) {
  Query query(statements::read_heir);
  if (query.bind(webhook).run() == 0) {
    Query drop(statements::drop_takeover);
    drop.bind(webhook).run();
    return {.outcome = ReplayStep::Outcome::kEnded};
  }
  const Replay heir{.webhook = {.id = webhook,
                                .created_at = query.get_time(0, query.column("created_at")),
                                .organization_id = query.get_organization(0, query.column("organization_id"))},
                    .filter = query.get_text(0, query.column("filter"))};
  if (is_deferred || !try_lock_keyed(KeyedLock::kDeliveries, name_of(webhook))) {
    return {.outcome = ReplayStep::Outcome::kWaits};
  }
  limit_waits_for_rows();
  return go_on_taking_over(heir, bounds);
}

void end_replay(std::int64_t id, const std::string& reason) {
  Query query(statements::fail_replay);
  query.bind(id).bind(reason).run();
}

}  // namespace webhook::pg

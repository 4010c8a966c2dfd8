// What the tables of deliveries keep: expiry, and the quotas of webhooks and organizations.
#include "pg/store/spi_store.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pg/store/results.h"
#include "pg/store/spi_work.h"
#include "pg/store/statements.h"

namespace webhook::pg {
namespace {

// How many saved events one step gives up.
constexpr std::int32_t kSavedEventsPerStep = 200;
// How many dead deliveries one step deletes.
constexpr std::int64_t kExpiredPerStep = 500;
constexpr std::int64_t kNodesStep = 200;

void redate_pending(const DeliveryKey& after, const DeliveryKey& last) {
  limit_waits_for_rows();
  // A refused change is tried again in the next round.
  (void)try_to([&] {
    Query redate(statements::redate_pending);
    redate.bind(after.event_id).bind(after.webhook).bind(last.event_id).bind(last.webhook).run();
  });
}

// Deletes the saved events that no delivery refers to, and returns their bytes. Takes two statements: a transaction
// that adds a reference has locked the saved event, and the second statement sees its commit. even_if_at_nodes: also
// those that only deliveries at other nodes refer to.
std::uint64_t delete_saved(const std::vector<std::int64_t>& ids, bool even_if_at_nodes) {
  Query lock(statements::lock_saved);
  const std::size_t locked = lock.bind(ids).run();
  std::vector<std::int64_t> free;
  const Column event_id = lock.column("event_id");
  for (std::size_t row = 0; row < locked; ++row) free.push_back(lock.get_int64(row, event_id));
  Query remove(statements::delete_saved);
  const std::size_t removed = remove.bind(free).bind(even_if_at_nodes).run();
  std::uint64_t bytes = 0;
  const Column bytes_of_event = remove.column("bytes");
  for (std::size_t row = 0; row < removed; ++row) {
    bytes += static_cast<std::uint64_t>(remove.get_int64(row, bytes_of_event));
  }
  return bytes;
}

// Collects deliveries that were given up, to write one row to webhook_logs per webhook.
class GivenUp {
 public:
  // The rows that a statement deleted: each, or those that were pending.
  void add(const Query& query, std::size_t rows, const std::optional<Column>& was_pending = std::nullopt) {
    const Column event_id = query.column("event_id");
    const Column webhook = query.column("configuration_id");
    const Column organization_id = query.column("organization_id");
    const Column event = query.column("event");
    for (std::size_t row = 0; row < rows; ++row) {
      if (was_pending && !query.get_boolean(row, *was_pending)) continue;
      event_ids_.push_back(query.get_int64(row, event_id));
      webhooks_.push_back(query.get_uuid(row, webhook));
      organizations_.push_back(query.get_organization(row, organization_id));
      events_.emplace_back(query.get_text(row, event));
    }
  }
  void log(const std::string& reason) const {
    if (event_ids_.empty()) return;
    Query query(statements::log_given_up);
    query.bind(reason).bind(event_ids_).bind(webhooks_).bind(organizations_).bind(events_).run();
  }

 private:
  std::vector<std::int64_t> event_ids_;
  std::vector<Uuid> webhooks_;
  std::vector<std::optional<std::string>> organizations_;
  std::vector<std::optional<std::string>> events_;
};

}  // namespace

bool SpiStore::delete_expired(Time before) {
  Work work(*this, "webhook: deleting expired deliveries");
  Query query(statements::delete_expired_dead);
  query.bind(before).bind(expired_.created_at).bind(expired_.event_id).bind(expired_.webhook);
  const bool has_some = query.bind(kExpiredPerStep).run() > 0;
  const bool has_more = has_some && query.get_int64(0, query.column("visited")) == kExpiredPerStep;
  Expired last;
  if (has_more) {
    last = {query.get_time(0, query.column("created_at")), query.get_int64(0, query.column("event_id")),
            query.get_uuid(0, query.column("configuration_id"))};
  }
  Query given_up(statements::delete_old_given_up);
  given_up.bind(before).run();
  Query history(statements::delete_old_history);
  history.bind(kExpiredPerStep).run();
  Query replays(statements::delete_old_replays);
  replays.bind(kExpiredPerStep).run();
  Query reports(statements::delete_reports);
  reports.run();
  Query shifts(statements::delete_shifts);
  shifts.run();
  Query minutes(statements::delete_old_minutes);
  minutes.bind(kExpiredPerStep).run();
  Query hours(statements::delete_old_hours);
  hours.bind(kExpiredPerStep).run();
  work.commit();
  expired_ = last;
  return has_more;
}

NodesServed SpiStore::serve_nodes(const std::vector<std::string>& known) {
  Work work(*this, "webhook: serving other nodes");
  limit_waits_for_rows();
  Query query(statements::serve_nodes);
  query.bind(static_cast<std::int32_t>(share_.number)).bind(kNodesStep);
  query.bind(std::vector<std::optional<std::string>>(known.begin(), known.end())).run();
  const NodesServed served{.has_more = query.get_boolean(0, query.column("has_more")),
                           .is_checkpoint_wanted = query.get_boolean(0, query.column("is_checkpoint_wanted")),
                           .is_waiting = query.get_boolean(0, query.column("is_waiting"))};
  work.commit();
  return served;
}

DeliveryCounts SpiStore::count_deliveries(const std::optional<DeliveryKey>& after, std::size_t rows_max) {
  const DeliveryKey from = after.value_or(kBeforeAllDeliveries);
  Work work(*this, "webhook: counting deliveries");
  Query query(statements::count_deliveries);
  const std::size_t rows = query.bind(from.event_id).bind(from.webhook).bind(static_cast<std::int64_t>(rows_max)).run();
  DeliveryCounts step;
  const Column webhook = query.column("configuration_id");
  const Column organization_id = query.column("organization_id");
  const Column deliveries = query.column("deliveries");
  const Column dead = query.column("dead");
  for (std::size_t row = 0; row < rows; ++row) {
    step.counts.push_back({.webhook = query.get_uuid(row, webhook),
                           .organization_id = query.get_organization(row, organization_id),
                           .rows = static_cast<std::uint64_t>(query.get_int64(row, deliveries)),
                           .dead = static_cast<std::uint64_t>(query.get_int64(row, dead))});
  }
  if (rows > 0) {
    const DeliveryKey last{query.get_int64(0, query.column("last_event_id")),
                           query.get_uuid(0, query.column("last_configuration_id"))};
    if (query.get_int64(0, query.column("visited")) == static_cast<std::int64_t>(rows_max)) step.last = last;
    if (query.get_boolean(0, query.column("is_ahead"))) redate_pending(from, last);
  }
  work.commit();
  return step;
}

std::size_t SpiStore::give_up_excess(const Uuid& webhook, const std::string& reason, std::size_t rows_max) {
  Work work(*this, "webhook: giving up deliveries");
  Query dead(statements::delete_oldest_dead);
  std::size_t count = dead.bind(webhook).bind(static_cast<std::int64_t>(rows_max)).run();
  if (count < rows_max) {
    Query pending(statements::delete_last_due);
    const std::size_t rows = pending.bind(webhook).bind(static_cast<std::int64_t>(rows_max - count)).run();
    GivenUp given_up;
    given_up.add(pending, rows);
    given_up.log(reason);
    count += rows;
  }
  work.commit();
  return count;
}

SavedStep SpiStore::tidy_saved(std::int64_t after, std::size_t events_max) {
  Work work(*this, "webhook: looking after saved events");
  Query walk(statements::walk_saved);
  const std::size_t rows = walk.bind(after).bind(static_cast<std::int64_t>(events_max)).run();
  SavedStep step;
  std::vector<std::int64_t> unneeded;
  const Column event_id = walk.column("event_id");
  const Column organization_id = walk.column("organization_id");
  const Column bytes = walk.column("bytes");
  const Column is_needed = walk.column("is_needed");
  for (std::size_t row = 0; row < rows; ++row) {
    if (!walk.get_boolean(row, is_needed)) {
      unneeded.push_back(walk.get_int64(row, event_id));
    } else if (const auto organization = walk.get_organization(row, organization_id)) {
      step.bytes[*organization] += static_cast<std::uint64_t>(walk.get_int64(row, bytes));
    }
  }
  if (rows == events_max) step.last = walk.get_int64(rows - 1, event_id);
  if (!unneeded.empty()) delete_saved(unneeded, false);
  work.commit();
  return step;
}

SavedGivenUp SpiStore::give_up_saved(const std::string& organization, std::uint64_t bytes, const std::string& reason,
                                     std::size_t rows_max) {
  Work work(*this, "webhook: giving up saved events");
  Query oldest(statements::oldest_saved);
  const std::size_t rows =
      oldest.bind(organization).bind(kSavedEventsPerStep).bind(static_cast<std::int64_t>(bytes)).run();
  std::vector<std::int64_t> ids;
  const Column event_id = oldest.column("event_id");
  for (std::size_t row = 0; row < rows; ++row) ids.push_back(oldest.get_int64(row, event_id));
  if (ids.empty()) return {};
  Query deliveries(statements::delete_deliveries_of);
  const std::size_t deleted = deliveries.bind(ids).bind(static_cast<std::int64_t>(rows_max)).run();
  GivenUp given_up;
  given_up.add(deliveries, deleted, deliveries.column("was_pending"));
  given_up.log(reason);
  const std::uint64_t freed = delete_saved(ids, true);
  work.commit();
  return {.bytes = freed, .more = freed > 0 || deleted > 0};
}

}  // namespace webhook::pg

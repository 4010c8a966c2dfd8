// What is left of webhooks that were deleted.
#include "pg/store/spi_store.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <vector>

#include "core/snapshot.h"
#include "pg/store/results.h"
#include "pg/store/spi_work.h"
#include "pg/store/statements.h"

namespace webhook::pg {
namespace {

// How many rows of webhook_changes one step of clean_up() visits, and how many rows it deletes.
constexpr std::size_t kChangesPerStep = 20;
constexpr std::size_t kLeftOverPerStep = 500;

}  // namespace

std::vector<SpiStore::Change> SpiStore::find_left_over(const CleaningUp& from) {
  Query query(statements::find_left_over);
  query.bind_xid(from.after.xid).bind(from.after.webhook.id).bind(from.after.webhook.created_at);
  query.bind(from.after.is_deleted).bind(to_string(from.known));
  const std::size_t rows = query.bind(static_cast<std::int64_t>(kChangesPerStep)).run();
  const Column xid = query.column("xid");
  const Column webhook = query.column("configuration_id");
  const Column created_at = query.column("configuration_created_at");
  const Column organization_id = query.column("organization_id");
  const Column is_deleted = query.column("is_deleted");
  const Column webhook_exists = query.column("webhook_exists");
  std::vector<Change> changes;
  for (std::size_t row = 0; row < rows; ++row) {
    changes.push_back({.xid = query.get_xid(row, xid),
                       .webhook = {query.get_uuid(row, webhook), query.get_time(row, created_at),
                                   query.get_organization(row, organization_id)},
                       .is_deleted = query.get_boolean(row, is_deleted),
                       .webhook_exists = query.get_boolean(row, webhook_exists)});
  }
  return changes;
}

// Deletes about rows_max rows at most and returns their number. If it is less than rows_max, the remaining rows are
// locked.
std::size_t SpiStore::delete_left_over(const Change& change, std::size_t rows_max) {
  std::size_t deleted = 0;
  for (Statement* const statement :
       {&statements::delete_left_endpoint, &statements::delete_left_minutes, &statements::delete_left_hours}) {
    Query query(*statement);
    deleted += bind(query, change.webhook).run();
    if (deleted >= rows_max) return deleted;
  }
  CleaningUp& at = *cleaning_up_;
  Query pending(statements::delete_left_pending);
  bind(pending, change.webhook).bind(at.next_attempt_at).bind(at.event_id);
  std::size_t rows = pending.bind(static_cast<std::int64_t>(rows_max - deleted)).run();
  const Column next_attempt_at = pending.column("next_attempt_at");
  const Column event_id = pending.column("event_id");
  for (std::size_t row = 0; row < rows; ++row) {
    std::tie(at.next_attempt_at, at.event_id) =
        std::max(std::tuple(at.next_attempt_at, at.event_id),
                 std::tuple(pending.get_time(row, next_attempt_at), pending.get_int64(row, event_id)));
  }
  deleted += rows;
  if (deleted >= rows_max) return deleted;
  Query dead(statements::delete_left_dead);
  bind(dead, change.webhook).bind(at.dead_event_id);
  rows = dead.bind(static_cast<std::int64_t>(rows_max - deleted)).run();
  const Column dead_event_id = dead.column("event_id");
  for (std::size_t row = 0; row < rows; ++row) {
    at.dead_event_id = std::max(at.dead_event_id, dead.get_int64(row, dead_event_id));
  }
  return deleted + rows;
}

// Does what a row of webhook_changes asks for, in at most *room deletions. Returns false if there is more to delete.
bool SpiStore::clean_up_after(const Change& change, std::size_t* room) {
  bool is_done = share_.owns(change.webhook.id);
  if (is_done && change.is_deleted && !change.webhook_exists) {
    // If a deletion is refused, the rows stay. Other webhooks go on.
    std::size_t deleted = 0;
    is_done = false;
    try_to([&] {
      deleted = delete_left_over(change, *room);
      if (deleted >= *room) return;
      Query left(statements::has_left_over);
      bind(left, change.webhook).run();
      is_done = !left.get_boolean(0, left.column("has_left_over"));
    });
    if (deleted >= *room) return false;
    *room -= deleted;
    cleaning_up_->has_left |= !is_done;
  }
  if (is_done) {
    Query done(statements::delete_change);
    done.bind_xid(change.xid).bind(change.webhook.id).bind(change.webhook.created_at).bind(change.is_deleted).run();
  }
  cleaning_up_->after = change;
  cleaning_up_->next_attempt_at = {};
  cleaning_up_->event_id = cleaning_up_->dead_event_id = kFirstEvent;
  return true;
}

bool SpiStore::clean_up(const Snapshot& known) {
  Work work(*this, "webhook: cleaning up after deleted webhooks");
  if (!cleaning_up_) {
    cleaning_up_.emplace(known);
    cleaning_up_->after.xid = cleaned_up_to_;
    cleaning_up_->event_id = cleaning_up_->dead_event_id = kFirstEvent;
  }
  // The state to return to if the transaction fails.
  const CleaningUp before = *cleaning_up_;
  const std::vector<Change> changes = find_left_over(before);
  bool is_over = changes.size() < kChangesPerStep;
  std::size_t room = kLeftOverPerStep;
  try {
    for (const Change& change : changes) {
      if (clean_up_after(change, &room)) continue;
      is_over = false;
      break;
    }
    work.commit();
  } catch (...) {
    cleaning_up_ = before;
    throw;
  }
  if (!is_over) return true;
  if (!cleaning_up_->has_left) cleaned_up_to_ = cleaning_up_->known.xmin;
  cleaning_up_.reset();
  return false;
}

}  // namespace webhook::pg

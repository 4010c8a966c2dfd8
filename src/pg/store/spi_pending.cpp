// Pending deliveries.
#include "pg/store/spi_store.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/ordering.h"
#include "pg/keyed_lock.h"
#include "pg/store/results.h"
#include "pg/store/spi_work.h"
#include "pg/store/statements.h"

namespace webhook::pg {
namespace {

const char* ordering_name(Ordering ordering) {
  switch (ordering) {
    case Ordering::kKey:
      return "key";
    case Ordering::kEndpoint:
      return "endpoint";
    case Ordering::kRelaxed:
      break;
  }
  return "relaxed";
}

constexpr std::int64_t kScanMin = 100;   // pending deliveries of an ordered webhook that are looked at first
constexpr std::int64_t kScanFactor = 8;  // how many times as many are looked at next, if too few of them are due

struct DueRows {
  std::optional<Query> query;
  std::size_t count = 0;
  bool is_all = true;  // no row beyond the limits of the query is due
};

void read_by_time(const DueQuery& wanted, DueRows* rows) {
  Query& query = rows->query.emplace(statements::read_due);
  bind(query, wanted.webhook).bind(wanted.now).bind(wanted.after.next_attempt_at).bind(wanted.after.event_id);
  query.bind(static_cast<std::int64_t>(wanted.rows_max));
  rows->count = query.bind(static_cast<std::int64_t>(wanted.bytes_max)).run();
}

// Usually most of the oldest deliveries are due. Otherwise it looks further.
void read_in_order(const DueQuery& wanted, DueRows* rows) {
  const auto rows_max = static_cast<std::int64_t>(wanted.rows_max);
  bool is_full = false;
  rows->is_all = false;
  for (std::int64_t scan_max = std::max(2 * rows_max, kScanMin); !rows->is_all && !is_full; scan_max *= kScanFactor) {
    Query& query = rows->query.emplace(statements::read_due_in_order);
    bind(query, wanted.webhook).bind(wanted.now).bind(scan_max).bind(rows_max);
    rows->count = query.bind(static_cast<std::int64_t>(wanted.bytes_max)).run();
    if (query.is_null(0, query.column("event_id"))) rows->count = 0;
    rows->is_all = query.get_int64(0, query.column("scanned")) < scan_max;
    is_full = rows->count > 0 && query.get_int64(0, query.column("found")) == rows_max;
  }
}

}  // namespace

Due SpiStore::due(const DueQuery& wanted) {
  Work work(*this, "webhook: reading pending deliveries");
  DueRows rows;
  (wanted.in_order ? read_in_order : read_by_time)(wanted, &rows);
  const Query& query = *rows.query;
  Due due;
  due.is_all = rows.is_all && (rows.count == 0 ||
                               (static_cast<std::int64_t>(rows.count) == query.get_int64(0, query.column("found")) &&
                                rows.count < wanted.rows_max));
  due.deliveries.reserve(rows.count);
  const EventTexts texts(query);
  const Column event_id = query.column("event_id");
  const Column created_at = query.column("created_at");
  const Column segment = query.column("slot");
  const Column attempts = query.column("attempts");
  const Column probes = query.column("probes");
  const Column pending_since = query.column("pending_since");
  const Column next_attempt_at = query.column("next_attempt_at");
  const Column request = query.column("request");
  std::size_t bytes = 0;
  for (std::size_t row = 0; row < rows.count; ++row) {
    // The statement knows only the stored size. Expanded events may be larger.
    bytes += texts.expanded_bytes(row);
    if (row > 0 && bytes > wanted.bytes_max) {
      due.is_all = false;
      break;
    }
    PendingDelivery& pending = due.deliveries.emplace_back();
    pending.event.id = query.get_int64(row, event_id);
    pending.event.created_at = query.get_time(row, created_at);
    texts.read(row, &pending.event);
    pending.event.segment = query.get_int16(row, segment);
    pending.attempts = query.get_int32(row, attempts);
    pending.probes = query.get_int32(row, probes);
    pending.pending_since = query.get_time(row, pending_since);
    pending.next_attempt_at = query.get_time(row, next_attempt_at);
    pending.request = query.get_int64(row, request);
  }
  Query next(statements::read_due_next);
  bind(next, wanted.webhook).bind(wanted.now).run();
  due.next = next.get_optional_time(0, next.column("next"));
  work.commit();
  return due;
}

std::vector<std::int64_t> SpiStore::give_up_old(const WebhookIdentity& webhook, Time before, const std::string& reason,
                                                std::size_t rows_max) {
  Work work(*this, "webhook: giving up old deliveries");
  std::vector<std::int64_t> ids;
  // If a row is refused, it stays, and so do the rows after it. That affects only this webhook.
  try_to([&] {
    Query query(statements::give_up_old);
    const std::size_t rows =
        bind(query, webhook).bind(before).bind(reason).bind(static_cast<std::int64_t>(rows_max)).run();
    const Column event_id = query.column("event_id");
    for (std::size_t row = 0; row < rows; ++row) ids.push_back(query.get_int64(row, event_id));
  });
  work.commit();
  return ids;
}

OrderingStep SpiStore::write_ordering_keys(const WebhookIdentity& webhook, Ordering ordering,
                                           const Backlog::Position& after, std::size_t rows_max) {
  Work work(*this, "webhook: ordering pending deliveries");
  OrderingStep step{.position = after};
  if (!try_lock_keyed(KeyedLock::kDeliveries, name_of(webhook.id))) {
    step.is_busy = true;
    return step;
  }
  limit_waits_for_rows();
  const auto refused = try_to([&] {
    Query write(statements::write_ordering_keys);
    bind(write, webhook).bind(ordering_name(ordering)).bind(after.next_attempt_at).bind(after.event_id);
    const bool has_some = write.bind(static_cast<std::int64_t>(rows_max)).run() > 0;
    if (has_some) {
      step.position = {write.get_time(0, write.column("next_attempt_at")),
                       write.get_int64(0, write.column("event_id"))};
    }
    step.is_all = !has_some || write.get_int64(0, write.column("visited")) < static_cast<std::int64_t>(rows_max);
  });
  step.is_busy = refused.has_value();
  work.commit();
  return step;
}

std::optional<std::unordered_map<std::string, std::int64_t>> SpiStore::pending_by_key(const WebhookIdentity& webhook,
                                                                                      std::size_t rows_max) {
  Work work(*this, "webhook: counting deliveries");
  Query count(statements::count_ordering_keys);
  const std::size_t keys = bind(count, webhook).bind(static_cast<std::int64_t>(rows_max + 1)).run();
  std::optional<std::unordered_map<std::string, std::int64_t>> counts(std::in_place);
  const Column ordering_key = count.column("ordering_key");
  const Column deliveries = count.column("deliveries");
  for (std::size_t row = 0; row < keys; ++row) {
    const std::string key = count.get_text(row, ordering_key);
    // A delivery without a key holds nothing back.
    if (!key.starts_with('#')) counts->emplace(key, count.get_int64(row, deliveries));
  }
  if (keys > 0 && count.get_int64(0, count.column("visited")) > static_cast<std::int64_t>(rows_max)) counts.reset();
  work.commit();
  return counts;
}

}  // namespace webhook::pg

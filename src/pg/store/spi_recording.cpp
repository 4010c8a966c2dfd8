// The outcomes of deliveries.
#include "pg/store/spi_store.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "pg/capture/capture.h"
#include "pg/keyed_lock.h"
#include "pg/store/results.h"
#include "pg/store/spi_work.h"
#include "pg/store/statements.h"

namespace webhook::pg {

Recorded SpiStore::record(const Batch& batch) {
  std::optional<Error> error;
  try {
    return record(batch, Care::kNone);
  } catch (const ExtensionGone&) {
    throw;
  } catch (const Error& raised) {
    if (!may_be_of_a_row(raised)) throw;
    error = raised;
  }
  return record(batch, Care::kEachRow);
}

Recorded SpiStore::record(const Batch& batch, Care care) {
  Work work(*this, "webhook: recording results");
  Recorded recorded = write_batch(batch, share_.number, deferred_, care);
  work.commit();
  deferred_.insert(recorded.deferred.begin(), recorded.deferred.end());
  return recorded;
}

std::vector<Applied> SpiStore::apply_deferred(const std::vector<Uuid>& webhooks, std::size_t rows_max) {
  std::vector<Applied> all;
  Work work(*this, "webhook: recording what was deferred");
  for (const Uuid& webhook : webhooks) {
    if (!try_lock_keyed(KeyedLock::kDeliveries, name_of(webhook))) {
      all.push_back({.webhook = webhook});
      continue;
    }
    all.push_back(apply_deferred_changes(webhook, rows_max));
    break;
  }
  work.commit();
  for (const Applied& applied : all) {
    if (applied.state == Applied::State::kDone) deferred_.erase(applied.webhook);
  }
  return all;
}

std::string SpiStore::holder(const Uuid& webhook) {
  Work work(*this, "webhook: looking for who holds deliveries");
  const KeyedLockTag tag = keyed_lock_tag(KeyedLock::kDeliveries, name_of(webhook));
  Query query(statements::find_holder);
  query.bind(static_cast<std::int64_t>(tag.classid)).bind(static_cast<std::int64_t>(tag.objid));
  std::string holder = "somebody who has locked its rows of webhook_deliveries";
  if (query.bind(static_cast<std::int32_t>(tag.objsubid)).run() > 0) {
    const Column pid = query.column("pid");
    holder = query.is_null(0, pid) ? "a prepared transaction"
                                   : "the transaction of process " + std::to_string(query.get_int32(0, pid));
  }
  work.commit();
  return holder;
}

std::int64_t SpiStore::log_test(const LogRow& row) {
  Work work(*this, "webhook: recording a test");
  write_logs_each({row});
  Query drawn(statements::last_log_id_drawn);
  drawn.run();
  const std::int64_t id = drawn.get_int64(0, drawn.column("id"));
  work.commit();
  return id;
}

DisableResult SpiStore::disable(const WebhookIdentity& webhook, const std::string& url, const std::string& reason,
                                const OperationalEvent& event) {
  Work work(*this, "webhook: disabling a webhook");
  Query wanted(statements::read_disabling);
  if (bind(wanted, webhook).bind(url).run() == 0) return DisableResult::kNothingToDo;
  Query report(statements::report_disabling);
  bind(report, webhook).bind(url).bind(reason).bind(event.name).bind(event.data);
  if (report.run() > 0) {
    // Until the home's change arrives here, the webhook is active, and it is reported again.
    work.commit();
    return DisableResult::kLocked;
  }
  std::size_t rows = 0;
  try_to([&] {
    Query disable(statements::disable_webhook);
    rows = bind(disable, webhook).bind(url).bind(reason).run();
  });
  if (rows == 0) return DisableResult::kLocked;
  publish(event);
  work.commit();
  return DisableResult::kDisabled;
}

}  // namespace webhook::pg

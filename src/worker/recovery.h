// Which events behind the last checkpoint are already delivered. The previous worker has read these events, and this
// one reads them again. A delivery that has a log row or a row in webhook_deliveries must not be made again.
//
// Recovery ends with the window that begins at the checkpoint. Until then no row of webhook_deliveries is fetched,
// because events that are still unread may be older.
#pragma once

#include <optional>
#include <unordered_set>
#include <vector>

#include "core/ledger.h"
#include "core/snapshot.h"
#include "worker/store.h"

namespace webhook {

class Recovery {
 public:
  bool is_under_way() const { return is_under_way_; }
  // The first entry of the ledger that was admitted after recovery had ended.
  Ledger::Entry end_entry() const { return end_entry_; }

  // An attempt is logged behind the checkpoint.
  void note_logged(const DeliveryKey& key) { logged_.insert(key); }
  // The deliveries, of the events that are routed next, that have a row in webhook_deliveries.
  void set_rows(const std::vector<DeliveryKey>& keys) { rows_ = {keys.begin(), keys.end()}; }
  // Whether the delivery must not be made again.
  bool knows(const DeliveryKey& key) const { return rows_.contains(key) || logged_.contains(key); }

  // The head of the log when the worker first looked. The first call counts.
  void set_end(const Snapshot& head) {
    if (!end_) end_ = head;
  }
  // Whether the window that ends at the snapshot is the last one of recovery.
  bool ends_at(const Snapshot& snapshot) const { return end_ && snapshot == *end_; }
  // next_entry: of the ledger.
  void end(Ledger::Entry next_entry) {
    is_under_way_ = false;
    end_entry_ = next_entry;
    logged_ = {};
    rows_ = {};
  }

 private:
  bool is_under_way_ = true;
  Ledger::Entry end_entry_ = 0;
  std::optional<Snapshot> end_;
  std::unordered_set<DeliveryKey> logged_;
  std::unordered_set<DeliveryKey> rows_;
};

}  // namespace webhook

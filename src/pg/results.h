// Writes what became of deliveries.
#pragma once

#include <vector>

#include "pg/store.h"

namespace webhook::pg {

// In a Transaction. worker: whose checkpoint it is. Throws Error.
Recorded write_batch(const Batch& batch, int worker);

// Rows of webhook_logs alone; likewise.
void write_logs(const std::vector<LogRow>& rows);

}  // namespace webhook::pg

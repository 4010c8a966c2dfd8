// Writes rows of webhook_logs.
#pragma once

#include <vector>

#include "worker/store.h"

namespace webhook::pg {

// Needs a Transaction. If an INSERT would only append rows, writes straight into the current segment and its indexes.
// If the table has a trigger, a rule or another shape, uses an INSERT. Throws Error.
void write_logs(const std::vector<LogRow>& rows);

}  // namespace webhook::pg

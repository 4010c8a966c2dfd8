// Writes rows of webhook_logs.
#pragma once

#include <vector>

#include "pg/store.h"

namespace webhook::pg {

// In a Transaction. Straight into the current segment and its indexes where that is all an INSERT would do: nobody has
// given the table a trigger, a rule or another shape. Else by an INSERT. Throws Error.
void write_logs(const std::vector<LogRow>& rows);

}  // namespace webhook::pg

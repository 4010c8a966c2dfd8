// Writes rows of webhook_logs.
#pragma once

#include <vector>

#include "worker/store.h"

struct FunctionCallInfoBaseData;

namespace webhook::pg {

// Needs a Transaction. If an INSERT would only append rows, writes straight into the current segment and its indexes.
// If the table has a trigger, a rule or another shape, uses an INSERT. Throws Error.
void write_logs(const std::vector<LogRow>& rows);

// The body of the trigger function webhook_receive_log(), BEFORE INSERT on the segments of webhook_logs of a home:
// takes over a row that a node has logged, with an id of this database. The caller is to suppress the row itself.
// Throws Error.
void receive_log(FunctionCallInfoBaseData* call);

}  // namespace webhook::pg

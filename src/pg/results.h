// Writes what became of deliveries.
#pragma once

#include "pg/store.h"

namespace webhook::pg {

// In a Transaction. worker: whose checkpoint it is. Throws Error.
Recorded write_batch(const Batch& batch, int worker);

}  // namespace webhook::pg

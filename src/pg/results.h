// Writes what became of deliveries.
#pragma once

#include <cstddef>
#include <vector>

#include "pg/spi.h"
#include "pg/store.h"

namespace webhook::pg {

// In a Transaction. worker: whose checkpoint it is. Throws Error.
Recorded write_batch(const Batch& batch, int worker);

// Of rows that begin with the event's id and the webhook's.
std::vector<DeliveryKey> keys_of(const Query& query, std::size_t rows);

}  // namespace webhook::pg

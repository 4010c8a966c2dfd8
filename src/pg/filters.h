// Evaluates webhooks' filters, which tenants write, within bounds of time.
#pragma once

#include <vector>

#include "pg/store.h"

namespace webhook::pg {

// In a Transaction. All together first, then, if that takes too long, each by itself. Throws Error.
std::vector<FilterAnswer> evaluate_filters(const std::vector<FilterQuestion>& questions);

}  // namespace webhook::pg

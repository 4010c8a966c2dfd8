// Evaluates the filters of webhooks within limits of time and memory, because tenants write them.
//
// It calls C functions instead of SQL. So data and filter are converted once however many questions use them, and an
// error concerns one question only.
#pragma once

#include <vector>

#include "worker/store.h"

namespace webhook::pg {

// The processor time that this thread has used.
Duration processor_time();

// Like Store::filter(), but within a Transaction, and cost holds only the group's own time. Throws Error.
void evaluate_filters(std::vector<FilterGroup>* groups);

// Adds the time beyond the groups' own costs to the groups that have answers, in equal parts. all: the time of the
// whole call.
void share_cost(std::vector<FilterGroup>* groups, Duration all);

}  // namespace webhook::pg

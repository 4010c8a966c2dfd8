// Evaluates webhooks' filters, which tenants write, within bounds of time and memory.
//
// In C rather than in SQL: data and filter are converted once, whatever the number of questions about them, and an error
// is that of one question.
#pragma once

#include <vector>

#include "pg/store.h"

namespace webhook::pg {

// The time for which this thread has worked, whatever else the machine did.
Duration processor_time();

// As Store::filter(), in a Transaction, but that cost lacks what is no group's own. Throws Error.
void evaluate_filters(std::vector<FilterGroup>* groups);

// What all took, but for the groups' own, is shared by those that had answers.
void share_cost(std::vector<FilterGroup>* groups, Duration all);

}  // namespace webhook::pg

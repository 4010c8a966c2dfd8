// Sums and quantiles of webhook_minutes.durations.
extern "C" {
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "fmgr.h"
#include "utils/array.h"
}

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/statistics.h"
#include "pg/guard.h"

#pragma GCC visibility push(default)
extern "C" {
PG_FUNCTION_INFO_V1(webhook_add_durations);
PG_FUNCTION_INFO_V1(webhook_duration_quantile);
}
#pragma GCC visibility pop

using webhook::pg::entry;
using webhook::pg::guarded;

namespace {

constexpr int kBuckets = static_cast<int>(webhook::DurationCounts::kBuckets);

// The sum so far, which belongs to the aggregate: an array of kBuckets zeros the first time.
ArrayType* sum_of(FunctionCallInfo fcinfo) {
  MemoryContext context = nullptr;
  if (!AggCheckCallContext(fcinfo, &context)) elog(ERROR, "webhook_add_durations called outside of an aggregate");
  if (!PG_ARGISNULL(0)) {
    ArrayType* sum = PG_GETARG_ARRAYTYPE_P(0);
    if (ARR_NDIM(sum) != 1 || ARR_DIMS(sum)[0] != kBuckets || ARR_HASNULL(sum) || ARR_ELEMTYPE(sum) != INT8OID) {
      elog(ERROR, "webhook_add_durations called with a sum that is not its own");
    }
    return sum;
  }
  Datum zeros[kBuckets] = {};
  MemoryContext caller = MemoryContextSwitchTo(context);
  ArrayType* sum = construct_array(zeros, kBuckets, INT8OID, sizeof(std::int64_t), true, TYPALIGN_DOUBLE);
  MemoryContextSwitchTo(caller);
  return sum;
}

// Elements beyond kBuckets, or of an array that could not be counts, count nothing.
void add(std::int64_t* sum, ArrayType* counts) {
  if (ARR_NDIM(counts) != 1 || ARR_HASNULL(counts)) return;
  const int count = std::min(ARR_DIMS(counts)[0], kBuckets);
  if (ARR_ELEMTYPE(counts) == INT4OID) {
    const auto* values = reinterpret_cast<const std::int32_t*>(ARR_DATA_PTR(counts));
    for (int i = 0; i < count; ++i) sum[i] += values[i];
  } else if (ARR_ELEMTYPE(counts) == INT8OID) {
    const auto* values = reinterpret_cast<const std::int64_t*>(ARR_DATA_PTR(counts));
    for (int i = 0; i < count; ++i) sum[i] += values[i];
  }
}

}  // namespace

// (sum bigint[], counts integer[] or bigint[]): the transition function, which changes its first argument in place.
Datum webhook_add_durations(PG_FUNCTION_ARGS) {
  return entry([&] {
    return guarded([&] {
      ArrayType* sum = sum_of(fcinfo);
      if (!PG_ARGISNULL(1)) add(reinterpret_cast<std::int64_t*>(ARR_DATA_PTR(sum)), PG_GETARG_ARRAYTYPE_P(1));
      return PointerGetDatum(sum);
    });
  });
}

// (durations bigint[], quantile double precision). STRICT. Null if there are no counts.
Datum webhook_duration_quantile(PG_FUNCTION_ARGS) {
  return entry([&] {
    ArrayType* durations = guarded([&] { return PG_GETARG_ARRAYTYPE_P(0); });
    std::int64_t counts[kBuckets] = {};
    add(counts, durations);
    std::int64_t total = 0;
    for (const std::int64_t count : counts) total += count;
    if (total <= 0) {
      fcinfo->isnull = true;
      return Datum{0};
    }
    const double wanted = PG_GETARG_FLOAT8(1) * static_cast<double>(total);
    std::int64_t below = 0;
    int bucket = 0;
    do below += counts[bucket++];
    while (bucket < kBuckets && static_cast<double>(below) < wanted);
    // The middle of the bucket, on a logarithmic scale, in microseconds.
    const double middle_us = std::round(webhook::DurationCounts::kFirstBoundMs * std::exp2((bucket - 1.5) / 2) * 1000);
    return Float8GetDatum(middle_us / 1000);
  });
}

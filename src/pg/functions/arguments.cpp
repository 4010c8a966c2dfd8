#include "pg/functions/arguments.h"

extern "C" {
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
}

#include <cstdint>
#include <cstring>

#include "pg/encoding.h"
#include "pg/guard.h"
#include "pg/timestamps.h"

namespace webhook::pg {

std::optional<std::string_view> text_argument(FunctionCallInfo fcinfo, int number) {
  if (PG_ARGISNULL(number)) return std::nullopt;
  return view_of(guarded([&] { return PG_GETARG_TEXT_PP(number); }));
}

std::string utf8_argument(FunctionCallInfo fcinfo, int number) {
  return to_utf8(text_argument(fcinfo, number).value_or(""));
}

Time time_argument(FunctionCallInfo fcinfo, int number) {
  const TimestampTz time = PG_GETARG_TIMESTAMPTZ(number);
  std::int64_t since_1970 = 0;
  if (TIMESTAMP_NOT_FINITE(time) || __builtin_add_overflow(time, kPostgresEpochSince1970.count(), &since_1970)) {
    throw Error("22008", "the time of an event must be finite");
  }
  return Time(Duration(since_1970));
}

Uuid uuid_argument(FunctionCallInfo fcinfo, int number) {
  Uuid uuid;
  static_assert(sizeof uuid.bytes == UUID_LEN);
  std::memcpy(uuid.bytes.data(), PG_GETARG_UUID_P(number)->data, UUID_LEN);
  return uuid;
}

Datum text_result(std::string_view text) {
  return guarded([&] { return PointerGetDatum(cstring_to_text_with_len(text.data(), static_cast<int>(text.size()))); });
}

Datum text_result(FunctionCallInfo fcinfo, const std::optional<std::string>& text) {
  if (text) return text_result(*text);
  fcinfo->isnull = true;
  return Datum{0};
}

Datum row_result(FunctionCallInfo fcinfo, Datum* values, bool* nulls) {
  return guarded([&] {
    TupleDesc type = nullptr;
    if (get_call_result_type(fcinfo, nullptr, &type) != TYPEFUNC_COMPOSITE) elog(ERROR, "the result is no row");
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(type), values, nulls));
  });
}

}  // namespace webhook::pg

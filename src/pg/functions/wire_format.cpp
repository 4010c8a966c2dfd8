// Signatures, bodies and ids as receivers see them. All functions except webhook_body() are STRICT.
extern "C" {
#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"
}

#include <cstdint>
#include <string>

#include "core/crypto.h"
#include "core/event.h"
#include "core/wire.h"
#include "pg/encoding.h"
#include "pg/functions/arguments.h"
#include "pg/guard.h"
#include "pg/timestamps.h"

#pragma GCC visibility push(default)
extern "C" {
PG_FUNCTION_INFO_V1(webhook_sign);
PG_FUNCTION_INFO_V1(webhook_sign_message);
PG_FUNCTION_INFO_V1(webhook_verify);
PG_FUNCTION_INFO_V1(webhook_verify_message);
PG_FUNCTION_INFO_V1(webhook_body);
PG_FUNCTION_INFO_V1(webhook_encode_id);
PG_FUNCTION_INFO_V1(webhook_decode_id);
}
#pragma GCC visibility pop

using webhook::pg::entry;
using webhook::pg::row_result;
using webhook::pg::text_argument;
using webhook::pg::text_result;
using webhook::pg::time_argument;
using webhook::pg::utf8_argument;

namespace {

// The key for webhook-signature.
webhook::HmacKey key_argument(FunctionCallInfo fcinfo, int number) {
  return webhook::HmacKey::from_secret(utf8_argument(fcinfo, number));
}

webhook::EventIdCipher cipher_argument(FunctionCallInfo fcinfo, int number) {
  return webhook::EventIdCipher(webhook::pg::uuid_argument(fcinfo, number));
}

}  // namespace

// (body text, secret text): the value of X-Webhook-Signature. The secret's text is the key.
Datum webhook_sign(PG_FUNCTION_ARGS) {
  return entry([&] {
    webhook::HmacKey key(utf8_argument(fcinfo, 1));
    return text_result(webhook::github_signature(key, utf8_argument(fcinfo, 0)));
  });
}

// (id text, timestamp bigint, body text, secret text): the value of webhook-signature.
Datum webhook_sign_message(PG_FUNCTION_ARGS) {
  return entry([&] {
    webhook::HmacKey key = key_argument(fcinfo, 3);
    return text_result(
        webhook::standard_signature(key, utf8_argument(fcinfo, 0), PG_GETARG_INT64(1), utf8_argument(fcinfo, 2)));
  });
}

// (body text, signature text, secret text)
Datum webhook_verify(PG_FUNCTION_ARGS) {
  return entry([&] {
    webhook::HmacKey key(utf8_argument(fcinfo, 2));
    return BoolGetDatum(webhook::verify_github_signature(key, utf8_argument(fcinfo, 0), utf8_argument(fcinfo, 1)));
  });
}

// (id text, timestamp bigint, body text, signature text, secret text)
Datum webhook_verify_message(PG_FUNCTION_ARGS) {
  return entry([&] {
    webhook::HmacKey key = key_argument(fcinfo, 4);
    return BoolGetDatum(webhook::verify_standard_signature(key, utf8_argument(fcinfo, 0), PG_GETARG_INT64(1),
                                                           utf8_argument(fcinfo, 2), utf8_argument(fcinfo, 3)));
  });
}

// (event text, created_at timestamptz, data json, previous json, backfill boolean): null if any of the first three is null.
Datum webhook_body(PG_FUNCTION_ARGS) {
  return entry([&] {
    if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2)) return text_result(fcinfo, std::nullopt);
    webhook::Event event;
    event.name = utf8_argument(fcinfo, 0);
    event.created_at = time_argument(fcinfo, 1);
    event.data = utf8_argument(fcinfo, 2);
    event.previous = utf8_argument(fcinfo, 3);
    event.is_backfill = !PG_ARGISNULL(4) && PG_GETARG_BOOL(4);
    return text_result(webhook::pg::from_utf8(webhook::build_body(event)));
  });
}

// (instance uuid, event_id bigint, created_at timestamptz): the value of webhook-id.
Datum webhook_encode_id(PG_FUNCTION_ARGS) {
  return entry(
      [&] { return text_result(cipher_argument(fcinfo, 0).encode(PG_GETARG_INT64(1), time_argument(fcinfo, 2))); });
}

// (instance uuid, webhook_id text, OUT event_id bigint, OUT created_at timestamptz): nulls if the id is not valid.
Datum webhook_decode_id(PG_FUNCTION_ARGS) {
  return entry([&] {
    const auto decoded = cipher_argument(fcinfo, 0).decode(text_argument(fcinfo, 1).value_or(""));
    std::int64_t event_id = 0;
    TimestampTz created_at = 0;
    bool is_null = true;
    if (decoded) {
      event_id = decoded->event_id;
      is_null = __builtin_sub_overflow(decoded->created_at.time_since_epoch().count(),
                                       webhook::pg::kPostgresEpochSince1970.count(), &created_at) ||
                !IS_VALID_TIMESTAMP(created_at);
    }
    Datum values[] = {Int64GetDatum(event_id), TimestampTzGetDatum(created_at)};
    bool nulls[] = {is_null, is_null};
    return row_result(fcinfo, values, nulls);
  });
}

// Secrets: generated, masked, and sealed for webhook_secrets. Functions that accept a null key_id are not STRICT: such
// a secret is not sealed.
extern "C" {
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
}

#include <cstring>
#include <optional>
#include <string>

#include "core/crypto.h"
#include "core/error.h"
#include "pg/encoding.h"
#include "pg/functions/arguments.h"
#include "pg/guard.h"
#include "pg/secret_store.h"

#pragma GCC visibility push(default)
extern "C" {
PG_FUNCTION_INFO_V1(webhook_secret_key_id);
PG_FUNCTION_INFO_V1(webhook_seal_secret);
PG_FUNCTION_INFO_V1(webhook_open_secret);
PG_FUNCTION_INFO_V1(webhook_secret_problem);
PG_FUNCTION_INFO_V1(webhook_is_secret);
PG_FUNCTION_INFO_V1(webhook_generate_secret);
PG_FUNCTION_INFO_V1(webhook_mask_secret);
}
#pragma GCC visibility pop

using webhook::pg::entry;
using webhook::pg::guarded;
using webhook::pg::row_result;
using webhook::pg::text_argument;
using webhook::pg::text_result;
using webhook::pg::utf8_argument;
using webhook::pg::uuid_argument;

namespace {

// (configuration_id uuid, key_id text, sealed text): the columns of a row of webhook_secrets. A sealed secret is UTF-8.
std::optional<std::string> open_argument(FunctionCallInfo fcinfo, std::string* problem) {
  if (PG_ARGISNULL(0) || PG_ARGISNULL(2)) throw webhook::Error("22004", "a secret's row must not be null");
  const auto key_id = text_argument(fcinfo, 1);
  auto secret = webhook::pg::SecretStore().open(uuid_argument(fcinfo, 0), key_id, *text_argument(fcinfo, 2), problem);
  if (secret && key_id) secret = webhook::pg::from_utf8(*secret);
  return secret;
}

}  // namespace

Datum webhook_secret_key_id(PG_FUNCTION_ARGS) {
  return entry([&] {
    const webhook::pg::SecretStore store;
    const auto id = store.current_key_id();
    return text_result(fcinfo, id ? std::optional<std::string>(*id) : std::nullopt);
  });
}

// (configuration_id uuid, secret text): the key_id and secret to store in the row. STRICT.
Datum webhook_seal_secret(PG_FUNCTION_ARGS) {
  return entry([&] {
    const webhook::pg::SecretStore store;
    const auto key_id = store.current_key_id();
    const std::string sealed = key_id ? store.seal(uuid_argument(fcinfo, 0), utf8_argument(fcinfo, 1))
                                      : std::string(text_argument(fcinfo, 1).value_or(""));
    Datum values[] = {key_id ? text_result(*key_id) : Datum{0}, text_result(sealed)};
    bool nulls[] = {!key_id, false};
    return row_result(fcinfo, values, nulls);
  });
}

Datum webhook_open_secret(PG_FUNCTION_ARGS) {
  return entry([&] {
    std::string problem;
    const auto secret = open_argument(fcinfo, &problem);
    if (!secret) throw webhook::Error("55000", "the secret cannot be decrypted: " + problem);
    return text_result(*secret);
  });
}

// Null if the secret can be opened.
Datum webhook_secret_problem(PG_FUNCTION_ARGS) {
  return entry([&] {
    std::string problem;
    if (open_argument(fcinfo, &problem)) return text_result(fcinfo, std::nullopt);
    return text_result(problem);
  });
}

// (configuration_id uuid, key_id text, sealed text, secret text): whether this is the secret. False if the row cannot
// be opened. Compares in constant time.
Datum webhook_is_secret(PG_FUNCTION_ARGS) {
  return entry([&] {
    std::string problem;
    const auto opened = open_argument(fcinfo, &problem);
    const auto secret = text_argument(fcinfo, 3);
    return BoolGetDatum(opened && secret && webhook::equal_in_constant_time(*opened, *secret));
  });
}

Datum webhook_generate_secret(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return entry([] { return text_result(webhook::generate_secret()); });
}

// (secret text): the part to show.
Datum webhook_mask_secret(PG_FUNCTION_ARGS) {
  return entry([&] {
    return guarded([&] {
      text* const secret = PG_GETARG_TEXT_PP(0);
      static constexpr char kPrefix[] = "whsec_";
      constexpr int kPrefixBytes = sizeof kPrefix - 1;
      constexpr int kShown = 4;  // characters
      const bool has_prefix =
          VARSIZE_ANY_EXHDR(secret) >= kPrefixBytes && std::memcmp(VARDATA_ANY(secret), kPrefix, kPrefixBytes) == 0;
      text* const end = DatumGetTextPP(DirectFunctionCall2(text_right, PointerGetDatum(secret), Int32GetDatum(kShown)));
      StringInfoData mask;
      initStringInfo(&mask);
      if (has_prefix) appendBinaryStringInfo(&mask, kPrefix, kPrefixBytes);
      appendStringInfoString(&mask, GetDatabaseEncoding() == PG_UTF8 ? "\xe2\x80\xa6" : "...");
      appendBinaryStringInfo(&mask, VARDATA_ANY(end), static_cast<int>(VARSIZE_ANY_EXHDR(end)));
      return PointerGetDatum(cstring_to_text_with_len(mask.data, mask.len));
    });
  });
}

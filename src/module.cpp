// Where PostgreSQL enters: the library's start, and the functions that sql/parts declares in LANGUAGE C. Each
// is a thin entry() around what the folders below do.
extern "C" {
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
}

#include <chrono>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/crypto.h"
#include "core/event.h"
#include "core/event_pattern.h"
#include "core/header_rules.h"
#include "core/json_bounds.h"
#include "core/log_text.h"
#include "core/share.h"
#include "core/time.h"
#include "core/uuid.h"
#include "core/wire.h"
#include "http/curl_client.h"
#include "http/url.h"
#include "pg/background.h"
#include "pg/capture.h"
#include "pg/condition.h"
#include "pg/encoding.h"
#include "pg/guard.h"
#include "pg/keyed_lock.h"
#include "pg/secret_store.h"
#include "pg/settings.h"
#include "pg/shared_state.h"
#include "pg/spi_store.h"
#include "pg/subscriptions.h"
#include "pg/test_requests.h"
#include "pg/timestamps.h"
#include "pg/utility_hook.h"
#include "pg/watched_columns.h"
#include "pg/webhook_limit.h"
#include "worker/worker.h"

// What PostgreSQL looks up by name. Until version 16 its macros do not make it visible themselves.
#pragma GCC visibility push(default)
extern "C" {

#ifdef PG_MODULE_MAGIC_EXT
PG_MODULE_MAGIC_EXT(.name = "webhook", .version = WEBHOOK_VERSION);
#else
PG_MODULE_MAGIC;
#endif

void _PG_init(void);
void webhook_launcher_main(Datum argument);
void webhook_worker_main(Datum argument);

PG_FUNCTION_INFO_V1(webhook_capture);
PG_FUNCTION_INFO_V1(webhook_invalidate_subscriptions);
PG_FUNCTION_INFO_V1(webhook_append);
PG_FUNCTION_INFO_V1(webhook_flush);
PG_FUNCTION_INFO_V1(webhook_check_condition);
PG_FUNCTION_INFO_V1(webhook_url_problem);
PG_FUNCTION_INFO_V1(webhook_url_form_problem);
PG_FUNCTION_INFO_V1(webhook_header_problem);
PG_FUNCTION_INFO_V1(webhook_event_pattern_problem);
PG_FUNCTION_INFO_V1(webhook_filter_data_problem);
PG_FUNCTION_INFO_V1(webhook_event_matches);
PG_FUNCTION_INFO_V1(webhook_sign);
PG_FUNCTION_INFO_V1(webhook_sign_message);
PG_FUNCTION_INFO_V1(webhook_verify);
PG_FUNCTION_INFO_V1(webhook_verify_message);
PG_FUNCTION_INFO_V1(webhook_body);
PG_FUNCTION_INFO_V1(webhook_encode_id);
PG_FUNCTION_INFO_V1(webhook_decode_id);
PG_FUNCTION_INFO_V1(webhook_generate_secret);
PG_FUNCTION_INFO_V1(webhook_secret_key_id);
PG_FUNCTION_INFO_V1(webhook_seal_secret);
PG_FUNCTION_INFO_V1(webhook_open_secret);
PG_FUNCTION_INFO_V1(webhook_secret_problem);
PG_FUNCTION_INFO_V1(webhook_is_secret);
PG_FUNCTION_INFO_V1(webhook_count_webhooks);
PG_FUNCTION_INFO_V1(webhook_limit);
PG_FUNCTION_INFO_V1(webhook_lock_instance);
PG_FUNCTION_INFO_V1(webhook_lock_deliveries);
PG_FUNCTION_INFO_V1(webhook_owed_limit);
PG_FUNCTION_INFO_V1(webhook_log_ring);
PG_FUNCTION_INFO_V1(webhook_used_share);
PG_FUNCTION_INFO_V1(webhook_is_preloaded);
PG_FUNCTION_INFO_V1(webhook_mask_secret);
PG_FUNCTION_INFO_V1(webhook_wake);
PG_FUNCTION_INFO_V1(webhook_worker_slots);
PG_FUNCTION_INFO_V1(webhook_send_test);

}  // extern "C"
#pragma GCC visibility pop

using webhook::pg::entry;
using webhook::pg::guarded;

namespace {

// An argument, in the current memory context; nothing: null.
std::optional<std::string_view> text_argument(FunctionCallInfo fcinfo, int number) {
  if (PG_ARGISNULL(number)) return std::nullopt;
  return webhook::pg::view_of(guarded([&] { return PG_GETARG_TEXT_PP(number); }));
}

Datum text_result(std::string_view text) {
  return guarded([&] { return PointerGetDatum(cstring_to_text_with_len(text.data(), static_cast<int>(text.size()))); });
}

// Null for nothing.
Datum text_result(FunctionCallInfo fcinfo, const std::optional<std::string>& text) {
  if (text) return text_result(*text);
  fcinfo->isnull = true;
  return Datum{0};
}

}  // namespace

void _PG_init(void) {
  entry([] {
    webhook::pg::define_settings();
    webhook::pg::init_capture();
    // pg_upgrade's servers deliver nothing, and change no columns.
    if (IsBinaryUpgrade) return;
    webhook::pg::install_column_hooks();
    if (!process_shared_preload_libraries_in_progress) return;
    webhook::pg::request_shared_state();
    webhook::pg::request_test_memory();
    webhook::pg::install_utility_hook();
    webhook::pg::register_launcher();
  });
}

// --- The background processes ---------------------------------------------------------------------------------------------

void webhook_launcher_main(Datum /*argument*/) {
  entry([] { webhook::pg::run_launcher(); });
  // Unguarded: it does not return. Not 0, with which the launcher would never be started again.
  proc_exit(1);
}

namespace {

// Whether a worker has something to do is for the worker to find out: see background.h.
void run_worker(Oid database) {
  const webhook::WorkerShare share = webhook::pg::share_of_this_worker();
  const std::unique_ptr<webhook::pg::Process> process = webhook::pg::begin_worker(database, share);
  if (!process) return;
  try {
    webhook::pg::SpiStore store;
    if (store.installed_version() != WEBHOOK_VERSION) {
      throw webhook::pg::Error("55000",
                               "version " + store.installed_version() +
                                   " of extension \"webhook\" is installed, but the " + "library is of version " +
                                   WEBHOOK_VERSION,
                               "Events are recorded and kept.", "Run ALTER EXTENSION webhook UPDATE.");
    }
    webhook::pg::note_extension();
    webhook::init_http();
    webhook::CurlClient http(process->settings().http);
    webhook::pg::SharedTestRequests tests;
    webhook::Worker(*process, store, http, tests, share).run();
    webhook::pg::note_shutdown();
  } catch (const webhook::pg::ExtensionGone&) {
    webhook::pg::set_exit_reason(webhook::pg::WorkerExit::kNoExtension);
  } catch (const webhook::pg::Error& error) {
    // It ends in the server's log alone, and may quote what a tenant wrote.
    using webhook::LogText;
    throw webhook::pg::Error(error.sqlstate().c_str(), LogText(error.message()).text(), LogText(error.detail()).text(),
                             LogText(error.hint()).text(),
                             {.context = LogText(error.origin().context_in_a_line()).text()});
  }
}

}  // namespace

// argument: the database's OID. The launcher starts it again, if need be: see background.cpp.
void webhook_worker_main(Datum argument) {
  entry([argument] { run_worker(DatumGetObjectId(argument)); });
}

// --- Capture -------------------------------------------------------------------------------------------------------------

Datum webhook_capture(PG_FUNCTION_ARGS) {
  return entry([&] {
    webhook::pg::capture_row_change(fcinfo);
    return Datum{0};
  });
}

Datum webhook_invalidate_subscriptions(PG_FUNCTION_ARGS) {
  return entry([&] {
    webhook::pg::announce_subscription_change(fcinfo);
    return Datum{0};
  });
}

// (event text, data json, organization_id text, key text). A null data is JSON's null.
Datum webhook_append(PG_FUNCTION_ARGS) {
  return entry([&] {
    const std::optional<std::string_view> event = text_argument(fcinfo, 0);
    if (!event) throw webhook::pg::Error("22004", "the event's name must not be null");
    webhook::pg::capture_event(*event, text_argument(fcinfo, 1).value_or("null"), text_argument(fcinfo, 2),
                               text_argument(fcinfo, 3));
    return Datum{0};
  });
}

Datum webhook_flush(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return entry([] {
    webhook::pg::flush_captured_events();
    return Datum{0};
  });
}

// --- Checks of what a user enters --------------------------------------------------------------------------------------

// (url text): what is wrong with it; null: nothing.
Datum webhook_url_problem(PG_FUNCTION_ARGS) {
  return entry([&] {
    const auto url = text_argument(fcinfo, 0);
    auto problem = webhook::url_problem(url.value_or(""), webhook::pg::allow_http());
    if (!problem) problem = webhook::port_problem(url.value_or(""), webhook::pg::allowed_ports());
    return text_result(fcinfo, problem);
  });
}

// (url text): what is wrong with it whatever the settings; null: nothing.
Datum webhook_url_form_problem(PG_FUNCTION_ARGS) {
  return entry([&] {
    constexpr bool kAllowHttp = true;
    return text_result(fcinfo, webhook::url_problem(text_argument(fcinfo, 0).value_or(""), kAllowHttp));
  });
}

// (name text, value text)
Datum webhook_header_problem(PG_FUNCTION_ARGS) {
  return entry([&] {
    const auto name = text_argument(fcinfo, 0);
    const auto value = text_argument(fcinfo, 1);
    return text_result(fcinfo, webhook::header_problem(name.value_or(""), value.value_or("")));
  });
}

// (pattern text)
Datum webhook_event_pattern_problem(PG_FUNCTION_ARGS) {
  return entry([&] {
    const auto pattern = text_argument(fcinfo, 0);
    return text_result(fcinfo, webhook::event_pattern_problem(pattern.value_or("")));
  });
}

// (condition text): STRICT.
Datum webhook_check_condition(PG_FUNCTION_ARGS) {
  return entry([&] {
    webhook::pg::check_condition(text_argument(fcinfo, 0).value_or(""));
    return Datum{0};
  });
}

// (data text): why no filter may see it; null: one may.
Datum webhook_filter_data_problem(PG_FUNCTION_ARGS) {
  return entry([&] {
    const char* const problem = webhook::json_bounds(text_argument(fcinfo, 0).value_or("")).problem;
    return text_result(fcinfo, problem == nullptr ? std::nullopt : std::optional<std::string>(problem));
  });
}

// (pattern text, event text)
Datum webhook_event_matches(PG_FUNCTION_ARGS) {
  return entry([&] {
    return BoolGetDatum(
        webhook::event_matches(text_argument(fcinfo, 0).value_or(""), text_argument(fcinfo, 1).value_or("")));
  });
}

// --- The wire format, for SQL: STRICT, but for webhook_body ------------------------------------------------------------

namespace {

constexpr webhook::Duration kPostgresEpoch =
    std::chrono::sys_days(std::chrono::year(2000) / 1 / 1) - webhook::Time(webhook::Duration(0));

// What was signed and sent is UTF-8.
std::string utf8_argument(FunctionCallInfo fcinfo, int number) {
  return webhook::pg::to_utf8(text_argument(fcinfo, number).value_or(""));
}

// Of webhook-signature.
webhook::HmacKey key_argument(FunctionCallInfo fcinfo, int number) {
  return webhook::HmacKey::from_secret(utf8_argument(fcinfo, number));
}

webhook::Time time_argument(FunctionCallInfo fcinfo, int number) {
  const TimestampTz time = PG_GETARG_TIMESTAMPTZ(number);
  std::int64_t since_1970 = 0;
  if (TIMESTAMP_NOT_FINITE(time) || __builtin_add_overflow(time, kPostgresEpoch.count(), &since_1970)) {
    throw webhook::pg::Error("22008", "the time of an event must be finite");
  }
  return webhook::Time(webhook::Duration(since_1970));
}

webhook::Uuid uuid_argument(FunctionCallInfo fcinfo, int number) {
  webhook::Uuid uuid;
  static_assert(sizeof uuid.bytes == UUID_LEN);
  std::memcpy(uuid.bytes.data(), PG_GETARG_UUID_P(number)->data, UUID_LEN);
  return uuid;
}

webhook::EventIdCipher cipher_argument(FunctionCallInfo fcinfo, int number) {
  return webhook::EventIdCipher(uuid_argument(fcinfo, number));
}

}  // namespace

// (body text, secret text): the value of X-Webhook-Signature, whose key is the secret's text.
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

// (event text, created_at timestamptz, data json, previous json): null if any of the first three is.
Datum webhook_body(PG_FUNCTION_ARGS) {
  return entry([&] {
    if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2)) return text_result(fcinfo, std::nullopt);
    webhook::Event event;
    event.name = utf8_argument(fcinfo, 0);
    event.created_at = time_argument(fcinfo, 1);
    event.data = utf8_argument(fcinfo, 2);
    event.previous = utf8_argument(fcinfo, 3);
    return text_result(webhook::pg::from_utf8(webhook::build_body(event)));
  });
}

// (instance uuid, event_id bigint, created_at timestamptz): the value of webhook-id.
Datum webhook_encode_id(PG_FUNCTION_ARGS) {
  return entry(
      [&] { return text_result(cipher_argument(fcinfo, 0).encode(PG_GETARG_INT64(1), time_argument(fcinfo, 2))); });
}

// (instance uuid, webhook_id text, OUT event_id bigint, OUT created_at timestamptz): nulls if it is no such id.
Datum webhook_decode_id(PG_FUNCTION_ARGS) {
  return entry([&] {
    const auto decoded = cipher_argument(fcinfo, 0).decode(text_argument(fcinfo, 1).value_or(""));
    std::int64_t event_id = 0;
    TimestampTz created_at = 0;
    bool is_null = true;
    if (decoded) {
      event_id = decoded->event_id;
      is_null =
          __builtin_sub_overflow(decoded->created_at.time_since_epoch().count(), kPostgresEpoch.count(), &created_at) ||
          !IS_VALID_TIMESTAMP(created_at);
    }
    return guarded([&] {
      TupleDesc type = nullptr;
      if (get_call_result_type(fcinfo, nullptr, &type) != TYPEFUNC_COMPOSITE) elog(ERROR, "the result is no row");
      Datum values[] = {Int64GetDatum(event_id), TimestampTzGetDatum(created_at)};
      bool nulls[] = {is_null, is_null};
      return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(type), values, nulls));
    });
  });
}

// --- Secrets at rest: not STRICT, for the id of the key is null where a secret is not sealed -----------------------------

namespace {

// (configuration_id uuid, key_id text, sealed text), all of a row of webhook_secrets. What is sealed is UTF-8.
std::optional<std::string> open_argument(FunctionCallInfo fcinfo, std::string* problem) {
  if (PG_ARGISNULL(0) || PG_ARGISNULL(2)) throw webhook::pg::Error("22004", "a secret's row must not be null");
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

// (configuration_id uuid, secret text): key_id and secret of its row. STRICT.
Datum webhook_seal_secret(PG_FUNCTION_ARGS) {
  return entry([&] {
    const webhook::pg::SecretStore store;
    const auto key_id = store.current_key_id();
    const std::string sealed = key_id ? store.seal(uuid_argument(fcinfo, 0), utf8_argument(fcinfo, 1))
                                      : std::string(text_argument(fcinfo, 1).value_or(""));
    Datum values[] = {key_id ? text_result(*key_id) : Datum{0}, text_result(sealed)};
    bool nulls[] = {!key_id, false};
    return guarded([&] {
      TupleDesc type = nullptr;
      if (get_call_result_type(fcinfo, nullptr, &type) != TYPEFUNC_COMPOSITE) elog(ERROR, "the result is no row");
      return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(type), values, nulls));
    });
  });
}

Datum webhook_open_secret(PG_FUNCTION_ARGS) {
  return entry([&] {
    std::string problem;
    const auto secret = open_argument(fcinfo, &problem);
    if (!secret) throw webhook::pg::Error("55000", "the secret cannot be decrypted: " + problem);
    return text_result(*secret);
  });
}

// Null: it opens.
Datum webhook_secret_problem(PG_FUNCTION_ARGS) {
  return entry([&] {
    std::string problem;
    if (open_argument(fcinfo, &problem)) return text_result(fcinfo, std::nullopt);
    return text_result(problem);
  });
}

// (configuration_id uuid, key_id text, sealed text, secret text): whether that is the secret. One that does not open is
// not. In constant time.
Datum webhook_is_secret(PG_FUNCTION_ARGS) {
  return entry([&] {
    std::string problem;
    const auto opened = open_argument(fcinfo, &problem);
    const auto secret = text_argument(fcinfo, 3);
    return BoolGetDatum(opened && secret && webhook::equal_in_constant_time(*opened, *secret));
  });
}

// --- The limit of an organization ----------------------------------------------------------------------------------------

// (organization_id text). STRICT.
Datum webhook_count_webhooks(PG_FUNCTION_ARGS) {
  return entry(
      [&] { return Int64GetDatum(webhook::pg::lock_and_count_webhooks(text_argument(fcinfo, 0).value_or(""))); });
}

Datum webhook_limit(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return Int32GetDatum(webhook::pg::webhooks_per_organization_max());
}

// (webhook uuid).
Datum webhook_lock_deliveries(PG_FUNCTION_ARGS) {
  return entry([&] {
    const webhook::Uuid webhook = uuid_argument(fcinfo, 0);
    webhook::pg::lock_keyed(webhook::pg::KeyedLock::kDeliveries, webhook::pg::name_of(webhook));
    return Datum{0};
  });
}

Datum webhook_owed_limit(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return Int32GetDatum(webhook::pg::owed_per_organization_max());
}

Datum webhook_lock_instance(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return entry([] {
    webhook::pg::lock_keyed(webhook::pg::KeyedLock::kInstance, {});
    return Datum{0};
  });
}

// (organization_id text, rows bigint).
Datum webhook_log_ring(PG_FUNCTION_ARGS) {
  constexpr std::uint64_t kRowBytes = 250;  // of a row that tells of no attempt
  return entry([&] {
    const auto organization = text_argument(fcinfo, 0);
    const auto rows = PG_ARGISNULL(1) ? 0 : static_cast<std::uint64_t>(PG_GETARG_INT64(1));
    const bool is_within =
        !organization || webhook::pg::take_share(webhook::pg::Storage::kLogs, *organization, rows * kRowBytes);
    return text_result(is_within ? "logs" : "excess_logs");
  });
}

// (organization_id text, storage text). STRICT.
Datum webhook_used_share(PG_FUNCTION_ARGS) {
  return entry([&] {
    const bool of_events = text_argument(fcinfo, 1) == "events";
    return Float8GetDatum(
        webhook::pg::used_share(of_events ? webhook::pg::Storage::kEvents : webhook::pg::Storage::kLogs,
                                text_argument(fcinfo, 0).value_or("")));
  });
}

// --- The rest --------------------------------------------------------------------------------------------------------------

Datum webhook_generate_secret(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return entry([] { return text_result(webhook::generate_secret()); });
}

// (secret text): what is shown of it.
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

Datum webhook_is_preloaded(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return BoolGetDatum(webhook::pg::has_shared_state());
}

Datum webhook_wake(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return entry([] {
    webhook::pg::announce_change_to_worker();
    return Datum{0};
  });
}

namespace {

// The row of webhook_internal.worker_slots() for a worker. No C++ object may stand here: tuplestore_putvalues() may raise
// an error.
void put_worker(ReturnSetInfo* result, const webhook::pg::WorkerReport& worker) {
  const webhook::pg::WorkerFigures& figures = worker.figures;
  const auto time = [](const std::optional<webhook::Time>& at) {
    return TimestampTzGetDatum(at ? webhook::pg::to_timestamptz(*at) : 0);
  };
  Datum values[] = {ObjectIdGetDatum(worker.database),
                    Int32GetDatum(worker.share.number),
                    Int32GetDatum(worker.share.count),
                    Int32GetDatum(worker.pid),
                    time(worker.started_at),
                    Int64GetDatum(static_cast<std::int64_t>(figures.in_flight)),
                    Int64GetDatum(static_cast<std::int64_t>(figures.queued)),
                    Int64GetDatum(static_cast<std::int64_t>(figures.events_ahead)),
                    Int64GetDatum(figures.sent),
                    Int64GetDatum(figures.failed),
                    Int64GetDatum(figures.logged),
                    time(figures.oldest_event_at),
                    time(figures.last_error_at)};
  bool nulls[std::size(values)] = {};
  nulls[11] = !figures.oldest_event_at;
  nulls[12] = !figures.last_error_at;
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

}  // namespace

// (): the columns of the view webhook_workers, one row for each worker that runs; none without shared memory.
Datum webhook_worker_slots(PG_FUNCTION_ARGS) {
  return entry([&] {
    guarded([fcinfo] { InitMaterializedSRF(fcinfo, 0); });
    auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
    for (int place = 0; place < webhook::pg::place_count(); ++place) {
      for (int number = 1; number <= webhook::pg::kWorkersMax; ++number) {
        const auto worker = webhook::pg::worker_report(place, number);
        if (worker) guarded([&] { put_worker(result, *worker); });
      }
    }
    return Datum{0};
  });
}

// (webhook uuid, event text, timeout_ms integer, OUT status text, OUT response_status integer, OUT response_body text,
// OUT error text, OUT duration_ms double precision, OUT log_id bigint): STRICT. timeout_ms: the webhook's.
Datum webhook_send_test(PG_FUNCTION_ARGS) {
  return entry([&] {
    constexpr webhook::Duration kGrace = std::chrono::seconds(10);  // for the worker to come to it, and to record it
    const webhook::TestAnswer answer =
        webhook::pg::run_test(uuid_argument(fcinfo, 0), webhook::pg::from_timestamptz(PG_GETARG_TIMESTAMPTZ(1)),
                              text_argument(fcinfo, 2).value_or(""), text_argument(fcinfo, 3).value_or(""),
                              std::chrono::milliseconds(PG_GETARG_INT32(4)) + kGrace);
    const std::string body = webhook::pg::from_utf8(answer.response_body.view());
    const std::string error = webhook::pg::from_utf8(answer.error.view());
    const double duration_ms = std::chrono::duration<double, std::milli>(answer.elapsed).count();
    return guarded([&] {
      TupleDesc type = nullptr;
      if (get_call_result_type(fcinfo, nullptr, &type) != TYPEFUNC_COMPOSITE) elog(ERROR, "the result is no row");
      Datum values[] = {PointerGetDatum(cstring_to_text(answer.success ? "success" : "failed")),
                        Int32GetDatum(answer.response_status),
                        PointerGetDatum(cstring_to_text_with_len(body.data(), static_cast<int>(body.size()))),
                        PointerGetDatum(cstring_to_text_with_len(error.data(), static_cast<int>(error.size()))),
                        Float8GetDatum(duration_ms),
                        Int64GetDatum(answer.log_id)};
      bool nulls[] = {false, answer.response_status == 0, body.empty(), error.empty(), false, answer.log_id == 0};
      return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(type), values, nulls));
    });
  });
}

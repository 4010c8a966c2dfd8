#include "pg/capture/row_json.h"

extern "C" {
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/transam.h"
#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "common/shortest_dec.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "pgtime.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/datum.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/multirangetypes.h"
#include "utils/numeric.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/uuid.h"
}

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "core/wire.h"
#include "pg/encoding.h"
#include "pg/guard.h"

namespace webhook::pg {
namespace {

static_assert(std::is_same_v<Datum, std::uintptr_t>);

// A larger value is not converted at all. Output functions make at most 8 bytes of text from one byte, but for numbers
// (text_bytes_min()), and PostgreSQL raises an error at 1 GB.
constexpr std::size_t kValueBytesMax = 100 * 1024 * 1024;
// The text is at least the value's size divided by this: numbers in arrays and jsonb can be shorter as text.
constexpr std::size_t kBinaryPerText = 4;
// Of a key. A digest stands for a longer text of numbers.
constexpr std::size_t kTextBytesMax = 1024 * 1024;

std::string_view detoasted(Datum value) {
  return view_of(pg_detoast_datum_packed(reinterpret_cast<struct varlena*>(DatumGetPointer(value))));
}

ColumnKind kind_of_builtin(Oid type) {
  switch (type) {
    case BOOLOID:
      return ColumnKind::kBool;
    case INT2OID:
      return ColumnKind::kInt16;
    case INT4OID:
      return ColumnKind::kInt32;
    case INT8OID:
      return ColumnKind::kInt64;
    case FLOAT4OID:
      return ColumnKind::kFloat4;
    case FLOAT8OID:
      return ColumnKind::kFloat8;
    case NUMERICOID:
      return ColumnKind::kNumeric;
    case TEXTOID:
    case VARCHAROID:
    case BPCHAROID:
      return ColumnKind::kText;
    case DATEOID:
      return ColumnKind::kDate;
    case TIMESTAMPOID:
      return ColumnKind::kTimestamp;
    case TIMESTAMPTZOID:
      return ColumnKind::kTimestamptz;
    case UUIDOID:
      return ColumnKind::kUuid;
    case JSONOID:
      return ColumnKind::kJson;
    case JSONBOID:
      return ColumnKind::kJsonb;
    default:
      return ColumnKind::kOutput;
  }
}

struct Classified {
  ColumnKind kind;
  Oid function;
};

// Makes the same distinctions as PostgreSQL's json_categorize_type (utils/adt/json.c; jsonfuncs.c from 16).
Classified classify(Oid type) {
  const Oid base = getBaseType(type);
  const ColumnKind builtin = kind_of_builtin(base);
  if (builtin != ColumnKind::kOutput) return {builtin, InvalidOid};
  if (OidIsValid(get_element_type(base))) return {ColumnKind::kArray, InvalidOid};
  if (type_is_rowtype(base)) return {ColumnKind::kComposite, InvalidOid};
  Oid function = InvalidOid;
  if (base >= FirstNormalObjectId &&
      find_coercion_pathway(JSONOID, base, COERCION_EXPLICIT, &function) == COERCION_PATH_FUNC &&
      OidIsValid(function)) {
    return {ColumnKind::kCast, function};
  }
  bool is_varlena;
  getTypeOutputInfo(base, &function, &is_varlena);
  return {ColumnKind::kOutput, function};
}

// --- Values ----------------------------------------------------------------------------------------------------------

template <class Integer>
void append_integer(std::string& out, Integer number) {
  char text[24];
  out.append(text, std::to_chars(text, text + sizeof text, number).ptr);
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  out += text;
  out += '"';
}

// JSON has neither NaN nor infinity, so they become strings, as in PostgreSQL.
void append_special_float(std::string& out, double number) {
  append_quoted(out, std::isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity");
}

void append_float4(std::string& out, float4 number) {
  if (!std::isfinite(number)) return append_special_float(out, static_cast<double>(number));
  char text[FLOAT_SHORTEST_DECIMAL_LEN];
  out.append(text, static_cast<std::size_t>(float_to_shortest_decimal_buf(number, text)));
}

void append_float8(std::string& out, float8 number) {
  if (!std::isfinite(number)) return append_special_float(out, number);
  char text[DOUBLE_SHORTEST_DECIMAL_LEN];
  out.append(text, static_cast<std::size_t>(double_to_shortest_decimal_buf(number, text)));
}

void append_numeric(std::string& out, Datum value) {
  const std::string_view text = DatumGetCString(DirectFunctionCall1(numeric_out, value));
  const char last = text.empty() ? '\0' : text.back();
  if (last >= '0' && last <= '9') {
    out += text;
  } else {
    append_quoted(out, text);
  }
}

void append_datetime(std::string& out, Datum value, Oid type) {
  const int utc = 0;
  char text[MAXDATELEN + 1];
  append_quoted(out, JsonEncodeDateTime(text, value, type, type == TIMESTAMPTZOID ? &utc : nullptr));
}

// Writes 36 characters.
void write_uuid(char* to, Datum value) {
  constexpr char kDigits[] = "0123456789abcdef";
  const pg_uuid_t* uuid = DatumGetUUIDP(value);
  for (int i = 0; i < UUID_LEN; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) *to++ = '-';
    *to++ = kDigits[uuid->data[i] >> 4];
    *to++ = kDigits[uuid->data[i] & 0x0f];
  }
}

void append_uuid(std::string& out, Datum value) {
  char text[36];
  write_uuid(text, value);
  append_quoted(out, {text, sizeof text});
}

void append_jsonb_scalar(std::string& out, const JsonbValue& value) {
  switch (value.type) {
    case jbvNull:
      out += "null";
      break;
    case jbvBool:
      out += value.val.boolean ? "true" : "false";
      break;
    case jbvString:
      append_json_string(out, {value.val.string.val, static_cast<std::size_t>(value.val.string.len)});
      break;
    case jbvNumeric: {
      char* const text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value.val.numeric)));
      out += text;
      pfree(text);
      break;
    }
    default:
      elog(ERROR, "unexpected type of a jsonb value: %d", static_cast<int>(value.type));
  }
}

// As JsonbToCString() writes it. Stops once there is more than bytes_max: a number of a few bytes may have 131,072 digits.
void append_jsonb(std::string& out, Datum value, std::size_t bytes_max) {
  Jsonb* jsonb = DatumGetJsonbP(value);
  JsonbIterator* place = JsonbIteratorInit(&jsonb->root);
  JsonbValue part;
  const bool is_scalar = JB_ROOT_IS_SCALAR(jsonb);
  bool needs_comma = false;
  JsonbIteratorToken token;
  while (out.size() <= bytes_max && (token = JsonbIteratorNext(&place, &part, false)) != WJB_DONE) {
    CHECK_FOR_INTERRUPTS();
    if (token == WJB_END_ARRAY || token == WJB_END_OBJECT) {
      if (!is_scalar) out += token == WJB_END_ARRAY ? ']' : '}';
      needs_comma = true;
      continue;
    }
    if (needs_comma && token != WJB_VALUE) out += ", ";
    needs_comma = token == WJB_VALUE || token == WJB_ELEM;
    if (token == WJB_BEGIN_ARRAY) {
      if (!is_scalar) out += '[';
    } else if (token == WJB_BEGIN_OBJECT) {
      out += '{';
    } else {
      append_jsonb_scalar(out, part);
      if (token == WJB_KEY) out += ": ";
    }
  }
}

// Whether the text of a value may be far longer than the value: it contains numbers, which may be 1e131071.
bool may_expand(Oid type) {
  check_stack_depth();
  type = getBaseType(type);
  if (type == NUMERICOID || type == JSONBOID) return true;
  if (const Oid element = get_element_type(type); OidIsValid(element)) return may_expand(element);
  if (type_is_multirange(type)) type = get_multirange_range(type);
  if (type_is_range(type)) return may_expand(get_range_subtype(type));
  if (!type_is_rowtype(type) || type == RECORDOID) return type == RECORDOID;
  TupleDesc shape = lookup_rowtype_tupdesc_domain(type, -1, true);
  if (shape == nullptr) return false;
  bool may = false;
  for (int i = 0; i < shape->natts && !may; ++i) {
    const Form_pg_attribute attribute = TupleDescAttr(shape, i);
    may = !attribute->attisdropped && may_expand(attribute->atttypid);
  }
  ReleaseTupleDesc(shape);
  return may;
}

std::size_t number_bytes(Datum number) {
  char* const text = DatumGetCString(DirectFunctionCall1(numeric_out, number));
  const std::size_t bytes = std::strlen(text);
  pfree(text);
  return bytes;
}

std::size_t text_bytes_min(Oid type, Datum value, std::size_t enough);

std::size_t bytes_min_of_jsonb(Datum value, std::size_t enough) {
  Jsonb* jsonb = DatumGetJsonbP(value);
  JsonbIterator* place = JsonbIteratorInit(&jsonb->root);
  JsonbValue part;
  std::size_t bytes = 0;
  JsonbIteratorToken token;
  while (bytes <= enough && (token = JsonbIteratorNext(&place, &part, false)) != WJB_DONE) {
    CHECK_FOR_INTERRUPTS();
    const bool is_value = token == WJB_VALUE || token == WJB_ELEM;
    if (is_value && part.type == jbvNumeric) bytes += number_bytes(NumericGetDatum(part.val.numeric));
  }
  return bytes;
}

std::size_t bytes_min_of_array(Datum value, std::size_t enough) {
  ArrayType* array = DatumGetArrayTypeP(value);
  const Oid element = ARR_ELEMTYPE(array);
  int16 length;
  bool by_value;
  char alignment;
  get_typlenbyvalalign(element, &length, &by_value, &alignment);
  ArrayIterator place = array_create_iterator(array, 0, nullptr);
  Datum part;
  bool is_null;
  std::size_t bytes = 0;
  while (bytes <= enough && array_iterate(place, &part, &is_null)) {
    CHECK_FOR_INTERRUPTS();
    if (!is_null) bytes += text_bytes_min(element, part, enough - bytes);
  }
  array_free_iterator(place);
  return bytes;
}

std::size_t bytes_min_of_row(Datum value, std::size_t enough) {
  HeapTupleHeader row = DatumGetHeapTupleHeader(value);
  TupleDesc shape = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row), HeapTupleHeaderGetTypMod(row));
  HeapTupleData tuple{};
  tuple.t_len = HeapTupleHeaderGetDatumLength(row);
  tuple.t_data = row;
  std::size_t bytes = 0;
  for (int i = 0; i < shape->natts && bytes <= enough; ++i) {
    const Form_pg_attribute attribute = TupleDescAttr(shape, i);
    if (attribute->attisdropped) continue;
    bool is_null;
    const Datum part = heap_getattr(&tuple, i + 1, shape, &is_null);
    if (!is_null) bytes += text_bytes_min(attribute->atttypid, part, enough - bytes);
  }
  ReleaseTupleDesc(shape);
  return bytes;
}

std::size_t bytes_min_of_range(const RangeType* range, TypeCacheEntry* type, std::size_t enough) {
  RangeBound lower;
  RangeBound upper;
  bool is_empty;
  range_deserialize(type, range, &lower, &upper, &is_empty);
  std::size_t bytes = 0;
  for (const RangeBound& bound : {lower, upper}) {
    if (!is_empty && !bound.infinite && bytes <= enough) {
      bytes += text_bytes_min(type->rngelemtype->type_id, bound.val, enough - bytes);
    }
  }
  return bytes;
}

std::size_t bytes_min_of_multirange(Oid of_type, Datum value, std::size_t enough) {
  TypeCacheEntry* type = lookup_type_cache(of_type, TYPECACHE_MULTIRANGE_INFO);
  int32 count;
  RangeType** ranges;
  multirange_deserialize(type->rngtype, DatumGetMultirangeTypeP(value), &count, &ranges);
  std::size_t bytes = 0;
  for (int32 i = 0; i < count && bytes <= enough; ++i) {
    CHECK_FOR_INTERRUPTS();
    bytes += bytes_min_of_range(ranges[i], type->rngtype, enough - bytes);
  }
  return bytes;
}

// The bytes that the numbers in a value have as text. It need not look further when these are more than enough.
std::size_t text_bytes_min(Oid type, Datum value, std::size_t enough) {
  check_stack_depth();
  type = getBaseType(type);
  if (type == NUMERICOID) return number_bytes(value);
  if (type == JSONBOID) return bytes_min_of_jsonb(value, enough);
  if (!may_expand(type)) return 0;
  if (OidIsValid(get_element_type(type))) return bytes_min_of_array(value, enough);
  if (type_is_multirange(type)) return bytes_min_of_multirange(type, value, enough);
  if (type_is_range(type)) {
    return bytes_min_of_range(DatumGetRangeTypeP(value), lookup_type_cache(type, TYPECACHE_RANGE_INFO), enough);
  }
  return bytes_min_of_row(value, enough);
}

void append_text_array(std::string& out, FmgrInfo* function, Datum value) {
  ArrayType* array = DatumGetArrayTypeP(value);
  int16 length;
  bool by_value;
  char alignment;
  get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &alignment);
  Datum* elements;
  bool* nulls;
  int count;
  deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, alignment, &elements, &nulls, &count);
  for (int i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    if (!nulls[i]) elements[i] = PointerGetDatum(cstring_to_text(OutputFunctionCall(function, elements[i])));
  }
  ArrayType* texts = construct_md_array(elements, nulls, ARR_NDIM(array), ARR_DIMS(array), ARR_LBOUND(array), TEXTOID,
                                        -1, false, TYPALIGN_INT);
  out += detoasted(DirectFunctionCall1(array_to_json, PointerGetDatum(texts)));
}

// A user's cast may return null.
void append_cast(std::string& out, FmgrInfo* function, Datum value) {
  LOCAL_FCINFO(call, 1);
  InitFunctionCallInfoData(*call, function, 1, InvalidOid, nullptr, nullptr);
  call->args[0].value = value;
  call->args[0].isnull = false;
  const Datum json = FunctionCallInvoke(call);
  out += call->isnull ? std::string_view("null") : detoasted(json);
}

void append_value(std::string& out, const Column& column, FmgrInfo* function, Datum value, std::size_t bytes_max) {
  switch (column.kind) {
    case ColumnKind::kBool:
      out += DatumGetBool(value) ? "true" : "false";
      break;
    case ColumnKind::kInt16:
      append_integer(out, DatumGetInt16(value));
      break;
    case ColumnKind::kInt32:
      append_integer(out, DatumGetInt32(value));
      break;
    case ColumnKind::kInt64:
      append_integer(out, DatumGetInt64(value));
      break;
    case ColumnKind::kFloat4:
      append_float4(out, DatumGetFloat4(value));
      break;
    case ColumnKind::kFloat8:
      append_float8(out, DatumGetFloat8(value));
      break;
    case ColumnKind::kNumeric:
      append_numeric(out, value);
      break;
    case ColumnKind::kText:
      append_json_string(out, detoasted(value));
      break;
    case ColumnKind::kDate:
      append_datetime(out, value, DATEOID);
      break;
    case ColumnKind::kTimestamp:
      append_datetime(out, value, TIMESTAMPOID);
      break;
    case ColumnKind::kTimestamptz:
      append_datetime(out, value, TIMESTAMPTZOID);
      break;
    case ColumnKind::kUuid:
      append_uuid(out, value);
      break;
    case ColumnKind::kJson:
      out += detoasted(value);
      break;
    case ColumnKind::kJsonb:
      append_jsonb(out, value, bytes_max);
      break;
    case ColumnKind::kArray:
      out += detoasted(DirectFunctionCall1(array_to_json, value));
      break;
    case ColumnKind::kTextArray:
      append_text_array(out, function, value);
      break;
    case ColumnKind::kComposite:
      out += detoasted(DirectFunctionCall1(row_to_json, value));
      break;
    case ColumnKind::kCast:
      append_cast(out, function, value);
      break;
    case ColumnKind::kOutput:
      append_json_string(out, OutputFunctionCall(function, value));
      break;
  }
}

// The minimum size of the value as JSON, as far as it matters whether that is more than enough. A value that is too large
// is then neither read from its TOAST table nor converted.
std::size_t json_bytes_min(const Column& column, Datum value, std::size_t enough) {
  if (column.length != -1) return 0;
  const std::size_t bytes = toast_raw_datum_size(value) - VARHDRSZ;
  if (column.kind == ColumnKind::kText || column.kind == ColumnKind::kJson || bytes > kValueBytesMax) return bytes;
  const std::size_t bytes_min = bytes / kBinaryPerText;
  if (!column.may_expand || bytes_min > enough) return bytes_min;
  return std::max(bytes_min, text_bytes_min(column.type, value, enough));
}

}  // namespace

bool json_reads_settings(const Column& column) { return column.kind >= ColumnKind::kArray; }

bool text_reads_settings(const Column& column) {
  switch (column.kind) {
    case ColumnKind::kInt16:
    case ColumnKind::kInt32:
    case ColumnKind::kInt64:
    case ColumnKind::kText:
    case ColumnKind::kUuid:
      return false;
    default:
      return true;
  }
}

std::vector<Column> describe_columns(TupleDescData* shape) {
  std::vector<Column> columns;
  for (int i = 0; i < shape->natts; ++i) {
    const Form_pg_attribute attribute = TupleDescAttr(shape, i);
    if (attribute->attisdropped) continue;
    Column column;
    column.number = i + 1;
    column.name = NameStr(attribute->attname);
    append_json_string(column.json_key, column.name);
    column.json_key += ':';
    column.type = attribute->atttypid;
    const Classified classified = guarded([&] { return classify(attribute->atttypid); });
    column.kind = classified.kind;
    column.json_function = classified.function;
    column.is_padded = guarded([&] { return getBaseType(attribute->atttypid); }) == BPCHAROID;
    column.length = attribute->attlen;
    // numeric itself is short enough, and jsonb is written in parts.
    const bool is_container = column.kind == ColumnKind::kArray || column.kind == ColumnKind::kComposite ||
                              column.kind == ColumnKind::kOutput;
    column.may_expand = is_container && guarded([&] { return may_expand(attribute->atttypid); });
    column.by_value = attribute->attbyval;
    column.is_virtual = attribute->attgenerated == 'v';  // PostgreSQL 18
    columns.push_back(std::move(column));
  }
  return columns;
}

void write_large_numbers_as_text(Column& column) {
  guarded([&] {
    const Oid base = getBaseType(column.type);
    const bool is_array = column.kind == ColumnKind::kArray;
    const Oid number = is_array ? getBaseType(get_element_type(base)) : base;
    if (number != INT8OID && number != NUMERICOID) return;
    bool is_varlena;
    getTypeOutputInfo(number, &column.json_function, &is_varlena);
    column.kind = is_array ? ColumnKind::kTextArray : ColumnKind::kOutput;
  });
}

namespace {

pg_tz* utc() {
  // Never freed: PostgreSQL keeps every time zone that it has loaded. GMT needs no file.
  static pg_tz* const zone = guarded([] { return pg_tzset("GMT"); });
  return zone;
}

constexpr int kFloatDigits = 1;

template <class Setting>
void put_back(Setting& setting, Setting ours, Setting theirs) {
  if (setting == ours) setting = theirs;
}

}  // namespace

IsoSettings::IsoSettings()
    : time_zone_(session_timezone),
      date_style_(DateStyle),
      date_order_(DateOrder),
      interval_style_(IntervalStyle),
      bytea_output_(bytea_output),
      extra_float_digits_(extra_float_digits) {
  session_timezone = utc();
  DateStyle = USE_ISO_DATES;
  DateOrder = DATEORDER_MDY;
  IntervalStyle = INTSTYLE_POSTGRES;
  bytea_output = BYTEA_OUTPUT_HEX;
  extra_float_digits = kFloatDigits;
}

IsoSettings::~IsoSettings() {
  put_back(session_timezone, utc(), time_zone_);
  put_back(DateStyle, USE_ISO_DATES, date_style_);
  put_back(DateOrder, DATEORDER_MDY, date_order_);
  put_back(IntervalStyle, INTSTYLE_POSTGRES, interval_style_);
  put_back(bytea_output, static_cast<int>(BYTEA_OUTPUT_HEX), bytea_output_);
  put_back(extra_float_digits, kFloatDigits, extra_float_digits_);
}

bool is_same_image(const Column& column, RowValues one, RowValues other) {
  const auto index = static_cast<std::size_t>(column.number - 1);
  if (one.nulls[index] || other.nulls[index]) return one.nulls[index] == other.nulls[index];
  if (column.length == -1) {
    const auto* left = reinterpret_cast<const struct varlena*>(DatumGetPointer(one.values[index]));
    const auto* right = reinterpret_cast<const struct varlena*>(DatumGetPointer(other.values[index]));
    if (VARATT_IS_EXTERNAL_ONDISK(left) && VARATT_IS_EXTERNAL_ONDISK(right) &&
        std::memcmp(left, right, VARSIZE_EXTERNAL(left)) == 0) {
      return true;
    }
  }
  return datum_image_eq(one.values[index], other.values[index], column.by_value, column.length);
}

std::size_t append_row(std::string& out, std::span<const Column> columns, FmgrInfo* functions, RowValues row,
                       std::size_t bytes_max, const RowValues* unlike) {
  out += '{';
  bool is_first = true;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const Column& column = columns[i];
    const auto index = static_cast<std::size_t>(column.number - 1);
    if (unlike != nullptr && is_same_image(column, row, *unlike)) continue;
    if (!is_first) out += ',';
    is_first = false;
    out += column.json_key;
    if (row.nulls[index]) {
      out += "null";
    } else {
      const std::size_t room = bytes_max - std::min(out.size(), bytes_max);
      const std::size_t bytes_min = out.size() + json_bytes_min(column, row.values[index], room);
      if (bytes_min > bytes_max) return bytes_min;
      append_value(out, column, functions + i, row.values[index], bytes_max);
    }
    if (out.size() > bytes_max) return out.size();
  }
  out += '}';
  return out.size() > bytes_max ? out.size() : 0;
}

namespace {

// Of a value whose numbers are too long to be written.
std::string_view digest_of(Datum value) {
  const std::string_view bytes = detoasted(value);
  const uint64 hash =
      hash_bytes_extended(reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()), 0);
  auto* text = static_cast<char*>(palloc(16));
  return {text, static_cast<std::size_t>(std::to_chars(text, text + 16, hash, 16).ptr - text)};
}

// char(n) compares without trailing blanks, and its cast to text removes them.
std::string_view without_padding(std::string_view text) { return text.substr(0, text.find_last_not_of(' ') + 1); }

}  // namespace

std::string_view text_of(const Column& column, std::uintptr_t value) {
  switch (column.kind) {
    case ColumnKind::kText:
      return column.is_padded ? without_padding(detoasted(value)) : detoasted(value);
    // Equal values get the same text: 1.0 and 1.00, 0 and -0.
    case ColumnKind::kNumeric:
      return DatumGetCString(DirectFunctionCall1(numeric_out, DirectFunctionCall1(numeric_trim_scale, value)));
    case ColumnKind::kFloat4:
      return DatumGetCString(DirectFunctionCall1(float4out, Float4GetDatum(DatumGetFloat4(value) + 0.0F)));
    case ColumnKind::kFloat8:
      return DatumGetCString(DirectFunctionCall1(float8out, Float8GetDatum(DatumGetFloat8(value) + 0.0)));
    case ColumnKind::kInt16:
    case ColumnKind::kInt32:
    case ColumnKind::kInt64: {
      const int64 number = column.kind == ColumnKind::kInt16   ? DatumGetInt16(value)
                           : column.kind == ColumnKind::kInt32 ? DatumGetInt32(value)
                                                               : DatumGetInt64(value);
      auto* text = static_cast<char*>(palloc(24));
      return {text, static_cast<std::size_t>(std::to_chars(text, text + 24, number).ptr - text)};
    }
    case ColumnKind::kUuid: {
      auto* text = static_cast<char*>(palloc(36));
      write_uuid(text, value);
      return {text, 36};
    }
    default: {
      const bool expands = column.may_expand || column.kind == ColumnKind::kJsonb;
      if (expands && text_bytes_min(column.type, value, kTextBytesMax) > kTextBytesMax) return digest_of(value);
      Oid function;
      bool is_varlena;
      getTypeOutputInfo(column.type, &function, &is_varlena);
      return OidOutputFunctionCall(function, value);
    }
  }
}

}  // namespace webhook::pg

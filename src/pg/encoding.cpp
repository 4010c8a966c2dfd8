#include "pg/encoding.h"

extern "C" {
#include "postgres.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif
}

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/crypto.h"
#include "core/utf8.h"
#include "pg/guard.h"

namespace webhook::pg {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr std::string_view kBytesFollow("\0bytes:", 7);    // the mark of identifier_to_utf8()

// Converts the text. Writes the replacement for each character without a counterpart, and continues after it.
std::string convert(std::string_view text, int from, int to, std::string_view replacement) {
  const Oid conversion = guarded([from, to] { return FindDefaultConversionProc(from, to); });
  if (!OidIsValid(conversion)) return {};
  std::string converted;
  std::string chunk;
  while (!text.empty()) {
    // In pieces, because a result may be several times as long as its input.
    const std::size_t piece = std::min<std::size_t>(text.size(), 64 * 1024);
    chunk.resize(piece * MAX_CONVERSION_GROWTH + 1);
    auto* source = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(text.data()));
    auto* target = reinterpret_cast<unsigned char*>(chunk.data());
    const int target_bytes = static_cast<int>(chunk.size());
    const int length = static_cast<int>(piece);
    const auto done = static_cast<std::size_t>(guarded([=] {
      return pg_do_encoding_conversion_buf(conversion, from, to, source, length, target, target_bytes, true);
    }));
    converted.append(chunk.c_str());
    text.remove_prefix(done);
    if (done == piece || (done > 0 && piece < text.size() + done)) continue;
    if (text.empty()) break;
    converted.append(replacement);
    // Needs no guard: it only reads the text.
    const int character = pg_encoding_mblen(from, text.data());
    text.remove_prefix(std::clamp<std::size_t>(static_cast<std::size_t>(character), 1, text.size()));
  }
  return converted;
}

// The bytes behind the mark of identifier_to_utf8(). Nothing if the text does not have it.
std::optional<std::string> bytes_of_identifier(std::string_view text) {
  const std::size_t mark = text.find(kBytesFollow);
  if (mark == std::string_view::npos) return std::nullopt;
  text.remove_prefix(mark + kBytesFollow.size());
  std::string bytes(text.size() / 2, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto parsed =
        std::from_chars(text.data() + 2 * i, text.data() + 2 * i + 2, *reinterpret_cast<unsigned char*>(&bytes[i]), 16);
    if (parsed.ptr != text.data() + 2 * i + 2) return std::nullopt;
  }
  return bytes;
}

}  // namespace

std::string_view view_of(const varlena* value) {
  return {VARDATA_ANY(value), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(value))};
}

std::string to_utf8(std::string_view text) {
  const int encoding = GetDatabaseEncoding();
  if (encoding == PG_UTF8) return std::string(text);
  if (encoding == PG_SQL_ASCII) return is_valid_utf8(text) ? std::string(text) : to_valid_utf8(text);
  return convert(text, encoding, PG_UTF8, kReplacement);
}

std::string identifier_to_utf8(std::string_view text) {
  std::string utf8 = to_utf8(text);
  if (GetDatabaseEncoding() == PG_UTF8 || from_utf8(utf8) == text) return utf8;
  utf8 += kBytesFollow;
  append_hex(utf8, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  return utf8;
}

std::string from_utf8(std::string_view text) {
  std::string converted;
  append_from_utf8(converted, text);
  return converted;
}

void append_from_utf8(std::string& out, std::string_view text) {
  const int encoding = GetDatabaseEncoding();
  if (encoding == PG_UTF8) {
    out.append(text);
  } else if (const std::optional<std::string> bytes = bytes_of_identifier(text)) {
    out.append(*bytes);
  } else if (encoding == PG_SQL_ASCII) {
    out.append(text);
  } else {
    out.append(convert(text, PG_UTF8, encoding, "?"));
  }
}

}  // namespace webhook::pg

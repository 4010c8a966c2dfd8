// The data of events, before a filter may see it.
#include "core/json_bounds.h"

#include <algorithm>

#include "fuzz.h"

namespace webhook {
namespace {

using fuzz::require;

void check(std::string_view json) {
  const JsonBounds bounds = json_bounds(json);
  if (bounds.problem != nullptr) {
    require(fuzz::is_printable_ascii(bounds.problem), "a problem is told in plain words");
    return;
  }
  require(json.size() <= kJsonBytesMax, "what is within the bounds is no larger than they say");
  // Without quotes nothing is a string, and every comma counts.
  const auto commas = static_cast<std::size_t>(std::count(json.begin(), json.end(), ','));
  require(json.find('"') != std::string_view::npos || commas < kJsonValuesMax, "nor has it more values");
}

}  // namespace
}  // namespace webhook

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  webhook::check(webhook::fuzz::text_of(data, size));
  return 0;
}

#include "core/id_ranges.h"

#include <cstddef>
#include <utility>

namespace webhook {

std::vector<IdRange> merge(std::vector<IdRange> ranges) {
  std::erase_if(ranges, [](const IdRange& range) { return range.empty(); });
  std::sort(ranges.begin(), ranges.end(), [](const IdRange& a, const IdRange& b) { return a.first < b.first; });
  std::vector<IdRange> merged;
  for (const IdRange& range : ranges) {
    if (merged.empty() || merged.back().limit < range.first) {
      merged.push_back(range);
    } else {
      merged.back().limit = std::max(merged.back().limit, range.limit);
    }
  }
  return merged;
}

std::vector<IdRange> subtract(const std::vector<IdRange>& ranges, const std::vector<IdRange>& holes) {
  std::vector<IdRange> left;
  auto hole = holes.begin();
  for (IdRange range : ranges) {
    while (hole != holes.end() && hole->limit <= range.first) ++hole;
    for (auto next = hole; next != holes.end() && next->first < range.limit; ++next) {
      if (range.first < next->first) left.push_back({range.first, next->first});
      range.first = next->limit;
    }
    if (!range.empty()) left.push_back(range);
  }
  return left;
}

std::int64_t UnfinishedIds::lowest() const {
  std::int64_t lowest = next;
  for (const IdRange& range : committing) lowest = std::min(lowest, range.first);
  return lowest;
}

std::vector<IdRange> UnfinishedIds::ranges() const {
  std::vector<IdRange> ranges = committing;
  ranges.push_back({next, kNoIdLimit});
  return merge(std::move(ranges));
}

}  // namespace webhook

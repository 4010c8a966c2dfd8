#include "pg/filters.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "pg/error.h"
#include "pg/spi.h"
#include "pg/statements.h"

namespace webhook::pg {
namespace {

// For the filters of a batch of events together, and for one by itself where that was not enough.
constexpr int kFiltersLimitMs = 20;
constexpr int kFilterLimitMs = 5;
// On a busy machine the clock runs while the process does not: a filter that has not had its time is tried again, with
// twice the limit, up to this.
constexpr int kFilterLimitMaxMs = 160;
// What evaluating a filter by itself takes in any case, and is not charged for.
constexpr Duration kFilterOverhead = std::chrono::microseconds(200);

// That this thread has worked, whatever else the machine did.
Duration processor_time() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::duration_cast<Duration>(std::chrono::seconds(time.tv_sec) +
                                              std::chrono::nanoseconds(time.tv_nsec));
}

// Answers those questions. False, and no answer, if one of them failed or all together took too long.
bool evaluate(const std::vector<FilterQuestion>& questions, const std::vector<std::size_t>& which, int limit_ms,
              std::vector<FilterAnswer>* answers, std::string* sqlstate) {
  std::vector<std::optional<std::string>> filters;
  std::vector<std::optional<std::string>> data;
  for (const std::size_t i : which) {
    filters.emplace_back(*questions[i].filter);
    data.emplace_back(*questions[i].data);
  }
  try {
    Subtransaction subtransaction;
    const TimeLimit limit(limit_ms);
    Query query(statements::evaluate_filters);
    query.bind(filters).bind(data).run();
    for (std::size_t row = 0; row < which.size(); ++row) {
      (*answers)[which[row]] = query.get_boolean(row, 1) ? FilterAnswer::kMatch : FilterAnswer::kNoMatch;
    }
    subtransaction.release();
    return true;
  } catch (const Error& error) {
    *sqlstate = error.sqlstate();
    return false;
  }
}

// One by itself, and what it takes off its allowance: some of what a filter can do cannot be interrupted.
void evaluate_one(const std::vector<FilterQuestion>& questions, std::size_t which, std::vector<FilterAnswer>* answers) {
  const Duration begin = processor_time();
  for (int limit_ms = kFilterLimitMs; limit_ms <= kFilterLimitMaxMs; limit_ms *= 2) {
    std::string sqlstate;
    if (evaluate(questions, {which}, limit_ms, answers, &sqlstate)) break;
    const bool overran = sqlstate == "57014";
    (*answers)[which] = overran ? FilterAnswer::kOverrun : FilterAnswer::kError;
    if (!overran || processor_time() - begin >= std::chrono::milliseconds(kFilterLimitMs)) break;
  }
  Duration* const allowance = questions[which].allowance;
  if (allowance != nullptr) *allowance -= std::max(processor_time() - begin - kFilterOverhead, Duration::zero());
}

bool is_used_up(const FilterQuestion& question) {
  return question.allowance != nullptr && *question.allowance <= Duration::zero();
}

}  // namespace

std::vector<FilterAnswer> evaluate_filters(const std::vector<FilterQuestion>& questions) {
  std::vector<FilterAnswer> answers(questions.size(), FilterAnswer::kRefused);
  std::vector<std::size_t> asked;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    if (!is_used_up(questions[i])) asked.push_back(i);
  }
  std::string sqlstate;
  if (asked.empty() || evaluate(questions, asked, kFiltersLimitMs, &answers, &sqlstate)) return answers;

  // Of an organization by itself: the data of another one's event may be what takes so long.
  std::set<std::pair<const Duration*, std::string_view>> too_slow;
  for (const std::size_t i : asked) {
    const std::pair<const Duration*, std::string_view> filter(questions[i].allowance, *questions[i].filter);
    if (too_slow.contains(filter)) {
      answers[i] = FilterAnswer::kOverrun;
    } else if (!is_used_up(questions[i])) {
      evaluate_one(questions, i, &answers);
      if (answers[i] == FilterAnswer::kOverrun) too_slow.insert(filter);
    }
  }
  return answers;
}

}  // namespace webhook::pg

#include "pg/store/filter_evaluation.h"

extern "C" {
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
}

#include <algorithm>
#include <chrono>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/json_bounds.h"
#include "pg/encoding.h"
#include "pg/guard.h"
#include "pg/spi.h"

namespace webhook::pg {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr Duration kFilterTime = milliseconds(5);  // processor time for one question
constexpr Duration kGroupTime = milliseconds(1);   // elapsed time after which a group starts no further question
constexpr Duration kCallTime = milliseconds(5);    // elapsed time after which no further group starts
// Interrupts an overlong question that began within kGroupTime, but never before the question has had its time.
constexpr int kRunLimitMs = 7;
// On a busy machine time passes while the process does not run. A question that was interrupted too early is asked
// again with twice the limit, up to this limit.
constexpr int kRunLimitMaxMs = 224;
// Larger data is converted separately, so that the conversion does not count as the question's time.
constexpr std::size_t kSmallData = 4096;

constexpr const char* kQueryCanceled = "57014";

std::string bytes_of(Datum value) {
  const auto* const varlena = reinterpret_cast<const struct varlena*>(DatumGetPointer(value));
  return {reinterpret_cast<const char*>(varlena), VARSIZE_ANY(varlena)};
}

Datum datum_of(const std::string& bytes) { return PointerGetDatum(bytes.data()); }

// The memory for one conversion or evaluation. Reset before each, also after an error.
class Scratch {
 public:
  Scratch()
      : context_(guarded(
            [] { return AllocSetContextCreate(CurrentMemoryContext, "webhook filter", ALLOCSET_DEFAULT_SIZES); })) {}
  ~Scratch() {
    // Needs no guard: it frees memory and raises no error.
    MemoryContextDelete(context_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // Returns what body returns. The scratch is the current context during the call.
  template <class Body>
  auto within(Body body) {
    // Needs no guard: see above.
    MemoryContextReset(context_);
    return guarded([this, &body] {
      const MemoryContext before = MemoryContextSwitchTo(context_);
      const auto result = body();
      MemoryContextSwitchTo(before);
      return result;
    });
  }
  MemoryContext context() const { return context_; }

 private:
  MemoryContext context_;
};

// Converts text with jsonb_in() or a similar function.
std::string converted(Scratch& scratch, PGFunction input, std::string_view text) {
  const std::string encoded = from_utf8(text);
  return bytes_of(
      scratch.within([input, &encoded] { return DirectFunctionCall1(input, CStringGetDatum(encoded.c_str())); }));
}

// A filter passes an event if it has any result other than false and null.
bool lets_pass(Datum result) {
  JsonbValue value;
  Jsonb* const jsonb = DatumGetJsonbP(result);
  if (!JB_ROOT_IS_SCALAR(jsonb)) return true;
  JsonbExtractScalar(&jsonb->root, &value);
  return value.type != jbvNull && (value.type != jbvBool || value.val.boolean);
}

// The same as webhook_filter_matches() in sql/parts/filters.sql. jsonb_path_query() computes all results at its first
// call and returns them one by one, so results after the first relevant one are not copied.
bool matches(Scratch& scratch, const std::string& jsonb, const std::string& jsonpath, const std::string& variables) {
  return scratch.within([&]() -> bool {
    const MemoryContext context = scratch.context();
    FmgrInfo function;
    fmgr_info_cxt(F_JSONB_PATH_QUERY, &function, context);
    ExprContext expression{};
    expression.type = T_ExprContext;
    expression.ecxt_per_query_memory = context;
    ReturnSetInfo results{};
    results.type = T_ReturnSetInfo;
    results.econtext = &expression;
    results.allowedModes = SFRM_ValuePerCall;
    results.returnMode = SFRM_ValuePerCall;
    LOCAL_FCINFO(call, 4);
    InitFunctionCallInfoData(*call, &function, 4, InvalidOid, nullptr, reinterpret_cast<fmNodePtr>(&results));
    call->args[0] = {datum_of(jsonb), false};
    call->args[1] = {datum_of(jsonpath), false};
    call->args[2] = {datum_of(variables), false};
    call->args[3] = {BoolGetDatum(false), false};
    while (true) {
      CHECK_FOR_INTERRUPTS();
      results.isDone = ExprSingleResult;
      call->isnull = false;
      const Datum result = FunctionCallInvoke(call);
      if (results.isDone == ExprEndResult) return false;
      if (lets_pass(result)) return true;
    }
  });
}

// The error's text without quoted parts. PostgreSQL may quote the data, and a reader of webhook_stats may lack the
// right to see it. The message may be in any language, so any non-ASCII character may be a quotation mark.
std::string told(const Error& error) {
  std::string text = error.message() + (error.detail().empty() ? "" : ": " + error.detail());
  const auto is_mark = [](char c) { return c == '"' || static_cast<unsigned char>(c) >= 0x80; };
  const auto first = std::find_if(text.begin(), text.end(), is_mark);
  const auto last = std::find_if(text.rbegin(), text.rend(), is_mark).base();
  if (first != text.end()) text.replace(first, last, "\"...\"");
  return text + " (SQLSTATE " + error.sqlstate() + ")";
}

bool makes_numbers_of_text(std::string_view filter) {
  return filter.find(".number(") != std::string_view::npos || filter.find(".decimal(") != std::string_view::npos;
}

// Answers questions. A question that takes too long is asked once more before its filter is blamed, because a virtual
// machine may charge a process for time that it gave to others.
class Evaluation {
 public:
  Evaluation() : variables_(converted(scratch_, jsonb_in, "{}")) {}

  void answer(std::vector<FilterQuestion>* questions) {
    const Clock::time_point end = Clock::now() + kGroupTime;
    int limit_ms = kRunLimitMs;
    std::optional<std::size_t> suspect;  // a question that took too long once
    for (std::size_t next = 0; next < questions->size() && (next == 0 || suspect == next || Clock::now() < end);) {
      const Run run = answer_from(*questions, next, end, limit_ms);
      next = run.next;
      if (run.overran && suspect == next) {
        (*questions)[next].answer = FilterAnswer::kOverrun;
        break;
      }
      if (run.overran) suspect = next;
      limit_ms = run.had_no_time ? limit_ms * 2 : kRunLimitMs;
    }
  }

 private:
  struct Run {
    std::size_t next = 0;      // the first question without an answer
    bool had_no_time = false;  // interrupted before the process had worked for kFilterTime
    bool overran = false;      // interrupted after the process had worked for kFilterTime
  };

  // Runs in one subtransaction, so that an error affects one question only.
  Run answer_from(std::vector<FilterQuestion>& questions, std::size_t first, Clock::time_point end, int limit_ms) {
    const Duration begin = processor_time();
    std::size_t i = first;
    try {
      Subtransaction subtransaction;
      const TimeLimit limit(limit_ms);
      while (i < questions.size() && (i == first || Clock::now() < end)) {
        FilterQuestion& question = questions[i];
        if (!question.made->is_made) {
          make(*question.data, question.made);
          if (question.data->size() > kSmallData) break;
        }
        question.answer = answer_to(question);
        ++i;
      }
      subtransaction.release();
      return {.next = i};
    } catch (const Error& error) {
      FilterQuestion& question = questions[i];
      if (error.sqlstate() != kQueryCanceled) {
        if (question.made->is_made) {
          question.answer = FilterAnswer::kError;
          question.error = told(error);
          return {.next = i + 1};
        }
        *question.made = {.is_made = true, .problem = FilterAnswer::kError, .error = told(error)};
        return {.next = i};
      }
      const Duration worked = processor_time() - begin - (i > first ? kGroupTime : Duration::zero());
      if (worked < kFilterTime && (i > first || limit_ms * 2 <= kRunLimitMaxMs)) {
        return {.next = i, .had_no_time = i == first};
      }
      return {.next = i, .overran = true};
    }
  }

  void make(const std::string& data, FilterData* made) {
    const JsonBounds bounds = json_bounds(data);
    if (bounds.problem != nullptr) {
      made->problem = FilterAnswer::kBeyond;
    } else {
      made->jsonb = converted(scratch_, jsonb_in, data);
      made->has_long_number_text = bounds.has_long_number_text;
    }
    made->is_made = true;
  }

  FilterAnswer answer_to(FilterQuestion& question) {
    const FilterData& data = *question.made;
    if (data.problem != FilterAnswer::kNotAsked) {
      question.error = data.error;
      return data.problem;
    }
    if (data.has_long_number_text && makes_numbers_of_text(*question.filter)) return FilterAnswer::kBeyond;
    CompiledFilter& compiled = *question.compiled;
    if (compiled.text != *question.filter) {
      compiled.jsonpath = converted(scratch_, jsonpath_in, *question.filter);
      compiled.text = *question.filter;
    }
    const bool is_match = matches(scratch_, data.jsonb, compiled.jsonpath, variables_);
    return is_match ? FilterAnswer::kMatch : FilterAnswer::kNoMatch;
  }

  Scratch scratch_;
  std::string variables_;
};

bool has_answers(const FilterGroup& group) {
  return !group.questions.empty() && group.questions.front().answer != FilterAnswer::kNotAsked;
}

}  // namespace

Duration processor_time() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::duration_cast<Duration>(std::chrono::seconds(time.tv_sec) +
                                              std::chrono::nanoseconds(time.tv_nsec));
}

void evaluate_filters(std::vector<FilterGroup>* groups) {
  const Clock::time_point end = Clock::now() + kCallTime;
  Evaluation evaluation;
  for (FilterGroup& group : *groups) {
    if (&group != groups->data() && Clock::now() >= end) break;
    const Duration begin = processor_time();
    evaluation.answer(&group.questions);
    group.cost = processor_time() - begin;
  }
}

void share_cost(std::vector<FilterGroup>* groups, Duration all) {
  Duration own{};
  std::int64_t count = 0;
  for (const FilterGroup& group : *groups) {
    own += group.cost;
    count += has_answers(group) ? 1 : 0;
  }
  if (count == 0) return;
  for (FilterGroup& group : *groups) {
    if (has_answers(group)) group.cost += std::max(all - own, Duration::zero()) / count + Duration(1);
  }
}

}  // namespace webhook::pg

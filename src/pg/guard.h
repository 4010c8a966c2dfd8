// The boundary between C++ and PostgreSQL, in both directions. PostgreSQL raises errors by longjmp, which skips
// destructors. A C++ exception in a PostgreSQL frame is undefined behaviour. So errors cross only here:
//
//   PostgreSQL → entry() → C++ code → guarded() → PostgreSQL
//
// entry() wraps the body of every function that PostgreSQL calls. guarded() wraps every call that may raise an error.
#pragma once

#include <exception>
#include <type_traits>
#include <utility>

#include "core/error.h"

namespace webhook::pg {

namespace detail {

// What remains of an exception once its scope is closed. Trivially destructible, so that longjmp may skip it.
struct ErrorReport {
  char sqlstate[6];
  char message[2048];
  char detail[2048];
  char hint[1024];
  char context[2048];
  // Names of objects: see ErrorOrigin.
  char schema[64];
  char table[64];
  char column[64];
  char datatype[64];
  char constraint[64];
};

// Runs body(argument) under PostgreSQL's error handler, and throws a raised error as Error.
void run_guarded(void (*body)(void*), void* argument);

// Inside a catch block: describes the exception in flight.
void describe_current_exception(ErrorReport* report) noexcept;

// ereport(ERROR).
[[noreturn]] void raise(const ErrorReport& report);

}  // namespace detail

// Calls body, which may call PostgreSQL, and returns its result. An error raised inside becomes an Error with its
// SQLSTATE, texts and origin. The transaction has then failed: the Error must reach entry() or the code that aborts the
// transaction.
//
// Body's local variables and its result must be trivially destructible, because a longjmp skips them. After an error
// the current memory context is the one from before the call, so body must not delete that context.
template <class Body>
auto guarded(Body&& body) {
  using Result = std::invoke_result_t<Body&>;
  if constexpr (std::is_void_v<Result>) {
    detail::run_guarded([](void* argument) { (*static_cast<std::remove_reference_t<Body>*>(argument))(); }, &body);
  } else {
    static_assert(std::is_trivially_destructible_v<Result>, "a longjmp would skip its destructor");
    struct Call {
      std::remove_reference_t<Body>* body;
      Result result;
    } call{&body, {}};
    detail::run_guarded(
        [](void* argument) {
          auto* inner = static_cast<Call*>(argument);
          inner->result = (*inner->body)();
        },
        &call);
    return call.result;
  }
}

// Calls body, which is C++ and may throw anything. An exception is raised as an ordinary ERROR after all C++ scopes are
// closed: an Error with its own SQLSTATE, std::bad_alloc as 53200, anything else as XX000.
//
// Must be the only statement in a function that PostgreSQL calls. Any local variable next to it must be trivially
// destructible.
template <class Body>
auto entry(Body&& body) {
  using Result = std::invoke_result_t<Body&>;
  detail::ErrorReport report;
  if constexpr (std::is_void_v<Result>) {
    try {
      body();
      return;
    } catch (...) {
      detail::describe_current_exception(&report);
    }
  } else {
    static_assert(std::is_trivially_destructible_v<Result>, "it is handed to C");
    try {
      return body();
    } catch (...) {
      detail::describe_current_exception(&report);
    }
  }
  detail::raise(report);
}

}  // namespace webhook::pg

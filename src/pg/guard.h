// The boundary between C++ and PostgreSQL, in both directions. PostgreSQL raises errors by longjmp, which skips
// destructors; a C++ exception in one of its frames is undefined behaviour. So nothing crosses but here:
//
//   PostgreSQL → entry() → C++ code → guarded() → PostgreSQL
//
// entry() stands in every function that PostgreSQL calls, guarded() around every call that may raise an error.
#pragma once

#include <exception>
#include <type_traits>
#include <utility>

#include "pg/error.h"

namespace webhook::pg {

namespace detail {

// What is left of an exception once its scope is closed: trivially destructible, so that longjmp may pass it.
struct ErrorReport {
  char sqlstate[6];
  char message[2048];
  char detail[2048];
  char hint[1024];
  char context[2048];
  // Names: see ErrorOrigin.
  char schema[64];
  char table[64];
  char column[64];
  char datatype[64];
  char constraint[64];
};

// Runs body(argument) under PostgreSQL's error handler and throws what it raised as Error.
void run_guarded(void (*body)(void*), void* argument);

// Inside a catch block: puts down the exception in flight.
void describe_current_exception(ErrorReport* report) noexcept;

// ereport(ERROR).
[[noreturn]] void raise(const ErrorReport& report);

}  // namespace detail

// Calls body, which may call PostgreSQL, and returns what it returns. An error raised inside becomes an Error with its
// SQLSTATE, its texts, and where it comes from. The transaction has failed then: the Error must reach entry(), or whoever
// aborts the transaction.
//
// What body has on its stack must be trivially destructible, as must be what it returns: a longjmp skips it. After an
// error the current memory context is that of before, which body therefore must not delete.
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

// Calls body, which is C++ and may throw anything. What it throws is raised as an ordinary ERROR when all C++ scopes are
// closed: XX000 for what is not an Error, 53200 for std::bad_alloc.
//
// To be the only thing in a function that PostgreSQL calls; what stands beside it there must be trivially destructible.
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

// SQL functions that raise and throw whatever may cross src/pg/guard.h: test/t/010_boundary.pl declares and calls them.
// And one by which test/t/067_switches.pl makes a commit take its time.
//
// Every function keeps a Witness in each of its C++ frames, so that a frame which was skipped instead of unwound is told
// by witnesses_alive().
extern "C" {
#include "postgres.h"

#include <malloc.h>

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/elog.h"
}

#include <exception>
#include <new>
#include <stdexcept>
#include <string>

#include "pg/guard.h"

#pragma GCC visibility push(default)
extern "C" {

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(witnesses_alive);
PG_FUNCTION_INFO_V1(witnesses_made);
PG_FUNCTION_INFO_V1(raise_guarded);
PG_FUNCTION_INFO_V1(throw_plainly);
PG_FUNCTION_INFO_V1(throw_guarded);
PG_FUNCTION_INFO_V1(handlers_after);
PG_FUNCTION_INFO_V1(descend);
PG_FUNCTION_INFO_V1(run_guarded_sql);
PG_FUNCTION_INFO_V1(heap_growth_of_errors);
PG_FUNCTION_INFO_V1(stand_still_in_commits);

}  // extern "C"
#pragma GCC visibility pop

using webhook::Error;
using webhook::pg::entry;
using webhook::pg::guarded;

namespace {

int alive = 0;
int made = 0;

class Witness {
 public:
  Witness() {
    ++alive;
    ++made;
  }
  ~Witness() { --alive; }
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;
};

std::string text_argument(FunctionCallInfo fcinfo, int number) {
  if (PG_ARGISNULL(number)) return {};
  return guarded([&] { return text_to_cstring(PG_GETARG_TEXT_PP(number)); });
}

// An ereport(ERROR) of PostgreSQL's own, in a frame of C.
void raise(const char* sqlstate, const char* message, const char* detail, const char* hint) {
  ereport(ERROR, (errcode(MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2], sqlstate[3], sqlstate[4])),
                  errmsg("%s", message), *detail != '\0' ? errdetail("%s", detail) : 0,
                  *hint != '\0' ? errhint("%s", hint) : 0));
}

// Under so many C++ frames, each with its witness.
void raise_below(int frames, FunctionCallInfo fcinfo) {
  const Witness witness;
  if (frames > 1) return raise_below(frames - 1, fcinfo);
  const std::string sqlstate = text_argument(fcinfo, 0);
  const std::string message = text_argument(fcinfo, 1);
  const std::string detail = text_argument(fcinfo, 2);
  const std::string hint = text_argument(fcinfo, 3);
  guarded([&] { raise(sqlstate.c_str(), message.c_str(), detail.c_str(), hint.c_str()); });
}

void throw_nested(const std::string& message) {
  try {
    throw std::logic_error("the inner one");
  } catch (...) {
    std::throw_with_nested(std::runtime_error(message));
  }
}

void throw_one(const std::string& kind, const std::string& message) {
  const Witness witness;
  if (kind == "runtime_error") throw std::runtime_error(message);
  if (kind == "bad_alloc") throw std::bad_alloc();
  if (kind == "int") throw 42;
  if (kind == "nested") throw_nested(message);
  throw Error("22023", message, message, message);
}

}  // namespace

// () → integer
Datum witnesses_alive(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return Int32GetDatum(alive);
}

// () → integer: in this session so far
Datum witnesses_made(PG_FUNCTION_ARGS) {
  (void)fcinfo;
  return Int32GetDatum(made);
}

// (sqlstate, message, detail, hint text)
Datum raise_guarded(PG_FUNCTION_ARGS) {
  return entry([&] {
    raise_below(10, fcinfo);
    return Datum{0};
  });
}

// (kind, message text)
Datum throw_plainly(PG_FUNCTION_ARGS) {
  return entry([&] {
    const Witness witness;
    throw_one(text_argument(fcinfo, 0), text_argument(fcinfo, 1));
    return Datum{0};
  });
}

// (kind, message text): inside a guarded body
Datum throw_guarded(PG_FUNCTION_ARGS) {
  return entry([&] {
    const Witness witness;
    const std::string kind = text_argument(fcinfo, 0);
    const std::string message = text_argument(fcinfo, 1);
    guarded([&] { throw_one(kind, message); });
    return Datum{0};
  });
}

// (kind text) → boolean: whether PostgreSQL's error handlers are those of before when a C++ exception has left a guarded
// body. Otherwise the next error would jump into a frame that is gone.
Datum handlers_after(PG_FUNCTION_ARGS) {
  return entry([&] {
    const std::string kind = text_argument(fcinfo, 0);
    const sigjmp_buf* const handler = PG_exception_stack;
    const ErrorContextCallback* const context = error_context_stack;
    bool thrown = false;
    try {
      guarded([&] { throw_one(kind, "thrown"); });
    } catch (...) {
      thrown = true;
    }
    return BoolGetDatum(thrown && PG_exception_stack == handler && error_context_stack == context);
  });
}

// (levels integer): calls itself through PostgreSQL so many times; the innermost raises an error.
Datum descend(PG_FUNCTION_ARGS) {
  return entry([&] {
    const Witness witness;
    const int levels = PG_GETARG_INT32(0);
    const Oid self = fcinfo->flinfo->fn_oid;
    guarded([&] {
      if (levels <= 1) raise("22012", "the innermost", "its detail", "its hint");
      OidFunctionCall1(self, Int32GetDatum(levels - 1));
    });
    return Datum{0};
  });
}

// (for_ms integer): from now on the session stands still in each of its commits, when others see what it has done and
// its invalidations are not out yet.
Datum stand_still_in_commits(PG_FUNCTION_ARGS) {
  static long still_us = 0;
  if (still_us == 0) {
    RegisterXactCallback(
        [](XactEvent event, void* /*argument*/) {
          if (event == XACT_EVENT_COMMIT) pg_usleep(still_us);
        },
        nullptr);
  }
  still_us = PG_GETARG_INT32(0) * 1000L;
  PG_RETURN_VOID();
}

// (statement text): runs it by SPI, all of it guarded
Datum run_guarded_sql(PG_FUNCTION_ARGS) {
  return entry([&] {
    const Witness witness;
    const std::string statement = text_argument(fcinfo, 0);
    guarded([&] {
      if (SPI_connect() != SPI_OK_CONNECT) elog(ERROR, "SPI_connect failed");
      if (SPI_execute(statement.c_str(), false, 0) < 0) elog(ERROR, "SPI_execute failed");
      SPI_finish();
    });
    return Datum{0};
  });
}

// (errors integer) → bigint: by how many bytes the heap, PostgreSQL's and C++'s, has grown after so many guarded errors
// in one memory context. They need no rollback: nothing was done.
Datum heap_growth_of_errors(PG_FUNCTION_ARGS) {
  return entry([&] {
    const int errors = PG_GETARG_INT32(0);
    const auto in_use = [] {
      const struct mallinfo2 info = mallinfo2();
      return static_cast<int64>(info.uordblks + info.hblkhd);
    };
    const int64 before = in_use();
    for (int i = 0; i < errors; ++i) {
      try {
        guarded([] { raise("22012", "one of many", "with a detail", "and a hint"); });
      } catch (const Error&) {
        continue;
      }
    }
    return Int64GetDatum(in_use() - before);
  });
}

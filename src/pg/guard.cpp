#include "pg/guard.h"

extern "C" {
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/elog.h"
#include "utils/memutils.h"
}

#include <cstring>
#include <new>
#include <string>
#include <string_view>

namespace webhook::pg::detail {
namespace {

// Copies what fits, in whole characters, so that the text stays valid in the server's encoding.
template <std::size_t N>
void copy_text(char (&to)[N], std::string_view from) noexcept {
  std::size_t length = from.size();
  // Needs no guard: pg_mbcliplen() reads the text and raises no error.
  if (length >= N) length = static_cast<std::size_t>(pg_mbcliplen(from.data(), static_cast<int>(N - 1), N - 1));
  std::memcpy(to, from.data(), length);
  to[length] = '\0';
}

void describe(ErrorReport* report, std::string_view sqlstate, std::string_view message, std::string_view detail = {},
              std::string_view hint = {}) noexcept {
  copy_text(report->sqlstate, sqlstate);
  copy_text(report->message, message);
  copy_text(report->detail, detail);
  copy_text(report->hint, hint);
  for (char* origin :
       {report->context, report->schema, report->table, report->column, report->datatype, report->constraint}) {
    *origin = '\0';
  }
}

void describe(ErrorReport* report, const Error& error) noexcept {
  describe(report, error.sqlstate(), error.message(), error.detail(), error.hint());
  const ErrorOrigin& origin = error.origin();
  copy_text(report->context, origin.context);
  copy_text(report->schema, origin.schema);
  copy_text(report->table, origin.table);
  copy_text(report->column, origin.column);
  copy_text(report->datatype, origin.datatype);
  copy_text(report->constraint, origin.constraint);
}

// Holds the copy of an error until it has become an Error. FreeErrorData() would leave parts of the copy behind.
MemoryContext copies = nullptr;

// Takes the current error from PostgreSQL, as a copy in copies. nullptr: there was no memory for the copy. Runs inside
// PG_CATCH, where none of our handlers is active, so an error of its own would skip the C++ frames above. That is why
// it has its own handler.
ErrorData* take_error() {
  ErrorData* volatile error = nullptr;
  PG_TRY();
  {
    if (copies == nullptr) copies = AllocSetContextCreate(TopMemoryContext, "webhook error", ALLOCSET_SMALL_SIZES);
    MemoryContextSwitchTo(copies);
    error = CopyErrorData();
  }
  PG_CATCH();
  {
    // Nothing to do: nullptr tells the caller.
  }
  PG_END_TRY();
  FlushErrorState();
  return error;
}

std::string text_or_empty(const char* text) { return text == nullptr ? std::string() : std::string(text); }

}  // namespace

void run_guarded(void (*body)(void*), void* argument) {
  MemoryContext const context = CurrentMemoryContext;
  ErrorData* volatile raised = nullptr;
  volatile bool has_raised = false;
  std::exception_ptr thrown;

  PG_TRY();
  {
    try {
      body(argument);
    } catch (...) {
      thrown = std::current_exception();
    }
  }
  PG_CATCH();
  {
    has_raised = true;
    raised = take_error();
    MemoryContextSwitchTo(context);
  }
  PG_END_TRY();

  if (has_raised) {
    if (raised == nullptr) throw std::bad_alloc();
    ErrorData* const data = raised;
    Error error(unpack_sql_state(data->sqlerrcode), text_or_empty(data->message), text_or_empty(data->detail),
                text_or_empty(data->hint),
                {.context = text_or_empty(data->context),
                 .schema = text_or_empty(data->schema_name),
                 .table = text_or_empty(data->table_name),
                 .column = text_or_empty(data->column_name),
                 .datatype = text_or_empty(data->datatype_name),
                 .constraint = text_or_empty(data->constraint_name)});
    // Needs no guard: it frees memory and raises no error.
    MemoryContextReset(copies);
    throw error;
  }
  if (thrown) std::rethrow_exception(thrown);
}

void describe_current_exception(ErrorReport* report) noexcept {
  try {
    throw;
  } catch (const Error& error) {
    describe(report, error);
  } catch (const std::bad_alloc&) {
    describe(report, "53200", "out of memory", "Allocation failed in the webhook extension.");
  } catch (const std::exception& error) {
    describe(report, "XX000", error.what());
  } catch (...) {
    describe(report, "XX000", "unknown C++ exception in the webhook extension");
  }
}

void raise(const ErrorReport& report) {
  const char* state = report.sqlstate;
  const auto name = [](int field, const char* text) { return *text != '\0' ? err_generic_string(field, text) : 0; };
  // Every context callback added its line when PostgreSQL raised the error, so none may add it again. The handler that
  // catches this error restores the stack.
  if (report.context[0] != '\0') error_context_stack = nullptr;
  ereport(
      ERROR,
      (errcode(MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4])), errmsg_internal("%s", report.message),
       report.detail[0] != '\0' ? errdetail_internal("%s", report.detail) : 0,
       report.hint[0] != '\0' ? errhint("%s", report.hint) : 0,
       report.context[0] != '\0' ? errcontext("%s", report.context) : 0, name(PG_DIAG_SCHEMA_NAME, report.schema),
       name(PG_DIAG_TABLE_NAME, report.table), name(PG_DIAG_COLUMN_NAME, report.column),
       name(PG_DIAG_DATATYPE_NAME, report.datatype), name(PG_DIAG_CONSTRAINT_NAME, report.constraint)));
  pg_unreachable();
}

}  // namespace webhook::pg::detail

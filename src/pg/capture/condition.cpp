#include "pg/capture/condition.h"

extern "C" {
#include "postgres.h"

#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "utils/elog.h"
}

#include "pg/guard.h"

namespace webhook::pg {
namespace {

// ALL can stand neither twice nor next to DISTINCT, so whatever follows it is a target list or a clause.
constexpr char kPrefix[] = "SELECT ALL ";
constexpr int kPrefixLength = sizeof kPrefix - 1;

constexpr const char* kHint = "Give one expression, such as NEW.status = 'open'.";

// The statement that text completes; nullptr if there are several, or it is of another kind.
SelectStmt* parse_select(const char* text) {
  List* const statements = raw_parser(text, RAW_PARSE_DEFAULT);
  if (list_length(statements) != 1) return nullptr;
  auto* const raw = linitial_node(RawStmt, statements);
  // A length above 0 means that a semicolon ends the statement.
  if (raw->stmt_len != 0 || !IsA(raw->stmt, SelectStmt)) return nullptr;
  return reinterpret_cast<SelectStmt*>(raw->stmt);
}

bool is_star(const Node* node) {
  if (!IsA(node, ColumnRef)) return false;
  const List* const fields = reinterpret_cast<const ColumnRef*>(node)->fields;
  return IsA(llast(fields), A_Star);
}

bool is_one_expression(const char* text) {
  SelectStmt* const select = parse_select(text);
  if (select == nullptr || list_length(select->targetList) != 1) return false;
  auto* const target = linitial_node(ResTarget, select->targetList);
  if (target->name != nullptr || target->indirection != NIL || is_star(target->val)) return false;
  // Compares the rest with a bare SELECT: this one must have no other clause, including those of future versions.
  SelectStmt* const bare = parse_select("SELECT ALL NULL");
  select->targetList = NIL;
  bare->targetList = NIL;
  return equal(select, bare);
}

// Reports a syntax error of the parser in our own words, with its position in the text. Lets every other error pass,
// such as a cancellation, a lack of memory or an expression nested too deeply.
bool parses_as_one_expression(const char* text) {
  MemoryContext const context = CurrentMemoryContext;
  volatile bool is_one = false;
  PG_TRY();
  { is_one = is_one_expression(text); }
  PG_CATCH();
  {
    MemoryContextSwitchTo(context);
    ErrorData* const error = CopyErrorData();
    const int category = ERRCODE_TO_CATEGORY(error->sqlerrcode);
    if (category != ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION && category != ERRCODE_DATA_EXCEPTION) PG_RE_THROW();
    FlushErrorState();
    // Inside SPI, its error callback has moved the position to internalpos.
    const int position = (error->cursorpos > 0 ? error->cursorpos : error->internalpos) - kPrefixLength;
    ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("invalid condition"),
                    position > 0 ? errdetail("At character %d: %s.", position, error->message)
                                 : errdetail("PostgreSQL says: %s.", error->message),
                    errhint("%s", kHint)));
  }
  PG_END_TRY();
  return is_one;
}

}  // namespace

void check_condition(std::string_view text) {
  const bool is_one = guarded([text] {
    const char* const statement = psprintf("%s%.*s", kPrefix, static_cast<int>(text.size()), text.data());
    return parses_as_one_expression(statement);
  });
  if (!is_one) throw Error("42601", "invalid condition", "It is not one expression and nothing else.", kHint);
}

}  // namespace webhook::pg

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

// With ALL, which cannot stand there twice nor beside DISTINCT, whatever follows is a list of targets or a clause.
constexpr char kPrefix[] = "SELECT ALL ";
constexpr int kPrefixLength = sizeof kPrefix - 1;

constexpr const char* kHint = "Give one expression, such as NEW.status = 'open'.";

// The statement that text is the rest of; nullptr: there are several, or it is of another kind.
SelectStmt* parse_select(const char* text) {
  List* const statements = raw_parser(text, RAW_PARSE_DEFAULT);
  if (list_length(statements) != 1) return nullptr;
  auto* const raw = linitial_node(RawStmt, statements);
  // A length is that of a statement that a semicolon ends.
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
  // Whatever else a SELECT may have, also in versions to come, this one has none of.
  SelectStmt* const bare = parse_select("SELECT ALL NULL");
  select->targetList = NIL;
  bare->targetList = NIL;
  return equal(select, bare);
}

// Raises what the parser found in our words, with the place in the text. Everything else passes: a cancellation, a lack of
// memory, an expression nested too deeply.
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
    // Inside SPI its callback has moved the place.
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

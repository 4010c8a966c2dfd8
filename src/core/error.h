// An error on its way between C++ and PostgreSQL, with everything that a client sees of it.
#pragma once

#include <exception>
#include <string>
#include <utility>

namespace webhook {

// Where a PostgreSQL error comes from. Empty fields: unknown.
struct ErrorOrigin {
  std::string context;  // what was running, innermost first, one per line
  std::string context_in_a_line() const {
    std::string joined;
    for (const char c : context) {
      if (c == '\n') {
        joined += "; ";
      } else {
        joined += c;
      }
    }
    return joined;
  }
  // The object that the error is about.
  std::string schema;
  std::string table;
  std::string column;
  std::string datatype;
  std::string constraint;
};

class Error : public std::exception {
 public:
  // sqlstate: five characters, see PostgreSQL's appendix "Error Codes". The texts follow PostgreSQL's message style.
  Error(const char* sqlstate, std::string message, std::string detail = {}, std::string hint = {},
        ErrorOrigin origin = {})
      : sqlstate_(sqlstate),
        message_(std::move(message)),
        detail_(std::move(detail)),
        hint_(std::move(hint)),
        origin_(std::move(origin)) {}

  const char* what() const noexcept override { return message_.c_str(); }
  const std::string& sqlstate() const noexcept { return sqlstate_; }
  const std::string& message() const noexcept { return message_; }
  const std::string& detail() const noexcept { return detail_; }
  const std::string& hint() const noexcept { return hint_; }
  const ErrorOrigin& origin() const noexcept { return origin_; }

 private:
  std::string sqlstate_;
  std::string message_;
  std::string detail_;
  std::string hint_;
  ErrorOrigin origin_;
};

}  // namespace webhook

// What a request is for, judged by its path alone.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace webhook::console {

struct Route {
  enum class Kind {
    none,      // 404
    redirect,  // to the same path with a slash at its end
    file,      // a file of the page; rest is its path, "" for the page itself
    call,      // rest is the name of the function
    session,
    config,
  };
  Kind kind = Kind::none;
  std::size_t database = 0;  // an index into the names
  std::string_view rest;     // within the target
};

// A path of "/" and [A-Za-z0-9_.-] without "." and ".." and empty segments. Nothing that we serve needs more, so
// percent-encoding and all that comes with it is a 404.
bool is_plain_path(std::string_view path);

// `target` is the request's, a query included, which is ignored. base_path is "" or "/a/b". The first database is served
// at {base}/ and {base}/{name}/, the others at {base}/{name}/.
Route route(std::string_view target, std::string_view base_path, std::span<const std::string> databases);

// Whether a database may have this name in a path: 1 to 63 of [A-Za-z0-9_-], and none of the page's own names.
bool is_database_name(std::string_view name);

}  // namespace webhook::console

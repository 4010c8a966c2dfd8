#include "console/options.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <utility>

#include "console/route.h"

namespace webhook::console {
namespace {

// What an option does with its value; it returns what is wrong with the value, or "".
using Take = std::function<std::string(Options&, const std::string&)>;

bool is_ip_address(const std::string& text) {
  unsigned char address[16];
  return ::inet_pton(AF_INET, text.c_str(), address) == 1 || ::inet_pton(AF_INET6, text.c_str(), address) == 1;
}

bool is_loopback(const std::string& address) { return address == "::1" || address.starts_with("127."); }

template <class Number>
bool to_number(std::string_view text, Number& number, Number least, Number most) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && number >= least && number <= most;
}

std::string take_listen(Options& options, const std::string& value) {
  if (value.starts_with("unix:")) {
    options.listen_path = value.substr(5);
    return options.listen_path.starts_with('/') ? "" : "the path of the socket is not absolute";
  }
  options.listen_path.clear();
  const std::size_t colon = value.rfind(':');
  std::string address = value.substr(0, colon);
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
  if (colon == std::string::npos || !is_ip_address(address) ||
      !to_number<unsigned short>(std::string_view(value).substr(colon + 1), options.listen_port, 0, 65535))
    return "it is neither ADDRESS:PORT, [ADDRESS]:PORT nor unix:PATH";
  options.listen_address = address;
  return "";
}

std::string take_database(Options& options, const std::string& value) {
  const std::size_t equals = value.find('=');
  if (equals == std::string::npos) return "it is not NAME=CONNINFO";
  NamedDatabase database{value.substr(0, equals), value.substr(equals + 1)};
  if (!is_database_name(database.name))
    return "the name is not 1 to 63 of letters, digits, _ and -, or is one that the page itself uses";
  options.databases.push_back(std::move(database));
  return "";
}

std::string take_role(Options& options, const std::string& value) {
  // SET ROLE none would give the role back that the connection has.
  if (value.empty() || value == "none") return "there is no such role";
  options.roles.push_back(value);
  return "";
}

std::string take_base_path(Options& options, const std::string& value) {
  options.base_path = value == "/" ? "" : value;
  if (options.base_path.empty()) return "";
  return is_plain_path(value) && !value.ends_with('/') ? "" : "it is not a path such as /settings/webhooks";
}

bool is_host(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == ':' || c == '[' || c == ']';
  });
}

std::string take_public_host(Options& options, const std::string& value) {
  options.public_hosts.push_back(value);
  return is_host(value) ? "" : "it is not HOST or HOST:PORT, in lower case";
}

std::string take_frame_ancestor(Options& options, const std::string& value) {
  options.frame_ancestors.push_back(value);
  const bool has_scheme = value.starts_with("https://") || value.starts_with("http://");
  return has_scheme && is_host(std::string_view(value).substr(value.find("//") + 2))
             ? ""
             : "it is not an origin such as https://app.example.com";
}

std::string take_jwt_key_file(Options& options, const std::string& value) {
  options.jwt_key_file = value;
  return "";
}

std::string take_jwt_algorithm(Options& options, const std::string& value) {
  const std::optional<JwtAlgorithm> algorithm = jwt_algorithm(value);
  if (!algorithm) return "it is none of HS256, RS256 and ES256";
  options.jwt_algorithm = *algorithm;
  return "";
}

std::string take_trusted_proxy(Options& options, const std::string& value) {
  options.trusted_proxies.push_back(value);
  return value == "unix" || is_ip_address(value) ? "" : "it is neither an IP address nor unix";
}

std::string take_trusted_header(Options& options, const std::string& value) {
  options.trusted_header = value;
  const bool is_name = !value.empty() && std::all_of(value.begin(), value.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  });
  return is_name ? "" : "it is not the name of a header";
}

std::string take_connections(Options& options, const std::string& value) {
  return to_number(value, options.connections, 1U, 1000U) ? "" : "it is not a number from 1 to 1000";
}

Take text(std::string Options::*member) {
  return [member](Options& options, const std::string& value) {
    options.*member = value;
    return std::string();
  };
}

const std::map<std::string, Take, std::less<>>& known_options() {
  static const auto* const known = new std::map<std::string, Take, std::less<>>{
      {"--listen", take_listen},
      {"--database", take_database},
      {"--role", take_role},
      {"--organization", text(&Options::organization)},
      {"--base-path", take_base_path},
      {"--public-host", take_public_host},
      {"--frame-ancestors", take_frame_ancestor},
      {"--jwt-key-file", take_jwt_key_file},
      {"--jwt-algorithm", take_jwt_algorithm},
      {"--jwt-audience", text(&Options::jwt_audience)},
      {"--trusted-proxy", take_trusted_proxy},
      {"--trusted-header", take_trusted_header},
      {"--tls-certificate", text(&Options::tls_certificate)},
      {"--tls-key", text(&Options::tls_key)},
      {"--page", text(&Options::page_folder)},
      {"--connections", take_connections},
  };
  return *known;
}

// What is wrong with the options together, or "".
std::string contradiction(const Options& options, bool has_algorithm) {
  const bool has_jwt = !options.jwt_key_file.empty() || has_algorithm || !options.jwt_audience.empty();
  const bool has_proxy = !options.trusted_proxies.empty() || !options.trusted_header.empty();
  if (options.databases.empty()) return "no database is given: name one by a connection string, such as \"dbname=app\"";
  if (has_jwt && (options.jwt_key_file.empty() || !has_algorithm || options.jwt_audience.empty()))
    return "--jwt-key-file, --jwt-algorithm and --jwt-audience belong together";
  if (has_proxy && (options.trusted_proxies.empty() || options.trusted_header.empty()))
    return "--trusted-proxy and --trusted-header belong together";
  if (has_jwt && has_proxy) return "a JWT and a trusted proxy are two ways to sign in: choose one";
  if (options.tls_certificate.empty() != options.tls_key.empty())
    return "--tls-certificate and --tls-key belong together";
  if (!options.tls_key.empty() && !options.listen_path.empty()) return "there is no TLS on a Unix socket";
  if ((has_jwt || has_proxy) && options.roles.empty())
    return "--role is missing: name the roles that users of the page may have, so that none acts as the role of the "
           "connection";
  if ((has_jwt || has_proxy) && !options.organization.empty())
    return "--organization is for the operator's own sign-in: elsewhere the claims name the organization";
  if (!has_jwt && !has_proxy && options.roles.size() > 1) return "the operator's sign-in takes one --role";
  if (!has_jwt && !has_proxy && options.listen_path.empty() && !is_loopback(options.listen_address))
    return "it would listen on " + options.listen_address +
           ", and nothing says who may use it there: give --jwt-key-file or --trusted-proxy, or listen on 127.0.0.1";
  return "";
}

}  // namespace

std::variant<Options, HelpWanted, VersionWanted, Refused> parse_options(const std::vector<std::string>& arguments) {
  Options options;
  bool has_algorithm = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--help" || argument == "-h") return HelpWanted();
    if (argument == "--version") return VersionWanted();
    if (!argument.starts_with('-')) {
      if (!options.databases.empty() && options.databases.front().name.empty())
        return Refused{"two connection strings are given: name the second one with --database NAME=CONNINFO"};
      options.databases.insert(options.databases.begin(), {"", argument});
      continue;
    }
    const std::size_t equals = argument.find('=');
    const std::string name = argument.substr(0, equals);
    const auto known = known_options().find(name);
    if (known == known_options().end()) return Refused{"there is no option " + name + ": see --help"};
    if (equals == std::string::npos && i + 1 == arguments.size()) return Refused{"option " + name + " has no value"};
    const std::string value = equals == std::string::npos ? arguments[++i] : argument.substr(equals + 1);
    if (const std::string wrong = known->second(options, value); !wrong.empty())
      return Refused{std::string("the value of ").append(name).append(" is wrong: ").append(wrong)};
    has_algorithm |= name == "--jwt-algorithm";
  }
  if (const std::string wrong = contradiction(options, has_algorithm); !wrong.empty()) return Refused{wrong};
  for (const NamedDatabase& database : options.databases) {
    if (std::count_if(options.databases.begin(), options.databases.end(),
                      [&](const NamedDatabase& other) { return other.name == database.name; }) > 1)
      return Refused{"two databases have the name " + database.name};
  }
  if (!options.jwt_key_file.empty()) options.mode = SignInMode::jwt;
  if (!options.trusted_header.empty()) options.mode = SignInMode::proxy;
  return options;
}

std::string sign_in_name(SignInMode mode) {
  switch (mode) {
    case SignInMode::code:
      return "code";
    case SignInMode::jwt:
      return "jwt";
    case SignInMode::proxy:
      return "proxy";
  }
  return "";
}

std::string_view help_text() {
  return R"(webhook-console serves the settings page of the extension webhook, and the calls of its API.

Usage:
  webhook-console CONNINFO [OPTION]...

CONNINFO is a connection string of libpq, such as "dbname=app".

Where it listens:
  --listen ADDRESS:PORT       default: 127.0.0.1:8088; port 0 takes a free one
  --listen unix:PATH          a Unix socket
  --base-path /PATH           the path that the page is served at; default: /
  --public-host HOST[:PORT]   a name that browsers reach it by, beside the address that it listens on; may be repeated
  --tls-certificate FILE      serve HTTPS; PEM, with intermediate certificates
  --tls-key FILE              its private key; PEM

What it serves:
  --database NAME=CONNINFO    one more database, at {base}/NAME/; may be repeated
  --connections N             the most connections to each database; default: 8
  --page FOLDER               the page's files from a folder instead of the built-in ones, for development
  --frame-ancestors ORIGIN    a site that may show the page in a frame; may be repeated

Who may use it. Without these, it is the operator who started it, by a link with a one-time code:
  --role ROLE                 the role that calls run as (SET LOCAL ROLE); repeated: the roles that users may have
  --organization NAME         the organization that the operator acts for; default: that of an operator, all
  --jwt-key-file FILE         users bring a JWT: the secret of HS256, or a public key in PEM
  --jwt-algorithm ALGORITHM   HS256, RS256 or ES256
  --jwt-audience AUDIENCE     what must be among the token's "aud"
  --trusted-proxy ADDRESS     a proxy that says who the user is; "unix": whoever reaches the socket; may be repeated
  --trusted-header NAME       the header it says it in: the user's name, or the claims as a JSON object

  --help                      prints this
  --version                   prints the version

SIGUSR1, or the enter key, prints a new link. Documentation: docs/console.md.
)";
}

}  // namespace webhook::console

// The command line.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "console/jwt.h"

namespace webhook::console {

struct NamedDatabase {
  std::string name;
  std::string conninfo;
};

enum class SignInMode { code, jwt, proxy };

struct Options {
  std::vector<NamedDatabase> databases;  // at least one
  std::string listen_address = "127.0.0.1";
  unsigned short listen_port = 8088;
  std::string listen_path;  // of a Unix socket, instead of the two above
  std::string base_path;    // "" or "/a/b"
  std::vector<std::string> public_hosts;
  std::vector<std::string> roles;
  std::string organization;
  std::vector<std::string> frame_ancestors;
  SignInMode mode = SignInMode::code;
  std::string jwt_key_file;
  JwtAlgorithm jwt_algorithm = JwtAlgorithm::hs256;
  std::string jwt_audience;
  std::vector<std::string> trusted_proxies;  // addresses, or "unix" for whoever reaches the socket
  std::string trusted_header;
  std::string tls_certificate;
  std::string tls_key;
  std::string page_folder;
  unsigned connections = 8;  // of each database
};

struct HelpWanted {};
struct VersionWanted {};
struct Refused {
  std::string why;
};

std::variant<Options, HelpWanted, VersionWanted, Refused> parse_options(const std::vector<std::string>& arguments);
std::string_view help_text();
std::string sign_in_name(SignInMode mode);

}  // namespace webhook::console

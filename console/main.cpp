// webhook-console serves the settings page of the extension and the calls of its API (docs/console.md). It has neither
// rights nor a state of its own: each call runs in the database as the role of its caller.
#include <libpq-fe.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "console/access.h"
#include "console/database.h"
#include "console/http_server.h"
#include "console/jwt.h"
#include "console/log.h"
#include "console/options.h"
#include "console/page_files.h"
#include "console/route.h"
#include "console/service.h"
#include "console/sign_in.h"

namespace webhook::console {
namespace {

constexpr std::chrono::seconds kStopMax{10};
constexpr std::size_t kConnectorThreads = 4;

std::unique_ptr<JwtVerifier> make_verifier(const Options& options) {
  if (options.mode != SignInMode::jwt) return nullptr;
  std::ifstream file(options.jwt_key_file, std::ios::binary);
  const std::string key((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file || key.empty()) throw std::runtime_error("cannot read " + options.jwt_key_file);
  try {
    return std::make_unique<JwtVerifier>(options.jwt_algorithm, key, options.jwt_audience);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(options.jwt_key_file + ": " + error.what());
  }
}

// The database that is given without a name has its own, if a path can hold it.
void name_first_database(Options& options) {
  std::string& name = options.databases.front().name;
  if (!name.empty()) return;
  char* error = nullptr;
  PQconninfoOption* parsed = PQconninfoParse(options.databases.front().conninfo.c_str(), &error);
  if (parsed == nullptr) {
    const std::string why = error == nullptr ? "" : error;
    PQfreemem(error);
    throw std::runtime_error("the connection string is wrong: " + why);
  }
  std::string found;
  for (const PQconninfoOption* option = parsed; option->keyword != nullptr; ++option) {
    if (std::string_view(option->keyword) == "dbname" && option->val != nullptr) found = option->val;
  }
  PQconninfoFree(parsed);
  const bool is_taken = std::any_of(options.databases.begin(), options.databases.end(),
                                    [&](const NamedDatabase& other) { return other.name == found; });
  if (is_database_name(found) && !is_taken) name = found;
}

// The program while it runs.
class Console {
 public:
  explicit Console(const Options& options)
      : options_(options),
        files_(options.page_folder),
        sign_in_(SignIn::Clock::now),
        server_(io_, options),
        access_(options, server_.port(), make_verifier(options), sign_in_),
        service_(options, access_, sign_in_, files_, databases_),
        stop_signals_(io_, SIGINT, SIGTERM),
        link_signal_(io_, SIGUSR1),
        terminal_(io_),
        stop_timer_(io_) {
    if (!files_.find("")) throw std::runtime_error("there is no page in " + options.page_folder);
    for (const NamedDatabase& database : options.databases) {
      databases_.push_back(std::make_unique<Database>(io_, connectors_,
                                                      database.name.empty() ? "database" : "database " + database.name,
                                                      database.conninfo, options.connections));
    }
  }

  void run() {
    stop_signals_.async_wait([this](boost::system::error_code error, int) {
      if (!error) stop();
    });
    server_.start(service_);
    std::printf("webhook-console listens on %s\n", address().c_str());
    if (options_.mode == SignInMode::code) {
      print_link();
      wait_for_signal();
      watch_terminal();
    }
    std::fflush(stdout);
    io_.run();
  }

 private:
  std::string address() const {
    if (!options_.listen_path.empty()) return "unix:" + options_.listen_path;
    const bool is_v6 = options_.listen_address.find(':') != std::string::npos;
    return (options_.tls_key.empty() ? "http://" : "https://") +
           (is_v6 ? "[" + options_.listen_address + "]" : options_.listen_address) + ":" +
           std::to_string(server_.port()) + options_.base_path + "/";
  }

  void print_link() {
    const std::string page = options_.listen_path.empty() ? address() : "http://localhost" + options_.base_path + "/";
    std::printf("Sign in within 10 minutes, once: %s#code=%s\n", page.c_str(), sign_in_.new_code().c_str());
    std::fflush(stdout);
  }

  void wait_for_signal() {
    link_signal_.async_wait([this](boost::system::error_code error, int) {
      if (error) return;
      print_link();
      wait_for_signal();
    });
  }

  void watch_terminal() {
    if (!terminal_.is_open()) {
      if (::isatty(STDIN_FILENO) == 0) return;
      // In the background reading fails instead of stopping the program.
      ::signal(SIGTTIN, SIG_IGN);
      terminal_.assign(::dup(STDIN_FILENO));
    }
    terminal_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](boost::system::error_code error) {
      char line[256];
      if (error || ::read(STDIN_FILENO, line, sizeof line) <= 0) return;
      print_link();
      watch_terminal();
    });
  }

  void stop() {
    boost::system::error_code ignored;
    terminal_.close(ignored);
    link_signal_.cancel();
    server_.stop([this] { io_.stop(); });
    stop_timer_.expires_after(kStopMax);
    stop_timer_.async_wait([this](boost::system::error_code) { io_.stop(); });
  }

  const Options& options_;
  boost::asio::io_context io_{1};
  boost::asio::thread_pool connectors_{kConnectorThreads};
  PageFiles files_;
  SignIn sign_in_;
  HttpServer server_;
  Access access_;
  std::vector<std::unique_ptr<Database>> databases_;
  Service service_;
  boost::asio::signal_set stop_signals_;
  boost::asio::signal_set link_signal_;
  boost::asio::posix::stream_descriptor terminal_;
  boost::asio::steady_timer stop_timer_;
};

int run(const std::vector<std::string>& arguments) {
  auto parsed = parse_options(arguments);
  if (std::holds_alternative<HelpWanted>(parsed)) {
    std::fputs(std::string(help_text()).c_str(), stdout);
    return 0;
  }
  if (std::holds_alternative<VersionWanted>(parsed)) {
    std::puts("webhook-console " WEBHOOK_VERSION);
    return 0;
  }
  if (const auto* refused = std::get_if<Refused>(&parsed)) {
    log_line(refused->why);
    return 2;
  }
  ::signal(SIGPIPE, SIG_IGN);
  name_first_database(std::get<Options>(parsed));
  Console console(std::get<Options>(parsed));
  console.run();
  // A connector may still wait for a server that does not answer; nothing is left that it could do.
  std::fflush(stdout);
  ::_exit(0);
}

}  // namespace
}  // namespace webhook::console

int main(int argc, char** argv) {
  try {
    return webhook::console::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    webhook::console::log_line(error.what());
    return 1;
  }
}

// Measures how long after a COMMIT its webhook's request arrives.
//
//   latency CONNECTION_STRING idle ROUNDS
//   latency CONNECTION_STRING rate PER_SECOND SECONDS [WEBHOOKS [HANGING [silent]]]
//
// One process is both the application and the receiver, so that one clock tells both times. idle: inserts a row, waits
// for its request, pauses, and goes on. rate: an open loop on 32 connections: the moment of each row is fixed
// beforehand, and a request that is late delays none of the others, nor is it forgotten (no coordinated omission). The
// rows go in turn to webhooks of organizations of their own; the last HANGING of these are never answered, nor counted.
// silent: nor is the name server, when it is asked for the hosts of these; test/support/silent_names.c makes it so.
//
// Needs the extension and the table contacts, watched. Prints one line of JSON, in microseconds: the quantiles from the
// moment the COMMIT returned, and for rate also those from the moment that the row was due.

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Nanoseconds = std::int64_t;

constexpr std::size_t kWarmUpRounds = 20;
constexpr std::size_t kConnections = 32;  // so that commits share their flushes, as an application's do
constexpr std::chrono::seconds kPatience(60);
constexpr std::string_view kMark = "\"name\":\"row-";  // what the row's number follows in the body

[[noreturn]] void die(const std::string& message) {
  std::fprintf(stderr, "latency: %s\n", message.c_str());
  std::exit(1);
}

Nanoseconds now() { return Clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }

// Answers every request to /healthy with 200, no other, and notes for each row when the last byte of its first request
// came. One thread on epoll.
class Receiver {
 public:
  explicit Receiver(std::size_t rows) : arrivals_(rows), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (listener_ < 0 || bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
        listen(listener_, 1024) != 0 || getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
      die("cannot listen on 127.0.0.1");
    }
    port_ = ntohs(address.sin_port);
    watch(listener_);
    std::thread([this] { loop(); }).detach();
  }

  int port() const { return port_; }

  // 0: it has not come.
  Nanoseconds arrival(std::size_t row) const { return arrivals_[row].load(std::memory_order_acquire); }

  Nanoseconds wait_for(std::size_t row) const {
    const auto deadline = Clock::now() + kPatience;
    while (arrival(row) == 0) {
      if (Clock::now() > deadline) die("the request of row " + std::to_string(row) + " did not arrive");
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return arrival(row);
  }

 private:
  void watch(int fd) const {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl failed");
  }

  [[noreturn]] void loop() {
    epoll_event events[64];
    while (true) {
      const int count = epoll_wait(epoll_, events, 64, -1);
      for (int i = 0; i < count; ++i) {
        if (events[i].data.fd == listener_) {
          accept_connection();
        } else {
          receive(events[i].data.fd);
        }
      }
    }
  }

  void accept_connection() {
    const int connection = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (connection < 0) return;
    const int on = 1;
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(connection);
  }

  void receive(int connection) {
    char buffer[16384];
    const ssize_t count = read(connection, buffer, sizeof buffer);
    const Nanoseconds came = now();
    if (count < 0) return;
    if (count == 0) {
      received_.erase(connection);
      close(connection);
      return;
    }
    std::string& text = received_[connection];
    text.append(buffer, static_cast<std::size_t>(count));
    const std::size_t end = text.find("\r\n\r\n");
    if (end == std::string::npos) return;
    const std::size_t length = text.find("Content-Length: ");
    if (length == std::string::npos || length > end) die("a request without Content-Length");
    if (text.size() < end + 4 + std::stoul(text.substr(length + 16))) return;
    if (text.compare(0, 14, "POST /healthy ") == 0) answer(connection, text, came);
    text.clear();
  }

  void answer(int connection, const std::string& request, Nanoseconds came) {
    const std::size_t mark = request.find(kMark);
    if (mark == std::string::npos) die("a request without the number of its row");
    const std::size_t row = std::stoul(request.substr(mark + kMark.size(), 12));
    Nanoseconds none = 0;
    if (row < arrivals_.size()) arrivals_[row].compare_exchange_strong(none, came, std::memory_order_release);
    static constexpr std::string_view kAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    if (write(connection, kAnswer.data(), kAnswer.size()) < 0) close(connection);
  }

  std::vector<std::atomic<Nanoseconds>> arrivals_;
  std::unordered_map<int, std::string> received_;  // by connection: the part of a request that has come
  int epoll_;
  int listener_;
  int port_ = 0;
};

class Application {
 public:
  explicit Application(const std::string& connection_string)
      : connection_(PQconnectdb(connection_string.c_str()), PQfinish) {
    if (PQstatus(connection_.get()) != CONNECTION_OK) die(PQerrorMessage(connection_.get()));
  }

  void execute(const std::string& sql) const { check(PQexec(connection_.get(), sql.c_str())); }

  void prepare_insert() const {
    check(PQprepare(connection_.get(), "insert",
                    "INSERT INTO contacts (organization_id, name) VALUES ('latency-' || $1, 'row-' || $2)", 2,
                    nullptr));
  }

  // One transaction.
  void insert(std::size_t webhook, std::size_t row) const {
    const std::string texts[] = {std::to_string(webhook), std::to_string(row)};
    const char* const values[] = {texts[0].c_str(), texts[1].c_str()};
    check(PQexecPrepared(connection_.get(), "insert", 2, values, nullptr, nullptr, 0));
  }

 private:
  void check(PGresult* answer) const {
    const std::unique_ptr<PGresult, decltype(&PQclear)> result(answer, PQclear);
    const ExecStatusType status = PQresultStatus(result.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) die(PQerrorMessage(connection_.get()));
  }

  std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
};

void create_webhooks(const Application& application, int port, std::size_t count, std::size_t hanging, bool silent) {
  const std::string here = "http://127.0.0.1:" + std::to_string(port);
  const std::string url = "CASE WHEN n < " + std::to_string(count - hanging) + " THEN '" + here + "/healthy' ELSE " +
                          (silent ? "'http://silent' || n || '.example/'" : "'" + here + "/hanging'") + " END";
  application.execute(
      "INSERT INTO webhook_configurations (organization_id, name, url, events, secret) SELECT 'latency-' || n, "
      "'latency', " +
      url + ", '{contact.created}', webhook_generate_secret() FROM generate_series(0, " + std::to_string(count - 1) +
      ") AS n");
}

void delete_webhooks(const Application& application) {
  application.execute("DELETE FROM webhook_configurations WHERE name = 'latency'");
}

void print_quantiles(const char* prefix, std::vector<Nanoseconds> latencies) {
  std::sort(latencies.begin(), latencies.end());
  const auto quantile_us = [&](double q) {
    const auto index = static_cast<std::size_t>(q * static_cast<double>(latencies.size()));
    return static_cast<double>(latencies[std::min(latencies.size() - 1, index)]) / 1000;
  };
  std::printf("\"%sp50_us\": %.1f, \"%sp90_us\": %.1f, \"%sp99_us\": %.1f, \"%smax_us\": %.1f", prefix,
              quantile_us(0.50), prefix, quantile_us(0.90), prefix, quantile_us(0.99), prefix, quantile_us(1.0));
}

// The request may overtake the COMMIT's answer to the application.
Nanoseconds since(Nanoseconds committed, Nanoseconds arrived) { return std::max<Nanoseconds>(0, arrived - committed); }

void measure_idle(const std::string& connection_string, std::size_t rounds) {
  const Application application(connection_string);
  const Receiver receiver(kWarmUpRounds + rounds);
  create_webhooks(application, receiver.port(), 1, 0, false);
  application.prepare_insert();
  std::mt19937 random(1);
  std::uniform_int_distribution<int> pause_ms(5, 30);
  std::vector<Nanoseconds> latencies;
  for (std::size_t row = 0; row < kWarmUpRounds + rounds; ++row) {
    std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms(random)));
    application.insert(0, row);
    const Nanoseconds committed = now();
    const Nanoseconds latency = since(committed, receiver.wait_for(row));
    if (row >= kWarmUpRounds) latencies.push_back(latency);
  }
  delete_webhooks(application);
  std::printf("{");
  print_quantiles("", latencies);
  std::printf("}\n");
}

void measure_rate(const std::string& connection_string, double per_second, double seconds, std::size_t webhooks,
                  std::size_t hanging, bool silent) {
  const Application application(connection_string);
  const auto warm_up = static_cast<std::size_t>(per_second / 2);
  const std::size_t rows = warm_up + static_cast<std::size_t>(per_second * seconds);
  const Receiver receiver(rows);
  create_webhooks(application, receiver.port(), webhooks, hanging, silent);

  std::vector<Nanoseconds> due(rows);
  std::vector<Nanoseconds> committed(rows);
  const Nanoseconds begin = now() + 200'000'000;  // when all connections stand
  for (std::size_t row = 0; row < rows; ++row) {
    due[row] = begin + static_cast<Nanoseconds>(static_cast<double>(row) * 1e9 / per_second);
  }
  std::vector<std::thread> threads;
  for (std::size_t first = 0; first < kConnections; ++first) {
    threads.emplace_back([&, first] {
      const Application connection(connection_string);
      connection.prepare_insert();
      for (std::size_t row = first; row < rows; row += kConnections) {
        std::this_thread::sleep_until(Clock::time_point(std::chrono::nanoseconds(due[row])));
        connection.insert(row % webhooks, row);
        committed[row] = now();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // Short of per_second: the application itself could not keep up.
  const double elapsed_s = static_cast<double>(*std::max_element(committed.begin(), committed.end()) - begin) / 1e9;

  std::vector<Nanoseconds> from_commit;
  std::vector<Nanoseconds> from_due;
  for (std::size_t row = 0; row < rows; ++row) {
    if (row % webhooks >= webhooks - hanging) continue;
    const Nanoseconds arrived = receiver.wait_for(row);
    if (row < warm_up) continue;
    from_commit.push_back(since(committed[row], arrived));
    from_due.push_back(arrived - due[row]);
  }
  delete_webhooks(application);
  std::printf("{\"rate\": %.0f, ", static_cast<double>(rows) / elapsed_s);
  print_quantiles("", from_commit);
  std::printf(", ");
  print_quantiles("from_due_", from_due);
  std::printf("}\n");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 2 ? argv[2] : "";
  if (mode == "idle" && argc == 4) {
    measure_idle(argv[1], std::strtoul(argv[3], nullptr, 10));
  } else if (mode == "rate" && argc >= 5 && argc <= 8) {
    const std::size_t webhooks = argc > 5 ? std::strtoul(argv[5], nullptr, 10) : 1;
    const std::size_t hanging = argc > 6 ? std::strtoul(argv[6], nullptr, 10) : 0;
    if (webhooks == 0 || hanging >= webhooks) die("there must be a healthy webhook");
    const bool silent = argc > 7 && std::string_view(argv[7]) == "silent";
    measure_rate(argv[1], std::atof(argv[3]), std::atof(argv[4]), webhooks, hanging, silent);
  } else {
    die("usage: latency CONNECTION_STRING idle ROUNDS | rate PER_SECOND SECONDS [WEBHOOKS [HANGING [silent]]]");
  }
  std::fflush(stdout);
  // The receiver's thread still runs: nothing is torn down under it.
  _exit(0);
}

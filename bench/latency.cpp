// Measures what bench/latency reports: how long after a COMMIT returned its webhook's request arrives, on an idle server.
//
//   latency CONNECTION_STRING ROUNDS
//
// One process is both the application and the receiver, so that one clock tells both times: a thread answers HTTP on
// 127.0.0.1, the main thread inserts a row, waits for its request, pauses, and goes on. Prints the quantiles.

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Microseconds = std::chrono::duration<double, std::micro>;

constexpr int kWarmUpRounds = 20;
constexpr std::chrono::seconds kPatience(30);

[[noreturn]] void die(const std::string& message) {
  std::fprintf(stderr, "latency: %s\n", message.c_str());
  std::exit(1);
}

// Answers every request with 200 and notes when its last byte came.
class Receiver {
 public:
  Receiver() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (listener_ < 0 || bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
        listen(listener_, 16) != 0 || getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
      die("cannot listen on 127.0.0.1");
    }
    port_ = ntohs(address.sin_port);
    std::thread([this] { accept_connections(); }).detach();
  }

  int port() const { return port_; }

  // Waits until count requests have come; when the last of them did.
  Clock::time_point wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    if (!arrived_.wait_for(lock, kPatience, [&] { return arrivals_.size() >= count; })) die("a request did not arrive");
    return arrivals_[count - 1];
  }

 private:
  void accept_connections() {
    while (true) {
      const int connection = accept(listener_, nullptr, nullptr);
      if (connection < 0) die("accept failed");
      const int on = 1;
      setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      std::thread([this, connection] { serve(connection); }).detach();
    }
  }

  void serve(int connection) {
    std::string received;
    char buffer[16384];
    for (ssize_t count; (count = read(connection, buffer, sizeof buffer)) > 0;) {
      const Clock::time_point now = Clock::now();
      received.append(buffer, static_cast<std::size_t>(count));
      const std::size_t end = received.find("\r\n\r\n");
      if (end == std::string::npos) continue;
      const std::size_t at = received.find("Content-Length: ");
      if (at == std::string::npos || at > end) die("a request without Content-Length");
      if (received.size() < end + 4 + std::stoul(received.substr(at + 16))) continue;
      received.clear();
      {
        const std::lock_guard lock(mutex_);
        arrivals_.push_back(now);
      }
      arrived_.notify_one();
      static constexpr char kAnswer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
      if (write(connection, kAnswer, sizeof kAnswer - 1) < 0) break;
    }
    close(connection);
  }

  int listener_;
  int port_ = 0;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<Clock::time_point> arrivals_;
};

void execute(PGconn* connection, const std::string& sql) {
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection, sql.c_str()), PQclear);
  const ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) die(PQerrorMessage(connection));
}

double quantile(const std::vector<double>& sorted, double q) {
  return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(q * static_cast<double>(sorted.size())))];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) die("usage: latency CONNECTION_STRING ROUNDS");
  const int rounds = std::atoi(argv[2]);
  const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(PQconnectdb(argv[1]), PQfinish);
  if (PQstatus(connection.get()) != CONNECTION_OK) die(PQerrorMessage(connection.get()));

  Receiver receiver;
  execute(connection.get(),
          "INSERT INTO webhook_configurations (organization_id, name, url, events, secret) VALUES ('bench', 'latency', "
          "'http://127.0.0.1:" +
              std::to_string(receiver.port()) + "/', '{contact.created}', webhook_generate_secret())");

  std::mt19937 random(1);
  std::uniform_int_distribution<int> pause_ms(5, 30);
  std::vector<double> latencies_us;
  for (int round = 0; round < kWarmUpRounds + rounds; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms(random)));
    execute(connection.get(), "INSERT INTO contacts (organization_id, name) VALUES ('bench', 'someone')");
    const Clock::time_point committed = Clock::now();
    const Clock::time_point arrived = receiver.wait_for(static_cast<std::size_t>(round) + 1);
    // The request may overtake the COMMIT's answer to the application.
    const double latency_us = std::max(0.0, Microseconds(arrived - committed).count());
    if (round >= kWarmUpRounds) latencies_us.push_back(latency_us);
  }
  std::sort(latencies_us.begin(), latencies_us.end());
  std::printf("%d commits, microseconds from COMMIT to request: p50 %.0f  p90 %.0f  p99 %.0f  max %.0f\n", rounds,
              quantile(latencies_us, 0.50), quantile(latencies_us, 0.90), quantile(latencies_us, 0.99),
              latencies_us.back());
  return 0;
}

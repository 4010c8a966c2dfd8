#include "http/curl_client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "http/lookups.h"
#include "http/poller.h"
#include "http/transfer.h"

namespace webhook {
namespace {

// CURLMOPT_RESOLVE_THREADS_MAX and CURLMOPT_QUICK_EXIT of libcurl 8.20 and newer, by number, because the library at run
// time may be newer than the headers. These versions have a pool of resolver threads, 20 by default, which a few hosts
// with silent name servers would occupy. Destroying the multi handle waits for these threads unless told not to.
constexpr auto kResolverThreadsMaxOption = static_cast<CURLMoption>(CURLOPTTYPE_LONG + 20);
constexpr auto kQuickExitOption = static_cast<CURLMoption>(CURLOPTTYPE_LONG + 21);
constexpr long kResolverThreadsMax = 128;

// After this many rounds, timers that came due during the rounds wait for the next drive().
constexpr int kTimerRoundsMax = 8;

// Blocks signals for its lifetime. Threads inherit the mask, so a resolver thread that starts in that time never runs
// the process's signal handlers, which PostgreSQL wrote for its only thread. Faults stay unblocked, because blocking
// them is undefined (pthread_sigmask(3)).
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) sigdelset(&all, fault);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

// Tells whether the CA file that libcurl verifies endpoints with is still the same file with the same contents.
struct FileIdentity {
  dev_t device;
  ino_t file;
  off_t size;
  std::int64_t modified_ns;
  std::int64_t changed_ns;

  bool operator==(const FileIdentity&) const = default;
};

// Nothing if it can't be determined.
std::optional<FileIdentity> identify_ca_file(const HttpSettings& settings) {
  const char* const default_file = curl_version_info(CURLVERSION_NOW)->cainfo;
  const char* const file = settings.ca_file.empty() ? default_file : settings.ca_file.c_str();
  struct stat found {};
  if (file == nullptr || stat(file, &found) != 0) return std::nullopt;
  const auto ns = [](const timespec& time) { return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; };
  return FileIdentity{found.st_dev, found.st_ino, found.st_size, ns(found.st_mtim), ns(found.st_ctim)};
}

struct FreeMulti {
  void operator()(CURLM* multi) const noexcept { curl_multi_cleanup(multi); }
};

int on_timer(CURLM*, long timeout_ms, void* deadline) noexcept {
  auto& at = *static_cast<std::optional<SteadyTime>*>(deadline);
  if (timeout_ms < 0) {
    at.reset();
  } else {
    at = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  }
  return 0;
}

}  // namespace

void init_http() {
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) throw std::runtime_error("could not initialise libcurl");
  const curl_version_info_data* const version = curl_version_info(CURLVERSION_NOW);
  if (version->version_num < 0x075700) {
    throw std::runtime_error(std::string("libcurl ") + version->version + " is too old: 7.87 or newer is needed");
  }
  if ((version->features & CURL_VERSION_SSL) == 0) throw std::runtime_error("libcurl was built without TLS");
  if ((version->features & CURL_VERSION_ASYNCHDNS) == 0) {
    throw std::runtime_error("libcurl was built without asynchronous name resolution");
  }
}

// The settings of one configure(), with the connections and transfers that were started under them.
struct CurlClient::Pool {
  Pool(const HttpSettings& its_settings, Poller& its_poller);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Whether requests under these settings may use it.
  bool serves(const HttpSettings& wanted) const;
  void keep_connections(std::size_t connections_max) noexcept;

  static int on_socket(CURL*, curl_socket_t socket, int what, void* pool, void*) noexcept;

  std::unique_ptr<Transfer> remove_active(Transfer& transfer) noexcept;

  HttpSettings settings;  // only connections_max changes
  const std::optional<FileIdentity> ca_file;
  Poller& poller;
  std::optional<SteadyTime> deadline;
  bool broken = false;  // libcurl reported an error for the whole handle
  std::unique_ptr<CURLM, FreeMulti> multi;
  std::vector<std::unique_ptr<Transfer>> waiting;  // begun, and added to libcurl by drive(), as start() must not block
  std::vector<std::unique_ptr<Transfer>> active;   // added to libcurl
  std::vector<std::unique_ptr<Transfer>> idle;     // for reuse; all three together: as many as were in flight at once
};

CurlClient::Pool::Pool(const HttpSettings& its_settings, Poller& its_poller)
    : settings(its_settings), ca_file(identify_ca_file(its_settings)), poller(its_poller), multi(curl_multi_init()) {
  if (multi == nullptr) throw std::bad_alloc();
  const bool set = curl_multi_setopt(multi.get(), CURLMOPT_SOCKETFUNCTION, &Pool::on_socket) == CURLM_OK &&
                   curl_multi_setopt(multi.get(), CURLMOPT_SOCKETDATA, this) == CURLM_OK &&
                   curl_multi_setopt(multi.get(), CURLMOPT_TIMERFUNCTION, &on_timer) == CURLM_OK &&
                   curl_multi_setopt(multi.get(), CURLMOPT_TIMERDATA, &deadline) == CURLM_OK;
  if (!set) throw std::runtime_error("libcurl refused an option of its multi handle");
  // Older versions neither know nor need these options: they start a thread for each look-up and never wait for it.
  curl_multi_setopt(multi.get(), kResolverThreadsMaxOption, kResolverThreadsMax);
  curl_multi_setopt(multi.get(), kQuickExitOption, 1L);
  keep_connections(settings.connections_max);
}

bool CurlClient::Pool::serves(const HttpSettings& wanted) const {
  HttpSettings comparable = wanted;
  comparable.connections_max = settings.connections_max;
  return !broken && comparable == settings && ca_file && ca_file == identify_ca_file(wanted);
}

void CurlClient::Pool::keep_connections(std::size_t connections_max) noexcept {
  settings.connections_max = connections_max;
  // To libcurl, 0 means four times the number of transfers.
  curl_multi_setopt(multi.get(), CURLMOPT_MAXCONNECTS, static_cast<long>(std::max<std::size_t>(1, connections_max)));
}

CurlClient::Pool::~Pool() {
  // Transfers must be removed before the handle that holds their connections. Closing the connections still calls
  // on_close_socket().
  for (const auto& transfer : active) curl_multi_remove_handle(multi.get(), transfer->easy());
}

int CurlClient::Pool::on_socket(CURL* easy, curl_socket_t socket, int what, void* pool, void*) noexcept {
  Poller& poller = static_cast<Pool*>(pool)->poller;
  if (what == CURL_POLL_REMOVE || what == CURL_POLL_NONE) {
    poller.unwatch(socket);
    return 0;
  }
  const bool readable = what != CURL_POLL_OUT;
  const bool writable = what != CURL_POLL_IN;
  // libcurl has easy handles of its own for closing connections. They have no transfer.
  if (Transfer* const transfer = readable ? Transfer::of(easy) : nullptr) transfer->waits_for_bytes(socket);
  return poller.watch(socket, readable, writable, pool) ? 0 : -1;
}

std::unique_ptr<Transfer> CurlClient::Pool::remove_active(Transfer& transfer) noexcept {
  curl_multi_remove_handle(multi.get(), transfer.easy());
  const std::size_t position = transfer.position;
  std::unique_ptr<Transfer> removed = std::move(active[position]);
  if (position + 1 < active.size()) {
    active[position] = std::move(active.back());
    active[position]->position = position;
  }
  active.pop_back();
  return removed;
}

CurlClient::CurlClient(const HttpSettings& settings)
    : poller_(std::make_unique<Poller>()), lookups_(std::make_unique<Lookups>()) {
  open_pool(settings);
}

CurlClient::~CurlClient() {
  const SignalsBlocked blocked;
  pools_.clear();
}

void CurlClient::configure(const HttpSettings& settings) {
  const SignalsBlocked blocked;
  Pool& current = *pools_.back();
  if (current.serves(settings)) {
    current.keep_connections(settings.connections_max);
    return;
  }
  open_pool(settings);
  // The old pool's connections are never reused, so each request that ends there also closes another connection.
  current.keep_connections(1);
  retire_pools();
}

void CurlClient::open_pool(const HttpSettings& settings) {
  const SignalsBlocked blocked;
  pools_.push_back(std::make_unique<Pool>(settings, *poller_));
}

void CurlClient::start(HttpRequest request) {
  Pool& pool = *pools_.back();
  std::unique_ptr<Transfer> transfer;
  if (pool.idle.empty()) {
    transfer = std::make_unique<Transfer>(pool.settings, *poller_, *lookups_);
  } else {
    transfer = std::move(pool.idle.back());
    pool.idle.pop_back();
  }
  const SteadyTime now = std::chrono::steady_clock::now();
  const CURLcode code = transfer->begin(std::move(request), now);
  if (code == CURLE_OK) {
    pool.waiting.push_back(std::move(transfer));
    return;
  }
  finished_.push_back(transfer->finish(code, now));
}

int CurlClient::fd() const { return poller_->fd(); }

std::optional<Duration> CurlClient::timeout() const {
  if (!finished_.empty()) return Duration::zero();
  std::optional<SteadyTime> next;
  for (const auto& pool : pools_) {
    if (!pool->waiting.empty() || pool->broken) return Duration::zero();
    if (pool->deadline && (!next || *pool->deadline < *next)) next = pool->deadline;
  }
  if (!next) return std::nullopt;
  return std::max(Duration::zero(), std::chrono::ceil<Duration>(*next - std::chrono::steady_clock::now()));
}

void CurlClient::drive() {
  const SignalsBlocked blocked;
  for (const auto& pool : pools_) add_waiting(*pool);

  poller_->poll();
  while (const auto ready = poller_->next()) {
    const int events = (ready->readable ? CURL_CSELECT_IN : 0) | (ready->writable ? CURL_CSELECT_OUT : 0) |
                       (ready->failed ? CURL_CSELECT_ERR : 0);
    Pool& pool = *static_cast<Pool*>(ready->owner);
    int running = 0;
    if (curl_multi_socket_action(pool.multi.get(), ready->socket, events, &running) != CURLM_OK) pool.broken = true;
  }

  for (const auto& pool : pools_) {
    fire_timer(*pool);
    collect(*pool);
    if (pool->broken) fail_all(*pool);
  }
  retire_pools();
}

void CurlClient::add_waiting(Pool& pool) {
  for (auto& transfer : pool.waiting) {
    transfer->position = pool.active.size();
    pool.active.push_back(std::move(transfer));
    if (curl_multi_add_handle(pool.multi.get(), pool.active.back()->easy()) != CURLM_OK) pool.broken = true;
  }
  pool.waiting.clear();
}

void CurlClient::fire_timer(Pool& pool) {
  for (int round = 0; round < kTimerRoundsMax; ++round) {
    if (!pool.deadline || *pool.deadline > std::chrono::steady_clock::now()) return;
    pool.deadline.reset();
    int running = 0;
    if (curl_multi_socket_action(pool.multi.get(), CURL_SOCKET_TIMEOUT, 0, &running) != CURLM_OK) pool.broken = true;
    // libcurl announces a timer only when it changes. If this timer fired slightly early, because the clocks differ, it
    // would not be set again, and its transfer would hang.
    long timeout_ms = -1;
    if (!pool.deadline && running > 0 && curl_multi_timeout(pool.multi.get(), &timeout_ms) == CURLM_OK) {
      if (timeout_ms >= 0) pool.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    }
  }
}

void CurlClient::collect(Pool& pool) {
  int left = 0;
  while (const CURLMsg* const message = curl_multi_info_read(pool.multi.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;  // removing the handle frees the message
    std::unique_ptr<Transfer> transfer = pool.remove_active(*Transfer::of(message->easy_handle));
    finished_.push_back(transfer->finish(code, std::chrono::steady_clock::now()));
    if (transfer->is_reusable()) pool.idle.push_back(std::move(transfer));
  }
}

// Ends the transfers that a broken multi handle would never end. retire_pools() replaces the handle.
void CurlClient::fail_all(Pool& pool) {
  while (!pool.active.empty()) {
    std::unique_ptr<Transfer> transfer = pool.remove_active(*pool.active.back());
    finished_.push_back(transfer->finish(CURLE_ABORTED_BY_CALLBACK, std::chrono::steady_clock::now()));
  }
}

// Drops the pools without requests in flight, except the current one. Replaces the current one if it is broken.
void CurlClient::retire_pools() {
  if (pools_.back()->broken) pools_.push_back(std::make_unique<Pool>(pools_.back()->settings, *poller_));
  const Pool* const current = pools_.back().get();
  std::erase_if(pools_, [current](const auto& pool) {
    return pool.get() != current && pool->active.empty() && pool->waiting.empty();
  });
}

std::vector<HttpResponse> CurlClient::take_finished() { return std::exchange(finished_, {}); }

std::size_t CurlClient::in_flight() const {
  std::size_t count = finished_.size();
  for (const auto& pool : pools_) count += pool->active.size() + pool->waiting.size();
  return count;
}

}  // namespace webhook

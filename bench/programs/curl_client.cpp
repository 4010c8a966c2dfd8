// The limit of libcurl: POSTs one body again and again, so many at once, and does nothing else.
//
//   curl_client URL HEADERS_FILE BODY_FILE COUNT IN_FLIGHT [CA_FILE]
//
// It drives libcurl as its documentation says a fast client does: multi_socket on epoll, easy handles and the list of headers
// reused, an item each; and a socket that libcurl asks to remove is left in epoll until it is closed. Prints the seconds from first to last, and the
// seconds of CPU that it used.

#include <curl/curl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

[[noreturn]] void die(const std::string& message) {
  std::fprintf(stderr, "curl_client: %s\n", message.c_str());
  std::exit(1);
}

std::string contents_of(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) die(std::string("cannot read ") + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

curl_slist* headers_of(const std::string& text) {
  // Without this one libcurl would ask before it sends a large body.
  curl_slist* headers = curl_slist_append(nullptr, "Expect:");
  for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    headers = curl_slist_append(headers, text.substr(at, end - at).c_str());
  }
  return headers;
}

class Client {
 public:
  Client(long count, long in_flight) : left_(count), multi_(curl_multi_init()), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, in_flight);
  }

  void start(CURL* easy) {
    if (left_ == 0) return;
    --left_;
    ++running_;
    curl_multi_add_handle(multi_, easy);
  }

  void run() {
    int still_running = 0;
    while (running_ > 0) {
      epoll_event events[64];
      const int count = timeout_ms_ == 0 ? 0 : epoll_wait(epoll_, events, 64, static_cast<int>(timeout_ms_));
      for (int i = 0; i < count; ++i) act(events[i], &still_running);
      if (count <= 0) {
        timeout_ms_ = -1;
        curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &still_running);
      }
      collect();
    }
  }

 private:
  struct Registered {
    std::uint32_t in_epoll = 0;
    bool wanted = false;
  };

  void act(const epoll_event& event, int* still_running) {
    const auto found = sockets_.find(event.data.fd);
    if (found == sockets_.end() || !found->second.wanted) {
      epoll_ctl(epoll_, EPOLL_CTL_DEL, event.data.fd, nullptr);
      sockets_.erase(event.data.fd);
      return;
    }
    int action = 0;
    if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) action |= CURL_CSELECT_IN;
    if ((event.events & EPOLLOUT) != 0) action |= CURL_CSELECT_OUT;
    curl_multi_socket_action(multi_, event.data.fd, action, still_running);
  }

  void collect() {
    int in_queue = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &in_queue)) {
      CURL* const easy = message->easy_handle;
      if (message->data.result != CURLE_OK) die(curl_easy_strerror(message->data.result));
      long status = 0;
      curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
      if (status != 200) die("status " + std::to_string(status));
      curl_multi_remove_handle(multi_, easy);
      --running_;
      start(easy);
    }
  }

  static int on_socket(CURL*, curl_socket_t socket, int what, void* client, void*) {
    static_cast<Client*>(client)->watch(socket, what);
    return 0;
  }

  void watch(curl_socket_t socket, int what) {
    Registered& registered = sockets_[socket];
    registered.wanted = what != CURL_POLL_REMOVE;
    if (!registered.wanted) return;
    epoll_event event{};
    event.data.fd = socket;
    if (what != CURL_POLL_OUT) event.events |= EPOLLIN;
    if (what != CURL_POLL_IN) event.events |= EPOLLOUT;
    if (registered.in_epoll == event.events) return;
    const int operation = registered.in_epoll == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    // A number that was closed and came back is no longer in epoll.
    if (epoll_ctl(epoll_, operation, socket, &event) != 0) epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event);
    registered.in_epoll = event.events;
  }

  static int on_timer(CURLM*, long timeout_ms, void* client) {
    static_cast<Client*>(client)->timeout_ms_ = timeout_ms;
    return 0;
  }

  long left_;
  long running_ = 0;
  long timeout_ms_ = -1;
  CURLM* multi_;
  int epoll_;
  std::unordered_map<int, Registered> sockets_;
};

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

std::size_t discard(char*, std::size_t size, std::size_t count, void*) { return size * count; }

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) die("usage: curl_client URL HEADERS_FILE BODY_FILE COUNT IN_FLIGHT [CA_FILE]");
  curl_global_init(CURL_GLOBAL_ALL);
  curl_slist* const headers = headers_of(contents_of(argv[2]));
  const std::string body = contents_of(argv[3]);
  const long in_flight = std::atol(argv[5]);

  Client client(std::atol(argv[4]), in_flight);
  const auto began = std::chrono::steady_clock::now();
  const double cpu_before = cpu_seconds();
  for (long i = 0; i < in_flight; ++i) {
    CURL* const easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_URL, argv[1]);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.data());
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, discard);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    if (argc > 6) curl_easy_setopt(easy, CURLOPT_CAINFO, argv[6]);
    client.start(easy);
  }
  client.run();
  std::printf("%.6f %.6f\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(),
              cpu_seconds() - cpu_before);
  return 0;
}

// The sockets of libcurl in one epoll fd, which the owner of the event loop waits for. Linux; another system's poller
// goes behind the same functions.
//
// Surprising: a socket that libcurl no longer watches stays in epoll, since the next request on its connection watches
// it again in the same way, and that saves two system calls a request. The first event on it takes it out: otherwise
// an idle connection that the peer closed would keep the fd readable for ever.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace webhook {

class Poller {
 public:
  Poller();  // throws std::system_error
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  int fd() const noexcept { return epoll_fd_; }

  // The socket is new, and closing() will be called before it is closed. Only such a socket stays in epoll unwatched:
  // libcurl closes some of its own (a resolver's wake-up pair) and says no more than unwatch(). False: no memory.
  bool opened(int socket) noexcept;
  // Call before close(socket): the number may come back at once for another socket.
  void closing(int socket) noexcept;

  // Events on the socket are for the owner, from now on. False: epoll refused, or no memory.
  bool watch(int socket, bool readable, bool writable, void* owner) noexcept;
  void unwatch(int socket) noexcept;

  struct Ready {
    int socket;
    void* owner;
    bool readable;
    bool writable;
    bool failed;
  };
  // Fetches what is ready, without waiting, and next() hands it out. What was closed or unwatched between the two calls
  // is left out, even if its number is in use again.
  void poll() noexcept;
  std::optional<Ready> next() noexcept;

 private:
  struct Socket {
    std::uint32_t generation = 0;  // of this number; events of an earlier one are stale
    std::uint32_t watched = 0;     // what libcurl wants
    std::uint32_t registered = 0;  // what epoll was told; 0: not in epoll
    bool ours = false;             // closing() will be called
    void* owner = nullptr;
  };

  Socket* slot(int socket) noexcept;
  bool register_events(int socket, Socket& state, std::uint32_t events) noexcept;
  void unregister(int socket, Socket& state) noexcept;

  int epoll_fd_ = -1;
  std::vector<Socket> sockets_;  // by number
  std::array<epoll_event, 128> events_{};
  std::size_t event_count_ = 0;
  std::size_t event_next_ = 0;
};

}  // namespace webhook

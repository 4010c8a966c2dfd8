// Keeps libcurl's sockets in one epoll fd. The owner of the event loop waits for that fd. Linux only: a poller for
// another system would have the same functions.
//
// Surprising: a socket that libcurl no longer watches stays in epoll. The next request on its connection watches it
// again in the same way, so this saves two system calls per request. The first event on an unwatched socket removes it
// from epoll. Otherwise an idle connection that the peer closed would keep the fd readable forever.
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

  // The socket is new, and closing() will be called before it is closed. Only such a socket stays in epoll when
  // unwatched, because libcurl closes some of its own sockets (a resolver's wake-up pair) after no more than unwatch().
  // Returns false if out of memory.
  bool opened(int socket) noexcept;
  // Call before close(socket), because the number may be reused at once for another socket.
  void closing(int socket) noexcept;

  // From now on, events on the socket are for owner. Returns false if epoll refused or out of memory.
  bool watch(int socket, bool readable, bool writable, void* owner) noexcept;
  void unwatch(int socket) noexcept;

  struct Ready {
    int socket;
    void* owner;
    bool readable;
    bool writable;
    bool failed;
  };
  // poll() fetches the ready sockets without waiting, and next() returns them one by one. next() skips sockets that
  // were closed or unwatched since poll(), even if their number is in use again.
  void poll() noexcept;
  std::optional<Ready> next() noexcept;

 private:
  struct Socket {
    std::uint32_t generation = 0;  // counts the sockets with this number; events of earlier ones are stale
    std::uint32_t watched = 0;     // the events that libcurl wants
    std::uint32_t registered = 0;  // the events registered with epoll; 0: not in epoll
    bool ours = false;             // closing() will be called
    void* owner = nullptr;
  };

  Socket* slot(int socket) noexcept;
  bool register_events(int socket, Socket& state, std::uint32_t events) noexcept;
  void unregister(int socket, Socket& state) noexcept;

  int epoll_fd_ = -1;
  std::vector<Socket> sockets_;  // indexed by socket number
  std::array<epoll_event, 128> events_{};
  std::size_t event_count_ = 0;
  std::size_t event_next_ = 0;
};

}  // namespace webhook

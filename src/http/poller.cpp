#include "http/poller.h"

#include <unistd.h>

#include <cerrno>
#include <exception>
#include <system_error>

namespace webhook {
namespace {

std::uint64_t tag(int socket, std::uint32_t generation) {
  return (static_cast<std::uint64_t>(generation) << 32) | static_cast<std::uint32_t>(socket);
}

}  // namespace

Poller::Poller() : epoll_fd_(epoll_create1(EPOLL_CLOEXEC)) {
  if (epoll_fd_ < 0) throw std::system_error(errno, std::generic_category(), "could not create an epoll descriptor");
}

Poller::~Poller() { close(epoll_fd_); }

bool Poller::opened(int socket) noexcept {
  Socket* const state = slot(socket);
  if (state == nullptr) return false;
  *state = Socket{.generation = state->generation + 1, .ours = true};
  return true;
}

void Poller::closing(int socket) noexcept {
  Socket* const state = slot(socket);
  if (state == nullptr) return;
  unregister(socket, *state);
  *state = Socket{.generation = state->generation + 1};
}

bool Poller::watch(int socket, bool readable, bool writable, void* owner) noexcept {
  Socket* const state = slot(socket);
  if (state == nullptr) return false;
  state->watched = (readable ? EPOLLIN : 0U) | (writable ? EPOLLOUT : 0U);
  state->owner = owner;
  return state->registered == state->watched || register_events(socket, *state, state->watched);
}

void Poller::unwatch(int socket) noexcept {
  Socket* const state = slot(socket);
  if (state == nullptr) return;
  state->watched = 0;
  state->owner = nullptr;
  if (state->ours) return;
  unregister(socket, *state);
  ++state->generation;
}

void Poller::poll() noexcept {
  const int count = epoll_wait(epoll_fd_, events_.data(), static_cast<int>(events_.size()), 0);
  event_count_ = count > 0 ? static_cast<std::size_t>(count) : 0;
  event_next_ = 0;
}

std::optional<Poller::Ready> Poller::next() noexcept {
  while (event_next_ < event_count_) {
    const epoll_event& event = events_[event_next_++];
    const int socket = static_cast<int>(event.data.u64 & 0xffffffffU);
    Socket& state = sockets_[static_cast<std::size_t>(socket)];
    if (event.data.u64 != tag(socket, state.generation)) continue;
    if (state.watched == 0) {
      unregister(socket, state);
      continue;
    }
    return Ready{.socket = socket,
                 .owner = state.owner,
                 .readable = (event.events & (EPOLLIN | EPOLLHUP)) != 0,
                 .writable = (event.events & EPOLLOUT) != 0,
                 .failed = (event.events & EPOLLERR) != 0};
  }
  return std::nullopt;
}

Poller::Socket* Poller::slot(int socket) noexcept {
  if (socket < 0) return nullptr;
  const auto index = static_cast<std::size_t>(socket);
  if (index >= sockets_.size()) {
    try {
      sockets_.resize(index + 1);
    } catch (const std::exception&) {
      return nullptr;
    }
  }
  return &sockets_[index];
}

bool Poller::register_events(int socket, Socket& state, std::uint32_t events) noexcept {
  epoll_event event{};
  event.events = events;
  event.data.u64 = tag(socket, state.generation);
  bool done = epoll_ctl(epoll_fd_, state.registered == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, socket, &event) == 0;
  // libcurl closed one of its own sockets without telling, and another socket now has the number.
  if (!done && errno == ENOENT) done = epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, socket, &event) == 0;
  state.registered = done ? events : 0;
  return done;
}

void Poller::unregister(int socket, Socket& state) noexcept {
  if (state.registered == 0) return;
  epoll_event unused{};
  epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, socket, &unused);
  state.registered = 0;
}

}  // namespace webhook

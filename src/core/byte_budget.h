// Counts the bytes of bodies, keys and names that the worker holds in memory: what it has read, what waits, what
// libcurl sends, and what is to be recorded. Each copy counts. The holder of the bytes keeps a Charge, so that every
// path releases them.
//
// The budget is divided:
//   1/2   deliveries that wait or are in flight (core/lanes.h)
//   1/8   events that wait for their filters (worker/filters.h)
//   1/8   results that wait to be recorded
//   1/16  deliveries that wait to be written to webhook_deliveries (core/fan_outs.h)
//   1/32  what is read at once, of which three copies exist for a moment
// The rest covers what is counted only roughly, and memory that the allocator doesn't give back.
//
// A delivery larger than a quarter of the budget is not counted. Only one such delivery is in memory at a time, on top
// of the budget. If it counted, it could never be sent, or it would keep all others waiting.
//
// Pure. Charges may outlive the budget.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>

namespace webhook {

class ByteBudget {
 public:
  static constexpr std::size_t kDefault = 64ULL << 20;
  static constexpr std::size_t kReadMin = 64ULL << 10;
  static constexpr std::size_t kReadMax = 2ULL << 20;

  // Counts bytes as held until it is released or destroyed.
  class Charge {
   public:
    Charge() = default;
    Charge(Charge&& other) noexcept : used_(std::move(other.used_)), bytes_(other.bytes_) {}
    Charge& operator=(Charge&& other) noexcept {
      if (this == &other) return *this;
      release();
      used_ = std::move(other.used_);
      bytes_ = other.bytes_;
      return *this;
    }
    Charge(const Charge&) = delete;
    Charge& operator=(const Charge&) = delete;
    ~Charge() { release(); }

    void release() noexcept {
      if (used_ != nullptr) *used_ -= bytes_;
      used_.reset();
    }

   private:
    friend class ByteBudget;
    Charge(std::shared_ptr<std::size_t> used, std::size_t bytes) : used_(std::move(used)), bytes_(bytes) {
      *used_ += bytes;
    }

    std::shared_ptr<std::size_t> used_;  // null: nothing is charged
    std::size_t bytes_ = 0;
  };

  ByteBudget() = default;
  ByteBudget(const ByteBudget&) = delete;
  ByteBudget& operator=(const ByteBudget&) = delete;

  void set_max(std::size_t bytes) { max_ = bytes; }
  std::size_t max() const { return max_; }
  std::size_t used() const { return *used_; }

  // Never refused: a caller checks for room before it takes bytes in.
  [[nodiscard]] Charge charge(std::size_t bytes) { return Charge(used_, is_large(bytes) ? 0 : bytes); }
  bool is_large(std::size_t bytes) const { return bytes > max_ / 4; }

  std::size_t deliveries_max() const { return max_ / 2; }
  std::size_t results_max() const { return max_ / 8; }
  std::size_t filtered_max() const { return max_ / 8; }
  std::size_t fan_outs_max() const { return max_ / 16; }
  // How much may be read from the database at once. A larger row is read alone.
  std::size_t read_max() const { return std::clamp(max_ / 32, kReadMin, kReadMax); }
  bool has_room_to_read() const { return *used_ == 0 || *used_ + read_max() <= max_; }

 private:
  std::size_t max_ = kDefault;
  std::shared_ptr<std::size_t> used_ = std::make_shared<std::size_t>(0);
};

}  // namespace webhook

// The account of the bytes that the worker holds on others' behalf: bodies, keys and names, counted once for each copy in
// memory, as long as they are there; what is read, what waits, what libcurl sends, what is to be recorded. Whoever holds
// them keeps a Charge, so that nothing is forgotten on any path.
//
// The budget is divided: half of it for deliveries that wait or are in flight (core/lanes.h), an eighth for events that wait
// for their filters (worker/filters.h), an eighth for results that wait to be recorded, a sixteenth for deliveries that wait
// to be written down (core/fan_outs.h), a thirty-second for what is read at once, of which there are three copies for a
// moment. The rest is for what is counted only roughly, and for what the memory allocator doesn't give back.
//
// What is larger than a quarter of the budget is not counted: there is one such delivery at a time, on top of the rest,
// rather than that it could never be sent, or kept all others waiting.
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

  // Bytes that are held, until it is destroyed.
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

    std::shared_ptr<std::size_t> used_;  // nothing: nothing is charged
    std::size_t bytes_ = 0;
  };

  ByteBudget() = default;
  ByteBudget(const ByteBudget&) = delete;
  ByteBudget& operator=(const ByteBudget&) = delete;

  void set_max(std::size_t bytes) { max_ = bytes; }
  std::size_t max() const { return max_; }
  std::size_t used() const { return *used_; }

  // Never refused: whoever brings bytes in asks for room before he does.
  [[nodiscard]] Charge charge(std::size_t bytes) { return Charge(used_, is_large(bytes) ? 0 : bytes); }
  bool is_large(std::size_t bytes) const { return bytes > max_ / 4; }

  std::size_t deliveries_max() const { return max_ / 2; }
  std::size_t results_max() const { return max_ / 8; }
  std::size_t filtered_max() const { return max_ / 8; }
  std::size_t fan_outs_max() const { return max_ / 16; }
  // What may be read from the database at once; a row that is larger comes alone.
  std::size_t read_max() const { return std::clamp(max_ / 32, kReadMin, kReadMax); }
  bool has_room_to_read() const { return *used_ == 0 || *used_ + read_max() <= max_; }

 private:
  std::size_t max_ = kDefault;
  std::shared_ptr<std::size_t> used_ = std::make_shared<std::size_t>(0);
};

}  // namespace webhook

// The requests of webhook_test() on their way from callers to workers, and the answers on their way back: a fixed number
// of slots, fixed in size and without pointers, so that they can live in shared memory. Whoever shares them between
// processes calls this under one lock.
//
//   free ──put──▶ waiting ──take──▶ taken ──answer──▶ answered ──withdraw──▶ free
//                    └──withdraw──▶ free └──withdraw──▶ given up ──answer──▶ free
//
// A caller may withdraw at any time. The slot of a request that a worker has taken stays in use until the worker is done
// with it, for it is the slots that bound how many are being sent: in all, and of an organization, so that none can use
// up all of them, not even by callers that give up at once. What is of no organization is, in each database, one more.
//
// An organization may have kSlotsOfOrganization, and never takes more than it leaves free; kSlotsSpare of the slots are
// for organizations that have none, one each. So the first test of an organization finds a slot unless those of a dozen
// others are under way at the same time, four of some. Each request bears a number that is never drawn again: what
// comes late for it finds its number nowhere.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "core/share.h"
#include "core/time.h"
#include "core/utf8.h"
#include "core/uuid.h"

namespace webhook {

// A text of at most kBytesMax bytes, in place.
template <std::size_t kBytesMax>
class FixedText {
 public:
  FixedText() = default;
  // What is longer is cut, not within a character.
  explicit FixedText(std::string_view text) {
    const std::string_view kept = utf8_prefix(text, kBytesMax);
    size_ = kept.size();
    if (!kept.empty()) std::memcpy(bytes_.data(), kept.data(), size_);
  }

  std::string_view view() const { return {bytes_.data(), size_}; }

 private:
  std::size_t size_ = 0;
  std::array<char, kBytesMax> bytes_{};
};

struct TestTicket {
  std::uint32_t slot = 0;
  std::uint64_t number = 0;
};

struct TestRequest {
  TestTicket ticket;
  Uuid webhook;
  Time webhook_created_at{};  // tells which webhook of that id
  FixedText<100> event;       // the longest name there is: event_pattern.cpp
};

// What became of a request.
enum class TestOutcome : std::uint8_t {
  kSent,         // the rest of the answer says how that went
  kNoWebhook,    // no such webhook is committed
  kNoEvent,      // no such event is committed
  kPaused,       // the database is paused; error has the reason
  kDisabled,     // webhook.enabled is off
  kFailed,       // the worker's transaction failed; error says how
  kWorkerEnded,  // before the answer came
};

// Texts are UTF-8.
struct TestAnswer {
  TestOutcome outcome = TestOutcome::kWorkerEnded;
  bool success = false;
  int response_status = 0;        // 0: none came
  FixedText<4096> response_body;  // as much of it as webhook_logs stores
  FixedText<1000> error;          // empty: none
  Duration elapsed{};
  std::int64_t log_id = 0;  // in webhook_logs; 0: not known
};

// Processes and organizations are numbers, the owner's matter.
class TestSlots {
 public:
  static constexpr std::size_t kSlots = 32;
  static constexpr std::size_t kSlotsSpare = 8;
  static constexpr std::size_t kSlotsOfOrganization = 4;
  static constexpr std::uint64_t kNoOrganization = 0;  // may have as many as it leaves free

  // --- For callers ---

  // Whether the organization has all the slots that it may have, however many are free.
  bool is_used_up_by(std::uint32_t database, std::uint64_t organization) const;
  // Nothing: all slots are in use, or as many as the organization may have now.
  std::optional<TestTicket> put(std::uint32_t database, std::uint32_t caller, std::uint64_t organization,
                                const Uuid& webhook, Time webhook_created_at, std::string_view event);
  // Nothing: not yet.
  std::optional<TestAnswer> answer_to(const TestTicket& ticket) const;
  // The request is given up, or its answer has been read. Again: nothing happens.
  void withdraw(const TestTicket& ticket);

  // --- For workers ---

  std::size_t waiting() const;
  bool is_waiting(std::uint32_t database, const WorkerShare& share) const;
  // The longest waiting request of the database, of those for webhooks of that share.
  std::optional<TestRequest> take(std::uint32_t database, std::uint32_t worker, const WorkerShare& share);
  // Returns the caller, who is to be woken. Nothing: the request was withdrawn, or answered.
  std::optional<std::uint32_t> answer(const TestTicket& ticket, const TestAnswer& answer);
  // Answers a request that the worker has taken with kWorkerEnded, and returns its caller. Nothing: it has none.
  std::optional<std::uint32_t> abandon_one(std::uint32_t worker);

 private:
  enum class State : std::uint8_t { kFree, kWaiting, kTaken, kAnswered, kGivenUp };

  struct Slot {
    State state = State::kFree;
    std::uint64_t number = 0;
    std::uint32_t database = 0;
    std::uint32_t caller = 0;
    std::uint32_t worker = 0;
    std::uint64_t organization = kNoOrganization;
    TestRequest request;
    TestAnswer answer;
  };

  std::size_t used() const;
  std::size_t used_by(std::uint32_t database, std::uint64_t organization) const;
  Slot* find(const TestTicket& ticket);

  std::uint64_t last_number_ = 0;
  std::array<Slot, kSlots> slots_;
};

}  // namespace webhook

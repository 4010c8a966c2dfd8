// Passes the requests of webhook_test() from callers to workers, and the answers back. It is a fixed number of slots,
// fixed in size and without pointers, so that it can live in shared memory. Processes that share it must call it under
// one lock.
//
//   free ──put──▶ reserved ──submit──▶ waiting ──take──▶ taken ──answer──▶ answered ──withdraw──▶ free
//                    └──withdraw──▶ free  └──withdraw──▶ free └──withdraw──▶ given up ──answer──▶ free
//
// The event's data is not in the slot: it may be large. The caller keeps it elsewhere, and submits a handle of it once it
// has a slot.
//
// A caller may withdraw at any time. Once a worker has taken a request, its slot stays in use until the worker is done
// with it. So the slots bound how many requests are being sent, in total and per organization, even if callers give up
// at once. In each database, webhooks without an organization count as one more organization.
//
// An organization may use kSlotsOfOrganization slots, and never more than it leaves free. kSlotsSpare slots are
// reserved for organizations that use none, one each. So the first test of an organization finds a slot unless a dozen
// others are testing at the same time, some with four requests. Each request has a unique number, so a late answer
// matches no other request.
//
// The data of all requests is limited in the same way: an organization uses no more bytes than it leaves free. Data of up
// to kSmallData bytes does not count, so that a small request never waits for large ones.
#pragma once

#include <algorithm>
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

// A text of at most kBytesMax bytes, stored inline.
template <std::size_t kBytesMax>
class FixedText {
 public:
  FixedText() = default;
  // Cuts a longer text, never within a character.
  explicit FixedText(std::string_view whole) {
    const std::string_view kept = utf8_prefix(whole, kBytesMax);
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
  Time webhook_created_at{};  // distinguishes webhooks that reuse an id
  FixedText<100> event;       // fits the longest name that event_pattern.h allows
  std::uint32_t data = 0;     // the handle that the caller submitted
};

// What became of a request.
enum class TestOutcome : std::uint8_t {
  kSent,         // the rest of the answer has the result
  kNoWebhook,    // no such webhook is committed
  kNoEvent,      // no such event is committed
  kPaused,       // the database is paused; error has the reason
  kDisabled,     // webhook.enabled is off
  kFailed,       // the worker's transaction failed; error says how
  kWorkerEnded,  // the worker ended before it answered
};

// Texts are UTF-8.
struct TestAnswer {
  TestOutcome outcome = TestOutcome::kWorkerEnded;
  bool success = false;
  int response_status = 0;        // 0: no response
  FixedText<4096> response_body;  // as much as webhook_logs stores
  FixedText<1000> error;          // empty: none
  Duration elapsed{};
  std::int64_t log_id = 0;  // in webhook_logs; 0: unknown
  // What was sent, if kSent. The body follows from the event's name, sent_at and the data.
  Time sent_at{};
  FixedText<2048> url;       // fits the longest URL that a webhook may have
  FixedText<10240> headers;  // lines separated by CR LF; the values of the webhook's own headers are "***"
};

// The owner chooses the numbers of processes and organizations.
class TestSlots {
 public:
  static constexpr std::size_t kSlots = 32;
  static constexpr std::size_t kSlotsSpare = 8;
  static constexpr std::size_t kSlotsOfOrganization = 4;
  static constexpr std::uint64_t kNoOrganization = 0;  // limited only by what it leaves free
  static constexpr std::size_t kSmallData = 16 * 1024;

  // --- For callers ---

  // Whether the organization uses kSlotsOfOrganization slots, so that it gets no other however many are free.
  bool is_used_up_by(std::uint32_t database, std::uint64_t organization) const;
  // The most bytes of data that one request may have, if all together may have data_max.
  static constexpr std::size_t data_of_request_max(std::size_t data_max) { return std::max(kSmallData, data_max / 2); }
  // What a caller asks for. data_bytes is the size of the event's data.
  struct Asked {
    Uuid webhook;
    Time webhook_created_at{};
    std::string_view event;
    std::size_t data_bytes = 0;
  };
  // Nothing if all slots are in use, or the organization uses as many slots or bytes as it may now. data_max limits the
  // bytes of all requests.
  std::optional<TestTicket> put(std::uint32_t database, std::uint32_t caller, std::uint64_t organization,
                                const Asked& asked, std::size_t data_max);
  // Lets a worker take the request. data is the handle by which it finds the event's data. Not if it was withdrawn.
  void submit(const TestTicket& ticket, std::uint32_t data);
  // Nothing if there is no answer yet.
  std::optional<TestAnswer> answer_to(const TestTicket& ticket) const;
  // The caller gives the request up, or has read its answer. A repeated call has no effect.
  void withdraw(const TestTicket& ticket);

  // --- For workers ---

  std::size_t waiting() const;
  bool is_waiting(std::uint32_t database, const WorkerShare& share) const;
  // The longest waiting request of the database for a webhook of the share. Nothing if none waits.
  std::optional<TestRequest> take(std::uint32_t database, std::uint32_t worker, const WorkerShare& share);
  // Returns the caller, to be woken up. Nothing if the request was withdrawn or has been answered.
  std::optional<std::uint32_t> answer(const TestTicket& ticket, const TestAnswer& answer);
  // Answers one request that the worker has taken with kWorkerEnded, and returns its caller. Nothing if there is none.
  std::optional<std::uint32_t> abandon_one(std::uint32_t worker);

 private:
  enum class State : std::uint8_t { kFree, kReserved, kWaiting, kTaken, kAnswered, kGivenUp };

  struct Slot {
    State state = State::kFree;
    std::uint64_t number = 0;
    std::uint32_t database = 0;
    std::uint32_t caller = 0;
    std::uint32_t worker = 0;
    std::uint64_t organization = kNoOrganization;
    std::size_t data_bytes = 0;  // 0: the data is small
    TestRequest request;
    TestAnswer answer;
  };

  std::size_t used() const;
  std::size_t used_by(std::uint32_t database, std::uint64_t organization) const;
  bool has_room_for_data(std::uint32_t database, std::uint64_t organization, std::size_t bytes,
                         std::size_t data_max) const;
  Slot* find(const TestTicket& ticket);

  std::uint64_t last_number_ = 0;
  std::array<Slot, kSlots> slots_;
};

}  // namespace webhook

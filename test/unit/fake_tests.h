// Callers of webhook_test(), who may give up at any time. Their slots are the real ones.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "core/test_slots.h"
#include "fake_process.h"
#include "worker/test_requests.h"

namespace webhook {

class FakeTests : public TestRequests {
 public:
  explicit FakeTests(FakeProcess& process) : process_(process) {}

  // --- For the test ---

  // Nothing: all slots are in use.
  std::optional<TestTicket> ask(const Uuid& webhook, const std::string& event = "contact.created",
                                const std::string& data = R"({"example":true})") {
    const auto ticket =
        slots_.put(kDatabase, kCaller, TestSlots::kNoOrganization, {webhook, Time{}, event, data.size()},
                   test_data_max(process_.settings_in_force.memory_bytes_max));
    if (ticket) {
      data_.push_back(data);
      slots_.submit(*ticket, static_cast<std::uint32_t>(data_.size()));
      process_.wake();
    }
    return ticket;
  }
  // The callers' data is gone, though their requests are not.
  void lose_data() { data_.assign(data_.size(), std::nullopt); }
  std::optional<TestAnswer> answer_to(const TestTicket& ticket) const { return slots_.answer_to(ticket); }
  void withdraw(const TestTicket& ticket) { slots_.withdraw(ticket); }
  std::size_t waiting() const { return slots_.waiting(); }

  // The process that took them is gone.
  void begin_anew() {
    while (slots_.abandon_one(kWorker)) continue;
  }

  // --- TestRequests ---

  bool any(const WorkerShare& share) override { return slots_.is_waiting(kDatabase, share); }
  std::optional<TakenTest> take(const WorkerShare& share) override {
    while (const std::optional<TestRequest> request = slots_.take(kDatabase, kWorker, share)) {
      if (const auto& data = data_.at(request->data - 1)) return TakenTest{*request, *data};
      answer(request->ticket, {});
    }
    return std::nullopt;
  }
  void answer(const TestTicket& ticket, const TestAnswer& answer) override { slots_.answer(ticket, answer); }

 private:
  static constexpr std::uint32_t kDatabase = 1;
  static constexpr std::uint32_t kCaller = 2;
  static constexpr std::uint32_t kWorker = 3;

  FakeProcess& process_;
  TestSlots slots_;
  std::vector<std::optional<std::string>> data_;  // by handle, from 1
};

}  // namespace webhook

#include "core/test_slots.h"

#include <algorithm>
#include <type_traits>

namespace webhook {

static_assert(std::is_trivially_copyable_v<TestSlots> && std::is_trivially_destructible_v<TestSlots>,
              "it lives in shared memory");

std::size_t TestSlots::used() const {
  return static_cast<std::size_t>(
      std::count_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.state != State::kFree; }));
}

std::size_t TestSlots::used_by(std::uint32_t database, std::uint64_t organization) const {
  return static_cast<std::size_t>(std::count_if(slots_.begin(), slots_.end(), [=](const Slot& slot) {
    return slot.state != State::kFree && slot.database == database && slot.organization == organization;
  }));
}

bool TestSlots::is_used_up_by(std::uint32_t database, std::uint64_t organization) const {
  return organization != kNoOrganization && used_by(database, organization) >= kSlotsOfOrganization;
}

bool TestSlots::has_room_for_data(std::uint32_t database, std::uint64_t organization, std::size_t bytes,
                                  std::size_t data_max) const {
  std::size_t own = bytes;
  std::size_t all = bytes;
  for (const Slot& slot : slots_) {
    if (slot.state == State::kFree) continue;
    all += slot.data_bytes;
    if (slot.database == database && slot.organization == organization) own += slot.data_bytes;
  }
  return all <= data_max && own <= data_max - all;
}

std::optional<TestTicket> TestSlots::put(std::uint32_t database, std::uint32_t caller, std::uint64_t organization,
                                         const Asked& asked, std::size_t data_max) {
  const std::size_t own = used_by(database, organization);
  if (is_used_up_by(database, organization) || (own > 0 && own + used() >= kSlots - kSlotsSpare)) return std::nullopt;
  const std::size_t data_bytes = asked.data_bytes > kSmallData ? asked.data_bytes : 0;
  if (data_bytes > 0 && !has_room_for_data(database, organization, data_bytes, data_max)) return std::nullopt;
  auto* const free =
      std::find_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.state == State::kFree; });
  if (free == slots_.end()) return std::nullopt;
  const TestTicket ticket{static_cast<std::uint32_t>(free - slots_.begin()), ++last_number_};
  free->state = State::kReserved;
  free->number = ticket.number;
  free->database = database;
  free->caller = caller;
  free->organization = organization;
  free->data_bytes = data_bytes;
  free->request.ticket = ticket;
  free->request.webhook = asked.webhook;
  free->request.webhook_created_at = asked.webhook_created_at;
  free->request.event = FixedText<100>(asked.event);
  free->request.data = 0;
  return ticket;
}

void TestSlots::submit(const TestTicket& ticket, std::uint32_t data) {
  Slot* slot = find(ticket);
  if (slot == nullptr || slot->state != State::kReserved) return;
  slot->request.data = data;
  slot->state = State::kWaiting;
}

TestSlots::Slot* TestSlots::find(const TestTicket& ticket) {
  Slot& slot = slots_[ticket.slot];
  return slot.state != State::kFree && slot.number == ticket.number ? &slot : nullptr;
}

std::optional<TestAnswer> TestSlots::answer_to(const TestTicket& ticket) const {
  const Slot& slot = slots_[ticket.slot];
  if (slot.number != ticket.number || slot.state != State::kAnswered) return std::nullopt;
  return slot.answer;
}

void TestSlots::withdraw(const TestTicket& ticket) {
  Slot* slot = find(ticket);
  if (slot == nullptr) return;
  const bool is_being_sent = slot->state == State::kTaken || slot->state == State::kGivenUp;
  slot->state = is_being_sent ? State::kGivenUp : State::kFree;
}

std::size_t TestSlots::waiting() const {
  return static_cast<std::size_t>(
      std::count_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.state == State::kWaiting; }));
}

bool TestSlots::is_waiting(std::uint32_t database, const WorkerShare& share) const {
  return std::any_of(slots_.begin(), slots_.end(), [&](const Slot& slot) {
    return slot.state == State::kWaiting && slot.database == database && share.owns(slot.request.webhook);
  });
}

std::optional<TestRequest> TestSlots::take(std::uint32_t database, std::uint32_t worker, const WorkerShare& share) {
  Slot* oldest = nullptr;
  for (Slot& slot : slots_) {
    if (slot.state != State::kWaiting || slot.database != database || !share.owns(slot.request.webhook)) continue;
    if (oldest == nullptr || slot.number < oldest->number) oldest = &slot;
  }
  if (oldest == nullptr) return std::nullopt;
  oldest->state = State::kTaken;
  oldest->worker = worker;
  return oldest->request;
}

std::optional<std::uint32_t> TestSlots::answer(const TestTicket& ticket, const TestAnswer& answer) {
  Slot* slot = find(ticket);
  if (slot == nullptr) return std::nullopt;
  if (slot->state == State::kGivenUp) slot->state = State::kFree;
  if (slot->state != State::kTaken) return std::nullopt;
  slot->answer = answer;
  slot->state = State::kAnswered;
  return slot->caller;
}

std::optional<std::uint32_t> TestSlots::abandon_one(std::uint32_t worker) {
  for (Slot& slot : slots_) {
    if (slot.worker != worker || (slot.state != State::kTaken && slot.state != State::kGivenUp)) continue;
    if (const auto caller = answer(slot.request.ticket, {})) return caller;
  }
  return std::nullopt;
}

}  // namespace webhook

// Random events, failures and crashes, from seeds.
#include "worker_test.h"

namespace webhook {
namespace {

// Commits, late commits and rollbacks; endpoints that answer, fail and hang; a database that fails; crashes between any
// two steps, before and after any transaction; pauses; webhooks made, switched on and off, and deleted. FakeStore and
// watch_sending() check each step.
class ChaosTest : public WorkerTest, public testing::WithParamInterface<unsigned> {
 protected:
  static constexpr int kSteps = 1'000;

  ChaosTest() : random_(GetParam()) {
    process_.draw = [this] { return std::uniform_real_distribution<double>(0, 1)(random_); };
    process_.settings_in_force.retry_schedule = {2s, 5s, 5s};
    process_.settings_in_force.max_in_flight = 20;
    http_.answer = [this](const Received& request) { return answer(request); };
    store_.before = [this](const std::string&) { trouble(crash_before_); };
    store_.after = [this](const std::string&) {
      if (crash_after_ > 0 && --crash_after_ == 0) throw Crash();
    };
    store_.between_snapshot_and_last_log_id = [this] {
      if (below(4) == 0) store_.let_others_work();
    };
    for (int i = 0; i < 4; ++i) add_webhook();
  }

  int below(int limit) { return std::uniform_int_distribution<int>(0, limit - 1)(random_); }
  Uuid any_webhook() {
    return numbers_.empty()
               ? Uuid{}
               : FakeStore::uuid(numbers_[static_cast<std::size_t>(below(static_cast<int>(numbers_.size())))]);
  }

  void add_webhook() {
    numbers_.push_back(++last_number_);
    store_.add_webhook(last_number_, [this](Webhook& w) {
      w.limits.max_in_flight = 1 + below(8);
      w.timeout = 1s * (1 + below(4));
      if (below(3) == 0) w.retry_schedule = {500ms};
      if (below(3) == 0) w.events = {"deal.*"};
    });
  }

  Answer answer(const Received& /*request*/) {
    if (calm_) return {};
    const int choice = below(20);
    const Duration delay = below(50) * 1ms;
    if (choice < 12) return {.delay = delay};
    if (choice < 16) return {.status = 500, .delay = delay};
    if (choice < 17) return {.status = 429, .delay = delay, .retry_after = "3"};
    if (choice < 18) return {.delay = delay, .outcome = HttpOutcome::kDisconnected, .error = "gone"};
    return FakeHttp::hangs();
  }

  void trouble(int& crash_in) {
    if (crash_in > 0 && --crash_in == 0) throw Crash();
    if (!calm_ && process_.now() < fails_until_ && below(3) != 0) FakeStore::fail();
  }

  void emit(int count) {
    store_.emit_many(count, [this](Event& event) {
      const int kind = below(10);
      if (kind < 3) event.name = "deal.created";
      if (kind != 9) return;
      event.data.clear();
      event.oversized_bytes = 2'000'000;
    });
  }

  void step() {
    const int choice = below(100);
    if (choice < 45) {
      emit(1 + below(20));
    } else if (choice < 47) {
      emit(1'500);
    } else if (choice < 55) {
      open_.push_back(store_.begin());
      for (int i = below(4); i >= 0; --i) store_.append(open_.back());
    } else if (choice < 63 && !open_.empty()) {
      const auto chosen = open_.begin() + below(static_cast<int>(open_.size()));
      below(3) == 0 ? store_.rollback(*chosen) : store_.commit(*chosen);
      open_.erase(chosen);
    } else if (choice < 70) {
      const Uuid webhook = any_webhook();
      store_.set_active(webhook, !store_.is_active(webhook));
    } else if (choice < 71) {
      delete_webhook();
      add_webhook();
    } else if (choice < 76) {
      store_.set_paused(!store_.is_paused());
    } else if (choice < 80) {
      fails_until_ = process_.now() + below(3'000) * 1ms;
    } else if (choice < 83) {
      crash_before_ = 1 + below(10);
    } else if (choice < 86) {
      crash_after_ = 1 + below(10);
    } else if (choice < 87) {
      test();
    } else if (choice < 88) {
      throw Crash();
    } else if (choice < 90) {
      process_.request_shutdown();
    } else if (choice < 95) {
      store_.let_others_work();
    } else {
      process_.wake();
    }
  }

  // Whoever asked before has given up.
  void test() {
    if (asked_) tests_.withdraw(*asked_);
    asked_ = tests_.ask(any_webhook(), below(5) == 0 ? "unknown" : "contact.created");
  }

  void delete_webhook() {
    const auto chosen = numbers_.begin() + below(static_cast<int>(numbers_.size()));
    store_.delete_webhook(FakeStore::uuid(*chosen));
    numbers_.erase(chosen);
  }

  void go_on() {
    if (++steps_ > kSteps) {
      process_.request_shutdown();
      return;
    }
    process_.after(below(400) * 1ms, [this] { go_on(); });
    step();
  }

  std::mt19937 random_;
  std::vector<int> numbers_;
  int last_number_ = 0;
  std::vector<FullXid> open_;
  std::optional<TestTicket> asked_;
  bool calm_ = false;
  Time fails_until_{};
  int crash_before_ = 0;
  int crash_after_ = 0;
  int steps_ = 0;
};

TEST_P(ChaosTest, EveryEventEndsDeliveredPendingOrDeadAndNothingRepeatsWithoutACrash) {
  process_.after(1ms, [this] { go_on(); });
  int lives = 0;
  while (steps_ <= kSteps) {
    const int count = 1 + below(3);
    share_ = {1 + below(count), count};
    live();
    ++lives;
    ASSERT_FALSE(HasFailure()) << "in life " << lives << ", step " << steps_;
  }
  EXPECT_GT(lives, 20);
  EXPECT_GT(store_.logs.size(), 2'000U);

  calm_ = true;
  crash_before_ = crash_after_ = 0;
  share_ = {};
  store_.between_snapshot_and_last_log_id = nullptr;
  for (const FullXid xid : open_) store_.commit(xid);
  store_.set_paused(false);
  for (const int number : numbers_) store_.set_active(FakeStore::uuid(number), true);
  // Counting takes its time: not in every turn.
  run_until([this, turns = 0]() mutable {
    return ++turns % 500 == 0 && store_.required().empty() && store_.count_pending() == 0;
  });
  EXPECT_TRUE(store_.is_all_behind_checkpoint());
}

INSTANTIATE_TEST_SUITE_P(Seeds, ChaosTest, testing::Range(1U, 5U));

}  // namespace
}  // namespace webhook

// Events that wait for webhooks' filters.
#include "worker_test.h"

namespace webhook {
namespace {

TEST_F(WorkerTest, FilterDecidesWhoGetsAnEvent) {
  store_.add_webhook(1, [](Webhook& w) { w.filter = "odd"; });
  store_.add_webhook(2);
  store_.filters = [](const std::string&, const std::string& data) {
    return (data.back() == '}' && (data[data.size() - 2] - '0') % 2 == 1) ? FilterAnswer::kMatch
                                                                          : FilterAnswer::kNoMatch;
  };
  store_.forget_required_of(FakeStore::uuid(1));
  store_.emit_many(9);
  store_.forget_required_of(FakeStore::uuid(1));
  run_for(5s);
  EXPECT_EQ(received_by(1), (std::vector<std::int64_t>{1, 3, 5, 7, 9}));
  EXPECT_EQ(received_by(2).size(), 9U);
}

TEST_F(WorkerTest, FilterThatTakesTooLongIsLeftAloneForLongerAndLonger) {
  store_.add_webhook(1, [](Webhook& w) { w.filter = "slow"; });
  store_.add_webhook(2);
  store_.filters = [](const std::string&, const std::string&) { return FilterAnswer::kOverrun; };
  for (int second = 0; second < 100; ++second) {
    plan(second * 1s, [this] {
      store_.emit();
      store_.forget_required_of(FakeStore::uuid(1));
    });
  }
  run_for(101s);
  EXPECT_EQ(received_by(2).size(), 100U);
  EXPECT_TRUE(received_by(1).empty());
  EXPECT_LT(store_.filters_asked, 10U);
  EXPECT_EQ(process_.count_log("took too long"), 1U);
}

TEST_F(WorkerTest, FiltersOfOneOrganizationMayNotTakeTheTimeOfOthers) {
  constexpr int kSlow = 200;
  for (int i = 1; i <= kSlow; ++i) {
    store_.add_webhook(i, [i](Webhook& w) {
      w.organization_id = "acme";
      w.filter = "slow " + std::to_string(i);
    });
  }
  store_.add_webhook(kSlow + 1, [](Webhook& w) {
    w.organization_id = "globex";
    w.filter = "fine";
  });
  std::size_t overruns = 0;
  store_.overrun_takes = 100ms;
  store_.filters = [&](const std::string& filter, const std::string&) {
    if (filter == "fine") return FilterAnswer::kMatch;
    ++overruns;
    return FilterAnswer::kOverrun;
  };
  for (int second = 0; second < 150; ++second) {
    plan(second * 1s, [this] {
      store_.emit([](Event& e) { e.organization_id = "acme"; });
      store_.emit([](Event& e) { e.organization_id = "globex"; });
      for (int i = 1; i <= kSlow; ++i) store_.forget_required_of(FakeStore::uuid(i));
    });
  }
  run_for(151s);
  EXPECT_EQ(received_by(kSlow + 1).size(), 150U);
  EXPECT_GE(overruns, 20U);
  EXPECT_LE(overruns * 100ms, TimeAllowance::kMost + 151s / TimeAllowance::kShare + 100ms);
  EXPECT_GE(process_.count_log("the filters of organization \"acme\" take too much time"), 1U);
  EXPECT_LE(process_.count_log("take too much time"), 2U) << "once a minute, from when the first has waited for one";
  EXPECT_LE(process_.count_log("took too long"), 30U) << "ten a minute";
}

// Some wait for the filter, as many as may, when it is removed.
class WorkerFilterRemovalTest : public WorkerTest, public testing::WithParamInterface<Ordering> {};

TEST_P(WorkerFilterRemovalTest, NewerEventsDoNotPassThoseThatWaited) {
  store_.add_webhook(1, [](Webhook& w) {
    w.organization_id = "acme";
    w.filter = "costly";
    w.limits.ordering = GetParam();
  });
  const auto emit = [this](std::size_t count) {
    const FullXid xid = store_.begin();
    for (std::size_t i = 0; i < count; ++i) store_.append(xid, [](Event& e) { e.organization_id = "acme"; });
    store_.commit(xid);
    store_.forget_required_of(FakeStore::uuid(1));
  };
  store_.filter_takes = 100ms;
  store_.filters_of_group_at_once = 1;
  constexpr std::size_t kBefore = 12'000;
  plan(0s, [emit] { emit(kBefore); });
  plan(20s, [this] {
    EXPECT_LT(received_by(1).size(), 100U);
    store_.change_webhook(FakeStore::uuid(1), [](Webhook& w) { w.filter.clear(); });
  });
  for (int i = 0; i < 100; ++i) plan(20s + i * 10ms, [emit] { emit(1); });
  run_for(120s);
  const std::vector<std::int64_t> received = received_by(1);
  ASSERT_GE(received.size(), Filters::kEventsMax / 2) << "those beyond had no room";
  EXPECT_TRUE(std::is_sorted(received.begin(), received.end()));
  EXPECT_EQ(std::set<std::int64_t>(received.end() - 100, received.end()).size(), 100U);
  EXPECT_EQ(received.back(), static_cast<std::int64_t>(kBefore + 100));
}

INSTANTIATE_TEST_SUITE_P(All, WorkerFilterRemovalTest,
                         testing::Values(Ordering::kRelaxed, Ordering::kKey, Ordering::kEndpoint));

TEST_F(WorkerTest, FiltersOfNoOrganizationAreNotLimitedTogether) {
  for (int i = 1; i <= 50; ++i) store_.add_webhook(i, [](Webhook& w) { w.filter = "slow"; });
  store_.overrun_takes = 1s;
  store_.filters = [](const std::string&, const std::string&) { return FilterAnswer::kOverrun; };
  plan(1s, [this] {
    store_.emit();
    for (int i = 1; i <= 50; ++i) store_.forget_required_of(FakeStore::uuid(i));
  });
  run_for(60s);
  EXPECT_EQ(store_.filters_asked, 50U);
}

TEST_F(WorkerTest, FiltersOfOneOrganizationHoldUpNoEventOfAnother) {
  constexpr int kFilters = 100;
  for (int i = 1; i <= kFilters; ++i) {
    store_.add_webhook(i, [](Webhook& w) {
      w.organization_id = "acme";
      w.filter = "costly";
    });
  }
  store_.add_webhook(kFilters + 1, [](Webhook& w) { w.organization_id = "acme"; });
  store_.add_webhook(kFilters + 2, [](Webhook& w) { w.organization_id = "globex"; });
  store_.add_webhook(kFilters + 3, [](Webhook& w) {
    w.organization_id = "globex";
    w.filter = "cheap";
  });
  store_.filter_takes = 1ms;
  store_.filters_of_group_at_once = 1;
  const FullXid xid = store_.begin();
  for (int i = 0; i < 50; ++i) store_.append(xid, [](Event& e) { e.organization_id = "acme"; });
  store_.append(xid, [](Event& e) { e.organization_id = "globex"; });
  store_.commit(xid);
  run_until([this] { return received_by(kFilters + 2).size() + received_by(kFilters + 3).size() == 2; });
  EXPECT_LT(store_.filters_asked, 50U) << "of 5,001";
  run_until([this] { return received_by(kFilters + 1).size() == 50; });
  EXPECT_LT(store_.filters_asked, 500U) << "nor do webhooks without a filter wait for those that have one";
  run_until([this] { return store_.required().empty(); });
  EXPECT_EQ(store_.filters_asked, 5'001U);
  for (int i = 1; i <= kFilters; ++i) EXPECT_EQ(received_by(i).size(), 50U);
}

TEST_F(WorkerTest, TheNetworkIsDrivenBetweenFilters) {
  store_.add_webhook(1, [](Webhook& w) { w.filter = "costly"; });
  store_.filter_takes = 1ms;
  store_.filters_of_group_at_once = 1;
  store_.emit_many(500);
  run_until([this] { return received_by(1).size() == 1; });
  EXPECT_LT(store_.filters_asked, 20U);
}

TEST_F(WorkerTest, EventsThatWaitForTheirFiltersSurviveACrash) {
  store_.add_webhook(1, [](Webhook& w) {
    w.organization_id = "acme";
    w.filter = "costly";
  });
  store_.filter_takes = 500ms;
  store_.filters_of_group_at_once = 1;
  store_.emit_many(12, [](Event& e) { e.organization_id = "acme"; });
  store_.add_webhook(2);
  store_.emit_many(20);
  crash_after(4s);
  EXPECT_LT(received_by(1).size(), 12U);
  EXPECT_EQ(received_by(2).size(), 20U);
  run_until([this] { return store_.required().empty() && store_.is_all_behind_checkpoint(); });
  EXPECT_GE(received_by(1).size(), 12U);
}

TEST_F(WorkerTest, EventsThatWaitForTheirFiltersWaitWhileDeliveriesArePaused) {
  store_.add_webhook(1, [](Webhook& w) {
    w.organization_id = "acme";
    w.filter = "costly";
  });
  store_.filter_takes = 500ms;
  store_.filters_of_group_at_once = 1;
  store_.emit_many(12, [](Event& e) { e.organization_id = "acme"; });
  plan(3s, [this] { store_.set_paused(true); });
  plan(1h, [this] { store_.set_paused(false); });
  run_for(1h + 59s);
  EXPECT_EQ(received_by(1).size(), 12U);
  EXPECT_TRUE(store_.required().empty());
}

TEST_F(WorkerTest, FiltersThatWaitDoNotKeepTheWorkerBusy) {
  store_.add_webhook(1, [](Webhook& w) {
    w.organization_id = "acme";
    w.filter = "costly";
  });
  store_.filter_takes = 1s;
  store_.filters_of_group_at_once = 1;
  store_.emit_many(6, [](Event& e) { e.organization_id = "acme"; });
  run_for(3s);
  EXPECT_LT(turns_in(5s), 100);
}

}  // namespace
}  // namespace webhook

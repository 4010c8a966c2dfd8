// Filters by itself, on a store that answers as it is told to: whom it asks when, and what becomes of what waits. How the
// worker goes on meanwhile is tested in worker_test.cpp.
#include "worker/filters.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/json_bounds.h"
#include "fake_process.h"
#include "fake_store.h"

namespace webhook {
namespace {

using namespace std::chrono_literals;

class FiltersTest : public testing::Test {
 protected:
  FiltersTest() : store_(process_), filters_(process_, store_, subscribers_, budget_, statistics_) {
    store_.filters = [](const std::string& filter, const std::string&) {
      return filter == "no" ? FilterAnswer::kNoMatch : FilterAnswer::kMatch;
    };
  }

  void add_webhook(int number, const std::string& organization, const std::string& filter) {
    Webhook webhook{.id = FakeStore::uuid(number), .name = std::to_string(number), .filter = filter, .is_active = true};
    if (!organization.empty()) webhook.organization_id = organization;
    webhooks_.insert_or_assign(number, webhook);
    load();
  }
  void load() {
    std::vector<Uuid> gone;
    for (const auto& [id, subscriber] : subscribers_) gone.push_back(id);
    std::erase_if(gone, [this](const Uuid& id) {
      return std::any_of(webhooks_.begin(), webhooks_.end(), [&](const auto& entry) {
        return entry.second.id == id && entry.second.identity() == subscribers_.find(id)->identity();
      });
    });
    for (const Uuid& id : gone) subscribers_.remove(id);
    for (const auto& [number, webhook] : webhooks_) {
      const Subscribers::Change change = subscribers_.put(webhook);
      if (webhook.filter.empty() && change.filter) filters_.filter_removed(*subscribers_.find(webhook.id), conclude());
    }
  }

  Event event_of(const std::string& organization, std::string data = "{}") {
    Event event{.id = static_cast<std::int64_t>(++entry_), .created_at = process_.now(), .name = "contact.created"};
    if (!organization.empty()) event.organization_id = organization;
    event.data = std::move(data);
    return event;
  }

  // Returns whether there was room.
  bool ask(Event event) {
    std::vector<Subscriber*> asked;
    for (auto& [id, subscriber] : subscribers_) {
      if (subscriber.organization_id() == event.organization_id && !subscriber.webhook().filter.empty())
        asked.push_back(&subscriber);
    }
    std::sort(asked.begin(), asked.end(),
              [](const Subscriber* one, const Subscriber* other) { return one->id() < other->id(); });
    if (!filters_.has_room(event, asked)) return false;
    const auto entry = static_cast<Ledger::Entry>(event.id);
    filters_.ask(std::move(event), entry, nullptr, asked);
    return true;
  }

  Filters::Conclude conclude() {
    return [this](Filters::Waiting& waiting, Subscriber* subscriber) {
      const std::string organization = waiting.event.organization_id.value_or("");
      ++concluded_[organization];
      if (subscriber == nullptr) return;
      ++matched_[organization];
      received_.emplace_back(waiting.entry, subscriber->webhook().name);
    };
  }
  void answer() { filters_.answer(conclude()); }
  // While some may be asked now.
  void answer_all() {
    for (int calls = 0; calls < 10'000 && filters_.is_due(process_.now()); ++calls) answer();
  }

  FakeProcess process_;
  FakeStore store_;
  Subscribers subscribers_;
  ByteBudget budget_;
  Statistics statistics_;
  Filters filters_;
  std::map<int, Webhook> webhooks_;
  Ledger::Entry entry_ = 0;
  std::map<std::string, std::size_t> concluded_;
  std::map<std::string, std::size_t> matched_;
  std::vector<std::pair<Ledger::Entry, std::string>> received_;
};

TEST_F(FiltersTest, EachCallIsBoundedAndWhatIsLeftIsAskedByTheNext) {
  for (int number = 1; number <= 300; ++number) add_webhook(number, "acme", "yes");
  for (int i = 0; i < 10; ++i) ask(event_of("acme"));
  answer();
  EXPECT_GT(store_.filters_asked, 0U);
  EXPECT_LE(store_.filters_asked, Filters::kQuestionsMax);
  answer_all();
  EXPECT_EQ(store_.filters_asked, 3'000U) << "each once";
  EXPECT_EQ(matched_["acme"], 3'000U);
  EXPECT_TRUE(filters_.empty());
  EXPECT_TRUE(std::is_sorted(received_.begin(), received_.end(),
                             [](const auto& one, const auto& other) { return one.first < other.first; }));
}

TEST_F(FiltersTest, WhatTheStoreHadNoTimeForIsAskedAgain) {
  for (int number = 1; number <= 20; ++number) add_webhook(number, "acme", number % 2 == 0 ? "yes" : "no");
  store_.filters_of_group_at_once = 3;
  for (int i = 0; i < 5; ++i) ask(event_of("acme"));
  answer_all();
  EXPECT_EQ(store_.filters_asked, 100U);
  EXPECT_EQ(concluded_["acme"], 100U);
  EXPECT_EQ(matched_["acme"], 50U);
}

TEST_F(FiltersTest, OrganizationsAreAskedInTurnsByGroupsOfTheirOwn) {
  add_webhook(1, "acme", "yes");
  add_webhook(2, "globex", "yes");
  add_webhook(3, "", "yes");
  for (int i = 0; i < 500; ++i) ask(event_of("acme"));
  ask(event_of("globex"));
  ask(event_of(""));
  answer();
  EXPECT_EQ(matched_["globex"], 1U);
  EXPECT_EQ(matched_[""], 1U);
  EXPECT_LT(matched_["acme"], 500U);
}

TEST_F(FiltersTest, AnOrganizationWhoseTurnACallDidNotReachIsFirstInTheNext) {
  for (int number = 1; number <= 4; ++number) add_webhook(number, "org " + std::to_string(number), "yes");
  for (int i = 0; i < 3; ++i) {
    for (int number = 1; number <= 4; ++number) ask(event_of("org " + std::to_string(number)));
  }
  store_.filters_at_once = 3;  // one organization's
  for (int calls = 1; calls <= 4; ++calls) {
    answer();
    EXPECT_EQ(matched_.size(), static_cast<std::size_t>(calls));
  }
}

TEST_F(FiltersTest, CostIsChargedWhateverTheAnswer) {
  for (const auto answer :
       {FilterAnswer::kMatch, FilterAnswer::kNoMatch, FilterAnswer::kError, FilterAnswer::kBeyond}) {
    const std::string organization = "org " + std::to_string(static_cast<int>(answer));
    add_webhook(100 + static_cast<int>(answer), organization, "yes");
    store_.filters = [answer](const std::string&, const std::string&) { return answer; };
    store_.filter_takes = 10ms;
    store_.filters_asked = 0;
    for (int i = 0; i < 1'000; ++i) ask(event_of(organization));
    answer_all();
    EXPECT_GE(store_.filters_asked * 10ms, TimeAllowance::kMost);
    EXPECT_LT(store_.filters_asked, 1'000U) << "what is left waits for its time";
    EXPECT_FALSE(filters_.is_due(process_.now()));
    filters_.refuse_old(entry_ + Filters::kWaitEventsMax + 1, conclude());
  }
}

// Whatever kept a filter from judging: it is counted, the last of it is kept with its time, and the log says so, once a minute
// and organization.
TEST_F(FiltersTest, WhatAFilterCannotJudgeIsCountedNamedAndLogged) {
  struct Case {
    std::string organization;
    FilterAnswer answer;
    std::string error;
    std::string line;
  };
  const Case cases[] = {
      {"error", FilterAnswer::kError, "simulated error", "could not be evaluated: simulated error"},
      {"beyond", FilterAnswer::kBeyond, "the data is beyond what filters may see", "\"beyond\" is beyond what filters"},
      {"overrun", FilterAnswer::kOverrun, "it took too long", "took too long"}};
  int number = 0;
  for (const Case& tried : cases) {
    store_.filters = [&tried](const std::string& filter, const std::string&) {
      return filter == "bad" ? tried.answer : FilterAnswer::kNoMatch;
    };
    add_webhook(++number, tried.organization, "bad");
    add_webhook(++number, tried.organization, "bad");
    add_webhook(++number, tried.organization, "good");
    const std::size_t lines = process_.count_log(tried.line);
    const Time first = process_.now();
    for (int i = 0; i < 20; ++i) ask(event_of(tried.organization));
    answer_all();
    process_.pass(2min);
    ask(event_of(tried.organization));
    answer_all();
    std::map<Uuid, int> counted;
    for (const MinuteOfWebhook& minute : statistics_.take(100)) {
      counted[minute.webhook] += minute.unjudged;
      EXPECT_EQ(minute.attempts, 0);
    }
    for (int bad = number - 2; bad < number; ++bad) {
      EXPECT_EQ(counted[FakeStore::uuid(bad)], 21) << tried.organization;
      const EndpointState& endpoint = subscribers_.find(FakeStore::uuid(bad))->endpoint();
      EXPECT_EQ(endpoint.filter_error, tried.error);
      EXPECT_GE(endpoint.filter_failed_at, first + 2min);
    }
    EXPECT_FALSE(counted.contains(FakeStore::uuid(number))) << "a filter that says no has judged";
    EXPECT_FALSE(subscribers_.find(FakeStore::uuid(number))->endpoint().filter_failed_at);
    // Of overruns each webhook has its lines, within bounds.
    EXPECT_GE(process_.count_log(tried.line) - lines, tried.answer == FilterAnswer::kOverrun ? 1U : 2U);
    EXPECT_LE(process_.count_log(tried.line) - lines, 4U);
  }
}

TEST_F(FiltersTest, WhatIsNotEvenAskedIsCounted) {
  add_webhook(1, "acme", "yes");
  add_webhook(2, "globex", "yes");
  EXPECT_FALSE(ask(event_of("acme", std::string(kJsonBytesMax + 1, ' '))));
  for (int i = 0; i < 10; ++i) ask(event_of("globex"));
  filters_.refuse_old(entry_ + Filters::kWaitEventsMax + 1, conclude());
  std::map<Uuid, int> counted;
  for (const MinuteOfWebhook& minute : statistics_.take(100)) counted[minute.webhook] = minute.unjudged;
  EXPECT_EQ(counted[FakeStore::uuid(1)], 1);
  EXPECT_EQ(counted[FakeStore::uuid(2)], 10);
  EXPECT_EQ(subscribers_.find(FakeStore::uuid(1))->endpoint().filter_error, "the data is beyond what filters may see");
  EXPECT_EQ(subscribers_.find(FakeStore::uuid(2))->endpoint().filter_error,
            "the organization's filters take too much time");
}

TEST_F(FiltersTest, AnotherFilterForgetsWhatTheOneBeforeCouldNotJudge) {
  store_.filters = [](const std::string&, const std::string&) { return FilterAnswer::kError; };
  add_webhook(1, "acme", "bad");
  ask(event_of("acme"));
  answer_all();
  EXPECT_TRUE(subscribers_.find(FakeStore::uuid(1))->endpoint().filter_failed_at);
  load();
  EXPECT_TRUE(subscribers_.find(FakeStore::uuid(1))->endpoint().filter_failed_at) << "the same again";
  webhooks_.at(1).filter = "better";
  load();
  EXPECT_FALSE(subscribers_.find(FakeStore::uuid(1))->endpoint().filter_failed_at);
  EXPECT_EQ(subscribers_.find(FakeStore::uuid(1))->endpoint().filter_error, "");
}

TEST_F(FiltersTest, WhatWaitsForItsTimeIsAskedLaterAndHoldsUpNobodyElse) {
  add_webhook(1, "acme", "yes");
  add_webhook(2, "globex", "yes");
  store_.filter_takes = 100ms;
  store_.filters_of_group_at_once = 1;
  for (int i = 0; i < 50; ++i) ask(event_of("acme"));
  answer_all();
  const std::size_t at_once = matched_["acme"];
  EXPECT_LT(at_once, 50U);
  ask(event_of("globex"));
  answer();
  EXPECT_EQ(matched_["globex"], 1U);
  EXPECT_EQ(matched_["acme"], at_once);
  while (!filters_.empty()) {
    const Time now = process_.now();
    process_.pass(*filters_.next_at(now) - now);
    answer_all();
  }
  EXPECT_EQ(matched_["acme"], 50U) << "nothing is lost";
  EXPECT_EQ(process_.count_log("take too much time"), 0U);
}

TEST_F(FiltersTest, WhatHasWaitedTooLongForItsTimeIsRefusedAndSaidOnceAMinute) {
  add_webhook(1, "acme", "yes");
  store_.filter_takes = 1s;
  store_.filters_of_group_at_once = 1;
  for (int i = 0; i < 100; ++i) ask(event_of("acme"));
  for (int second = 0; second < 200 && !filters_.empty(); ++second) {
    answer_all();
    process_.pass(1s);
    answer();
  }
  EXPECT_TRUE(filters_.empty());
  EXPECT_EQ(concluded_["acme"], 100U);
  EXPECT_LT(matched_["acme"], 20U);
  EXPECT_GE(matched_["acme"], 6U);
  EXPECT_EQ(process_.count_log("the filters of organization \"acme\" take too much time"), 1U);
}

TEST_F(FiltersTest, TimeInWhichNobodyIsAskedIsNotWaiting) {
  add_webhook(1, "acme", "yes");
  store_.filter_takes = 500ms;
  store_.filters_of_group_at_once = 1;
  for (int i = 0; i < 10; ++i) ask(event_of("acme"));
  answer_all();
  EXPECT_LT(matched_["acme"], 10U);
  process_.pass(1h);
  filters_.hold(process_.now());
  while (!filters_.empty()) {
    answer_all();
    process_.pass(1s);
    answer();
  }
  EXPECT_EQ(matched_["acme"], 10U);
}

TEST_F(FiltersTest, WhatHoldsUpTheCheckpointForTooManyEventsIsRefused) {
  add_webhook(1, "acme", "yes");
  ask(event_of("acme"));
  filters_.refuse_old(1 + Filters::kWaitEventsMax, conclude());
  EXPECT_FALSE(filters_.empty());
  filters_.refuse_old(2 + Filters::kWaitEventsMax, conclude());
  EXPECT_TRUE(filters_.empty());
  EXPECT_EQ(concluded_["acme"], 1U);
  EXPECT_EQ(process_.count_log("the filters of organization \"acme\" take too much time"), 1U);
}

TEST_F(FiltersTest, RoomIsSharedByOrganization) {
  add_webhook(1, "acme", "yes");
  add_webhook(2, "globex", "yes");
  std::size_t taken = 0;
  while (ask(event_of("acme"))) ++taken;
  EXPECT_EQ(taken, Filters::kEventsMax / 2);
  EXPECT_EQ(process_.count_log("the filters of organization \"acme\" take too much time"), 1U);
  EXPECT_TRUE(ask(event_of("globex")));
}

TEST_F(FiltersTest, RoomIsBoundedInBytesWithTheListsOfWebhooks) {
  for (int number = 1; number <= 1'000; ++number) {
    webhooks_.insert_or_assign(number,
                               Webhook{.id = FakeStore::uuid(number), .organization_id = "acme", .filter = "yes"});
  }
  load();
  std::size_t bytes = 0;
  for (int i = 0;; ++i) {
    Event event = event_of("acme", std::string(1'000, 'x'));
    event.name = "name " + std::to_string(i);  // none shares its list
    if (!ask(std::move(event))) break;
    bytes += 1'000 + 1'000 * sizeof(Uuid);
  }
  EXPECT_LE(bytes, budget_.filtered_max() / 2);
  EXPECT_GE(bytes, budget_.filtered_max() / 4);
}

TEST_F(FiltersTest, DataBeyondTheBoundIsNotAskedAboutAndSaidOnceAMinute) {
  add_webhook(1, "acme", "yes");
  EXPECT_FALSE(ask(event_of("acme", std::string(kJsonBytesMax + 1, 'x'))));
  EXPECT_FALSE(ask(event_of("acme", std::string(kJsonBytesMax + 1, 'x'))));
  EXPECT_EQ(process_.count_log("data of organization \"acme\" is beyond what filters may see"), 1U);
  EXPECT_TRUE(ask(event_of("acme", std::string(kJsonBytesMax, 'x'))));
  process_.pass(1min);
  store_.filters = [](const auto&, const auto&) { return FilterAnswer::kBeyond; };
  answer_all();
  EXPECT_EQ(process_.count_log("data of organization \"acme\" is beyond what filters may see"), 2U);
  EXPECT_TRUE(received_.empty());
}

TEST_F(FiltersTest, AFilterThatOverranIsLeftAloneAndItsOrganizationsOthersAreAsked) {
  add_webhook(1, "acme", "slow");
  add_webhook(2, "acme", "yes");
  store_.filters = [](const std::string& filter, const std::string&) {
    return filter == "slow" ? FilterAnswer::kOverrun : FilterAnswer::kMatch;
  };
  for (int i = 0; i < 100; ++i) ask(event_of("acme"));
  answer_all();
  EXPECT_EQ(store_.filters_asked, 101U);
  EXPECT_EQ(matched_["acme"], 100U);
  EXPECT_EQ(concluded_["acme"], 200U);
}

TEST_F(FiltersTest, AWebhookThatNoLongerHasAFilterGetsAtOnceWhatWaitedForIt) {
  for (int number = 1; number <= 3; ++number) add_webhook(number, "acme", "no");
  for (int i = 0; i < 3; ++i) ask(event_of("acme"));
  store_.filters_of_group_at_once = 2;
  answer();
  EXPECT_EQ(concluded_["acme"], 2U) << "webhooks 1 and 2 were asked about the first event";
  add_webhook(2, "acme", "");
  EXPECT_EQ(received_, (std::vector<std::pair<Ledger::Entry, std::string>>{{2, "2"}, {3, "2"}}));
  answer_all();
  EXPECT_EQ(concluded_["acme"], 9U) << "each once";
  EXPECT_EQ(received_.size(), 2U);
  EXPECT_TRUE(filters_.empty());
}

TEST_F(FiltersTest, NothingWaitsForAnybodyWhenTheLastFilterIsRemoved) {
  add_webhook(1, "acme", "yes");
  add_webhook(2, "globex", "no");
  for (int i = 0; i < 3; ++i) ask(event_of("acme"));
  ask(event_of("globex"));
  add_webhook(1, "acme", "");
  EXPECT_EQ(received_.size(), 3U);
  answer_all();
  EXPECT_EQ(store_.filters_asked, 1U);
  EXPECT_TRUE(filters_.empty());
  EXPECT_EQ(filters_.next_at(process_.now()), std::nullopt);
}

TEST_F(FiltersTest, AWebhookThatIsGoneOrAnothersByNowIsNotAsked) {
  add_webhook(1, "acme", "yes");
  add_webhook(2, "acme", "yes");
  ask(event_of("acme"));
  webhooks_.erase(1);
  add_webhook(2, "globex", "yes");
  answer_all();
  EXPECT_EQ(concluded_["acme"], 2U);
  EXPECT_TRUE(received_.empty());
  EXPECT_EQ(store_.filters_asked, 0U);
}

TEST_F(FiltersTest, AFailureOfTheStoreLosesNothing) {
  add_webhook(1, "acme", "yes");
  add_webhook(2, "globex", "yes");
  ask(event_of("acme"));
  ask(event_of("globex"));
  store_.before = [](const std::string&) { FakeStore::fail(); };
  EXPECT_THROW(answer(), Error);
  store_.before = {};
  answer_all();
  EXPECT_EQ(matched_["acme"], 1U);
  EXPECT_EQ(matched_["globex"], 1U);
}

}  // namespace
}  // namespace webhook

// The whole loop in simulated time, on a simulated database and simulated endpoints. Every test also checks, by FakeStore
// and by watch_sending(), that no checkpoint passes what is unsettled, that no attempt is made twice unless a crash
// explains it, and that no cap on what is in flight is passed.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <tuple>

#include "fake_http.h"
#include "fake_process.h"
#include "fake_store.h"
#include "fake_tests.h"
#include "worker/worker.h"

namespace webhook {

using namespace std::chrono_literals;
using Answer = FakeHttp::Answer;
using Received = FakeHttp::Received;

inline std::vector<std::int64_t> ids_from(std::int64_t first, std::size_t count) {
  std::vector<std::int64_t> ids(count);
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

class WorkerTest : public testing::Test {
 protected:
  WorkerTest() {
    http_.on_start = [this](const Received& request) { watch_sending(request); };
  }

  // A worker begins, works for a time and is shut down.
  void run_for(Duration duration) {
    plan(duration, [this] { process_.request_shutdown(); });
    live();
  }

  // Likewise, until a condition holds after some turn. Fails if it doesn't come to hold in time.
  void run_until(const std::function<bool()>& holds, Duration limit = 1h) {
    bool held = false;
    process_.after_turn = [&] {
      if (!held && holds()) {
        held = true;
        process_.request_shutdown();
      }
    };
    run_for(limit);
    process_.after_turn = nullptr;
    EXPECT_TRUE(held) << "waited for " << std::chrono::duration_cast<std::chrono::seconds>(limit).count() << " s";
  }

  // Works until so many log rows are there. Returns how many deliveries webhook_deliveries held at most after a turn.
  std::size_t most_pending_until_logged(std::size_t count) {
    std::size_t most_pending = 0;
    run_until([&] {
      most_pending = std::max(most_pending, store_.count_pending());
      return store_.logs.size() == count;
    });
    return most_pending;
  }

  // A worker begins and dies.
  void crash_after(Duration duration) {
    plan(duration, [] { throw Crash(); });
    live();
  }

  // In this life of a worker only.
  void plan(Duration delay, std::function<void()> action) {
    process_.after(delay, [this, life = life_, action = std::move(action)] {
      if (life == life_) action();
    });
  }

  // Until the worker ends in one way or another.
  void live() {
    bool clean = false;
    try {
      Worker worker(process_, store_, http_, tests_, share_);
      end_ = worker.run();
      clean = true;
    } catch (const Crash&) {
    } catch (const Error&) {
    }
    ++life_;
    // What it sent and could not record may be sent again.
    std::erase_if(sent_, [this](const auto& attempt) {
      return !store_.has_attempt({std::get<0>(attempt), std::get<1>(attempt)}, std::get<2>(attempt));
    });
    ended_cleanly_ = clean;
    process_.begin_anew();
    http_.begin_anew();
    tests_.begin_anew();
    process_.pass(100ms);
  }

  std::int64_t turns_in(Duration duration) {
    const std::int64_t before = process_.turns();
    run_for(duration);
    return process_.turns() - before;
  }

  void watch_sending(const Received& request) {
    if (request.is_test) {
      EXPECT_LT(http_.tests_in_flight(), Tester::kInFlightMax);
      return;
    }
    const Uuid webhook = webhook_at(request.url);
    const DeliveryKey key{request.event_id, webhook};
    if (!asked_again_.contains(key)) {
      EXPECT_TRUE(sent_.emplace(request.event_id, webhook, request.attempt).second)
          << "attempt " << request.attempt << " of event " << request.event_id << " is made again";
      EXPECT_FALSE(store_.has_success(key)) << "event " << request.event_id << " is sent again";
    }
    EXPECT_LT(http_.in_flight() - http_.tests_in_flight(),
              static_cast<std::size_t>(process_.settings_in_force.max_in_flight));
    if (store_.has_webhook(webhook)) {
      EXPECT_LT(http_.in_flight_to(request.url), static_cast<std::size_t>(store_.max_in_flight(webhook)));
    }
  }

  static Uuid webhook_at(const std::string& url) { return FakeStore::uuid(std::stoi(url.substr(8))); }

  std::vector<std::int64_t> received_by(int number) const { return http_.ids_received_by(FakeStore::url(number)); }

  FakeProcess process_;
  FakeStore store_{process_};
  FakeHttp http_{process_};
  FakeTests tests_{process_};
  bool ended_cleanly_ = false;
  WorkerEnd end_;      // of the last worker that ended cleanly
  WorkerShare share_;  // of the next worker that begins
  std::unordered_set<DeliveryKey> asked_again_;

 private:
  int life_ = 0;
  std::set<std::tuple<std::int64_t, Uuid, int>> sent_;
};

}  // namespace webhook

#include "core/node_shares.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

#include "core/share.h"

namespace webhook {
namespace {

constexpr std::int32_t kUnknownSwitch = std::numeric_limits<std::int32_t>::max();

Uuid random_uuid(std::mt19937& random) {
  Uuid uuid;
  for (std::uint8_t& byte : uuid.bytes) byte = static_cast<std::uint8_t>(random());
  return uuid;
}

Event event_of(std::int32_t known_switch, FullXid xid = 1'000) {
  Event event;
  event.known_switch = known_switch;
  event.xid = xid;
  return event;
}

// How many of the nodes deliver the event.
int owners(const std::vector<NodeShares>& nodes, const Uuid& webhook, const Event& event) {
  return static_cast<int>(
      std::ranges::count_if(nodes, [&](const NodeShares& node) { return node.owns(webhook, event); }));
}

TEST(NodeShares, WithoutNodesEverythingIsDelivered) {
  std::mt19937 random(1);
  EXPECT_TRUE(NodeShares().owns(random_uuid(random), event_of(0)));
  EXPECT_TRUE(NodeShares().owns(random_uuid(random), event_of(kUnknownSwitch)));
}

// The divisions of home, east and west at numbers 10, 20 and 30, as each of them reads them.
std::vector<NodeShares> home_east_west() {
  return {NodeShares(true, {{10, 2, 1, {}}, {20, 3, 2, {}}, {30, 1, 0, {}}}),
          NodeShares(false, {{10, 2, 2, {}}, {20, 3, 3, {}}, {30, 1, 0, {}}}),
          NodeShares(false, {{10, 2, 0, {}}, {20, 3, 1, {}}, {30, 1, 1, {}}})};
}

TEST(NodeShares, EachEventHasOneNodeByTheLastDivisionThatItsSessionKnew) {
  const std::vector<NodeShares> nodes = home_east_west();
  std::mt19937 random(2);
  for (int i = 0; i < 1'000; ++i) {
    const Uuid webhook = random_uuid(random);
    EXPECT_TRUE(nodes[0].owns(webhook, event_of(9))) << "before the first division, the home";
    EXPECT_TRUE(nodes[2].owns(webhook, event_of(30)));
    for (const std::int32_t known : {0, 9, 10, 11, 19, 20, 29, 30, 31, 1'000}) {
      EXPECT_EQ(owners(nodes, webhook, event_of(known)), 1) << known;
    }
    const int second = node_of(webhook, 3);
    EXPECT_TRUE(nodes[second == 1 ? 2 : second - 2].owns(webhook, event_of(25)));
  }
}

TEST(NodeShares, AnEventOfASessionThatKnowsNothingGoesToTheLastTwo) {
  const std::vector<NodeShares> nodes = home_east_west();
  std::mt19937 random(3);
  for (int i = 0; i < 1'000; ++i) {
    const Uuid webhook = random_uuid(random);
    EXPECT_TRUE(nodes[2].owns(webhook, event_of(kUnknownSwitch)));
    EXPECT_EQ(owners(nodes, webhook, event_of(kUnknownSwitch)), node_of(webhook, 3) == 1 ? 1 : 2);
  }
}

TEST(NodeShares, ForANodeThatIsGoneTheHomeDeliversWhatFinishesLater) {
  const Snapshot queued{.xmin = 100, .xmax = 200, .running = {100, 150}};
  const NodeShares home(true, {{10, 2, 1, {{2, queued}}}, {20, 1, 1, {}}});
  const NodeShares other(false, {{10, 2, 0, {}}, {20, 1, 0, {}}});
  std::mt19937 random(4);
  for (int i = 0; i < 1'000; ++i) {
    const Uuid webhook = random_uuid(random);
    const bool is_of_gone = node_of(webhook, 2) == 2;
    for (const FullXid finished : {1, 99, 101, 199}) {
      EXPECT_EQ(home.owns(webhook, event_of(10, finished)), !is_of_gone) << "it is looked for in the database";
    }
    for (const FullXid later : {100, 150, 200, 1'000}) {
      EXPECT_TRUE(home.owns(webhook, event_of(10, later)));
      EXPECT_FALSE(other.owns(webhook, event_of(10, later)));
    }
    EXPECT_TRUE(home.owns(webhook, event_of(20, 50)));
  }
}

TEST(NodeShares, NodesAreIndependentOfTheWorkersOfANode) {
  std::mt19937 random(5);
  int counts[3][2] = {};
  for (int i = 0; i < 30'000; ++i) {
    const Uuid webhook = random_uuid(random);
    ++counts[node_of(webhook, 3) - 1][WorkerShare{1, 2}.owns(webhook) ? 0 : 1];
  }
  for (const auto& node : counts) {
    for (const int count : node) EXPECT_NEAR(count, 5'000, 350);
  }
}

}  // namespace
}  // namespace webhook

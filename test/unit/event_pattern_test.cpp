#include "core/event_pattern.h"

#include <gtest/gtest.h>

namespace webhook {
namespace {

std::string of_size(std::size_t size) { return std::string(size, 'a'); }

TEST(EventMatches, ExactNameMatchesItselfAlone) {
  EXPECT_TRUE(event_matches("contact.created", "contact.created"));
  EXPECT_FALSE(event_matches("contact.created", "contact.updated"));
  EXPECT_FALSE(event_matches("contact.created", "contact.created.twice"));
  EXPECT_FALSE(event_matches("contact.created", "contact.create"));
  EXPECT_FALSE(event_matches("deal", "deal.created"));
}

TEST(EventMatches, PrefixMatchesEveryLevelBelow) {
  EXPECT_TRUE(event_matches("deal.*", "deal.created"));
  EXPECT_TRUE(event_matches("deal.*", "deal.stage.changed"));
  EXPECT_TRUE(event_matches("deal.stage.*", "deal.stage.changed"));
  EXPECT_FALSE(event_matches("deal.stage.*", "deal.created"));
}

TEST(EventMatches, PrefixMatchesWholePartsOnly) {
  EXPECT_FALSE(event_matches("deal.*", "deal"));
  EXPECT_FALSE(event_matches("deal.*", "dealer.created"));
}

TEST(EventMatches, StarMatchesAllButOperationalEvents) {
  EXPECT_TRUE(event_matches("*", "contact.created"));
  EXPECT_TRUE(event_matches("*", "webhooks"));
  EXPECT_TRUE(event_matches("*", "webhook"));
  EXPECT_FALSE(event_matches("*", "webhook.test"));
  EXPECT_FALSE(event_matches("*", "webhook.endpoint.disabled"));
}

TEST(EventMatches, OperationalEventsAreMatchedByTheirPrefixOrName) {
  EXPECT_TRUE(event_matches("webhook.*", "webhook.test"));
  EXPECT_TRUE(event_matches("webhook.test", "webhook.test"));
}

TEST(EventNameProblem, NothingIsWrongWithGoodNames) {
  for (const std::string& name : {std::string("a"), std::string("contact.created"), std::string("deal.stage.changed"),
                                  std::string("a_b-c.9"), of_size(100)}) {
    EXPECT_EQ(event_name_problem(name), std::nullopt) << name;
  }
}

TEST(EventNameProblem, SaysWhatIsWrong) {
  EXPECT_EQ(event_name_problem(""), "it is empty");
  EXPECT_EQ(event_name_problem(of_size(101)), "it is longer than 100 characters");
  EXPECT_EQ(event_name_problem(".a"), "it begins with a dot");
  EXPECT_EQ(event_name_problem("."), "it begins with a dot");
  EXPECT_EQ(event_name_problem("a."), "it ends with a dot");
  EXPECT_EQ(event_name_problem("a..b"), "it has two dots in a row");
}

TEST(EventNameProblem, SaysWhichCharacterIsWrong) {
  const std::string rule = " is none of the lower-case letters a-z, digits, \"_\", \"-\" and \".\"";
  EXPECT_EQ(event_name_problem("Contact.created"), "character 1" + rule);
  EXPECT_EQ(event_name_problem("contact created"), "character 8" + rule);
  EXPECT_EQ(event_name_problem("contact.*"), "character 9" + rule);
  EXPECT_EQ(event_name_problem("kontakt.geändert"), "character 11" + rule);
  EXPECT_EQ(event_name_problem("a\nb"), "character 2" + rule);
}

TEST(EventPatternProblem, NothingIsWrongWithGoodPatterns) {
  for (const std::string& pattern : {std::string("*"), std::string("contact.*"), std::string("deal.stage.*"),
                                     std::string("contact.created"), of_size(98) + ".*"}) {
    EXPECT_EQ(event_pattern_problem(pattern), std::nullopt) << pattern;
  }
}

TEST(EventPatternProblem, StarStandsAloneOrLast) {
  for (const std::string_view pattern : {"**", "*.created", "contact*", "contact.*.done", "con*.*", "*.*"}) {
    EXPECT_EQ(event_pattern_problem(pattern), "\"*\" may stand only alone or after the last dot") << pattern;
  }
}

TEST(EventPatternProblem, PrefixObeysTheRulesOfNames) {
  EXPECT_EQ(event_pattern_problem(""), "it is empty");
  EXPECT_EQ(event_pattern_problem(of_size(99) + ".*"), "it is longer than 100 characters");
  EXPECT_EQ(event_pattern_problem(".*"), "it begins with a dot");
  EXPECT_EQ(event_pattern_problem("a..*"), "it ends with a dot");
  EXPECT_EQ(event_pattern_problem("a..b.*"), "it has two dots in a row");
  EXPECT_NE(event_pattern_problem("Contact.*"), std::nullopt);
}

}  // namespace
}  // namespace webhook

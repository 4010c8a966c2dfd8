#include "console/functions.h"

#include <algorithm>
#include <array>

namespace webhook::console {
namespace {

constexpr ArgumentType kText = ArgumentType::text;
constexpr ArgumentType kId = ArgumentType::id;
constexpr ArgumentType kNumber = ArgumentType::number;
constexpr ArgumentType kBoolean = ArgumentType::boolean;
constexpr ArgumentType kJson = ArgumentType::json;
constexpr ArgumentType kTexts = ArgumentType::texts;
constexpr ArgumentType kIds = ArgumentType::ids;
constexpr bool kRequired = true;

constexpr std::array kCheck{Parameter{"organization", kText}};
constexpr std::array kWebhooks{Parameter{"organization", kText}, Parameter{"search", kText}, Parameter{"status", kText},
                               Parameter{"after", kText}, Parameter{"page_size", kNumber}};
constexpr std::array kOneId{Parameter{"id", kId, kRequired}};
constexpr std::array kSave{Parameter{"webhook", kJson, kRequired}, Parameter{"id", kId},
                           Parameter{"if_updated_at", kText}};
constexpr std::array kDelete{Parameter{"id", kId, kRequired}, Parameter{"if_updated_at", kText}};
constexpr std::array kValidate{Parameter{"webhook", kJson, kRequired}, Parameter{"id", kId}};
constexpr std::array kRotate{Parameter{"id", kId, kRequired}, Parameter{"overlap_s", kNumber}};
constexpr std::array kOfWebhook{Parameter{"id", kId, kRequired}, Parameter{"before", kId},
                                Parameter{"page_size", kNumber}};
constexpr std::array kMatchCount{Parameter{"events", kTexts}, Parameter{"filter", kText},
                                 Parameter{"organization", kText}};
constexpr std::array kTryFilter{Parameter{"filter", kText, kRequired}, Parameter{"events", kTexts},
                                Parameter{"organization", kText}, Parameter{"page_size", kNumber}};
constexpr std::array kLogs{Parameter{"webhook", kId}, Parameter{"organization", kText}, Parameter{"status", kText},
                           Parameter{"event", kText}, Parameter{"key", kText},          Parameter{"event_id", kId},
                           Parameter{"since", kText}, Parameter{"until", kText},        Parameter{"before", kId},
                           Parameter{"after", kId},   Parameter{"page_size", kNumber}};
constexpr std::array kPending{Parameter{"webhook", kId}, Parameter{"state", kText}, Parameter{"event_id", kId},
                              Parameter{"after", kId}, Parameter{"page_size", kNumber}};
constexpr std::array kOverTime{Parameter{"webhook", kId}, Parameter{"organization", kText}, Parameter{"since", kText},
                               Parameter{"until", kText}};
constexpr std::array kTest{Parameter{"id", kId, kRequired}, Parameter{"event", kText}, Parameter{"payload", kJson}};
constexpr std::array kRedeliver{Parameter{"log_ids", kIds, kRequired}};
constexpr std::array kReplay{Parameter{"id", kId, kRequired},    Parameter{"since", kText},
                             Parameter{"until", kText},          Parameter{"events", kTexts},
                             Parameter{"only_failed", kBoolean}, Parameter{"dry_run", kBoolean}};
constexpr std::array kCancelReplay{Parameter{"job", kId, kRequired}};
constexpr std::array kCancel{Parameter{"id", kId, kRequired}, Parameter{"event_id", kId}};
constexpr std::array kPause{Parameter{"reason", kText}};
constexpr std::array kExplain{Parameter{"event_id", kId, kRequired}};
constexpr std::array kFind{Parameter{"webhook_id", kText}, Parameter{"source", kText}, Parameter{"key", kText},
                           Parameter{"organization", kText}};
constexpr std::array kVerify{Parameter{"body", kText, kRequired}, Parameter{"secret", kText, kRequired},
                             Parameter{"headers", kJson, kRequired}};

constexpr std::array kFunctions{
    Function{.name = "session"},
    Function{.name = "check", .parameters = kCheck},
    Function{.name = "webhooks", .parameters = kWebhooks},
    Function{.name = "webhook", .parameters = kOneId},
    Function{.name = "save", .parameters = kSave, .writes = true},
    Function{.name = "delete", .parameters = kDelete, .writes = true},
    Function{.name = "validate", .parameters = kValidate},
    Function{.name = "reveal", .parameters = kOneId},
    Function{.name = "rotate", .parameters = kRotate, .writes = true},
    Function{.name = "history", .parameters = kOfWebhook},
    Function{.name = "event_types"},
    Function{.name = "watches"},
    Function{.name = "match_count", .parameters = kMatchCount},
    Function{.name = "try_filter", .parameters = kTryFilter},
    Function{.name = "logs", .parameters = kLogs},
    Function{.name = "attempt", .parameters = kOneId},
    Function{.name = "pending", .parameters = kPending},
    Function{.name = "series", .parameters = kOverTime},
    Function{.name = "breakdown", .parameters = kOverTime},
    Function{.name = "test", .parameters = kTest, .writes = true, .is_slow = true},
    Function{.name = "redeliver", .parameters = kRedeliver, .writes = true},
    Function{.name = "replay", .parameters = kReplay, .writes = true},
    Function{.name = "replays", .parameters = kOfWebhook},
    Function{.name = "cancel_replay", .parameters = kCancelReplay, .writes = true},
    Function{.name = "cancel", .parameters = kCancel, .writes = true},
    Function{.name = "resume", .writes = true},
    Function{.name = "pause", .parameters = kPause, .writes = true},
    Function{.name = "explain", .parameters = kExplain},
    Function{.name = "find", .parameters = kFind},
    Function{.name = "verify", .parameters = kVerify},
};

}  // namespace

std::span<const Function> functions() { return kFunctions; }

const Function* find_function(std::string_view name) {
  const auto* found =
      std::find_if(kFunctions.begin(), kFunctions.end(), [&](const Function& f) { return f.name == name; });
  return found == kFunctions.end() ? nullptr : found;
}

}  // namespace webhook::console

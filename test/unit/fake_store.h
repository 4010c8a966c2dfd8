// The database in memory, as src/worker/store.h describes it. What a call made durable stays when the worker is thrown away.
//
// It also keeps the books on the promise "at least once": required() holds each delivery that must still come about, and
// a checkpoint that passes one of them, or a deletion of what is not delivered, fails the test at once.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/event_pattern.h"
#include "fake_process.h"
#include "worker/store.h"

namespace webhook {

class FakeStore : public Store {
 public:
  struct Log {
    std::int64_t id;
    LogRow row;
  };

  explicit FakeStore(FakeProcess& process) : process_(process) {}

  // --- For the test: configuration ---

  static Uuid uuid(int number) {
    Uuid id;
    id.bytes[14] = static_cast<std::uint8_t>(number >> 8);
    id.bytes[15] = static_cast<std::uint8_t>(number);
    return id;
  }
  static std::string url(int number) { return "https://" + std::to_string(number) + ".example/"; }

  // An active webhook without organization and secret that asks for everything.
  Uuid add_webhook(int number, const std::function<void(Webhook&)>& change = {}) {
    Webhook webhook{.id = uuid(number),
                    .name = std::to_string(number),
                    .url = url(number),
                    .events = {"*"},
                    .is_active = true,
                    .version = 1,
                    .active_since = process_.now(),
                    .timeout = std::chrono::seconds(5),
                    .limits = {.max_in_flight = 16}};
    webhook.switches = {++last_switch_};
    if (change) change(webhook);
    note_change({.webhook = webhook.identity()});
    webhooks_.insert_or_assign(webhook.id, std::move(webhook));
    return uuid(number);
  }
  void change_webhook(const Uuid& id, const std::function<void(Webhook&)>& change) {
    change(webhooks_.at(id));
    ++webhooks_.at(id).version;
    note_change({.webhook = webhooks_.at(id).identity()});
  }
  void set_active(const Uuid& id, bool active) {
    Webhook& webhook = webhooks_.at(id);
    if (webhook.is_active == active) return;
    webhook.is_active = active;
    if (active) webhook.active_since = process_.now();
    webhook.switches.push_back(++last_switch_);
    note_change({.webhook = webhook.identity()});
  }
  // What belongs to it stays, until the worker cleans up.
  void delete_webhook(const Uuid& id) {
    note_change({.webhook = webhooks_.at(id).identity(), .is_deleted = true});
    webhooks_.erase(id);
    require_nothing_of(id);
  }
  // A table was changed in a way that no trigger saw.
  void change_unseen(const Uuid& id, const std::function<void(Webhook&)>& change) {
    change(webhooks_.at(id));
    news_ = ConfigurationNews::kAnything;
  }
  // ALTER EXTENSION UPDATE.
  void update_extension() { has_new_version_ = true; }
  bool has_webhook(const Uuid& id) const { return webhooks_.contains(id); }
  bool is_active(const Uuid& id) const { return webhooks_.contains(id) && webhooks_.at(id).is_active; }
  int max_in_flight(const Uuid& id) const { return webhooks_.at(id).limits.max_in_flight; }
  void set_paused(bool paused) {
    is_paused_ = paused;
    news_ = std::max(news_, ConfigurationNews::kChanges);
    process_.wake();
  }
  bool is_paused() const { return is_paused_; }
  void set_nodes(NodeShares nodes) {
    nodes_ = std::move(nodes);
    news_ = std::max(news_, ConfigurationNews::kChanges);
    process_.wake();
  }
  // One that the extension has nothing to do with.
  void run_foreign_transaction() { ++next_xid_; }

  // --- For the test: events ---

  FullXid begin() {
    running_.insert(next_xid_);
    return next_xid_++;
  }
  std::int64_t append(FullXid xid, const std::function<void(Event&)>& change = {}) {
    Event event{.id = ++last_event_id_,
                .known_switch = last_switch_,
                .xid = xid,
                .created_at = process_.now(),
                .name = "contact.created"};
    event.data = "{\"id\":" + std::to_string(event.id) + "}";
    if (change) change(event);
    const std::int64_t id = event.id;
    events_.emplace(id, std::move(event));
    by_xid_[xid].push_back(id);
    return id;
  }
  void commit(FullXid xid) {
    running_.erase(xid);
    committed_.insert(xid);
    for (const std::int64_t id : by_xid_[xid]) require(events_.at(id));
    process_.announce_events();
  }
  void rollback(FullXid xid) { running_.erase(xid); }
  // In a transaction of its own.
  std::int64_t emit(const std::function<void(Event&)>& change = {}) {
    const FullXid xid = begin();
    const std::int64_t id = append(xid, change);
    commit(xid);
    return id;
  }
  // In one transaction; returns the first id.
  std::int64_t emit_many(int count, const std::function<void(Event&)>& change = {}) {
    const FullXid xid = begin();
    const std::int64_t first = last_event_id_ + 1;
    for (int i = 0; i < count; ++i) append(xid, change);
    commit(xid);
    return first;
  }
  // As if an earlier worker had left it.
  void add_pending(std::int64_t event_id, const Uuid& webhook, Time at) {
    const DeliveryKey key{event_id, webhook};
    const auto found = webhooks_.find(webhook);
    const WebhookIdentity of = found == webhooks_.end() ? WebhookIdentity{} : found->second.identity();
    deliveries.insert_or_assign(key, DeliveryRow{.key = key,
                                                 .webhook_created_at = of.created_at,
                                                 .organization_id = of.organization_id,
                                                 .created_at = process_.now(),
                                                 .pending_since = process_.now(),
                                                 .next_attempt_at = at});
    required_.erase(key);
  }
  // By a session, such as webhook_replay().
  void replay(std::int64_t event_id, const Uuid& webhook) {
    add_pending(event_id, webhook, process_.now());
    deliveries.at({event_id, webhook}).request = ++last_request_;
    replayed_.insert({event_id, webhook});
    note_change({.webhook = webhooks_.at(webhook).identity(), .is_pending_changed = true});
    process_.wake();
  }
  // As if a session had changed a pending delivery of the webhook: the worker searches for what is due from the start.
  void touch_pending(const Uuid& webhook) {
    note_change({.webhook = webhooks_.at(webhook).identity(), .is_pending_changed = true});
    process_.wake();
  }
  // Whatever else is asked for by now, the other workers of the database deliver it, and write their checkpoints.
  void let_others_work() {
    for (auto key = required_.begin(); key != required_.end();) {
      if (share_.owns(key->webhook)) {
        ++key;
        continue;
      }
      const Event& event = events_.at(key->event_id);
      insert_log({.created_at = process_.now(),
                  .webhook = key->webhook,
                  .event_id = event.id,
                  .event = event.name,
                  .attempt = 1,
                  .success = true});
      successes_.insert(*key);
      key = required_.erase(key);
    }
    const Snapshot now = snapshot();
    for (auto& [number, other] : other_checkpoints_) other = {{now, now}, 0, last_log_id_};
  }
  // For the test to say that a filter lets nothing through.
  void forget_required_of(const Uuid& webhook) { require_nothing_of(webhook); }
  // The ring took it.
  void forget_event(std::int64_t id) { events_.erase(id); }

  // --- For the test: failures ---

  // Before a call does anything, and after it made everything durable; may throw Error (before) or Crash (both).
  std::function<void(const std::string& call)> before;
  std::function<void(const std::string& call)> after;
  static void fail() { throw Error("XX000", "simulated failure"); }

  // --- For the test: what became of it ---

  std::vector<Log> logs;
  Duration reading_takes{};               // of changes
  int changes_read = 0;                   // how often
  std::size_t webhooks_read = 0;          // rows
  std::size_t webhooks_read_at_once = 0;  // the most
  std::map<Uuid, Time> read_at;           // when each was read last
  std::unordered_map<DeliveryKey, DeliveryRow> deliveries;
  std::optional<StoredIdentity> identity;
  std::optional<Checkpoint> checkpoint;
  std::vector<OperationalEvent> events_emitted;
  std::unordered_map<Uuid, EndpointState> endpoints;
  std::map<std::pair<Uuid, Time>, MinuteOfWebhook> minutes;
  std::unordered_map<Uuid, std::string> disabled;  // and why
  std::unordered_set<Uuid> held;                   // of which somebody else is writing what is pending
  std::unordered_set<Uuid> locked_webhooks;        // whose row somebody holds
  struct Deferred {
    DeliveryKey key;
    std::optional<DeliveryRow> row;  // nothing: it is finished
    std::int64_t request = 0;
  };
  std::unordered_map<Uuid, std::vector<Deferred>> deferred;
  // By the filter and the data.
  std::function<FilterAnswer(const std::string&, const std::string&)> filters = [](const auto&, const auto&) {
    return FilterAnswer::kMatch;
  };
  std::size_t filters_asked = 0;
  std::size_t filter_calls = 0;
  Duration filter_takes{};                        // each of them
  std::size_t filters_at_once = 10'000;           // the most that one call answers,
  std::size_t filters_of_group_at_once = 10'000;  // and of each group
  std::size_t pending_at_once = 0;                // the most rows of webhook_deliveries in one transaction
  std::size_t minutes_written = 0;                // rows of webhook_minutes
  Duration overrun_takes = std::chrono::milliseconds(5);
  std::function<RingReport(Ring)> ring = [](Ring) { return RingReport{}; };
  std::vector<Time> expired_before;

  // Deliveries that must come about and of which the database doesn't know yet.
  const std::unordered_set<DeliveryKey>& required() const { return required_; }
  bool has_success(const DeliveryKey& key) const { return successes_.contains(key); }
  bool has_attempt(const DeliveryKey& key, int attempt) const {
    return attempts_.contains({key.event_id, key.webhook, attempt});
  }
  const DeliveryRow* pending(const DeliveryKey& key) const {
    const auto found = deliveries.find(key);
    return found == deliveries.end() ? nullptr : &found->second;
  }
  std::size_t count_pending() const {
    return static_cast<std::size_t>(std::count_if(deliveries.begin(), deliveries.end(), [](const auto& entry) {
      return entry.second.next_attempt_at.has_value();
    }));
  }
  // Whether the checkpoint is behind every event.
  bool is_all_behind_checkpoint() const {
    return checkpoint && std::all_of(events_.begin(), events_.end(), [this](const auto& entry) {
             return !committed_.contains(entry.second.xid) || is_behind(*checkpoint, entry.second);
           });
  }
  bool is_behind_checkpoint(std::int64_t event_id) const {
    return checkpoint && is_behind(*checkpoint, events_.at(event_id));
  }

  // --- Store ---

  StartState start(const WorkerShare& share) override {
    Call call(*this, "start");
    is_updated_ = false;
    share_out(share);
    StartState state;
    state.verdict = compare_identity(identity, checkpoint.has_value(), kDatabase, kSystem);
    if (state.verdict == IdentityChange::kCopy) is_paused_ = true;
    if (state.verdict == IdentityChange::kCopy || state.verdict == IdentityChange::kFresh) {
      identity = StoredIdentity{.instance = uuid(++instances_), .database = kDatabase, .system_identifier = kSystem};
    }
    identity->system_identifier = kSystem;
    if (!checkpoint) {
      checkpoint = Checkpoint{{Snapshot::beginning(), Snapshot::beginning()}, 0, 0};
      for (int n = 1; n <= share.count; ++n) {
        if (n != share.number) other_checkpoints_[n] = *checkpoint;
      }
    }
    state.instance = identity->instance;
    state.checkpoint = *checkpoint;
    for (const auto& [id, changes] : deferred) state.deferred.push_back(id);
    call.commit();
    return state;
  }

  Configuration webhooks(const std::optional<Uuid>& last, std::size_t webhooks_max) override {
    Call call(*this, "webhooks");
    Configuration read = read_nothing();
    auto next = last ? webhooks_.upper_bound(*last) : webhooks_.begin();
    for (; next != webhooks_.end() && read.webhooks.size() < webhooks_max; ++next) add_to(read, next->first);
    read.is_all = read.webhooks.size() < webhooks_max;
    note_read(read);
    call.commit();
    return read;
  }
  Configuration webhooks(const std::vector<Uuid>& ids) override {
    Call call(*this, "some_webhooks");
    Configuration read = read_nothing();
    for (const Uuid& id : ids) add_to(read, id);
    note_read(read);
    call.commit();
    return read;
  }
  Configuration changes(const Snapshot& known, std::size_t changes_max) override {
    Call call(*this, "changes");
    if (!reading_ || reading_->known != known) reading_ = Reading{known, snapshot(), 0};
    Reading next = *reading_;
    const Window window{known, next.until};
    Configuration read = read_nothing();
    read.snapshot = next.until;
    std::set<Uuid> changed;
    std::set<Uuid> pending_changed;
    std::size_t found = 0;
    for (; next.position < changes_.size() && found < changes_max; ++next.position) {
      const Change& change = changes_[next.position];
      if (!window.contains(change.xid)) continue;
      ++found;
      if (change.is_deleted) read.deleted.push_back(change.webhook);
      if (!change.is_deleted) changed.insert(change.webhook.id);
      if (change.is_pending_changed) pending_changed.insert(change.webhook.id);
    }
    read.is_all = next.position == changes_.size();
    for (const Uuid& id : changed) add_to(read, id);
    for (Webhook& webhook : read.webhooks) webhook.is_pending_changed = pending_changed.contains(webhook.id);
    process_.pass(reading_takes);
    ++changes_read;
    note_read(read);
    call.commit();
    reading_ = read.is_all ? std::nullopt : std::optional(next);
    return read;
  }
  bool is_updated() const override { return is_updated_; }
  ConfigurationNews take_news() override { return std::exchange(seen_news_, ConfigurationNews::kNone); }
  bool has_news() const override { return seen_news_ != ConfigurationNews::kNone; }

  LogHead current_head() override {
    Call call(*this, "current_head");
    LogHead head{.snapshot = snapshot()};
    // Here the world may go on.
    if (between_snapshot_and_last_log_id) between_snapshot_and_last_log_id();
    head.last_log_id = last_log_id_;
    call.commit();
    return head;
  }
  std::function<void()> between_snapshot_and_last_log_id;

  Chunk read(const Window& window, std::int64_t after_id, std::size_t events_max, std::size_t bytes_max) override {
    Call call(*this, "read");
    std::vector<std::int64_t> ids;
    const Window::Ranges ranges = window.ranges();
    for (std::size_t i = 0; i < ranges.low.size(); ++i) {
      for (auto xid = by_xid_.lower_bound(ranges.low[i]); xid != by_xid_.end() && xid->first < ranges.high[i]; ++xid) {
        if (!committed_.contains(xid->first)) continue;
        for (const std::int64_t id : xid->second) {
          if (id > after_id && events_.contains(id)) ids.push_back(id);
        }
      }
    }
    std::sort(ids.begin(), ids.end());
    Chunk chunk;
    std::size_t bytes = 0;
    for (const std::int64_t id : ids) {
      bytes += events_.at(id).bytes();
      if (chunk.events.size() == events_max || (!chunk.events.empty() && bytes > bytes_max)) break;
      chunk.events.push_back(events_.at(id));
    }
    chunk.window_is_read = chunk.events.size() == ids.size();
    events_read += static_cast<std::int64_t>(chunk.events.size());
    call.commit();
    return chunk;
  }
  std::int64_t events_read = 0;

  std::vector<DeliveryKey> logged_since(std::int64_t log_floor) override {
    Call call(*this, "logged_since");
    std::vector<DeliveryKey> keys;
    for (const Log& log : logs) {
      if (log.id > log_floor) keys.push_back({log.row.event_id, log.row.webhook});
    }
    call.commit();
    return keys;
  }

  std::vector<DeliveryKey> pending_of(const std::vector<std::int64_t>& event_ids) override {
    Call call(*this, "pending_of");
    const std::unordered_set<std::int64_t> ids(event_ids.begin(), event_ids.end());
    std::vector<DeliveryKey> keys;
    for (const auto& [key, row] : deliveries) {
      if (ids.contains(key.event_id)) keys.push_back(key);
    }
    for (const auto& [webhook, changes] : deferred) {
      for (const Deferred& change : changes) {
        if (ids.contains(change.key.event_id)) keys.push_back(change.key);
      }
    }
    call.commit();
    return keys;
  }

  Recorded record(const Batch& batch) override {
    Call call(*this, "record");
    Recorded recorded;
    for (const LogRow& row : batch.logs) {
      insert_log(row);
      const DeliveryKey key{row.event_id, row.webhook};
      if (row.success) successes_.insert(key);
      if (row.success) required_.erase(key);
    }
    pending_at_once = std::max(pending_at_once, batch.deliveries.size());
    minutes_written += batch.minutes.size();
    std::unordered_set<Uuid> waiting;
    const auto is_deferred = [&](const Uuid& webhook, Deferred change) {
      if (!held.contains(webhook) && !deferred.contains(webhook)) return false;
      waiting.insert(webhook);
      deferred[webhook].push_back(std::move(change));
      return true;
    };
    for (const DeliveryRow& row : batch.deliveries) {
      required_.erase(row.key);
      if (!is_deferred(row.key.webhook, {row.key, row})) write_rows(row);
    }
    for (const auto& [key, request] : batch.finished) {
      EXPECT_TRUE(has_success(key)) << "event " << key.event_id << " is finished, but was not delivered";
      if (!is_deferred(key.webhook, {key, std::nullopt, request})) delete_finished(key, request);
    }
    recorded.deferred.assign(waiting.begin(), waiting.end());
    for (const OperationalEvent& event : batch.events) events_emitted.push_back(event);
    const auto is_there = [&](const Uuid& id, Time created_at) {
      const auto webhook = webhooks_.find(id);
      return webhook != webhooks_.end() && webhook->second.created_at == created_at;
    };
    for (const EndpointState& endpoint : batch.endpoints) {
      if (is_there(endpoint.webhook, endpoint.webhook_created_at)) {
        endpoints.insert_or_assign(endpoint.webhook, endpoint);
      }
    }
    for (const MinuteOfWebhook& minute : batch.minutes) {
      if (!is_there(minute.webhook, minute.webhook_created_at)) continue;
      MinuteOfWebhook& kept = minutes[{minute.webhook, minute.minute}];
      kept.webhook = minute.webhook;
      kept.minute = minute.minute;
      kept.attempts += minute.attempts;
      kept.successes += minute.successes;
      kept.unjudged += minute.unjudged;
    }
    if (batch.checkpoint) move_checkpoint(*batch.checkpoint);
    call.commit();
    return recorded;
  }

  std::int64_t log_test(const LogRow& row) override {
    Call call(*this, "record");
    insert_log(row);
    call.commit();
    return last_log_id_;
  }

  void filter(std::vector<FilterGroup>* groups) override {
    Call call(*this, "filter");
    ++filter_calls;
    std::size_t asked = 0;
    for (FilterGroup& group : *groups) {
      std::size_t asked_of_group = 0;
      for (FilterQuestion& question : group.questions) {
        EXPECT_NE(question.compiled, nullptr);
        EXPECT_NE(question.made, nullptr);
        if (asked == filters_at_once || asked_of_group == filters_of_group_at_once) break;
        ++asked;
        ++asked_of_group;
        ++filters_asked;
        question.answer = filters(*question.filter, *question.data);
        if (question.answer == FilterAnswer::kError) question.error = "simulated error";
        const bool overran = question.answer == FilterAnswer::kOverrun;
        group.cost += overran ? overrun_takes : filter_takes;
        if (overran) break;
      }
      process_.pass(group.cost);
    }
    call.commit();
  }

  DisableResult disable(const WebhookIdentity& wanted, const std::string& url, const std::string& reason,
                        const OperationalEvent& event) override {
    Call call(*this, "disable");
    const Uuid& webhook = wanted.id;
    const auto found = webhooks_.find(webhook);
    if (!exists(wanted) || !found->second.is_active || found->second.url != url) {
      return DisableResult::kNothingToDo;
    }
    if (locked_webhooks.contains(webhook)) return DisableResult::kLocked;
    set_active(webhook, false);
    disabled.insert_or_assign(webhook, reason);
    events_emitted.push_back(event);
    call.commit();
    return DisableResult::kDisabled;
  }

  NodesServed serve_nodes(const std::vector<std::string>& known) override {
    Call call(*this, "serve_nodes");
    known_takeovers = known;
    call.commit();
    return nodes_served;
  }

  Testable testable(const Uuid& id, Time created_at, const std::string& event) override {
    Call call(*this, "testable");
    Testable testable{.is_paused = is_paused_, .paused_reason = "told to", .has_event = event != "unknown"};
    const auto found = webhooks_.find(id);
    testable.has_webhook = found != webhooks_.end() && found->second.created_at == created_at;
    if (testable.has_webhook) {
      const Webhook& webhook = found->second;
      testable.organization_id = webhook.organization_id;
      testable.version = webhook.version;
      testable.url = webhook.url;
      testable.headers = webhook.headers;
      testable.secrets = webhook.secrets;
      testable.timeout = webhook.timeout;
    }
    call.commit();
    return testable;
  }

  Due due(const DueQuery& query) override {
    Call call(*this, "due");
    expect_complete(query.webhook.id, "due");
    Due due;
    if (!exists(query.webhook)) return due;
    std::vector<const DeliveryRow*> rows;
    std::map<std::string, const DeliveryRow*> first;  // by ordering_key
    for (const auto& [key, row] : deliveries) {
      if (!is_of(row, query.webhook) || !row.next_attempt_at) continue;
      if (*row.next_attempt_at > query.now) due.next = std::min(due.next.value_or(Time::max()), *row.next_attempt_at);
      if (!row.ordering_key) continue;
      const auto [entry, is_new] = first.emplace(*row.ordering_key, &row);
      if (!is_new && key.event_id < entry->second->key.event_id) entry->second = &row;
    }
    for (const auto& [key, row] : deliveries) {
      if (!is_of(row, query.webhook) || !row.next_attempt_at) continue;
      const Backlog::Position position{*row.next_attempt_at, key.event_id};
      const bool is_due = query.in_order
                              ? row.ordering_key && *first.at(*row.ordering_key)->next_attempt_at <= query.now
                              : *row.next_attempt_at <= query.now && position > query.after;
      if (is_due) rows.push_back(&row);
    }
    std::sort(rows.begin(), rows.end(), [&query](const DeliveryRow* a, const DeliveryRow* b) {
      if (query.in_order) return a->key.event_id < b->key.event_id;
      return std::tie(*a->next_attempt_at, a->key.event_id) < std::tie(*b->next_attempt_at, b->key.event_id);
    });
    rows.resize(std::min(rows.size(), query.rows_max));
    due.is_all = rows.size() < query.rows_max;
    std::size_t bytes = 0;
    for (const DeliveryRow* row : rows) {
      const auto body = events_.find(row->key.event_id);
      if (body != events_.end()) bytes += body->second.bytes();
      if (!due.deliveries.empty() && bytes > query.bytes_max) {
        due.is_all = false;
        break;
      }
      bytes_fetched_at_most = std::max(bytes_fetched_at_most, bytes);
      PendingDelivery& pending = due.deliveries.emplace_back();
      pending.attempts = row->attempts;
      pending.probes = row->probes;
      pending.request = row->request;
      pending.pending_since = row->pending_since;
      pending.next_attempt_at = *row->next_attempt_at;
      const auto stored = events_.find(row->key.event_id);
      if (stored != events_.end()) {
        pending.event = stored->second;
      } else {
        pending.event = {.id = row->key.event_id, .created_at = row->created_at, .name = row->event};
        pending.event.organization_id = row->organization_id;
      }
    }
    rows_fetched += due.deliveries.size();
    call.commit();
    return due;
  }
  std::size_t rows_fetched = 0;
  std::size_t bytes_fetched_at_most = 0;  // by one due()

  std::vector<std::int64_t> give_up_old(const WebhookIdentity& webhook, Time oldest, const std::string& reason,
                                        std::size_t rows_max) override {
    Call call(*this, "give_up_old");
    expect_complete(webhook.id, "give_up_old");
    std::vector<std::int64_t> ids;
    for (auto& [key, row] : deliveries) {
      if (!is_of(row, webhook) || !row.next_attempt_at || *row.next_attempt_at > process_.now()) continue;
      if (row.pending_since >= oldest || ids.size() == rows_max) continue;
      row.next_attempt_at.reset();
      row.last_error = reason;
      ids.push_back(key.event_id);
      logs.push_back({++last_log_id_,
                      {.created_at = process_.now(),
                       .webhook = webhook.id,
                       .event_id = key.event_id,
                       .event = row.event,
                       .error = reason}});
    }
    call.commit();
    return ids;
  }

  std::vector<Applied> apply_deferred(const std::vector<Uuid>& webhooks, std::size_t rows_max) override {
    Call call(*this, "apply_deferred");
    std::vector<Applied> all;
    for (const Uuid& webhook : webhooks) {
      Applied& applied = all.emplace_back(Applied{.webhook = webhook});
      if (held.contains(webhook)) continue;
      applied.state = Applied::State::kDone;
      std::vector<Deferred>& changes = deferred[webhook];
      for (std::size_t n = 0; n < changes.size() && n < rows_max; ++n) {
        if (changes[n].row) write_rows(*changes[n].row);
        if (!changes[n].row) delete_finished(changes[n].key, changes[n].request);
      }
      changes.erase(changes.begin(), changes.begin() + static_cast<std::ptrdiff_t>(std::min(changes.size(), rows_max)));
      if (!changes.empty()) applied.state = Applied::State::kMore;
      if (changes.empty()) deferred.erase(webhook);
      for (const auto& [key, row] : deliveries) {
        if (key.webhook != webhook || !row.next_attempt_at) continue;
        applied.next_due = std::min(applied.next_due.value_or(Time::max()), *row.next_attempt_at);
      }
      break;
    }
    call.commit();
    return all;
  }
  std::string holder(const Uuid& webhook) override { return held.contains(webhook) ? "somebody" : "nobody any more"; }

  OrderingStep write_ordering_keys(const WebhookIdentity& webhook, Ordering ordering, const Backlog::Position& behind,
                                   std::size_t rows_max) override {
    Call call(*this, "write_ordering_keys");
    expect_complete(webhook.id, "write_ordering_keys");
    OrderingStep step{.is_busy = held.contains(webhook.id), .is_all = true, .position = behind};
    if (step.is_busy) return step;
    std::map<Backlog::Position, DeliveryRow*> rows;
    for (auto& [key, row] : deliveries) {
      if (!is_of(row, webhook) || !row.next_attempt_at) continue;
      const Backlog::Position position{*row.next_attempt_at, key.event_id};
      if (position > behind) rows.emplace(position, &row);
    }
    for (const auto& [position, row] : rows) {
      if (rows_max-- == 0) {
        step.is_all = false;
        break;
      }
      row->ordering_key = ordering_key(ordering, row->event_key, row->key.event_id);
      step.position = position;
    }
    call.commit();
    return step;
  }

  std::optional<std::unordered_map<std::string, std::int64_t>> pending_by_key(const WebhookIdentity& webhook,
                                                                              std::size_t rows_max) override {
    Call call(*this, "pending_by_key");
    expect_complete(webhook.id, "pending_by_key");
    std::optional<std::unordered_map<std::string, std::int64_t>> counts(std::in_place);
    std::size_t rows = 0;
    for (const auto& [key, row] : deliveries) {
      if (!is_of(row, webhook) || !row.next_attempt_at || !row.ordering_key) continue;
      ++rows;
      if (!row.ordering_key->starts_with('#')) ++(*counts)[*row.ordering_key];
    }
    if (rows > rows_max) counts.reset();
    call.commit();
    return counts;
  }

  // A deleted webhook a step.
  bool clean_up(const Snapshot& known) override {
    Call call(*this, "clean_up");
    const auto is_next = [&](const Change& change) {
      return (change.is_deleted || change.is_pending_changed) && !change.is_done && known.has_finished(change.xid) &&
             share_.owns(change.webhook.id);
    };
    const auto next = std::find_if(changes_.begin(), changes_.end(), is_next);
    if (next != changes_.end()) {
      next->is_done = true;
      if (next->is_deleted && !exists(next->webhook)) {
        std::erase_if(deliveries, [&](const auto& entry) { return is_of(entry.second, next->webhook); });
      }
    }
    call.commit();
    return std::any_of(changes_.begin(), changes_.end(), is_next);
  }

  RingReport maintain_ring(Ring which, const RingLimits& /*limits*/) override {
    Call call(*this, "maintain_ring");
    RingReport report = ring(which);
    call.commit();
    return report;
  }
  bool delete_expired(Time time) override {
    Call call(*this, "delete_expired");
    expired_before.push_back(time);
    call.commit();
    return false;
  }
  void refill_ids() override {
    Call call(*this, "refill_ids");
    call.commit();
  }

  // What a node that is gone has left to a webhook.
  struct Takeover {
    std::size_t left = 0;
    bool is_held = false;              // another transaction writes the webhook's deliveries
    std::optional<std::string> error;  // SQLSTATE of each step
    int steps = 0;                     // that were tried
  };
  std::map<Uuid, Takeover> takeovers;
  NodesServed nodes_served;
  std::vector<std::string> known_takeovers;  // by the last serve_nodes()

  // A row of webhook_replays. It is for all events with ids up to last_event_id.
  struct Replay {
    Uuid webhook;
    std::optional<std::string> organization_id;
    std::int64_t position = 0;
    std::int64_t last_event_id = 0;
    std::string state = "waiting";
    std::string reason;
    bool is_locked = false;            // by another session
    std::optional<std::string> error;  // SQLSTATE that each step of it meets
    Duration filter_takes{};           // each step
    bool has_ended() const { return state == "done" || state == "failed" || state == "cancelled"; }
  };
  std::map<std::int64_t, Replay> replays;  // by id
  std::vector<std::int64_t> replay_steps;  // whose each was
  Duration replay_step_takes = std::chrono::milliseconds(1);
  std::size_t replay_queued_at_once = 0;  // the most of one step

  // By a session.
  std::int64_t start_replay(const Uuid& webhook) {
    const std::int64_t id = replays.empty() ? 1 : replays.rbegin()->first + 1;
    const WebhookIdentity of = webhooks_.at(webhook).identity();
    replays[id] = {.webhook = webhook, .organization_id = of.organization_id, .last_event_id = last_event_id_};
    note_change({.webhook = of, .is_pending_changed = true});
    process_.wake();
    return id;
  }
  UnfinishedReplays unfinished_replays(std::int64_t behind, std::size_t rows_max) override {
    Call call(*this, "unfinished_replays");
    UnfinishedReplays found;
    for (const auto& [id, replay] : replays) {
      if (id <= behind || replay.has_ended()) continue;
      found.is_all = found.replays.size() < rows_max;
      if (!found.is_all) break;
      found.replays.push_back({.id = id, .webhook = replay.webhook, .organization_id = replay.organization_id});
    }
    call.commit();
    return found;
  }
  ReplayStep replay_step(std::int64_t id, const Uuid& webhook, const ReplayBounds& bounds) override {
    Call call(*this, "replay_step");
    process_.pass(replay_step_takes);
    Replay& replay = replays.at(id);
    if (replay.is_locked || replay.has_ended()) return {};
    EXPECT_TRUE(share_.owns(webhook)) << "another worker's replay";
    if (replay.error) throw Error(replay.error->c_str(), "simulated failure");
    replay_steps.push_back(id);
    ReplayStep step = webhooks_.contains(webhook) ? advance(replay, bounds) : ReplayStep{};
    if (!webhooks_.contains(webhook)) {
      replay.state = "failed";
      step = {.outcome = ReplayStep::Outcome::kEnded, .failure = "the webhook was deleted"};
    }
    step.filter_cost = replay.filter_takes;
    call.commit();
    return step;
  }
  std::vector<UnfinishedTakeover> unfinished_takeovers(const std::optional<Uuid>& behind,
                                                       std::size_t webhooks_max) override {
    Call call(*this, "unfinished_takeovers");
    std::vector<UnfinishedTakeover> found;
    for (const auto& [webhook, takeover] : takeovers) {
      if (takeover.left > 0 && (!behind || *behind < webhook) && found.size() < webhooks_max) {
        found.push_back({.webhook = webhook, .organization_id = webhooks_.at(webhook).organization_id});
      }
    }
    call.commit();
    return found;
  }
  ReplayStep takeover_step(const Uuid& webhook, const ReplayBounds& bounds) override {
    Call call(*this, "takeover_step");
    Takeover& takeover = takeovers.at(webhook);
    EXPECT_TRUE(share_.owns(webhook)) << "another worker's takeover";
    ++takeover.steps;
    if (takeover.error) throw Error(takeover.error->c_str(), "simulated failure");
    if (takeover.is_held) return {.outcome = ReplayStep::Outcome::kWaits};
    takeover.left -= std::min(takeover.left, bounds.queued_max);
    call.commit();
    return {.outcome = takeover.left > 0 ? ReplayStep::Outcome::kMore : ReplayStep::Outcome::kEnded};
  }
  void fail_replay(std::int64_t id, const std::string& reason) override {
    Call call(*this, "fail_replay");
    replays.at(id).state = "failed";
    replays.at(id).reason = reason;
    call.commit();
  }

  DeliveryCounts count_deliveries(const std::optional<DeliveryKey>& behind, std::size_t rows_max) override {
    Call call(*this, "count_deliveries");
    if (!behind) {  // sorted once a round
      counted_.clear();
      for (const auto& [key, row] : deliveries) counted_.emplace_back(key.event_id, key.webhook);
      std::sort(counted_.begin(), counted_.end());
    }
    auto place = behind
                     ? std::upper_bound(counted_.begin(), counted_.end(), std::pair(behind->event_id, behind->webhook))
                     : counted_.begin();
    DeliveryCounts step;
    for (; place != counted_.end() && !step.last; ++place) {
      const auto row = deliveries.find({place->first, place->second});
      if (row == deliveries.end()) continue;
      const std::uint64_t dead = row->second.next_attempt_at ? 0 : 1;
      step.counts.push_back({place->second, row->second.organization_id, 1, dead});
      if (step.counts.size() == rows_max) step.last = row->first;
    }
    call.commit();
    return step;
  }
  std::size_t give_up_excess(const Uuid& webhook, const std::string& reason, std::size_t rows_max) override {
    Call call(*this, "give_up_excess");
    std::map<std::tuple<bool, Duration, std::int64_t>, const DeliveryRow*> rows;  // the dead come first
    for (const auto& [key, row] : deliveries) {
      if (key.webhook != webhook) continue;
      const bool is_pending = row.next_attempt_at.has_value();
      rows.emplace(
          std::tuple(is_pending, is_pending ? -row.next_attempt_at->time_since_epoch() : Duration(), key.event_id),
          &row);
    }
    std::vector<DeliveryKey> pending;
    std::size_t count = 0;
    for (const auto& [place, row] : rows) {
      if (count == rows_max) break;
      ++count;
      const DeliveryKey key = row->key;
      if (row->next_attempt_at) pending.push_back(key);
      deliveries.erase(key);
    }
    if (!pending.empty()) {
      insert_log({.created_at = process_.now(),
                  .webhook = webhook,
                  .event_id = pending.back().event_id,
                  .error = std::to_string(pending.size()) + ": " + reason});
    }
    call.commit();
    return count;
  }
  // By organization, in the order of their age: the bytes of its saved events.
  std::map<std::string, std::vector<std::uint64_t>> saved;
  SavedStep tidy_saved(std::int64_t /*after*/, std::size_t /*events_max*/) override {
    Call call(*this, "tidy_saved");
    SavedStep step;
    for (const auto& [organization, events] : saved) {
      for (const std::uint64_t bytes : events) step.bytes[organization] += bytes;
    }
    call.commit();
    return step;
  }
  SavedGivenUp give_up_saved(const std::string& organization, std::uint64_t bytes, const std::string& /*reason*/,
                             std::size_t /*rows_max*/) override {
    Call call(*this, "give_up_saved");
    std::vector<std::uint64_t>& events = saved[organization];
    SavedGivenUp given_up;
    while (!events.empty() && given_up.bytes < bytes) {
      given_up.bytes += events.front();
      events.erase(events.begin());
      given_up.more = true;
    }
    call.commit();
    return given_up;
  }

 private:
  ReplayStep advance(Replay& next, const ReplayBounds& bounds) {
    if (held.contains(next.webhook)) return {.outcome = ReplayStep::Outcome::kWaits};
    std::size_t room = bounds.room;
    if (room == 0) {
      const auto pending =
          static_cast<std::size_t>(std::count_if(deliveries.begin(), deliveries.end(), [&](const auto& entry) {
            return entry.first.webhook == next.webhook && entry.second.next_attempt_at;
          }));
      if (pending > bounds.pending_max / 2) return {.outcome = ReplayStep::Outcome::kWaits};
      room = bounds.pending_max - pending;
    }
    next.state = "running";
    std::size_t examined = 0;
    for (; examined < std::min({room, bounds.events_max, bounds.queued_max}); ++examined) {
      const auto event = events_.upper_bound(next.position);
      if (event == events_.end() || event->first > next.last_event_id) {
        next.state = "done";
        break;
      }
      next.position = event->first;
      replay(next.position, next.webhook);
    }
    replay_queued_at_once = std::max(replay_queued_at_once, examined);
    return {.outcome = next.has_ended() ? ReplayStep::Outcome::kEnded : ReplayStep::Outcome::kMore,
            .room = room - examined};
  }

  void write_rows(const DeliveryRow& row) {
    if (!exists({row.key.webhook, row.webhook_created_at, row.organization_id})) return;
    const auto known = deliveries.find(row.key);
    const bool is_asked_for_again = known != deliveries.end() && known->second.request != row.request &&
                                    known->second.webhook_created_at == row.webhook_created_at;
    if (!is_asked_for_again) deliveries.insert_or_assign(row.key, row);
  }
  void delete_finished(const DeliveryKey& key, std::int64_t request) {
    const auto row = deliveries.find(key);
    if (row != deliveries.end() && row->second.request == request) deliveries.erase(row);
  }
  // What reads webhook_deliveries must not do so before all of it is written.
  void expect_complete(const Uuid& webhook, const char* call) const {
    EXPECT_FALSE(deferred.contains(webhook)) << call << " while something is deferred";
  }

  static constexpr std::uint32_t kDatabase = 1;
  static constexpr std::uint64_t kSystem = 1;

  // A transaction: it may fail before it begins, it hears of invalidations, the process may die after its commit.
  class Call {
   public:
    Call(FakeStore& store, const char* name) : store_(store), name_(name) {
      if (store_.before) store_.before(name_);
      store_.is_updated_ |= std::exchange(store_.has_new_version_, false);
      store_.seen_news_ = std::max(store_.seen_news_, std::exchange(store_.news_, ConfigurationNews::kNone));
    }
    void commit() {
      if (store_.after) store_.after(name_);
    }

   private:
    FakeStore& store_;
    std::string name_;
  };

  // What a transaction of its own did.
  struct Change {
    FullXid xid = 0;
    WebhookIdentity webhook;
    bool is_deleted = false;
    bool is_pending_changed = false;
    bool is_done = false;  // nothing is left to do about it
  };
  struct Reading {
    Snapshot known;
    Snapshot until;
    std::size_t position = 0;
  };

  void note_change(Change change) {
    change.xid = next_xid_++;
    changes_.push_back(std::move(change));
    news_ = std::max(news_, ConfigurationNews::kChanges);
  }
  bool exists(const WebhookIdentity& webhook) const {
    const auto found = webhooks_.find(webhook.id);
    return found != webhooks_.end() && found->second.identity() == webhook;
  }
  static bool is_of(const DeliveryRow& row, const WebhookIdentity& webhook) {
    return WebhookIdentity{row.key.webhook, row.webhook_created_at, row.organization_id} == webhook;
  }
  Configuration read_nothing() {
    Configuration read{.snapshot = snapshot(), .is_paused = is_paused_, .paused_reason = "told to"};
    read.nodes = nodes_;
    return read;
  }
  void add_to(Configuration& read, const Uuid& id) {
    const auto found = webhooks_.find(id);
    if (found == webhooks_.end()) return;
    Webhook& webhook = read.webhooks.emplace_back(found->second);
    if (webhook.secrets_change_at && *webhook.secrets_change_at <= process_.now()) webhook.secrets_change_at.reset();
    for (const auto& [key, row] : deliveries) {
      if (!is_of(row, webhook.identity()) || !row.next_attempt_at) continue;
      webhook.next_due = std::min(webhook.next_due.value_or(Time::max()), *row.next_attempt_at);
    }
    const auto endpoint = endpoints.find(id);
    if (endpoint != endpoints.end() && endpoint->second.webhook_created_at == webhook.created_at) {
      webhook.endpoint = endpoint->second;
    }
  }
  void note_read(const Configuration& read) {
    for (const Webhook& webhook : read.webhooks) read_at[webhook.id] = process_.now();
    webhooks_read += read.webhooks.size();
    webhooks_read_at_once = std::max(webhooks_read_at_once, read.webhooks.size());
  }

  static bool is_behind(const Checkpoint& point, const Event& event) {
    if (point.window.from.has_finished(event.xid)) return true;
    return point.window.contains(event.xid) && event.id <= point.position;
  }

  void move_checkpoint(const Checkpoint& point) {
    for (const DeliveryKey& key : required_) {
      if (!share_.owns(key.webhook) || !is_behind(point, events_.at(key.event_id))) continue;
      ADD_FAILURE() << "the checkpoint passes event " << key.event_id << ", which is neither delivered nor pending";
      break;
    }
    checkpoint = point;
  }

  Snapshot snapshot() const {
    Snapshot now{.xmin = next_xid_, .xmax = next_xid_, .running = {running_.begin(), running_.end()}};
    if (!running_.empty()) now.xmin = *running_.begin();
    return now;
  }

  void insert_log(const LogRow& row) {
    logs.push_back({++last_log_id_, row});
    const bool is_new = row.attempt == 0 || attempts_.emplace(row.event_id, row.webhook, row.attempt).second ||
                        replayed_.contains({row.event_id, row.webhook});
    EXPECT_TRUE(is_new) << "attempt " << row.attempt << " of event " << row.event_id << " is logged twice";
  }

  // Gives the checkpoints to the workers that begin now.
  void share_out(const WorkerShare& share) {
    if (checkpoint) {
      other_checkpoints_[share_.number] = *checkpoint;
      if (share.count != share_.count) {
        std::vector<Checkpoint> all;
        for (const auto& [number, each] : other_checkpoints_) all.push_back(each);
        other_checkpoints_.clear();
        for (int number = 1; number <= share.count; ++number) other_checkpoints_[number] = oldest(all);
      }
      checkpoint = other_checkpoints_.at(share.number);
      other_checkpoints_.erase(share.number);
    }
    share_ = share;
    if (checkpoint) move_checkpoint(*checkpoint);  // for the check
  }

  void require(const Event& event) {
    for (const auto& [id, webhook] : webhooks_) {
      if (!webhook.was_active(event.known_switch)) continue;
      if (webhook.organization_id != event.organization_id) continue;
      const bool subscribed =
          std::any_of(webhook.events.begin(), webhook.events.end(),
                      [&event](const std::string& pattern) { return event_matches(pattern, event.name); });
      if (subscribed) required_.insert({event.id, id});
    }
  }
  void require_nothing_of(const Uuid& webhook) {
    std::erase_if(required_, [&webhook](const DeliveryKey& key) { return key.webhook == webhook; });
  }

  FakeProcess& process_;
  std::map<Uuid, Webhook> webhooks_;
  bool is_paused_ = false;
  bool has_new_version_ = false;
  bool is_updated_ = false;
  ConfigurationNews news_ = ConfigurationNews::kNone;
  ConfigurationNews seen_news_ = ConfigurationNews::kNone;
  std::vector<Change> changes_;
  std::optional<Reading> reading_;
  int instances_ = 0;
  NodeShares nodes_;
  FullXid next_xid_ = 10;
  std::set<FullXid> running_;
  std::unordered_set<FullXid> committed_;
  std::map<std::int64_t, Event> events_;
  std::map<FullXid, std::vector<std::int64_t>> by_xid_;
  std::int64_t last_event_id_ = 0;
  std::int32_t last_switch_ = 0;
  std::int64_t last_request_ = 0;
  std::unordered_set<DeliveryKey> replayed_;
  std::int64_t last_log_id_ = 0;
  WorkerShare share_;
  std::map<int, Checkpoint> other_checkpoints_;  // by number
  std::unordered_set<DeliveryKey> required_;
  std::unordered_set<DeliveryKey> successes_;
  std::set<std::tuple<std::int64_t, Uuid, int>> attempts_;
  std::vector<std::pair<std::int64_t, Uuid>> counted_;  // what a round of count_deliveries() goes through
};

}  // namespace webhook

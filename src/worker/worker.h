// The worker: takes events from the log, sends them, records what became of them. One a database, or several, each of
// which reads the whole log for its share of the webhooks; the first also looks after the rings and the ids.
//
// It waits in one place. Whatever wakes it (a commit, a socket, a retry that is due), one turn of the loop does all
// there is to do, and nothing in it blocks but the database's own short transactions.
//
//   read() ──▶ lanes ──▶ send() ──▶ HttpClient ──▶ collect() ──▶ recorder ──▶ record() ──▶ ledger ──▶ checkpoint
//                ▲                                                  │
//                └───── refill() ◀───── webhook_deliveries ◀────────┘ retries and overflow
//
// It includes neither PostgreSQL nor libcurl: the unit tests run it on simulated ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/backlog.h"
#include "core/byte_budget.h"
#include "core/crypto.h"
#include "core/deferrals.h"
#include "core/fan_outs.h"
#include "core/lanes.h"
#include "core/ledger.h"
#include "core/share.h"
#include "core/statistics.h"
#include "core/token_bucket.h"
#include "http/http_client.h"
#include "pg/process.h"
#include "pg/store.h"
#include "pg/server/test_requests.h"
#include "worker/configuration_reader.h"
#include "worker/filters.h"
#include "worker/maintenance.h"
#include "worker/recorder.h"
#include "worker/recording.h"
#include "worker/targets.h"
#include "worker/tester.h"
#include "worker/verdict.h"

namespace webhook {

class Worker {
 public:
  Worker(pg::Process& process, pg::Store& store, HttpClient& http, pg::TestRequests& tests,
         const WorkerShare& share = {});

  // Runs until the process is to end; what is in flight then gets webhook.shutdown_timeout to come back.
  // Throws pg::ExtensionGone when there is nothing left to work for, pg::Error if it cannot begin.
  void run();

 private:
  struct InFlight {
    Delivery delivery;
    Time started_at{};
    bool is_probe = false;  // of an open circuit
  };

  // How far what is owed to a webhook has the keys of its ordering.
  struct OrderingJob {
    Ordering ordering = Ordering::kRelaxed;
    Backlog::Position position;
  };

  // For which deliveries lanes have room now.
  struct AdmissionRoom {
    bool is_overdue = false;  // for all: lanes had their time to make some
    bool has_waited = false;  // for a good many at once, not one for each that was sent
  };

  void start();
  void turn();
  void keep_books();
  void end();
  void drain();
  std::optional<Duration> time_to_wait();
  void forget_deadlines(Time now);
  void report();
  bool delivers() const { return process_.settings().enabled && !is_paused_; }

  // Configuration
  void note_whether_enabled();
  void apply_settings();
  void read_configuration();
  void read_changes();
  void take_over(ConfigurationReader::Step step, Time begun);
  void take_instance(const pg::Configuration& read);
  void take_instance(const Uuid& instance, bool is_copy);
  void take_webhook(pg::Webhook webhook, bool with_backlog);
  void take_endpoint(Target& target, pg::EndpointState endpoint);
  void set_up_lane(Target& target, const Targets::Change& change);
  void forget_webhook(const Uuid& id);
  void note_secret_problem();
  void load_backlogs();
  void load_orderings();
  void note_nothing_owed(const Target& target);
  void set_up_order(const Target& target);

  // The log
  void read();
  bool may_read();
  bool may_send() const;
  Time admission_opens_at(Time now) const;
  bool open_next_window();
  void read_chunk();
  Time looks_open_at() const;
  void pause_looks(Time look_began);
  AdmissionRoom open_admission();
  bool has_room(const AdmissionRoom& room) const;
  void admit_chunk(const AdmissionRoom& room);
  void finish_chunk();
  std::vector<std::vector<Target*>> route(const std::vector<Event>& events);
  void admit(Event event, const std::vector<Target*>& all_receivers);
  bool may_filter();
  void filter(const AdmissionRoom& room);
  void conclude_filter(Filters::Waiting& waiting, Target* receiver);
  std::unordered_set<pg::DeliveryKey> recorded_before(const std::vector<Event>& events);
  std::shared_ptr<const Outgoing> outgoing(Event event);
  void deliver(const std::vector<Target*>& receivers, const std::shared_ptr<const Outgoing>& event,
               Ledger::Entry entry);
  static Delivery delivery_of(const Target& target, const std::shared_ptr<const Outgoing>& event, Ledger::Entry entry);
  void let_wait(const std::vector<const Target*>& receivers, const Outgoing& event, Ledger::Entry entry);
  bool fan_out();
  void give_up(const Event& event, const pg::Webhook& webhook, int attempts, const std::string& error,
               std::int64_t request = 0);
  void end_recovery();

  // What is owed
  void owe(const Delivery& delivery, int attempts, std::optional<Time> next_attempt_at, std::string error);
  void record_owed(const Delivery& delivery, const Target& target, int attempts, std::optional<Time> next_attempt_at,
                   std::string error);
  void owe_at_once(const Delivery& delivery);
  void take_back(std::vector<Delivery> deliveries);
  void drop(const std::vector<Delivery>& deliveries);
  void schedule_refill(const Target& target);
  void refill();
  void refill_lane(Target& target);
  void end_overflow(const Target& target, bool is_all);
  void relieve_lanes();
  void starve(const Uuid& webhook, std::size_t bytes);
  void wake_starved();
  bool give_up_old(const Target& target);
  void write_ordering_keys();
  bool is_mark_due();
  bool write_down_the_oldest();
  void write_down(Delivery& delivery);

  // The network
  void send();
  void collect();
  void conclude(const InFlight& attempt, const HttpResponse& response);
  void retry_or_give_up(const InFlight& attempt, Target& target, const Judgement& judgement, pg::LogRow* row);
  void announce(const Target& target, pg::OperationalEvent event);
  void note_endpoint(Target& target, const pg::LogRow& row, Circuit::Change change);
  void note_closed(Target& target);
  void note_test(const Tester::Outcome& test);
  void disable(Target& target, const std::string& reason);
  void disable_again();

  // Recording
  void record();
  void apply_deferred();
  void end_deferral(const pg::Applied& applied);
  void warn_of_deferral(const Uuid& webhook);
  void maintain();
  bool is_left_alone(const Uuid& webhook);
  void check_ages();
  void back_off(const pg::Error& error);

  pg::Process& process_;
  pg::Store& store_;
  HttpClient& http_;
  const WorkerShare share_;
  ByteBudget budget_;
  Recorder recorder_;
  Tester tester_;

  bool is_enabled_ = true;
  bool is_paused_ = false;
  std::string key_file_problem_;
  std::map<Uuid, std::string> secret_problems_;  // of webhooks
  std::string told_key_file_problem_;            // in the server's log
  bool has_told_secret_problem_ = false;         // likewise of either
  Uuid instance_;
  std::optional<EventIdCipher> event_ids_;
  ConfigurationReader configuration_;
  Maintenance maintenance_;
  Targets targets_;
  Filters filters_;
  FanOuts fan_outs_;
  Lanes lanes_;
  Ledger ledger_{Checkpoint()};  // start() has another
  Backlog backlog_;
  Deferrals deferrals_;                                  // of webhooks whose rows somebody else is writing
  std::unordered_map<Uuid, Ordering> ordered_;           // whose rows have the keys of that ordering
  std::unordered_map<Uuid, OrderingJob> ordering_jobs_;  // whose rows get them
  Statistics statistics_;
  Recording recording_;
  std::unordered_map<std::uint64_t, InFlight> in_flight_;       // by the delivery's ticket
  std::unordered_map<std::string, TokenBucket> announcements_;  // how many operational events an organization may get
  std::unordered_map<Uuid, std::string> disabling_;             // webhooks to be switched off, and why
  std::unordered_set<Uuid> backlogs_to_load_;                   // webhooks of which no window is opened before
  std::unordered_set<Uuid> orderings_to_load_;                  // likewise nothing is refilled
  // Webhooks that are owed something for which other lanes left no bytes: how many it takes, and in which order they came.
  std::unordered_map<Uuid, std::size_t> starved_;
  std::deque<Uuid> starved_turns_;
  pg::Chunk unadmitted_;                                 // the rest of what was read last
  ByteBudget::Charge unadmitted_charge_;                 // for all of it
  std::vector<std::vector<Target*>> routed_;             // who gets these, or not known yet
  std::unordered_set<pg::DeliveryKey> recorded_before_;  // of that, while recovering
  // Ids of webhook_logs that are valid floors (see Checkpoint) for windows from the end of the newest window, and from
  // any later snapshot.
  std::int64_t log_floor_ = 0;
  std::int64_t next_log_floor_ = 0;

  // Recovery: what the run before this one logged behind its last checkpoint, and what has been delivered from rows of
  // webhook_deliveries since.
  bool recovering_ = true;
  Ledger::Entry recovered_entry_ = 0;     // the first that was not read while recovering
  std::optional<Snapshot> recovered_at_;  // the end of the window with which recovery ends
  std::unordered_set<pg::DeliveryKey> logged_before_;

  bool is_backlog_stale_ = false;  // the clock was set back: the next round through the webhooks reads it anew
  bool look_at_log_ = true;        // something may have been committed
  bool was_called_ = false;        // since the last look at what has
  Time last_turn_{};
  Time next_look_{};                          // at the log, though nobody calls
  Time next_poll_{};                          // no look before,
  Time looks_pause_until_{};                  // nor, while requests are in flight, before
  std::optional<Time> reading_pauses_since_;  // for lanes that are crowded
  Duration crowded_pause_;                    // for how long it may
  Time next_mark_{};
  Ledger::Entry mark_ = 0;   // entries below it were admitted before the last mark
  bool is_marking_ = false;  // some of those are to get a row yet
  int store_failures_ = 0;   // in a row
  Time next_store_call_{};   // after a failure
  Time next_failure_warning_{};
  Time next_relief_{};
  Time next_deferral_warning_{};
  Time next_age_check_{};            // of what is owed to webhooks that nothing is sent to
  std::vector<Uuid> ages_to_check_;  // of these yet
  Time next_disabling_{};
  pg::WorkerFigures figures_;  // the counts among them
};

}  // namespace webhook

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

#include "core/byte_budget.h"
#include "core/ledger.h"
#include "core/share.h"
#include "core/statistics.h"
#include "http/http_client.h"
#include "pg/process.h"
#include "pg/store.h"
#include "pg/server/test_requests.h"
#include "worker/ages.h"
#include "worker/configuration_reader.h"
#include "worker/filters.h"
#include "worker/in_flight.h"
#include "worker/maintenance.h"
#include "worker/outcomes.h"
#include "worker/outgoing_factory.h"
#include "worker/pending.h"
#include "worker/recorder.h"
#include "worker/recording.h"
#include "worker/recovery.h"
#include "worker/spill.h"
#include "worker/targets.h"
#include "worker/tester.h"

namespace webhook {

class Worker {
 public:
  Worker(pg::Process& process, pg::Store& store, HttpClient& http, pg::TestRequests& tests,
         const WorkerShare& share = {});

  // Runs until the process is to end; what is in flight then gets webhook.shutdown_timeout to come back.
  // Throws pg::ExtensionGone when there is nothing left to work for, pg::Error if it cannot begin.
  void run();

 private:
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
  static std::optional<Time> take_endpoint(Target& target, pg::EndpointState endpoint);
  void forget_webhook(const Uuid& id);
  void note_secret_problem();
  void load_backlogs();

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
  std::vector<pg::DeliveryKey> rows_of(const std::vector<Event>& events);
  // The network
  void send();
  void collect();
  void maintain();
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
  ConfigurationReader configuration_;
  Maintenance maintenance_;
  Targets targets_;
  Statistics statistics_;
  Ledger ledger_{Checkpoint()};  // start() has another
  Recovery recovery_;
  Recording recording_;
  OutgoingFactory outgoings_;
  Pending pending_;
  Filters filters_;
  Outcomes outcomes_;
  Ages ages_;
  Spill spill_;
  InFlight in_flight_;
  std::unordered_set<Uuid> backlogs_to_load_;  // webhooks of which no window is opened before
  pg::Chunk unadmitted_;                       // the rest of what was read last
  ByteBudget::Charge unadmitted_charge_;       // for all of it
  std::vector<std::vector<Target*>> routed_;   // who gets these, or not known yet
  // Ids of webhook_logs that are valid floors (see Checkpoint) for windows from the end of the newest window, and from
  // any later snapshot.
  std::int64_t log_floor_ = 0;
  std::int64_t next_log_floor_ = 0;

  bool is_backlog_stale_ = false;  // the clock was set back: the next round through the webhooks reads it anew
  bool look_at_log_ = true;        // something may have been committed
  bool was_called_ = false;        // since the last look at what has
  Time last_turn_{};
  Time next_look_{};                          // at the log, though nobody calls
  Time next_poll_{};                          // no look before,
  Time looks_pause_until_{};                  // nor, while requests are in flight, before
  std::optional<Time> reading_pauses_since_;  // for lanes that are crowded
  Duration crowded_pause_;                    // for how long it may
  int store_failures_ = 0;                    // in a row
  Time next_store_call_{};                    // after a failure
  Time next_failure_warning_{};
  pg::WorkerFigures figures_;  // the counts among them
};

}  // namespace webhook

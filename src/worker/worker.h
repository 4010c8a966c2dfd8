// The worker: takes events from the log, sends them, records what became of them. One a database.
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

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/crypto.h"
#include "core/lanes.h"
#include "core/ledger.h"
#include "http/http_client.h"
#include "pg/process.h"
#include "pg/store.h"
#include "worker/recorder.h"
#include "worker/targets.h"

namespace webhook {

class Worker {
 public:
  Worker(pg::Process& process, pg::Store& store, HttpClient& http);

  // Runs until the process is to end; what is in flight then gets a short time to come back.
  // Throws pg::ExtensionGone when there is nothing left to work for, pg::Error if it cannot begin.
  void run();

 private:
  struct InFlight {
    Delivery delivery;
    Time started_at{};
  };

  // Why a ring does not turn. What is over in a moment is not worth a warning.
  struct KeptSegment {
    std::string reason;  // empty: it turns
    Time next_warning{};
  };

  void start();
  void turn();
  void end();
  void drain();
  std::optional<Duration> time_to_wait();
  void forget_deadlines(Time now);
  bool delivers() const { return process_.settings().enabled && !is_paused_; }

  // Configuration
  void load_configuration();
  void note_whether_enabled();
  void take_instance(const Uuid& instance, bool is_copy);
  void note_secret_problem(const std::string& problem);
  void set_up_lanes();
  void load_next_due();

  // The log
  void read();
  bool may_read();
  bool open_next_window();
  void admit(Event event, const std::unordered_set<pg::DeliveryKey>& recorded_before);
  std::unordered_set<pg::DeliveryKey> recorded_before(const std::vector<Event>& events);
  std::shared_ptr<const Outgoing> outgoing(Event event);
  void deliver(Delivery delivery);
  void give_up(const Event& event, const Uuid& webhook, int attempts, const std::string& error);
  void end_recovery();

  // What is owed
  void refill();
  bool refill_lane(Target& target);
  void write_down_the_oldest();
  void write_down(Delivery& delivery);

  // The network
  void send();
  void collect();
  void conclude(const InFlight& attempt, const HttpResponse& response);
  void retry_or_give_up(const Delivery& delivery, const Target& target, const HttpResponse& response, pg::LogRow* row);

  // Recording
  bool is_checkpoint_due();
  bool is_record_due();
  void record();
  void maintain();
  void maintain_ring(pg::Ring ring, const RingLimits& limits, KeptSegment* kept);
  void back_off(const pg::Error& error);

  pg::Process& process_;
  pg::Store& store_;
  HttpClient& http_;
  Recorder recorder_;

  bool is_enabled_ = true;
  bool is_paused_ = false;
  std::string secret_problem_;  // as of the last configuration
  Uuid instance_;
  std::optional<EventIdCipher> event_ids_;
  Targets targets_;
  Lanes lanes_;
  std::optional<Ledger> ledger_;
  std::unordered_map<std::uint64_t, InFlight> in_flight_;  // by token
  std::unordered_set<pg::DeliveryKey> held_;               // rows of webhook_deliveries that are in memory too
  std::uint64_t next_token_ = 1;
  std::int64_t last_log_id_ = 0;
  std::optional<Checkpoint> recorded_checkpoint_;

  // Recovery: what the run before this one logged behind its last checkpoint, and what has been delivered from rows of
  // webhook_deliveries since.
  bool recovering_ = true;
  std::optional<Snapshot> recovered_at_;  // the end of the window with which recovery ends
  std::int64_t recovery_log_floor_ = 0;
  std::unordered_set<pg::DeliveryKey> logged_before_;

  std::optional<Time> configuration_stale_at_;  // when a secret expires
  bool is_configuration_stale_ = false;         // it could not be loaded whole
  bool look_at_log_ = true;                     // something may have been committed
  bool is_checkpoint_stale_ = false;            // something was settled since the last one
  Time last_turn_{};
  Time next_look_{};       // at the log, though nobody calls
  Time next_poll_{};       // under load, windows are not made smaller than this
  Time next_refill_{};     // when the first lane has something due
  Duration record_delay_;  // how long results wait to be recorded together
  Time next_checkpoint_{};
  Time next_maintenance_{};
  Time next_mark_{};
  Ledger::Entry mark_ = 0;  // entries below it were admitted before the last mark
  int store_failures_ = 0;  // in a row
  Time next_store_call_{};  // after a failure
  Time next_failure_warning_{};
  KeptSegment kept_events_;
  KeptSegment kept_logs_;
  Time next_expiry_{};
};

}  // namespace webhook

// The worker: takes events from the log, sends them, and records the results. A database has one worker or several.
// Each reads the whole log for its share of the webhooks. The first also maintains the rings and the ids.
//
// It waits in one place. Whatever wakes it (a commit, a socket, a retry that is due), one turn of the loop does all the
// work, and only the database's own short transactions block.
//
//   Reader ──▶ Admission ──▶ Pending ──▶ send() ──▶ HttpClient ──▶ collect() ──▶ Outcomes ──▶ Recording ──▶ checkpoint
//                 │  ▲        ▲   │                                                  │
//                 ▼  │        │   ▼                                                  ▼
//               Filters    webhook_deliveries ◀── retries, overflow, spill ──────────┘
//
// Each part is a room: a class with its own state and deadlines. A room knows the rooms that it calls. No room knows
// the loop. The rooms share the models: Subscribers, Ledger, Statistics, ByteBudget, and the Recorder, in which results
// wait for the next transaction.
//
//   room          what it does
//   Webhooks      takes over the configuration
//   Reader        reads the log, and has events admitted as there is room (Backpressure)
//   Admission     enters an event into the ledger, and makes its deliveries, or has filters asked
//   Pending       owns what waits: lanes, backlogs, fan-outs; with OrderingKeys
//   Spill, Ages   what waits for long: gets a row, or is given up
//   Outcomes      the consequences of an attempt
//   Recording     when results are recorded, and what with them
//   Maintenance   rings, quotas, expiry, and what deleted webhooks leave
//   Replays       replays, in steps
//   Tester        webhook_test()
//
// It includes neither PostgreSQL nor libcurl: the unit tests run it on simulated ones.
#pragma once

#include <cstdint>

#include "core/byte_budget.h"
#include "core/ledger.h"
#include "core/share.h"
#include "core/statistics.h"
#include "core/time.h"
#include "http/http_client.h"
#include "worker/admission.h"
#include "worker/ages.h"
#include "worker/configuration_reader.h"
#include "worker/deadlines.h"
#include "worker/departure.h"
#include "worker/filters.h"
#include "worker/in_flight.h"
#include "worker/maintenance.h"
#include "worker/outcomes.h"
#include "worker/outgoing_factory.h"
#include "worker/pending.h"
#include "worker/process.h"
#include "worker/reader.h"
#include "worker/recorder.h"
#include "worker/recording.h"
#include "worker/recovery.h"
#include "worker/replays.h"
#include "worker/spill.h"
#include "worker/store.h"
#include "worker/subscribers.h"
#include "worker/test_requests.h"
#include "worker/tester.h"
#include "worker/unadmitted.h"
#include "worker/webhooks.h"

namespace webhook {

class Worker {
 public:
  Worker(Process& process, Store& store, HttpClient& http, TestRequests& tests, const WorkerShare& share = {});

  // Runs until the process is asked to end, or until the worker leaves its slot to others. Requests in flight then have
  // webhook.shutdown_timeout to finish. Throws ExtensionGone if the extension was dropped, Error if the worker cannot
  // begin.
  WorkerEnd run();

 private:
  enum class Deadline : std::uint8_t {
    kStoreCall,  // after a failure of the database
    kFailureWarning,
    kCount
  };

  bool is_to_end();
  void start();
  void turn();
  void apply_settings();
  void work_on_database();
  void record_results();
  void maintain();
  void back_off(const Error& error);
  Duration time_to_wait();
  std::optional<WorkerEnd> leave();
  bool has_work();
  Time next_work() const;
  void clock_set_back(Time now);
  void report();
  WorkerState state(Time now) const;
  void note_overdue(Time now);

  void send();
  void start_request(Delivery delivery, Subscriber& subscriber, Time now);
  void collect();

  void end();
  void drain();
  void wait_for_answers();

  // The rooms that have deadlines.
  template <class Visit>
  void for_each_room(Visit visit) {
    visit(webhooks_);
    visit(reader_);
    visit(pending_);
    visit(ages_);
    visit(spill_);
    visit(outcomes_);
    visit(recording_);
    visit(maintenance_);
    visit(replays_);
  }

  Process& process_;
  Store& store_;
  HttpClient& http_;
  const WorkerShare share_;

  ByteBudget budget_;
  Subscribers subscribers_;
  Ledger ledger_{Checkpoint()};  // until start()
  Statistics statistics_;
  Recovery recovery_;
  Recorder recorder_;
  ConfigurationReader configuration_;
  OutgoingFactory outgoings_;
  Unadmitted unadmitted_;

  // Each room knows those above it.
  Maintenance maintenance_;
  Recording recording_;
  Filters filters_;
  ReadBarrier barrier_;
  Pending pending_;
  Spill spill_;
  Ages ages_;
  Outcomes outcomes_;
  Admission admission_;
  Replays replays_;
  Webhooks webhooks_;
  Reader reader_;
  Tester tester_;

  InFlight in_flight_;
  Deadlines<Deadline> deadlines_;
  Departure departure_;
  std::optional<Time> leaves_at_;  // if nothing happens; nothing: it stays
  bool is_leaving_ = false;        // it leaves if the next poll finds nothing
  Time last_turn_{};
  int store_failures_ = 0;  // in a row
  bool is_enabled_ = true;  // by webhook.enabled, as the log was told
  bool has_started_ = false;
  bool is_ending_ = false;
  WorkerFigures figures_;
};

}  // namespace webhook

// Takes over the configuration: reads the webhooks and their changes (worker/configuration_reader.h), and tells the
// other rooms of the worker.
//
// Each step is bounded. If others change a webhook's pending deliveries, this class learns of it in the same way. It
// then reads the webhook's backlog, and no new window of the log is opened before that.
#pragma once

#include <optional>
#include <string>
#include <unordered_set>

#include "core/share.h"
#include "core/statistics.h"
#include "core/time.h"
#include "core/uuid.h"
#include "worker/admission.h"
#include "worker/configuration_reader.h"
#include "worker/maintenance.h"
#include "worker/outcomes.h"
#include "worker/outgoing_factory.h"
#include "worker/pending.h"
#include "worker/process.h"
#include "worker/recorder.h"
#include "worker/recording.h"
#include "worker/replays.h"
#include "worker/secret_problems.h"
#include "worker/store.h"
#include "worker/subscribers.h"
#include "worker/unadmitted.h"

namespace webhook {

class Webhooks {
 public:
  // The other rooms that must know of changes. All of them outlive it.
  struct Rooms {
    ConfigurationReader& configuration;
    Subscribers& subscribers;
    Statistics& statistics;
    OutgoingFactory& outgoings;
    Maintenance& maintenance;
    Recording& recording;
    Pending& pending;
    Admission& admission;
    Unadmitted& unadmitted;
    Outcomes& outcomes;
    Replays& replays;
  };

  Webhooks(Process& process, Store& store, const WorkerShare& share, const Rooms& rooms);

  // Which database this is. is_copy: a copy of another, so that deliveries are paused.
  void set_instance(const Uuid& instance, bool is_copy);

  // Whether deliveries are switched on, and not paused.
  bool delivers() const { return process_.settings().enabled && !is_paused_; }
  bool is_paused() const { return is_paused_; }
  // Whether all webhooks are known.
  bool are_loaded() const { return configuration_.is_loaded(); }
  // Its part of the figures.
  void report(WorkerFigures* figures) const;

  // Takes a step of reading, if one is due. Returns whether the log may have events that could not be read before. If
  // it throws Error, the step is still due.
  bool take_step();
  // Reads what has changed, whether it is due or not.
  void read_changes();
  // Reads the changes, if they may be read now. Returns nullopt if all changes before the call are known, otherwise
  // when to try again.
  std::optional<Time> catch_up();
  // There may be changes that were not announced.
  void read_all_again() { configuration_.read_all_again(); }

  // Whether all webhooks are known, with all changes that were announced.
  bool is_idle() const;

  std::optional<Time> next_at(Time now) const;
  void clock_set_back(Time now);

 private:
  bool take_over(ConfigurationReader::Step step, Time begun);
  bool take_instance(const Configuration& read);
  void take_deleted(const WebhookIdentity& deleted, Time now);
  void take_webhook(Webhook webhook, bool is_backlog_new);
  void let_rest(Subscriber& subscriber, Time now);
  std::optional<Time> take_endpoint(Subscriber& subscriber, EndpointState endpoint) const;
  void forget(const Uuid& webhook);
  void load_backlogs();

  Process& process_;
  Store& store_;
  const WorkerShare share_;
  ConfigurationReader& configuration_;
  Subscribers& subscribers_;
  Statistics& statistics_;
  OutgoingFactory& outgoings_;
  Maintenance& maintenance_;
  Recording& recording_;
  Pending& pending_;
  Admission& admission_;
  Unadmitted& unadmitted_;
  Outcomes& outcomes_;
  Replays& replays_;
  SecretProblems secret_problems_;
  Uuid instance_;
  bool is_paused_ = false;
  bool are_backlogs_stale_ = false;  // the clock was set back: the next round through the webhooks reads them again
  std::unordered_set<Uuid> backlogs_to_load_;
  Time next_rest_{};
};

}  // namespace webhook

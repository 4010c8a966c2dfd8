// Keeps the tables small: turns the rings, deletes dead deliveries when they expire, holds organizations to their
// quotas, and deletes what deleted webhooks leave behind.
//
// Each worker does the last of these for its share of the webhooks. The first worker does the others for all webhooks.
// Each call takes a bounded step.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/ring.h"
#include "core/share.h"
#include "core/time.h"
#include "worker/configuration_reader.h"
#include "worker/deadlines.h"
#include "worker/process.h"
#include "worker/quotas.h"
#include "worker/store.h"

namespace webhook {

class Maintenance {
 public:
  // All of these outlive it.
  Maintenance(Process& process, Store& store, const ConfigurationReader& configuration, const WorkerShare& share)
      : process_(process), store_(store), configuration_(configuration), share_(share), quotas_(process, store) {}

  // Whether maintain() has something to do.
  bool is_due(Time now) const { return deadlines_.has_passed(Deadline::kMaintenance, now); }
  // The rings, the quotas, and deliveries that have expired. If it throws Error, the rest is for the next call.
  void maintain();
  // Deletes some of what deleted webhooks have left, if it is time and all webhooks are known. If it throws Error, the
  // step is tried again later.
  void clean_up();

  // Another node waits, or the home does, for a later checkpoint of this worker, though it delivers nothing.
  bool is_checkpoint_wanted() const { return served_ && served_->is_checkpoint_wanted; }
  // How the nodes share the webhooks has changed: these are gone.
  void take_gone_nodes(std::vector<std::string> gone, Time now) {
    gone_nodes_ = std::move(gone);
    deadlines_.bring_forward(Deadline::kMaintenance, now);
  }
  // The worker has recorded something, so the rings grow.
  void note_growth(Time now);
  // A webhook was deleted, or there are notes of changes that have been read.
  void clean_up_soon(Time now);

  // Whether the last steps have left nothing for another.
  bool is_idle(Time now) const;
  // Whether nothing is left of deleted webhooks.
  bool is_clean() const { return is_clean_; }
  // The first worker's part of the figures.
  void report(WorkerFigures* figures) const;

  std::optional<Time> next_at(Time now) const;
  void clock_set_back(Time now);

 private:
  enum class Deadline : std::uint8_t { kMaintenance, kExpiry, kCleanUp, kCount };

  // Why a ring does not turn. There is no warning if the reason passes in a moment.
  struct KeptSegment {
    std::string reason;  // empty: it turns
    Time since{};        // for whatever reason
    Time next_warning{};
    std::uint64_t bytes = 0;  // of the ring
  };

  void serve_nodes(Time now);
  void delete_expired(Time now);
  void maintain_rings();
  void maintain_ring(Ring ring, const RingLimits& limits);
  StorageFigures storage(Ring ring, Ring excess) const;

  Process& process_;
  Store& store_;
  const ConfigurationReader& configuration_;
  const WorkerShare share_;
  Quotas quotas_;  // the first worker's
  Deadlines<Deadline> deadlines_;
  std::array<KeptSegment, kRings> kept_;  // by ring
  bool is_clean_ = false;                 // nothing is left of deleted webhooks
  std::vector<std::string> gone_nodes_;
  std::optional<NodesServed> served_;  // what the last serve_nodes() has said
};

}  // namespace webhook

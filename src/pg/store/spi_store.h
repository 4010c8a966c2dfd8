// The store on PostgreSQL's tables, through SPI. One per worker process. Its functions stand by topic:
//
//   spi_store.cpp           construction, and the start of a worker
//   spi_configuration.cpp   the webhooks, and what is news about them
//   spi_events.cpp          the event log, filters, recovery
//   spi_recording.cpp       the outcomes of deliveries
//   spi_pending.cpp         pending deliveries
//   spi_deleted.cpp         what is left of deleted webhooks
//   spi_rings.cpp           the rings of segments, the ids of events
//   spi_quotas.cpp          expiry, quotas
//
// spi_work.h is what these files share.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "pg/spi.h"
#include "pg/store/event_reader.h"
#include "pg/store/results.h"
#include "worker/store.h"

namespace webhook::pg {

// The extension's SQL objects are of a series that this library does not serve.
class OtherVersion : public Error {
 public:
  explicit OtherVersion(std::string installed);
  // pg_extension.extversion
  const std::string& installed() const noexcept { return installed_; }

 private:
  std::string installed_;
};

class SpiStore final : public Store {
 public:
  // For the extension that is installed now. Throws ExtensionGone if there is none, or OtherVersion before it has looked
  // at anything else. Also overrides session settings that postgresql.conf may have set, and registers this process's
  // callbacks, so create only one per process.
  SpiStore();

  bool is_updated() const override { return is_updated_; }
  StartState start(const WorkerShare& share) override;
  Configuration webhooks(const std::optional<Uuid>& after, std::size_t webhooks_max) override;
  Configuration webhooks(const std::vector<Uuid>& ids) override;
  Configuration changes(const Snapshot& known, std::size_t changes_max) override;
  ConfigurationNews take_news() override;
  bool has_news() const override;
  LogHead current_head() override;
  Chunk read(const Window& window, std::int64_t after_id, std::size_t events_max, std::size_t bytes_max) override;
  std::vector<DeliveryKey> logged_since(std::int64_t log_floor) override;
  std::vector<DeliveryKey> pending_of(const std::vector<std::int64_t>& event_ids) override;
  void filter(std::vector<FilterGroup>* groups) override;
  Recorded record(const Batch& batch) override;
  std::vector<Applied> apply_deferred(const std::vector<Uuid>& webhooks, std::size_t rows_max) override;
  std::string holder(const Uuid& webhook) override;
  DisableResult disable(const WebhookIdentity& webhook, const std::string& url, const std::string& reason,
                        const OperationalEvent& event) override;
  std::int64_t log_test(const LogRow& row) override;
  Testable testable(const Uuid& webhook, Time created_at, const std::string& event) override;
  Due due(const DueQuery& wanted) override;
  std::vector<std::int64_t> give_up_old(const WebhookIdentity& webhook, Time before, const std::string& reason,
                                        std::size_t rows_max) override;
  OrderingStep write_ordering_keys(const WebhookIdentity& webhook, Ordering ordering, const Backlog::Position& after,
                                   std::size_t rows_max) override;
  std::optional<std::unordered_map<std::string, std::int64_t>> pending_by_key(const WebhookIdentity& webhook,
                                                                              std::size_t rows_max) override;
  bool clean_up(const Snapshot& known) override;
  RingReport maintain_ring(Ring ring, const RingLimits& limits) override;
  bool delete_expired(Time before) override;
  NodesServed serve_nodes(const std::vector<std::string>& known) override;
  DeliveryCounts count_deliveries(const std::optional<DeliveryKey>& after, std::size_t rows_max) override;
  std::size_t give_up_excess(const Uuid& webhook, const std::string& reason, std::size_t rows_max) override;
  SavedStep tidy_saved(std::int64_t after, std::size_t events_max) override;
  SavedGivenUp give_up_saved(const std::string& organization, std::uint64_t bytes, const std::string& reason,
                             std::size_t rows_max) override;
  void refill_ids() override;
  UnfinishedReplays unfinished_replays(std::int64_t after, std::size_t rows_max) override;
  ReplayStep replay_step(std::int64_t id, const Uuid& webhook, const ReplayBounds& bounds) override;
  std::vector<UnfinishedTakeover> unfinished_takeovers(const std::optional<Uuid>& after,
                                                       std::size_t webhooks_max) override;
  ReplayStep takeover_step(const Uuid& webhook, const ReplayBounds& bounds) override;
  void fail_replay(std::int64_t id, const std::string& reason) override;

 private:
  // An event of the window being read.
  struct Found {
    std::int64_t id;
    std::int32_t stored_bytes;
    std::int16_t segment;
  };

  // The state of reading a window, kept between calls of read().
  struct Reading {
    Window window;
    std::vector<Found> found;     // in id order: all of the window, or those found by the last step
    std::deque<IdRange> to_walk;  // of a window that is read in steps: where the next ones look
  };

  // The last row visited in deleting expired deliveries.
  struct Expired {
    Time created_at{};
    std::int64_t event_id = 0;
    Uuid webhook;
  };

  // Where the next step of changes() starts.
  struct ReadingChanges {
    Snapshot known;
    Snapshot until;
    std::size_t source = 0;  // index of the source being read
    FullXid xid = 0;         // in that source, continue from here
    Uuid webhook;
    Time created_at{};  // only of webhook_changes, as the next one
    bool is_deleted = false;
  };

  // A row of webhook_changes.
  struct Change {
    FullXid xid = 0;
    WebhookIdentity webhook;
    bool is_deleted = false;
    bool webhook_exists = false;
  };

  // Where the next step of clean_up() starts.
  struct CleaningUp {
    explicit CleaningUp(Snapshot snapshot) : known(std::move(snapshot)) {}

    Snapshot known;
    Change after;            // rows up to this one are done, or left for later
    bool has_left = false;   // some rows are left for later
    Time next_attempt_at{};  // in the webhook after `after`: pending rows up to this time and event_id
    std::int64_t event_id = 0;
    std::int64_t dead_event_id = 0;  // in the same webhook: dead rows up to this event
  };

  class Work;  // a transaction in which the extension is known to be installed

  // Returns false, with nothing in the chunk, if the window has more than a few events.
  bool read_few(const Window& window, std::int64_t after_id, std::size_t bytes_max, Chunk* chunk);
  void find(const Window& window, std::int64_t after_id);
  UnfinishedIds ids_before_snapshot();
  std::vector<IdRange> ids_of(const Window& window, std::vector<IdRange> batches, std::int64_t after_id) const;
  void read_found(const Window& window, std::int64_t after_id, std::size_t events_max, std::size_t bytes_max,
                  Chunk* chunk);
  static std::vector<Found> found_of(const Query& query, std::size_t rows, const Window& window);
  void walk(const Window& window, std::size_t events_max);
  static FoundEvents fetch(const std::vector<Found>& found, std::size_t bytes_max);
  Recorded record(const Batch& batch, Care care);
  bool make_room(Ring ring, int segment, RingReport* report);
  bool save_events(int segment, RingReport* report);
  void reencrypt_secrets();
  static std::vector<Change> find_left_over(const CleaningUp& from);
  bool clean_up_after(const Change& change, std::size_t* room);
  std::size_t delete_left_over(const Change& change, std::size_t rows_max);

  std::uint32_t extension_ = 0;  // its OID
  WorkerShare share_;
  std::uint32_t schema_ = 0;
  std::string installed_version_;  // of the SQL objects, at the start
  bool is_updated_ = false;
  std::uint32_t events_sequence_ = 0;
  bool has_published_segment_ = false;
  Reading reading_;
  std::unordered_set<Uuid> deferred_;  // webhooks with changes that are not applied yet
  // How far the events of the segment to be emptied are saved. −1: none is being emptied.
  int saving_segment_ = -1;
  DeliveryKey saved_to_;
  Expired expired_;
  std::optional<ReadingChanges> reading_changes_;
  std::optional<CleaningUp> cleaning_up_;
  FullXid cleaned_up_to_ = 0;  // changes of transactions before this one are done
};

}  // namespace webhook::pg

// The id pool of this database, and the segment that capture appends to. Both are in shared memory.
//
// Ids come in blocks from the sequence webhook_events_id_seq (INCREMENT 1000000), and the worker refills the pool ahead
// of need. So a flush draws its ids with one addition under a spinlock instead of a nextval for each, and the
// application's lastval() is not disturbed.
//
// Invariant: a process that draws ids after another has published a block gets higher ids. So if one of two changes to
// a row waits for the commit of the other, their ids are in the order of the changes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/id_ranges.h"

namespace webhook::pg {

// Takes up to count ids for the sequence with this OID, for a batch (core/id_ranges.h). Returns fewer, or none, if the
// pool runs dry or belongs to another sequence because the extension was dropped and created again.
IdRange take_ids(std::uint32_t sequence_oid, std::int64_t count) noexcept;

// Takes exactly count ids for events that are not a batch, and announces them to workers until withdraw_ids(). That must
// be called once all snapshots see that this transaction has ended. nullopt: the pool has too few, too many transactions
// have announced ids, or this one already has.
std::optional<IdRange> take_announced_ids(std::uint32_t sequence_oid, std::int64_t count) noexcept;
void withdraw_ids() noexcept;

// What a snapshot that is taken after this call may have missed. nullopt: the pool is of no or another sequence.
std::optional<UnfinishedIds> unfinished_ids(std::uint32_t sequence_oid);
// The ids of recent batches, as merge() returns them. Not all of a batch need have been written.
std::vector<IdRange> recent_batches(std::uint32_t sequence_oid);

// Replaces the pool by this block, unless the pool already has higher ids. Forgets another sequence's pool, and what has
// been announced of it. So the caller holds a lock that keeps the extension from being dropped, here and below.
void publish_ids(std::uint32_t sequence_oid, IdRange block) noexcept;

// How many ids are left. Tells the worker when to refill.
std::int64_t ids_left(std::uint32_t sequence_oid) noexcept;

// The segment of webhook_events that capture appends to. excess selects the ring for events beyond the shares instead
// of the main ring (src/core/ring.h). nullopt: unknown, read it from webhook_rings.
std::optional<int> current_event_segment(std::uint32_t sequence_oid, bool excess) noexcept;
void publish_event_segment(std::uint32_t sequence_oid, int segment) noexcept;

}  // namespace webhook::pg

// What processes of one server share about the extension: who delivers for which database, and where capture draws ids
// and appends. It exists only if the library was in shared_preload_libraries at the server's start; without it
// capture works from the tables alone, and nothing is delivered.
//
// Only numbers live here, never a pointer or a descriptor: a process may vanish at any time.
#pragma once

#include <cstdint>
#include <optional>

namespace webhook::pg {

// From _PG_init, while the server loads shared_preload_libraries: asks for the memory and sets the hooks.
void request_shared_state();

// Whether this server has it.
bool has_shared_state() noexcept;

// A run of event ids, next, next + 1, … below limit.
struct IdRange {
  std::int64_t next = 0;
  std::int64_t limit = 0;
};

// The id pool of this database. Ids come in blocks from the sequence webhook_events_id_seq (INCREMENT 1000000), so
// that a flush draws its ids by one addition under a spinlock instead of a nextval for each, and so that the
// application's lastval() is not disturbed: the worker refills the pool ahead of need.
//
// Invariant: whoever draws after another has published gets higher ids. So two changes of one row, the later of which
// had to wait for the commit of the earlier, have ids in the order of the changes.

// Takes up to count ids for the sequence with this OID. Fewer, even none, when the pool runs dry or belongs to
// another sequence (the extension was dropped and created again).
IdRange take_ids(std::uint32_t sequence_oid, std::int64_t count) noexcept;

// Makes block the pool, unless the pool already has higher ids.
void publish_ids(std::uint32_t sequence_oid, IdRange block) noexcept;

// The ids left, so that the worker knows when to refill.
std::int64_t ids_left(std::uint32_t sequence_oid) noexcept;

// The segment (0 to 7) of webhook_events that capture appends to, kept beside the pool. Nothing: unknown, read it
// from webhook_rings.
std::optional<int> current_event_segment(std::uint32_t sequence_oid) noexcept;
void publish_event_segment(std::uint32_t sequence_oid, int segment) noexcept;

// Wakes this database's workers: sets their latches. For commit callbacks: it neither allocates nor raises an error.
void wake_workers() noexcept;

}  // namespace webhook::pg

// The columns of webhook_events and its segments.
#pragma once

struct RelationData;
struct TupleDescData;

namespace webhook::pg {

// In their order in webhook_events.
enum EventColumn {
  kSlot,
  kKnownSwitch,
  kId,
  kXid,
  kCreatedAt,
  kEvent,
  kOrganizationId,
  kKey,
  kData,
  kPrevious,
  kOversizedBytes,
  kAppliedAt,
  kBackfill,
  kIdCount,
  kEventColumns
};

// Finds the position of each column in the table, from 0. A segment may have another column order, and columns that an
// administrator added. Raises PostgreSQL errors.
void find_event_columns(TupleDescData* shape, const char* table, int* places);

// Opens the segment's index on kId, or the one on kXid of the first rows of batches. nullptr if there is none. The caller
// closes it. Raises PostgreSQL errors.
RelationData* open_event_index(RelationData* segment, EventColumn column, const int* places);

}  // namespace webhook::pg

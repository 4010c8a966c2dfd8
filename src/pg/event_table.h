// The columns of webhook_events and its segments.
#pragma once

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
  kEventColumns
};

// Finds the position of each column in the table, from 0. A segment may have another column order, and columns that an
// administrator added. Raises PostgreSQL errors.
void find_event_columns(TupleDescData* shape, const char* table, int* places);

}  // namespace webhook::pg

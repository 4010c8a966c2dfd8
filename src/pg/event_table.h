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

// The place of each column in the table, from 0: a segment may have another order, and columns that an administrator has
// added. Raises an error of PostgreSQL's.
void find_event_columns(TupleDescData* shape, const char* table, int* places);

}  // namespace webhook::pg

// How commits wake the workers of their database.
#pragma once

#include <cstdint>

namespace webhook::pg {

// Sets the latches of this database's workers, and has the launcher start those that left because they had nothing to do.
// For commit callbacks: neither allocates nor raises an error.
void wake_workers() noexcept;

// The same, but only for workers that have called listen_for_events() since they were last woken this way. A commit
// does not wake a worker that already knows of work, or that does not want to know.
void wake_listening_workers() noexcept;

// For the worker, before it takes the snapshot up to which it reads. is_leaving: it ends if it finds nothing. Then the
// next call starts it again.
void listen_for_events(bool is_leaving) noexcept;

// For the worker: whether it was called since the last take_call(). The functions above set this flag before they set
// the latch. The latch only ends a wait, and a wait for a lock may have reset it.
bool take_call() noexcept;
bool is_called() noexcept;

enum class AtCommit : std::uint8_t {
  kWake,
  kCallLauncher,  // also: there may be a new database
  kProbe,         // also: this database may have got the extension
};

// Calls wake_workers() once the current transaction has committed. May raise an error.
void wake_at_commit(AtCommit what);
// Announces that the current transaction is about to make changes visible that the workers must know of: its own,
// announced by wake_at_commit(), or those of a prepared transaction. is_committing() is true until it ends. May raise
// an error.
void begin_commit();
// For the worker: whether changes that are visible in a snapshot taken before this call may not have been announced
// yet. A committing process may pause for any time between the moment that its commit is visible and that of its
// invalidations.
bool is_committing() noexcept;
// The current transaction is to be prepared: PREPARE wakes nobody, but COMMIT PREPARED does.
void forget_wakes() noexcept;

}  // namespace webhook::pg

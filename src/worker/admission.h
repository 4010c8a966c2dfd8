// Admits events: enters each into the ledger with the deliveries that it asks for, and hands these on. Those to webhooks
// without a filter are made at once; those to webhooks with one, when the filter has been asked (worker/filters.h).
#pragma once

#include "core/event.h"
#include "core/ledger.h"
#include "worker/filters.h"
#include "worker/outgoing_factory.h"
#include "worker/pending.h"
#include "worker/recorder.h"
#include "worker/recording.h"
#include "worker/targets.h"
#include "worker/unadmitted.h"

namespace webhook {

class Admission {
 public:
  // All of these outlive it.
  Admission(Ledger& ledger, Recorder& recorder, Recording& recording, OutgoingFactory& outgoings, Pending& pending,
            Filters& filters)
      : ledger_(ledger),
        recorder_(recorder),
        recording_(recording),
        outgoings_(outgoings),
        pending_(pending),
        filters_(filters) {}

  // The event is the next of its window, and goes to these webhooks.
  void admit(Event event, const Unadmitted::Receivers& all_receivers);

  // Asks the filters whose turn it is, and takes over their answers. Throws Error: what has no answer waits still.
  void ask_filters();
  // Gives up asking about events that have waited for too many newer ones.
  void refuse_old_filters();
  // The webhook has no filter any more: it gets what waits for its answer.
  void filter_removed(const Target& target);

 private:
  void refuse_oversized(const Event& event, const Unadmitted::Receivers& receivers, Ledger::Entry entry);
  void take_answer(Filters::Waiting& waiting, Target* receiver);
  Filters::Conclude taker();

  Ledger& ledger_;
  Recorder& recorder_;
  Recording& recording_;
  OutgoingFactory& outgoings_;
  Pending& pending_;
  Filters& filters_;
};

}  // namespace webhook

// Admits events: enters each into the ledger with its deliveries, and hands these on. Deliveries to webhooks without a
// filter are made at once, the others when their filter has been evaluated (worker/filters.h).
#pragma once

#include "core/event.h"
#include "core/ledger.h"
#include "worker/filters.h"
#include "worker/outgoing_factory.h"
#include "worker/pending.h"
#include "worker/recorder.h"
#include "worker/recording.h"
#include "worker/subscribers.h"
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
  void admit(Event event, const Unadmitted::Subscribers& all_subscribers);

  // Evaluates the filters whose turn it is, and takes over their answers. If it throws Error, events without an answer
  // still wait.
  void ask_filters();
  // Gives up on the filters of an event if too many newer events have come.
  void refuse_old_filters();
  // The webhook has no filter any more. It gets the events that wait for its answer.
  void filter_removed(const Subscriber& subscriber);

 private:
  void refuse_oversized(const Event& event, const Unadmitted::Subscribers& subscribers, Ledger::Entry entry);
  void take_answer(Filters::Waiting& waiting, Subscriber* subscriber);
  Filters::Conclude taker();

  Ledger& ledger_;
  Recorder& recorder_;
  Recording& recording_;
  OutgoingFactory& outgoings_;
  Pending& pending_;
  Filters& filters_;
};

}  // namespace webhook

// Which events a node delivers when several nodes share one set of webhooks (docs/nodes.md).
//
// The webhooks are divided again and again: whenever nodes come or go. Each division has a number from the sequence that
// also numbers the switches of webhooks, and an event belongs to the last division that its session knew of
// (Event::known_switch). So all nodes decide alike, whenever they read the event.
//
// For a node that is gone, the home delivers: what it finds in the database, and events that finish later as they come.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/event.h"
#include "core/snapshot.h"
#include "core/uuid.h"

namespace webhook {

class NodeShares {
 public:
  // A node of a division that is gone.
  struct Gone {
    int number = 0;    // of the node, in the division
    Snapshot queued;   // events that had finished in it are looked for in the database
    std::string node;  // its name in the database

    bool operator==(const Gone&) const = default;
  };

  struct Division {
    std::int32_t since = 0;  // its number
    int count = 0;           // of its nodes
    int number = 0;          // of this node among them, from 1; 0: it has no part
    std::vector<Gone> gone;  // at the home. Other nodes know nothing of it

    bool operator==(const Division&) const = default;
  };

  // There are no other nodes: this database delivers everything.
  NodeShares() = default;
  // divisions: ascending. Before the first, the home delivered everything.
  NodeShares(bool is_home, std::vector<Division> divisions) : is_home_(is_home), divisions_(std::move(divisions)) {}

  bool operator==(const NodeShares&) const = default;

  // The nodes that are gone.
  std::vector<std::string> gone() const;

  // Whether this node delivers the event to the webhook, if anybody does.
  bool owns(const Uuid& webhook, const Event& event) const;

 private:
  static bool owns(const Division& division, const Uuid& webhook, const Event& event);

  bool is_home_ = true;
  std::vector<Division> divisions_;
};

}  // namespace webhook

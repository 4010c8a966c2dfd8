// Who owns a webhook when several workers deliver for one database, and when several nodes share the webhooks. A webhook
// has one owner at a time, so its lane, its circuit and its order live in one process.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/uuid.h"

namespace webhook {

// The finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
constexpr std::uint64_t mix_bits(std::uint64_t bits) noexcept {
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9ULL;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebULL;
  return bits ^ (bits >> 31);
}

// Depends on all 16 bytes of the id, so that sequential ids spread as evenly as random ones.
constexpr std::uint64_t share_hash(const Uuid& webhook) noexcept {
  std::uint64_t hash = 0;
  for (std::size_t begin = 0; begin < webhook.bytes.size(); begin += 8) {
    std::uint64_t half = 0;
    for (std::size_t i = begin; i < begin + 8; ++i) half = half << 8 | webhook.bytes[i];
    hash = mix_bits(hash + half + 0x9e3779b97f4a7c15ULL);
  }
  return hash;
}

// Worker n of N owns the webhooks with hash n - 1 modulo N.
struct WorkerShare {
  int number = 1;  // from 1 to count
  int count = 1;   // how many workers the database has

  bool operator==(const WorkerShare&) const = default;

  bool owns(const Uuid& webhook) const noexcept {
    return share_hash(webhook) % static_cast<std::uint64_t>(count) == static_cast<std::uint64_t>(number - 1);
  }
};

// Which of count nodes owns the webhook, from 1. Independent of the worker that owns it there.
constexpr int node_of(const Uuid& webhook, int count) noexcept {
  return static_cast<int>(mix_bits(share_hash(webhook) ^ 0xd6e8feb86659fd93ULL) % static_cast<std::uint64_t>(count)) +
         1;
}

}  // namespace webhook

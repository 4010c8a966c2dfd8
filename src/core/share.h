// Which webhooks a worker owns when several workers deliver for one database: worker n of N owns those with hash n - 1
// modulo N. A webhook has one owner at a time, so its lane, its circuit and its order live in one process.
#pragma once

#include <cstdint>

#include "core/uuid.h"

namespace webhook {

struct WorkerShare {
  int number = 1;  // from 1 to count
  int count = 1;   // how many workers the database has

  bool operator==(const WorkerShare&) const = default;

  // Whether this worker owns the webhook. It depends only on the two numbers and on all 16 bytes of the id, so that
  // sequential ids spread as evenly as random ones.
  bool owns(const Uuid& webhook) const noexcept {
    std::uint64_t hash = 0;
    for (std::size_t begin = 0; begin < webhook.bytes.size(); begin += 8) {
      std::uint64_t half = 0;
      for (std::size_t i = begin; i < begin + 8; ++i) half = half << 8 | webhook.bytes[i];
      hash = mix(hash + half + 0x9e3779b97f4a7c15ULL);
    }
    return hash % static_cast<std::uint64_t>(count) == static_cast<std::uint64_t>(number - 1);
  }

 private:
  // The finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
  static std::uint64_t mix(std::uint64_t bits) noexcept {
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9ULL;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebULL;
    return bits ^ (bits >> 31);
  }
};

}  // namespace webhook

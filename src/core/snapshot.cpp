#include "core/snapshot.h"

#include <algorithm>
#include <charconv>

namespace webhook {
namespace {

// Reads a number and removes it from text. Nothing if there is none.
std::optional<FullXid> take_number(std::string_view* text) {
  FullXid number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc()) return std::nullopt;
  text->remove_prefix(static_cast<std::size_t>(end - text->data()));
  return number;
}

bool take(std::string_view* text, char c) {
  if (!text->starts_with(c)) return false;
  text->remove_prefix(1);
  return true;
}

}  // namespace

bool Snapshot::has_finished(FullXid xid) const {
  if (xid < xmin) return true;
  if (xid >= xmax) return false;
  return !std::binary_search(running.begin(), running.end(), xid);
}

bool Snapshot::is_before(const Snapshot& other) const { return !Window{*this, other}.empty(); }

std::string to_string(const Snapshot& snapshot) {
  std::string text = std::to_string(snapshot.xmin) + ':' + std::to_string(snapshot.xmax) + ':';
  for (const FullXid& xid : snapshot.running) {
    if (&xid != &snapshot.running.front()) text += ',';
    text += std::to_string(xid);
  }
  return text;
}

std::optional<Snapshot> parse_snapshot(std::string_view text) {
  Snapshot snapshot;
  const auto xmin = take_number(&text);
  if (!xmin || !take(&text, ':')) return std::nullopt;
  const auto xmax = take_number(&text);
  if (!xmax || *xmax < *xmin || !take(&text, ':')) return std::nullopt;
  snapshot.xmin = *xmin;
  snapshot.xmax = *xmax;
  while (!text.empty()) {
    if (!snapshot.running.empty() && !take(&text, ',')) return std::nullopt;
    const auto xid = take_number(&text);
    const FullXid low = snapshot.running.empty() ? *xmin : snapshot.running.back() + 1;
    if (!xid || *xid < low || *xid >= *xmax) return std::nullopt;
    snapshot.running.push_back(*xid);
  }
  return snapshot;
}

bool Window::empty() const { return ranges().low.empty(); }

std::vector<FullXid> Window::stragglers() const {
  std::vector<FullXid> finished;
  for (const FullXid xid : from.running) {
    if (to.has_finished(xid)) finished.push_back(xid);
  }
  return finished;
}

Window::Ranges Window::ranges() const {
  Ranges ranges;
  const auto add = [&ranges](FullXid low, FullXid high) {
    if (low >= high) return;
    ranges.low.push_back(low);
    ranges.high.push_back(high);
  };
  for (const FullXid xid : stragglers()) add(xid, xid + 1);
  FullXid low = from.xmax;
  for (const FullXid running : to.running) {
    if (running < from.xmax) continue;
    add(low, running);
    low = running + 1;
  }
  add(low, to.xmax);
  return ranges;
}

}  // namespace webhook

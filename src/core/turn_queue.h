// An intrusive queue: entering, leaving and moving on allocate nothing and take constant time. An element derives from
// TurnQueueLink and is in at most one queue. It must not move in memory, and must leave the queue before it is
// destroyed.
#pragma once

#include <cassert>
#include <cstddef>

namespace webhook {

template <class T>
class TurnQueue;

template <class T>
class TurnQueueLink {
 public:
  TurnQueueLink() = default;
  TurnQueueLink(const TurnQueueLink&) = delete;
  TurnQueueLink& operator=(const TurnQueueLink&) = delete;

  bool in_queue() const { return queue_ != nullptr; }
  void leave_queue() {
    if (queue_ != nullptr) queue_->remove(static_cast<T*>(this));
  }

 protected:
  ~TurnQueueLink() = default;

 private:
  friend class TurnQueue<T>;
  TurnQueue<T>* queue_ = nullptr;
  T* before_ = nullptr;
  T* after_ = nullptr;
};

template <class T>
class TurnQueue {
 public:
  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }

  void push_back(T* element) {
    TurnQueueLink<T>& link = *element;
    assert(link.queue_ == nullptr);
    link.queue_ = this;
    link.before_ = last_;
    link.after_ = nullptr;
    (last_ == nullptr ? first_ : last_->TurnQueueLink<T>::after_) = element;
    last_ = element;
    ++size_;
  }

  // For both, the queue must not be empty.
  T* front() const { return first_; }
  T* pop_front() {
    T* const element = first_;
    remove(element);
    return element;
  }

  void remove(T* element) {
    TurnQueueLink<T>& link = *element;
    assert(link.queue_ == this);
    (link.before_ == nullptr ? first_ : link.before_->TurnQueueLink<T>::after_) = link.after_;
    (link.after_ == nullptr ? last_ : link.after_->TurnQueueLink<T>::before_) = link.before_;
    link.queue_ = nullptr;
    --size_;
  }

 private:
  T* first_ = nullptr;
  T* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace webhook

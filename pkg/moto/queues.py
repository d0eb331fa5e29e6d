"""moto's standard queues, for many clients at once and thousands of messages.

moto looks at every message of a queue several times for each one that is sent,
received or deleted: 1,000 take a minute, 15,000 hours. Nor does it lock: while
one client deletes, what another sends may be lost. What a queue does is not
changed here, only how it keeps its messages. FIFO queues are refused.
"""

import copy
import heapq
import itertools
import secrets
import time
from collections import deque

from moto.sqs import models
from moto.sqs.exceptions import QueueDoesNotExist, ReceiptHandleIsInvalid
from moto.sqs.models import Queue, SQSBackend, _filter_message_attributes


class Shelf:
    """The messages of a queue. Its owner holds the queue's lock."""

    def __init__(self, messages=()):
        self.all = {}  # id(message) -> message, in the order they came
        self.handles = {}  # every receipt handle ever given -> message
        self.ready = deque()  # (stamp, message)
        self.hidden = {}  # id(message) -> stamp
        self.later = []  # heap of (visible at, stamp, message)
        self.stamps = itertools.count()
        for message in messages:
            self.add(message)

    def add(self, message):
        self.all[id(message)] = message
        for handle in message.all_receipt_handles:
            if handle:
                self.handles[handle] = message
        self.place(message)

    def place(self, message):
        """Put a message where its times say; an entry with an older stamp is void."""
        message.stamp = next(self.stamps)
        at = max(message.visible_at, message.delayed_until)
        self.hidden.pop(id(message), None)
        if at <= time.time() * 1000:
            self.ready.append((message.stamp, message))
        else:
            self.hidden[id(message)] = message.stamp
            heapq.heappush(self.later, (at, message.stamp, message))

    def remove(self, message):
        self.all.pop(id(message), None)
        self.hidden.pop(id(message), None)
        message.stamp = None
        for handle in message.all_receipt_handles:
            self.handles.pop(handle, None)

    def due(self):
        """Bring forward what is visible again; say when the next one will be."""
        now = time.time() * 1000
        while self.later:
            at, stamp, message = self.later[0]
            if message.stamp != stamp:
                heapq.heappop(self.later)
            elif at <= now:
                heapq.heappop(self.later)
                self.place(message)
            else:
                return (at - now) / 1000
        return 60

    def take(self):
        while self.ready:
            stamp, message = self.ready.popleft()
            if message.stamp == stamp:
                return message
        return None

    def visible(self):
        self.due()
        return [m for m in self.all.values() if id(m) not in self.hidden]


def shelf(queue):
    return queue.__dict__.setdefault("shelf", Shelf())


def set_messages(queue, messages):
    queue.shelf = Shelf(messages)


def count_visible(queue):
    with queue._messages_lock:
        shelf(queue).due()
        return len(queue.shelf.all) - len(queue.shelf.hidden)


def count_hidden(queue, delayed):
    with queue._messages_lock:
        shelf(queue).due()
        hidden = [queue.shelf.all[key] for key in queue.shelf.hidden]
    return sum(message.delayed == delayed for message in hidden)


def add_message(queue, message):
    if queue.fifo_queue or queue.lambda_event_source_mappings:
        raise NotImplementedError("only plain standard queues are kept here")
    with queue._messages_lock:
        shelf(queue).add(message)
        queue._messages_lock.notify_all()


def delete_message(queue, handle):
    with queue._messages_lock:
        message = shelf(queue).handles.get(handle)
        if message:
            queue.deleted_messages.update(message.all_receipt_handles)
            queue.shelf.remove(message)
        elif handle not in queue.deleted_messages:
            raise ReceiptHandleIsInvalid()


def receive(queue, count, visibility_timeout):
    policy = queue.redrive_policy if queue.dead_letter_queue else None
    now = time.time()
    result = []
    while len(result) < count:
        message = queue.shelf.take()
        if message is None:
            break
        if policy and message.approximate_receive_count >= policy["maxReceiveCount"]:
            queue.shelf.remove(message)
            queue.dead_letter_queue.add_message(message)
        elif message.sent_timestamp / 1000 + queue.message_retention_period > now:
            message.mark_received(visibility_timeout=visibility_timeout)
            queue.shelf.handles[message.receipt_handle] = message
            result.append(message)
        else:
            queue.shelf.remove(message)
    for message in result:
        queue.shelf.place(message)
    return [copy.copy(message) for message in result]


def receive_message(
    backend, name, count, wait_seconds, visibility_timeout, attribute_names=None
):
    queue = backend.get_queue(name)
    end = time.monotonic() + wait_seconds
    with queue._messages_lock:
        while True:
            if backend.queues.get(name) is not queue:
                raise QueueDoesNotExist()
            soonest = shelf(queue).due()
            result = receive(queue, count, visibility_timeout)
            left = end - time.monotonic()
            if result or left <= 0:
                break
            queue._messages_lock.wait(min(left, soonest, 1))
    for message in result:
        message.message_attributes = dict(message.message_attributes)
        _filter_message_attributes(message, attribute_names or [])
    return result


def change_message_visibility(backend, queue_name, receipt_handle, visibility_timeout):
    queue = backend.get_queue(queue_name)
    with queue._messages_lock:
        message = shelf(queue).handles.get(receipt_handle)
        if message is None:
            raise ReceiptHandleIsInvalid()
        message.change_visibility(visibility_timeout)
        queue.shelf.place(message)
        queue._messages_lock.notify_all()


def install():
    # moto draws each of 185 letters on its own.
    models.generate_receipt_handle = lambda: secrets.token_urlsafe(138)
    Queue._messages = property(lambda q: list(shelf(q).all.values()), set_messages)
    Queue.messages = property(lambda q: shelf(q).visible())
    Queue.approximate_number_of_messages = property(count_visible)
    Queue.approximate_number_of_messages_not_visible = property(
        lambda q: count_hidden(q, False)
    )
    Queue.approximate_number_of_messages_delayed = property(
        lambda q: count_hidden(q, True)
    )
    Queue.add_message = add_message
    Queue.delete_message = delete_message
    SQSBackend.receive_message = receive_message
    SQSBackend.change_message_visibility = change_message_visibility

"""The steps of an event in the app's traces: its publish, and its append to the log.

Knows records and brokers, and the words in which tracing tools describe messages.
Without such a tool the record passes through as it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from ..errors import BrokerUnavailable, StateFull
from ..events import address
from ..events.address import only_channel
from ..events.event import Event
from ..events.record import Cursor, Disconnect, Record
from ..runtime import tracing
from .base import Broker, LogError

_Sent = TypeVar("_Sent")


def publish(record: Record, send: Callable[[Record], _Sent]) -> _Sent:
    """Send a record on its way, as the step ``publish`` of the app's trace.

    The record carries the place of this step from now on. A record that has one comes
    from such a step, through an outbox for example, and is sent as it is.
    """
    if not tracing.is_on() or record.traceparent is not None:
        return send(record)
    attributes = _attributes(record, "publish")
    name = f"publish {attributes['sse_hub.type']}"
    with tracing.Step(name, kind="PRODUCER", attributes=attributes) as step:
        sent = send(replace(record, traceparent=step.traceparent))
        if isinstance(sent, str):
            step.note("messaging.message.id", sent)
    tracing.leave_crumb(name, attributes)
    return sent


def append(broker: Broker, record: Record) -> Cursor:
    """Append a record to a log, as the step ``append`` of the app's trace.

    The step links to the place that the record carries. A record without one carries
    the place of this step. Raises BrokerUnavailable and StateFull.
    """
    if not tracing.is_on():
        return broker.publish(record)
    attributes = _attributes(record, "append")
    name = f"append {attributes['sse_hub.type']}"
    with tracing.Step(
        name, kind="PRODUCER", attributes=attributes, follows=record.traceparent
    ) as step:
        if record.traceparent is None:
            record = replace(record, traceparent=step.traceparent)
        cursor = broker.publish(record)
        step.note("messaging.message.id", str(cursor))
    return cursor


def append_together(
    broker: Broker, records: Sequence[Record]
) -> list[Cursor | LogError]:
    """Append records, each as a step of the trace whose place it carries.

    Without such a place they are no steps, because they belong to no request.
    """
    if all(each.traceparent is None for each in records):
        return broker.publish_together(records)
    found: list[Cursor | LogError] = []
    for record in records:
        try:
            with tracing.within(record.traceparent):
                found.append(append(broker, replace(record, traceparent=None)))
        except (BrokerUnavailable, StateFull) as error:
            found.append(error)
    return found


def placed(record: Record) -> Record:
    """Return a record that carries the caller's place in the app's trace.

    For records that another thread appends.
    """
    traceparent = tracing.here()
    return record if traceparent is None else replace(record, traceparent=traceparent)


def _attributes(record: Record, operation: str) -> dict[str, str | int | list[str]]:
    """Return the facts about a record, without its payload or any id of a person.

    Names are those of OpenTelemetry's conventions for messaging, where it has some.
    """
    content = record.content
    found: dict[str, str | int | list[str]] = {
        "messaging.system": "sse_hub",
        "messaging.operation.name": operation,
        "messaging.operation.type": "send",
    }
    if isinstance(content, Event):
        found["sse_hub.type"] = content.type
        found["messaging.message.body.size"] = len(content.data.encode())
    else:
        is_end = isinstance(content, Disconnect)
        found["sse_hub.type"] = "disconnect" if is_end else "subscribe"
    names = address.names_of(record.addresses)
    found["sse_hub.targets"] = ["everyone"] if isinstance(names, str) else list(names)
    channel = only_channel(record.addresses)
    if channel is not None:
        found["messaging.destination.name"] = channel
    return found

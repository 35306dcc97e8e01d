# Generated from _aio/follow.py by `./dev generate`: change that file.
"""Streams of events, and the output of a command: each byte once, however often the connection breaks."""

from __future__ import annotations

from typing import Any, Callable

from .._ask import Ask, at
from .._sse import Event, Events
from .._types import ExecInfo
from .._values import Output, output_of
from ..errors import CaissonError, invalid_answer, is_passing, lost, problem_of
from . import io
from .http import SILENCE_S, Http, Reply, Retry


class EventStream:
    """Events as they come, over one connection."""

    def __init__(self, reply: Reply, name: str) -> None:
        self._reply = reply
        self._name = name
        self._parser = Events()
        self._found: list[Event] = []

    def next(self, timeout_s: float | None = None) -> Event | None:
        """The next event; None at the end. Raises TimeoutError after `timeout_s`; nothing is lost then."""
        until_s = None if timeout_s is None else io.clock_s() + timeout_s
        while not self._found:
            data = self._reply.read(None if until_s is None else max(0.0, until_s - io.clock_s()))
            if not data:
                return None
            self._found = self._parser.feed(data)
        return self._found.pop(0)

    def close(self) -> None:
        self._reply.close()


def open_events(http: Http, ask: Ask) -> EventStream:
    ask = Ask(ask.method, ask.path, ask.query, {**ask.headers, "Accept": "text/event-stream"}, ask.json, ask.body, ask.repeatable, ask.patient, ask.step_s)
    reply = http.open(ask, timeout_s=SILENCE_S)
    if not reply.headers.get("content-type", "").startswith("text/event-stream"):
        reply.close()
        raise invalid_answer(f"{ask.path} answered with no stream of events")
    return EventStream(reply, http.where.name)


class Follower:
    """Follows one exec from an offset to its end. `next` gives the chunks, then None, and `info` is how it ended.

    One that is made with `start` starts the exec with its first step: once, because the request has an idempotency key.
    """

    def __init__(self, http: Http, sandbox: str, exec_id: str | None, *, offset: int = 0, start: Ask | None = None) -> None:
        self._http = http
        self._sandbox = sandbox
        self._start = start
        self._events: EventStream | None = None
        self._retry = Retry(http.where)
        self.exec_id = exec_id
        self.offset = offset
        self.info: ExecInfo | None = None
        self.started: Callable[[ExecInfo], None] = lambda info: None

    def next(self, timeout_s: float | None = None) -> Output | None:
        """Raises TimeoutError after `timeout_s`; the next call goes on."""
        until_s = None if timeout_s is None else io.clock_s() + timeout_s
        while self.info is None:
            event = self._event(until_s)
            chunk = self._took(event)
            if chunk is not None:
                return chunk
        return None

    def _took(self, event: Event) -> Output | None:
        if event.name == "output":
            chunk = output_of(event.json(), self.offset)
            if chunk is not None:
                self.offset += len(chunk.data)
            return chunk
        if event.name == "started":
            info = event.json()
            self.exec_id = info["id"]
            self.started(info)
        elif event.name == "end":
            self.info = event.json()
        elif event.name == "problem":
            body: Any = event.json()
            status = body.get("status") if isinstance(body, dict) else None
            raise problem_of(body, status if isinstance(status, int) else 500)
        return None

    def _event(self, until_s: float | None) -> Event:
        while True:
            try:
                if self._events is None:
                    self._events = open_events(self._http, self._ask())
                event = self._events.next(None if until_s is None else max(0.0, until_s - io.clock_s()))
                if event is None or event.name == "drain":
                    raise lost(self._http.where.name, "the stream ended before the command did")
                self._retry.progressed()
                return event
            except CaissonError as error:
                broke = self._events is not None or self._retry.lost
                self.close()
                if not is_passing(error) or not broke:
                    raise
                self._retry.failed(error)

    def _ask(self) -> Ask:
        if self.exec_id is None:
            assert self._start is not None
            return self._start
        path = at("sandboxes", self._sandbox, "execs", self.exec_id, "output")
        return Ask("GET", path, {"from": self.offset}, repeatable=True)

    def close(self) -> None:
        events, self._events = self._events, None
        if events is not None:
            events.close()

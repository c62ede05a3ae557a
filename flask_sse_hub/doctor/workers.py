"""The workers behind an address, as they see the doctor's requests, and their faults.

Each request over a new connection may reach another worker. A worker answers with facts
if the request is signed with its own SECRET_KEY.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from .findings import Finding
from .probe import Unreachable, get

# How many requests meet each worker of a server most probably.
_REQUESTS = 12

# Clocks that differ by less do no harm: tickets last for a minute.
_CLOCK_SECONDS = 5.0

_ANSWER_SECONDS = 10.0

#: A worker is behind for a moment after each event. One that stays so is deaf.
DEAF_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Met:
    """The answers of an address's workers."""

    facts: Sequence[Mapping[str, Any]]
    #: How often each status was answered.
    statuses: Mapping[int, int]
    #: Why the address gave no answer.
    error: str = ""
    #: Where the address sends its visitors.
    location: str = ""


def meet(url: str, query: Mapping[str, str], *, insecure: bool) -> Met:
    """Ask for the facts of the workers at an address, several times."""
    facts: list[Mapping[str, Any]] = []
    statuses: dict[int, int] = {}
    location = ""
    for _ in range(_REQUESTS):
        asked = time.time()
        try:
            status, body, headers = get(
                url,
                {"pass": query["pass"]},
                timeout=_ANSWER_SECONDS,
                insecure=insecure,
            )
        except Unreachable as error:
            return Met(facts, statuses, str(error))
        statuses[status] = statuses.get(status, 0) + 1
        location = headers.get("location", location)
        if status == 200:
            try:
                found = json.loads(body)
                # The worker read its clock between the two readings of ours.
                found["clock"] = found["time"] - (asked + time.time()) / 2
                facts.append(found)
            except (ValueError, KeyError, TypeError):
                statuses[0] = statuses.get(0, 0) + 1
    return Met(facts, statuses, location=location)


@dataclass(frozen=True, slots=True)
class MachineSeen:
    """The workers of one machine, as one of them sees all."""

    #: How many streams of the doctor's are open.
    streams: int
    #: For how many seconds each worker has not followed the log, by process id.
    deaf: Mapping[int, float]
    #: The numbers of workers that gave no answer.
    silent: Sequence[int]


def machine_of(
    url: str, query: Mapping[str, str], *, insecure: bool
) -> MachineSeen | None:
    """Return the workers of the machine behind an address, None if nobody tells."""
    with suppress(Unreachable, ValueError, KeyError, TypeError):
        asked = {"pass": query["pass"], "machine": "1"}
        status, body, _ = get(url, asked, timeout=_ANSWER_SECONDS, insecure=insecure)
        if status == 200:
            told = json.loads(body)["machine"]
            deaf = {int(pid): float(it) for pid, it in told["deaf"].items()}
            return MachineSeen(int(told["streams"]), deaf, list(told["silent"]))
    return None


def answers(met: Met, url: str) -> Iterator[Finding]:
    """Yield the faults of an address whose workers do not tell their facts."""
    if met.error:
        yield Finding(
            "unreachable",
            "network",
            f"{url} cannot be reached: {met.error}",
            "Start the server, or pass its address as clients write it.",
        )
        return
    statuses = met.statuses
    if 401 in statuses and 200 in statuses:
        yield Finding(
            "secret-key",
            "worker",
            f"{statuses[401]} of {sum(statuses.values())} requests met a worker with"
            " another SECRET_KEY: logins, client ids and tickets work now and then",
            "Set one SECRET_KEY for all workers. Do not draw it when the app starts.",
        )
    elif 401 in statuses:
        yield Finding(
            "secret-key",
            "worker",
            f"no worker at {url} has the SECRET_KEY of this shell: either it is drawn"
            " when a process starts, or the two have different environments",
            "Set one SECRET_KEY for all processes, and run this command with the"
            " server's environment.",
        )
    moved = {301, 302, 303, 307, 308} & set(statuses)
    if moved:
        yield Finding(
            "redirect",
            "proxy",
            f"{url} redirects to {met.location!r:.100}",
            "Pass the address after the redirect.",
        )
    elif 404 in statuses or 0 in statuses:
        yield Finding(
            "not-this-app",
            "proxy",
            f"{url} is not the endpoint of this app",
            "Pass the address of the server, and have the proxy pass the paths of"
            " SSE_HUB_URL_PREFIX on to it unchanged.",
        )
    for status in sorted(set(statuses) - {0, 200, 401, 404} - moved):
        yield Finding(
            "status",
            "proxy" if status in (502, 503, 504) else "worker",
            f"{url} answers {status}",
            "Look into the logs of the proxy and of the server."
            if status != 403
            else "A firewall or a rule of the proxy refuses the request.",
        )


def problems(
    facts: Sequence[Mapping[str, Any]], *, epochs: Set[str]
) -> Iterator[Finding]:
    """Yield the faults of workers, by the facts that they told.

    ``epochs`` are those of the shell's log during the examination.
    """
    for text in dict.fromkeys(text for each in facts for text in each["problems"]):
        yield Finding("server", "worker", text, "The text says it.")
    yield from _logs(facts, epochs)
    worst = max((each["clock"] for each in facts), key=abs, default=0.0)
    if abs(worst) > _CLOCK_SECONDS:
        yield Finding(
            "clock",
            "worker",
            f"a worker's clock is {abs(worst):.0f} s"
            f" {'ahead of' if worst > 0 else 'behind'} this machine's: tickets and"
            " sessions end early or late",
            "Let NTP or chrony set the clock of each machine.",
        )
    for each in facts:
        yield from _limits(each)


def standing(deaf: Mapping[int, float], silent: Sequence[int]) -> Iterator[Finding]:
    """Yield the faults of workers that stand still."""
    for pid, seconds in deaf.items():
        if seconds >= DEAF_SECONDS:
            yield Finding(
                "deaf",
                "worker",
                f"worker {pid} has followed no event for {seconds:.0f} s although the"
                " log goes on: its streams stay open, and nothing arrives on them",
                f"Keep a stack of its threads (py-spy dump --pid {pid}), then restart"
                f" the worker: kill -TERM {pid}",
            )
    if silent:
        yield Finding(
            "silent",
            "worker",
            f"the worker with the number {silent[0]} answers nothing: it is stopped, or"
            " something blocks its event loop",
            "flask sse top shows the others. Look at its process (ps, py-spy dump), and"
            " restart it.",
        )


def _logs(facts: Sequence[Mapping[str, Any]], known: Set[str]) -> Iterator[Finding]:
    epochs = {each["epoch"] for each in facts if each["epoch"]}
    if len(known - {""}) > 1:
        yield Finding(
            "log-replaced",
            "log",
            "the log was replaced while this command looked at it: its events are gone,"
            " and every page is told to load anew",
            "A Redis that evicts keys: maxmemory-policy noeviction. One that restarts"
            " without its data: appendonly yes. A file: look for the program that"
            " deletes it.",
        )
    elif len(epochs) > 1:
        yield Finding(
            "several-logs",
            "log",
            f"the workers follow {len(epochs)} different logs: an event reaches only"
            " the clients of workers with the publisher's log",
            "Give all workers one SSE_HUB_BROKER_URL, with the same SSE_HUB_NAME in a"
            " Redis. An SQLite file has to be on one machine, and in one folder.",
        )
    elif epochs.isdisjoint(known) and epochs:
        yield Finding(
            "several-logs",
            "log",
            "the workers follow another log than this shell: events that scripts and"
            " jobs publish do not arrive",
            "Run scripts with the server's SSE_HUB_BROKER_URL and SSE_HUB_NAME. The"
            " path of an SQLite file is relative to the instance folder.",
        )
    if any(not each["epoch"] for each in facts):
        yield Finding(
            "broker-away",
            "log",
            "a worker cannot reach the broker",
            "Start the broker, and look into the worker's log for the reason.",
        )


def _limits(facts: Mapping[str, Any]) -> Iterator[Finding]:
    files, most = facts["max_files"], facts["max_clients"]
    if files is not None and files < most:
        yield Finding(
            "descriptors",
            "worker",
            f"worker {facts['pid']} may open {files} files, and SSE_HUB_MAX_CLIENTS is"
            f" {most}: it refuses streams before that",
            "Raise the limit (ulimit -n, or LimitNOFILE of systemd), or lower"
            " SSE_HUB_MAX_CLIENTS.",
            "advice",
        )
    places = facts["places"]
    if places is not None and not facts["takeover"] and places < most:
        yield Finding(
            "worker-connections",
            "worker",
            f"worker {facts['pid']} serves {places} requests at once"
            f" ({facts['places_setting']}), and a stream takes one of them:"
            f" SSE_HUB_MAX_CLIENTS is {most}",
            f"Raise {facts['places_setting']}, or use gunicorn's gevent worker, which"
            " hands streams over to the hub.",
            "advice",
        )
    restart = facts["max_requests"]
    if restart and restart < 2 * most:
        yield Finding(
            "max-requests",
            "worker",
            f"worker {facts['pid']} is replaced after {restart} requests, each stream"
            f" is one, and SSE_HUB_MAX_CLIENTS is {most}: reconnects alone may restart"
            " worker after worker",
            "Set max_requests to many times the clients of a worker, or to 0.",
            "advice",
        )


def forwarding(
    facts: Mapping[str, Any], *, public: str, proxied: bool
) -> Iterator[Finding]:
    """Yield the faults of the way from a public address to a worker."""
    if facts["protocol"] == "HTTP/1.0":
        yield Finding(
            "http-1.0",
            "proxy",
            "the proxy speaks HTTP/1.0 to the worker: each request opens a connection,"
            " and old versions hold a stream back",
            'nginx: proxy_http_version 1.1; and proxy_set_header Connection "";',
            "advice",
        )
    forwarded = facts["forwarded_for"]
    seen = facts["address"]
    client = (forwarded or "").split(",")[-1].strip()
    if forwarded and not facts["proxy_fix"] and (seen != client or _is_local(seen)):
        yield Finding(
            "proxy-fix",
            "app",
            f"the app takes the proxy ({seen}) for the client ({client}): limits per"
            " address meet everybody",
            "Wrap the app in werkzeug.middleware.proxy_fix.ProxyFix, with as many hops"
            " as there are proxies.",
        )
    elif not forwarded and _is_local(seen) and proxied:
        yield Finding(
            "proxy-fix",
            "proxy",
            f"the proxy does not say for whom it asks: the app sees {seen}",
            "Have it set X-Forwarded-For, and wrap the app in ProxyFix.",
            "advice",
        )
    if public.startswith("https:") and facts["scheme"] != "https":
        yield Finding(
            "scheme",
            "app",
            "the app believes that its visitors come over http: links and redirects are"
            " wrong, and cookies lack Secure",
            "Have the proxy set X-Forwarded-Proto, and wrap the app in ProxyFix"
            " (x_proto=1).",
        )


def _is_local(address: str | None) -> bool:
    try:
        return ip_address(address or "").is_private
    except ValueError:
        return False


def first_of_each(findings: Iterator[Finding]) -> list[Finding]:
    """Return the findings without those that only name another worker."""
    found: dict[tuple[str, str], Finding] = {}
    for each in findings:
        found.setdefault((each.code, each.hop), each)
    return list(found.values())

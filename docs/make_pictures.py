"""Draw the pictures of the documentation: ``python -m docs.make_pictures``.

Each picture is an SVG of the width of a phone, on a ground of its own, and light or
dark as the reader's system. Text is text: sharp, and readable by a screen reader.
"""

import re
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent / "pictures"

_WIDTH = 360

_STYLE = """
svg { color-scheme: light dark; font: 13px system-ui, "Segoe UI", Roboto, sans-serif }
.ground { fill: #fff } text { fill: #1d1d2b; text-anchor: middle }
.box { fill: #f4f4fb; stroke: #8b8fb8 } .log { fill: #e3e4fb; stroke: #4f46e5 }
.away { fill: #fdf0dc; stroke: #b4690e } .good { fill: #e2f4e8; stroke: #2b7a4b }
.small { font-size: 11.5px; fill: #4a4a5e } .left { text-anchor: start }
.right { text-anchor: end } .bold { font-weight: 600 }
.code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 11.5px }
.line { fill: none; stroke: #5b5f86; stroke-width: 1.5 } .head { fill: #5b5f86 }
.back { fill: none; stroke: #b4690e; stroke-width: 1.5; stroke-dasharray: 4 3 }
.bar { fill: #8b8fb8 } .ours { fill: #4f46e5 }
@media (prefers-color-scheme: dark) {
.ground { fill: #1e2029 } text { fill: #ececf4 } .small { fill: #c3c4d4 }
.box { fill: #2b2d3b; stroke: #7f84b5 } .log { fill: #34335f; stroke: #a5a3ff }
.away { fill: #453319; stroke: #e9a84a } .good { fill: #1d3b2a; stroke: #6fcf97 }
.line { stroke: #a3a7cf } .head { fill: #a3a7cf } .back { stroke: #e9a84a }
.bar { fill: #7f84b5 } .ours { fill: #a5a3ff }
}
"""

_ARROW = (
    '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
    ' markerHeight="7" orient="auto"><path class="head" d="M0 0 8 4 0 8z"/></marker>'
    "</defs>"
)


class Drawing:
    """One picture: boxes, arrows and texts, from the top to the bottom."""

    def __init__(self, title: str, what: str, *, height: int) -> None:
        self._height = height
        self._parts = [
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="what">{escape(what)}</desc>',
            f"<style>{_STYLE}</style>",
            _ARROW,
            f'<rect class="ground" width="{_WIDTH}" height="{height}" rx="8"/>',
        ]

    def box(
        self,
        x: float,
        y: float,
        width: float,
        *lines: str,
        kind: str = "box",
        height: float = 0,
    ) -> None:
        """Draw a box with lines of text; the first one is large."""
        tall = height or 16 + 17 * len(lines)
        self._parts.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}"'
            f' height="{tall:g}" rx="6"/>'
        )
        top = y + tall / 2 - 8.5 * (len(lines) - 1) + 4.5
        for number, line in enumerate(lines):
            self.text(x + width / 2, top + 17 * number, line, "small" if number else "")

    def text(self, x: float, y: float, line: str, kind: str = "") -> None:
        """Write a line around x, or from x on (``left``), or up to x (``right``)."""
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(line)}</text>'
        )

    def arrow(self, path: str, kind: str = "line") -> None:
        """Draw a path with a head at its end."""
        self._parts.append(f'<path class="{kind}" d="{path}" marker-end="url(#end)"/>')

    def line(self, path: str, kind: str = "line") -> None:
        """Draw a path."""
        self._parts.append(f'<path class="{kind}" d="{path}"/>')

    def bar(self, x: float, y: float, width: float, kind: str) -> None:
        """Draw a bar of a chart."""
        self._parts.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="16"'
            ' rx="3"/>'
        )

    def svg(self) -> str:
        """Return the file's text."""
        body = "\n".join(self._parts)
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" width="480" role="img"'
            f' aria-labelledby="title what" viewBox="0 0 {_WIDTH} {self._height}">\n'
            f"{body}\n</svg>\n"
        )


def resume() -> Drawing:
    """A connection is cut, and the client reads on where it was."""
    it = Drawing(
        "A cut connection resumes",
        "The log gets events 1 to 6. The page receives 1 and 2, and is away during 3"
        " and 4. It comes back with the id 2, receives 3 and 4 from history, and then 5"
        " and 6 live.",
        height=226,
    )
    it.text(14, 24, "the log", "left bold")
    it.text(14, 178, "the page", "left bold")

    def column(place: int) -> float:
        return 12 + 44 * place

    for number, logged, read in zip(
        range(1, 7), (0, 1, 2, 3, 6, 7), (0, 1, 4, 5, 6, 7), strict=True
    ):
        kind = "good" if logged == read else "away"
        it.box(column(logged), 34, 28, str(number), kind="log")
        it.box(column(read), 128, 28, str(number), kind=kind)
        it.arrow(f"M{column(logged) + 14} 67L{column(read) + 14} 124")
    it.line(f"M{column(2)} 144H{column(3) + 28}", "back")
    it.text(column(2) + 36, 137, "cut", "small")
    it.text(column(4) + 36, 178, "from history", "small")
    it.text(column(6) + 36, 178, "live", "small")
    it.text(14, 206, "It comes back with", "left small")
    it.text(130, 206, "Last-Event-ID: 2", "left code")
    return it


def which_broker() -> Drawing:
    """Two questions lead to one of three brokers."""
    it = Drawing(
        "Which broker?",
        "Tests or one process: memory. All processes on one machine: SQLite, the"
        " default. Several machines: Redis.",
        height=300,
    )
    it.box(60, 14, 240, "Tests, or a single process?")
    it.arrow("M300 30H330V62")
    it.text(318, 24, "yes", "small")
    it.box(238, 66, 112, "memory://", "nothing to keep", kind="good")
    it.arrow("M120 47V126")
    it.text(134, 92, "no", "small")
    it.box(14, 130, 226, "All processes on one machine?")
    it.arrow("M240 146H294V170")
    it.text(262, 140, "yes", "small")
    it.box(214, 174, 136, "SQLite, the default", "nothing to install", kind="good")
    it.arrow("M90 163V232")
    it.text(104, 202, "no", "small")
    it.box(14, 236, 190, "Redis 6.2 or later", "one log for all machines", kind="good")
    return it


def shared_tabs() -> Drawing:
    """One tab of a browser holds the connection for all."""
    it = Drawing(
        "Shared tabs",
        "Three tabs of one browser. One tab holds the only connection to the server and"
        " passes each event on to the others. When it is closed, another tab goes on.",
        height=280,
    )
    it.box(14, 34, 332, "", kind="box", height=122)
    it.text(26, 26, "one browser", "left bold")
    it.box(28, 48, 88, "tab 1", "hidden")
    it.box(136, 48, 88, "tab 2", "holds it", kind="log")
    it.box(244, 48, 88, "tab 3", "visible")
    it.arrow("M136 73H119")
    it.arrow("M224 73H241")
    it.text(180, 118, "each event arrives once in each tab", "small")
    it.text(180, 140, "tab 2 closed: tab 1 or 3 goes on", "small")
    it.arrow("M180 212V159")
    it.text(190, 190, "one connection", "left small")
    it.box(106, 216, 148, "your app", "one stream")
    return it


def topology() -> Drawing:
    """Browsers, a proxy, machines with workers, one log, and publishers beside them."""
    it = Drawing(
        "Where the parts run",
        "Browsers reach a proxy that does not buffer. Behind it are machines with"
        " gunicorn and its workers. All workers follow one log: a file on one machine,"
        " Redis for several. Jobs and scripts publish into the same log.",
        height=354,
    )
    it.box(90, 14, 180, "browsers", "EventSource, over HTTPS")
    it.arrow("M180 64V90")
    it.box(
        60, 94, 240, "proxy: TLS, HTTP/2, no buffering", "nginx, Caddy, a load balancer"
    )
    it.arrow("M120 144V172")
    it.arrow("M240 144V172")
    for x, name in ((14, "machine A"), (190, "machine B")):
        it.box(x, 176, 156, "", height=78)
        it.text(x + 78, 196, f"{name}: gunicorn", "small")
        it.box(x + 10, 206, 64, "worker", kind="log", height=36)
        it.box(x + 82, 206, 64, "worker", kind="log", height=36)
    it.arrow("M92 284V257")
    it.arrow("M268 284V257")
    it.box(14, 288, 216, "the log", "Redis; SQLite for one machine", kind="good")
    it.line("M92 284V288M268 284H200V288")
    it.box(262, 294, 84, "jobs", height=36)
    it.arrow("M262 312H234")
    return it


def logout() -> Drawing:
    """A logout on one worker ends the streams of the session on the others."""
    it = Drawing(
        "A logout on every worker",
        "The logout reaches worker 1. It appends a control record to the log. Worker 2"
        " reads the record and closes the streams of that session. Streams of other"
        " sessions go on.",
        height=274,
    )
    it.box(14, 14, 140, "POST /logout", "session ada-1")
    it.arrow("M84 64V92")
    it.box(14, 96, 140, "worker 1")
    it.arrow("M84 129V160")
    it.text(92, 150, "appends", "left small")
    it.box(
        14, 164, 332, "the log", "… event, event, session ada-1 has ended", kind="log"
    )
    it.arrow("M270 164V132")
    it.text(262, 152, "reads", "right small")
    it.box(200, 96, 146, "worker 2")
    it.arrow("M236 96V67", "back")
    it.arrow("M312 96V67")
    it.box(190, 14, 76, "ada-1", "closed", kind="away")
    it.box(276, 14, 70, "bob-7", "goes on", kind="good")
    it.text(180, 240, "A replayed or late request of ada-1 opens nothing,", "small")
    it.text(180, 257, "on any worker.", "small")
    return it


#: The servers of the chart, as the first table of the benchmarks names them.
_BARS = {
    "floor: a loop of write() in C": "a loop in C",
    "flask_sse_hub, by socket": "flask_sse_hub",
    "nginx + nchan": "nginx + nchan",
    "better-sse on Node.js": "better-sse, Node.js",
    "sse-starlette on uvicorn + uvloop": "sse-starlette, uvicorn",
    "Flask-SSE on gunicorn gevent + Redis": "Flask-SSE, Redis",
}


def cpu_per_delivery() -> Drawing:
    """The first figure of the benchmarks as bars: CPU time per delivery."""
    page = (Path(__file__).parent / "benchmarks.md").read_text()
    row = re.compile(r"^\| ([^|]+) \| [\d,]+ \| ([\d.]+) \(", re.M)
    table = page.partition("| CPU µs per delivery |")[2].partition("\n\n")[0]
    measured = {name: float(figure) for name, figure in row.findall(table)}
    height = 56 + 40 * len(_BARS)
    it = Drawing(
        "CPU time per delivery, in microseconds",
        "; ".join(f"{label}: {measured[name]:g}" for name, label in _BARS.items()),
        height=height,
    )
    it.text(14, 26, "CPU time per delivery, µs (less is better)", "left bold")
    longest = max(measured[name] for name in _BARS)
    for number, (name, label) in enumerate(_BARS.items()):
        y = 44 + 40 * number
        width = 280 * measured[name] / longest
        it.text(14, y + 10, label, "left small")
        it.bar(14, y + 15, width, "ours" if "flask_sse_hub" in name else "bar")
        it.text(22 + width, y + 28, f"{measured[name]:g}", "left small")
    return it


DRAWINGS = {
    "resume": resume,
    "which-broker": which_broker,
    "shared-tabs": shared_tabs,
    "topology": topology,
    "logout": logout,
    "cpu-per-delivery": cpu_per_delivery,
}


def main() -> None:
    """Write all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in DRAWINGS.items():
        (FOLDER / f"{name}.svg").write_text(draw().svg())


if __name__ == "__main__":
    main()

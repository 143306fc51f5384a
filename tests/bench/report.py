"""From windows to one table, and to what was promised about it."""

import statistics
from dataclasses import dataclass
from typing import Callable

OURS = "concoord"


@dataclass(frozen=True)
class Case:
    """One load that every system gets."""

    key: str
    title: str
    kind: str
    in_flight: int


WRITES = Case("writes", "writes, 256 in flight", "write", 256)
ALONE = Case("write_alone", "one client alone, write", "write", 1)
READS = Case("reads", "linearizable reads, 256 in flight", "read", 256)
CASES = [WRITES, ALONE, READS]


@dataclass(frozen=True)
class Figure:
    """One row of the table: a figure of each window of a case."""

    case: Case
    key: str
    title: str
    decimals: int
    of: Callable[[dict], float]


def per_second(window):
    return window["per_second"]


def p50_ms(window):
    return window["p50_us"] / 1e3


def p99_ms(window):
    return window["p99_us"] / 1e3


def server_cpu_per_100k(window):
    return window["server_cpu_s"] / window["calls"] * 1e5


def client_share(window):
    return window["client_cpu_s"] / window["seconds"]


def written_per_call(window):
    return window["written_bytes"] / window["calls"]


RATE = Figure(WRITES, "per_second", "per second", 0, per_second)
CPU = Figure(WRITES, "server_cpu_s_per_100k", "CPU s of the servers per 100,000", 2, server_cpu_per_100k)
WRITTEN = Figure(WRITES, "written_bytes_per_call", "bytes to disk per write, all nodes", 0, written_per_call)
ALONE_P50 = Figure(ALONE, "p50_ms", "p50, ms", 2, p50_ms)
READ_RATE = Figure(READS, "per_second", "per second", 0, per_second)
FIGURES = [
    RATE,
    Figure(WRITES, "p50_ms", "p50, ms", 2, p50_ms),
    Figure(WRITES, "p99_ms", "p99, ms", 2, p99_ms),
    CPU,
    Figure(WRITES, "client_cores", "cores that the client took", 2, client_share),
    WRITTEN,
    ALONE_P50,
    Figure(ALONE, "p99_ms", "p99, ms", 2, p99_ms),
    READ_RATE,
    Figure(READS, "p50_ms", "p50, ms", 2, p50_ms),
    Figure(READS, "p99_ms", "p99, ms", 2, p99_ms),
    Figure(READS, "server_cpu_s_per_100k", "CPU s of the servers per 100,000", 2, server_cpu_per_100k),
]
# Fewer bytes than this on all three disks per write can't be three durable copies of it.
WRITTEN_BYTES_MIN = 3


@dataclass(frozen=True)
class Promise:
    """Ours compared with `factor` times a peer's: at least it, or at most."""

    figure: Figure
    peer: str
    factor: float
    at_least: bool
    text: str
    # Whether a system that keeps nothing on disk has an unfair advantage here.
    needs_disk: bool


PROMISES = [
    Promise(RATE, "etcd", 10, True, "writes/s at least 10 x etcd's", True),
    Promise(CPU, "etcd", 1 / 5, False, "CPU per 100,000 writes at most 1/5 of etcd's", True),
    Promise(ALONE_P50, "zookeeper", 1, False, "one client alone: p50 no more than ZooKeeper's", True),
    Promise(READ_RATE, "etcd", 10, True, "linearizable reads/s at least 10 x etcd's", False),
]


@dataclass(frozen=True)
class Spread:
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values):
        return cls(statistics.median(values), min(values), max(values))

    def shown(self, decimals):
        if self.low == self.high:
            return f"{self.median:,.{decimals}f}"
        return f"{self.median:,.{decimals}f} [{self.low:,.{decimals}f}-{self.high:,.{decimals}f}]"


class Results:
    """All windows of a run, and what follows from them."""

    def __init__(self, windows):
        """`windows`: dicts of a window's figures with the `system` and `case` it belongs to."""
        self.windows = windows
        self.systems = list(dict.fromkeys(window["system"] for window in windows))
        # In the order of the table, however the rounds went.
        self.systems.sort(key=lambda system: (system != OURS, system))

    def spread(self, figure, system):
        wanted = (system, figure.case.key)
        return Spread.of([figure.of(it) for it in self.windows if (it["system"], it["case"]) == wanted])

    def in_memory(self):
        """The systems that wrote too little to have kept what they acknowledged."""
        return [it for it in self.systems if self.spread(WRITTEN, it).median < WRITTEN_BYTES_MIN]

    def ratio(self, figure, peer):
        ours, theirs = self.spread(figure, OURS).median, self.spread(figure, peer).median
        return ours / theirs if theirs else None

    def peers(self):
        return [system for system in self.systems if system != OURS] if OURS in self.systems else []

    def figures(self):
        """The table as data."""
        rows = []
        for figure in FIGURES:
            spreads = {system: vars(self.spread(figure, system)) for system in self.systems}
            ratios = {f"{OURS}/{peer}": self.ratio(figure, peer) for peer in self.peers()}
            rows.append({"case": figure.case.key, "figure": figure.key, **spreads, **ratios})
        return rows

    def table(self, titles):
        """The table as Markdown; `titles` gives each system's heading."""
        head = ["", *(titles[system] for system in self.systems), *(f"{OURS} / {peer}" for peer in self.peers())]
        rows = [head]
        for case in CASES:
            rows.append([f"**{case.title}**", *[""] * (len(head) - 1)])
            for figure in (it for it in FIGURES if it.case is case):
                cells = [self.spread(figure, system).shown(figure.decimals) for system in self.systems]
                ratios = [self.ratio(figure, peer) for peer in self.peers()]
                rows.append([figure.title, *cells, *("-" if it is None else f"{it:.2f}" for it in ratios)])
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join(lines)

    def acceptance(self):
        """For each promise whose peer was measured: the text, the outcome ("pass", "miss", "void") and the figures."""
        judged = []
        for promise in PROMISES:
            if promise.peer not in self.peers():
                continue
            ours = self.spread(promise.figure, OURS).median
            bound = promise.factor * self.spread(promise.figure, promise.peer).median
            kept = ours >= bound if promise.at_least else ours <= bound
            volatile = promise.needs_disk and {OURS, promise.peer} & set(self.in_memory())
            outcome = "void" if volatile else "pass" if kept else "miss"
            judged.append({"promise": promise.text, "outcome": outcome, "ours": ours, "bound": bound})
        return judged


def acceptance_line(judged):
    return f"{judged['outcome']}  {judged['promise']}: {judged['ours']:,.5g} against {judged['bound']:,.5g}"

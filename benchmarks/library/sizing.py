"""How long a cluster takes, and which of its stages holds up the others.

    python -m benchmarks.library.sizing --recordings 1e8 --nodes 16 --cpus 64 --gbit 25
    python -m benchmarks.library.sizing --recordings 1e9 --nodes 8 --gpus 4 --gpu-rate 1500
    python -m benchmarks.library.sizing --write        # the tables of docs/scale.md

All stages run at the same time, so the slowest sets the pace: recordings a second are the least of
what disks, decoders, the network, encoders and writers can do. The rates are those of ray.json, a
core each; those of a GPU are for the user to measure (``clap-export bench``).
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RATES = HERE / "ray.json"
PAGE = HERE.parents[1] / "docs" / "scale.md"
PLACE = re.compile(r"<!-- scale -->.*?<!-- /scale -->", re.DOTALL)
COUNTS = (10**6, 10**8, 10**9)
NODES = (1, 4, 16, 64, 256)
CPUS = 16  # of a node in the tables
LIBRARY = 10**7  # recordings in one library, whose listing fits into the memory of its writer
GIGABIT = 1e9 / 8


@dataclass(frozen=True)
class Cluster:
    """Machines.

    Attributes:
        nodes: how many.
        cpus: of each.
        gpus: of each.
        gpu_rate: recordings that one GPU embeds in a second.
        gbit: of each node's network, in Gbit/s each way.
        writers: libraries that are written at the same time.
    """

    nodes: int
    cpus: int
    gpus: int = 0
    gpu_rate: float = 0.0
    gbit: float = 10.0
    writers: int = 1


def capacities(cluster: Cluster, rates: dict[str, Any]) -> dict[str, float]:
    """What each stage can do, in recordings a second.

    The recordings lie elsewhere, so a node reads their files over its network. Encoders take
    windows from whichever node decoded them: all but one in ``nodes`` cross the network.
    """
    cpus = cluster.nodes * cluster.cpus - cluster.writers
    gpus = cluster.nodes * cluster.gpus
    decode, encode = rates["decode"], rates["encode"]
    if gpus:
        shares = {"decode": cpus * decode, "encode": gpus * cluster.gpu_rate}
    else:  # the cores are divided as the stages need them: both are then as quick
        shares = {"processors": cpus / (1 / decode + 1 / encode)}
    away = 1 - 1 / cluster.nodes
    crossing = rates["bytes_of_file"] + away * rates["bytes_carried"]
    return {
        **shares,
        "network": cluster.nodes * cluster.gbit * GIGABIT / crossing,
        "write": cluster.writers * rates["write_512"],
    }


def pace(cluster: Cluster, rates: dict[str, Any]) -> tuple[float, str]:
    """Recordings a second, and the stage that sets them."""
    found = capacities(cluster, rates)
    slowest = min(found, key=lambda stage: found[stage])
    return found[slowest], slowest


def hours(count: float, rate: float) -> str:
    """Of so many recordings."""
    found = count / rate / 3600
    return f"{60 * found:.0f} min" if found < 2 else f"{found:,.0f} h"


def tables(rates: dict[str, Any]) -> str:
    """As Markdown."""
    names = {
        "look": "see that a file is there", "decode": "hash, decode, cut windows, pack",
        "encode": "unpack, embed, pool", "write": f"journal and parts, {rates['dim']} numbers",
        "write_512": "journal and parts, 512 numbers",
    }  # fmt: skip
    both = rates["both"]
    shares = ", ".join(f"{name} {rate:.1f}" for name, rate in both.items())
    share = 100 * both["ray"] / both["local"]
    listed = rates["bytes_listed"]
    gigabits = rates["bytes_carried"] * 1000 / GIGABIT
    measured = (
        f"With {rates['model']}, on one core each: recordings of {rates['seconds_of_each']:g} s "
        f"(FLAC, stereo, 44.1 kHz, {rates['bytes_of_file'] / 1e6:.2f} MB) as "
        f"{rates['windows_of_each']:.1f} windows of {rates['window']}, which are "
        f"{rates['bytes_carried'] / 1e6:.2f} MB on their way."
    )
    together = (
        f"All stages on {rates['cores']} cores, {rates['recordings']} recordings, a second: "
        f"{shares}. With the start of its encoders Ray does {share:.0f} % of the local way there. "
        f"The writer holds {listed:,.0f} bytes for each recording: "
        f"{listed * LIBRARY / 1e9:.1f} GB for 10⁷."
    )
    gpus = (
        f"A GPU that embeds *g* recordings a second needs *g* / {rates['decode']:.0f} cores that "
        f"decode, and {gigabits:.1f} Gbit/s for each 1,000 recordings a second that other nodes "
        "decode."
    )
    heads = "nodes", "recordings a second", "held up by", "10⁶", "10⁸", "10⁹"
    return "\n".join(
        [
            measured,
            "",
            "| stage | | recordings a second and core |",
            "|---|---|---|",
            *(f"| `{name}` | {what} | {rates[name]:,.0f} |" for name, what in names.items()),
            "",
            together,
            "",
            f"From these rates, for nodes of {CPUS} cores and 10 Gbit/s:",
            "",
            f"| {' | '.join(heads)} | 10⁹ with a writer for each four nodes |",
            "|---|---|---|---|---|---|---|",
            *(_row(nodes, rates) for nodes in NODES),
            "",
            gpus,
        ]
    )


def _row(nodes: int, rates: dict[str, Any]) -> str:
    rate, slowest = pace(Cluster(nodes, CPUS), rates)
    more, then = pace(Cluster(nodes, CPUS, writers=max(1, nodes // 4)), rates)
    times = " | ".join(hours(count, rate) for count in COUNTS)
    return f"| {nodes} | {rate:,.0f} | {slowest} | {times} | {hours(COUNTS[-1], more)} ({then}) |"


def written(text: str, rates: dict[str, Any]) -> str:
    """The page with its tables made anew."""
    inside = tables(rates)
    return PLACE.sub(lambda _: f"<!-- scale -->\n\n{inside}\n\n<!-- /scale -->", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rates", type=Path, default=RATES)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--recordings", type=float, default=1e8)
    parser.add_argument("--nodes", type=int, default=16)
    parser.add_argument("--cpus", type=int, default=CPUS, help="of a node")
    parser.add_argument("--gpus", type=int, default=0, help="of a node")
    parser.add_argument("--gpu-rate", type=float, default=0.0, help="recordings a second and GPU")
    parser.add_argument("--gbit", type=float, default=10.0, help="of a node's network")
    parser.add_argument("--writers", type=int, default=1, help="libraries written at a time")
    parser.add_argument("--price", type=float, help="of a node and hour")
    given = parser.parse_args()
    rates = json.loads(given.rates.read_text())
    if given.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), rates), encoding="utf-8")
        return
    names = ("nodes", "cpus", "gpus", "gpu_rate", "gbit", "writers")
    cluster = Cluster(*(getattr(given, name) for name in names))
    rate, slowest = pace(cluster, rates)
    for stage, found in capacities(cluster, rates).items():
        print(f"{stage:>12} {found:14,.0f} recordings a second{' <' * (stage == slowest)}")
    print(f"{given.recordings:,.0f} recordings: {hours(given.recordings, rate)}")
    if given.price is not None:
        cost = given.price * given.nodes * given.recordings / rate / 3600
        print(f"cost: {cost:,.2f}")


if __name__ == "__main__":
    main()

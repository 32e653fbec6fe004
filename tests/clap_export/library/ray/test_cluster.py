"""A library made on a cluster of two nodes, which are processes of this machine."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from clap_export.cli import main
from clap_export.library import sources, store
from clap_export.library.embed import Work, described
from clap_export.library.ray import Workers, embed
from clap_export.library.ray.spread import spread
from runtime import Bundle, Encoder
from runtime.errors import BackendError, BundleError, ClapError
from runtime.library import columns
from tests.clap_export.library import made
from tests.places import ROOT
from tests.tiny import bundle as tinybundle
from tests.tiny.bundle import DIM, RATE, WINDOW

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install clap-export[ray]")
data = pytest.importorskip("ray.data", reason="Ray Data is not: pip install clap-export[ray]")
pytestmark = pytest.mark.slow

NODE = {"num_cpus": 2, "object_store_memory": 100 << 20}


@pytest.fixture
def cluster() -> Iterator[Any]:
    """One node; tests add the second."""
    from ray.cluster_utils import Cluster

    # Ray logs its exceptions with their frames. pytest keeps what is logged until a test ends, and
    # the frames keep actors, whose CPUs the rest of the test waits for.
    log = logging.getLogger("ray.data")
    level = log.level
    log.setLevel(logging.CRITICAL)
    before = dict(os.environ)
    os.environ.update(PYTHONPATH=str(ROOT), RAY_USAGE_STATS_ENABLED="0", OMP_NUM_THREADS="1")
    nodes = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    try:
        ray.init(address=nodes.address, log_to_driver=False)
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()
        os.environ.clear()
        os.environ.update(before)
        log.setLevel(level)


def workers(node: Any) -> dict[psutil.Process, str]:
    """The processes of a node that do our work, and what Ray has them titled meanwhile."""
    raylet = node.all_processes["raylet"][0].process.pid
    titles: dict[psutil.Process, str] = {}
    for process in psutil.Process(raylet).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            titles[process] = " ".join(process.cmdline())
    return {process: title for process, title in titles.items() if "ray::Map" in title}


def dataset(paths: list[Path]) -> Any:
    return data.from_items([{"path": str(path)} for path in paths])


def copies(folder: Path, count: int) -> list[Path]:
    """The same minute of sound many times, at a rate that makes decoding take most of the time."""
    folder.mkdir()
    samples = np.stack([tinybundle.clip(seed, 60 * 48000) for seed in (1, 2)], axis=1)
    first = folder / "0000.wav"
    first.write_bytes(tinybundle.wav(samples, 48000))
    paths = [first, *(folder / f"{i:04d}.wav" for i in range(1, count))]
    for path in paths[1:]:
        os.link(first, path)
    return paths


def test_rows_are_those_of_the_local_way(cluster: Any, tiny_bundle: Path, tmp_path: Path) -> None:
    cluster.add_node(**NODE)
    sounds = tmp_path / "sounds"
    made.recordings(sounds, 40)
    made.recordings(sounds / "long", 3, seed=50, windows=7.5)
    (sounds / "text.wav").write_text("no sound at all, " * 10)
    (sounds / os.fsdecode(b"caf\xe9.wav")).write_bytes(tinybundle.wav(tinybundle.clip(3), RATE))
    shard = made.shard(
        sounds / "more.tar",
        {f"{i}.wav": tinybundle.wav(tinybundle.clip(i, 2 * WINDOW), RATE) for i in (90, 91)},
    )
    local, spread = tmp_path / "local", tmp_path / "ray"
    arguments = ["embed", str(tiny_bundle), str(sounds), str(shard), "--each-window", "--json"]
    one = CliRunner().invoke(main, [*arguments, "--out", str(local)])
    two = CliRunner().invoke(main, [*arguments, "--out", str(spread), "--ray"])
    assert (one.exit_code, two.exit_code) == (2, 2), two.output
    said, counted = json.loads(one.stdout), json.loads(two.stdout)
    assert counted["embedded"] == 45
    for name in ("listed", "embedded", "unchanged", "known_bad", "vanished", "problems"):
        assert counted[name] == said[name]
    assert sorted(counted["failed"]) == sorted(said["failed"])
    expected, found = made.rows(local), made.rows(spread)
    assert found == expected  # vectors too, to the bit
    windows = [
        sorted(
            (row["path"], row["member"] or "", row["start"], row["end"], row["embedding"])
            for path in (out / "windows").iterdir()
            for row in pq.read_table(path).to_pylist()
        )
        for out in (local, spread)
    ]
    assert windows[0] == windows[1]
    # Again: nothing is done twice; what only has another time is known by its bytes.
    os.utime(sounds / "0000.wav", ns=(1, 1))
    (sounds / "0001.wav").unlink()
    (sounds / "0002.wav").write_bytes(tinybundle.wav(tinybundle.clip(200), RATE))
    again = [
        CliRunner().invoke(main, [*arguments, "--out", str(out), *end])
        for out, end in ((local, []), (spread, ["--ray"]))
    ]
    counts = [json.loads(result.stdout) for result in again]
    assert (counts[1]["embedded"], counts[1]["unchanged"], counts[1]["vanished"]) == (1, 43, 1)
    assert {k: v for k, v in counts[0].items() if k != "seconds"} == {
        k: v for k, v in counts[1].items() if k != "seconds"
    }
    assert made.rows(spread) == made.rows(local)


def test_killed_workers_lose_nothing_and_a_new_node_is_used(
    cluster: Any, tiny_bundle: Path, tmp_path: Path
) -> None:
    paths = copies(tmp_path / "sounds", 160)
    out = tmp_path / "lib"
    new: set[str] = set()
    journal = out / "journal.jsonl"
    with ThreadPoolExecutor(1) as pool:  # nodes are added by the main thread alone
        work = pool.submit(embed, dataset(paths), tiny_bundle, out)
        while not (work.done() or (journal.exists() and journal.stat().st_size)):
            time.sleep(0.02)
        found = workers(cluster.head_node)
        for process in found:
            process.kill()
        killed = set(found.values())
        node = cluster.add_node(**NODE)
        while not work.done():
            time.sleep(0.05)
            new.update(workers(node).values())
    summary = work.result()
    assert any("Embedding" in title for title in killed), killed  # the encoder
    assert new
    # The stages are apart, so that each scales alone.
    assert any("decoded" in title and "Embedding" not in title for title in killed | new)
    assert (summary.listed, summary.embedded, summary.failed) == (160, 160, [])
    with Encoder(tiny_bundle, threads=1) as encoder:
        want = encoder.embed_audio(paths[0])[0]
    rows = made.rows(out)
    assert rows.keys() == {(str(path), None) for path in paths}
    assert all(np.abs(row["embedding"] - want).max() < 1e-6 for row in rows.values())


def test_a_killed_writer_goes_on_where_it_was(
    cluster: Any, tiny_bundle: Path, tmp_path: Path
) -> None:
    paths = copies(tmp_path / "sounds", 60)
    out = tmp_path / "lib"
    command = [sys.executable, "-m", "clap_export", "embed", str(tiny_bundle)]
    command += [str(tmp_path / "sounds"), "--out", str(out), "--ray", cluster.address, "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    journal = out / "journal.jsonl"
    while process.poll() is None and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = journal.read_bytes().count(b"\n")
    assert 0 < finished < 60
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["embedded"], said["unchanged"]) == (60 - finished, finished)
    assert made.rows(out).keys() == {(str(path), None) for path in paths}


def test_the_example_makes_a_library_and_a_dataset(
    cluster: Any, tiny_bundle: Path, tmp_path: Path
) -> None:
    cluster.add_node(**NODE)
    paths = made.recordings(tmp_path / "sounds", 12)
    bad = tmp_path / "bad.wav"
    bad.write_text("nothing")
    listing = pa.table({"path": [str(path) for path in (*paths, bad)]})
    pq.write_table(listing, tmp_path / "list.parquet")
    (tmp_path / "bundle").symlink_to(tiny_bundle)
    program = (ROOT / "examples" / "ray" / "embed.py").read_text(encoding="utf-8")
    exec(program.replace("/data/", f"{tmp_path}/"), {"__name__": "__main__"})
    table = pq.read_table(tmp_path / "embeddings")
    assert set(table.column_names) == set(columns.recordings("float32", DIM).names)
    for found in (
        {row["path"]: row for row in table.to_pylist()},
        {path: row for (path, _), row in made.rows(tmp_path / "library").items()},
    ):
        assert found.keys() == {str(path) for path in (*paths, bad)}
        assert "cannot be decoded" in found[str(bad)]["error"]
        for seed, path in enumerate(paths):
            want = made.truth(path, seed)
            assert np.abs(np.array(found[str(path)]["embedding"]) - want).max() < 1e-6


class Fragile(Encoder):
    """Dies of some recordings, as a decoder does that reads where it must not."""

    def clip(self, source: Any, *arguments: Any, **named: Any) -> Any:
        if "deadly" in str(source):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().clip(source, *arguments, **named)


def test_a_recording_that_kills_its_decoder_ends_the_work(
    cluster: Any, tiny_bundle: Path, tmp_path: Path
) -> None:
    paths = made.recordings(tmp_path / "sounds", 5)
    (tmp_path / "sounds" / "deadly.wav").write_bytes(paths[0].read_bytes())
    out = tmp_path / "lib"
    with Fragile(Bundle(tiny_bundle)) as encoder:
        wanted = described(encoder, tiny_bundle, "float32", False)
        found = sources.find([str(tmp_path / "sounds")])
        with store.opened(out, wanted) as opened, pytest.raises(BackendError, match="Ray gave up"):
            spread(encoder, opened, found, Work(), lambda _: None, Workers())
    assert made.rows(out).keys() <= {(str(path), None) for path in paths}
    (tmp_path / "sounds" / "deadly.wav").unlink()
    embed(dataset(paths), tiny_bundle, out)
    assert made.rows(out).keys() == {(str(path), None) for path in paths}


def change_weights(bundle: Path) -> None:
    graph = bundle / "audio.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\x00")


def nothing(_: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("before", "workers", "error", "said"),
    [
        (change_weights, Workers(), BundleError, "audio.onnx"),
        (nothing, Workers(cpus=9), ClapError, "has 2 CPUs.*need 10"),
        (nothing, Workers(gpus=1), ClapError, "has 0 GPUs.*need 1"),
    ],
)
def test_what_is_wrong_on_a_worker_is_one_sentence(
    before: Callable[[Path], None], workers: Workers, error: type[ClapError], said: str,
    cluster: Any, tmp_path: Path,
) -> None:  # fmt: skip
    paths = made.recordings(tmp_path / "sounds", 3)
    opened = Bundle(tinybundle.build(tmp_path / "bundle"))
    before(tmp_path / "bundle")  # as if another node had another bundle there
    with pytest.raises(error, match=said) as caught:
        embed(dataset(paths), opened, tmp_path / "lib", workers=workers, work=Work())
    assert "\n" not in str(caught.value)
    assert embed(
        dataset(paths), tinybundle.build(tmp_path / "bundle"), tmp_path / "lib"
    ).embedded == 3  # fmt: skip

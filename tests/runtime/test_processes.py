"""Threads, forks and other processes: what is shared, what is closed, and what is sent."""

from __future__ import annotations

import copy
import importlib.util
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import runtime.errors
from runtime import Classifier, Encoder, LabelBank
from runtime.bundle import Bundle
from runtime.errors import ClapError
from runtime.lease import Lease
from tests.places import ROOT
from tests.tiny.bundle import LABELS as NAMES
from tests.tiny.bundle import RATE, clip

PROVIDERS = ["cpu"] + ["openvino"] * bool(importlib.util.find_spec("openvino"))
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


# Threads


@pytest.mark.parametrize("provider", PROVIDERS)
def test_anyone_may_close_while_others_predict(tiny_bundle: Path, provider: str) -> None:
    with Classifier(tiny_bundle, NAMES, providers=(provider,), threads=1) as shared:
        expected = shared.predict(clip(0), RATE)
        failed: list[object] = []
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                try:
                    found = shared.predict(clip(0), RATE)
                    if found != expected:
                        failed.append(found)
                    for result in shared.predict_many([clip(0)] * 3, RATE):
                        if result.predictions != pytest.approx(expected):
                            failed.append(result)
                except Exception as error:
                    failed.append(error)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            shared.close()
            time.sleep(0.005)
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed


def test_a_stream_that_was_begun_outlives_a_close(tiny_bundle: Path) -> None:
    shared = Classifier(tiny_bundle, NAMES, threads=1)
    stream = shared.predict_many([clip(i) for i in range(9)], RATE, batch_size=2)
    first = next(stream)
    shared.close()
    rest = list(stream)
    assert [r.predictions for r in (first, *rest)] == [
        pytest.approx(shared.predict(clip(i), RATE)) for i in range(9)
    ]


def test_a_lease_closes_when_nobody_uses_it() -> None:
    made: list[int] = []
    closed: list[int] = []

    def make() -> int:
        made.append(len(made))
        return made[-1]

    lease = Lease(make, closed.append)
    lease.close()
    assert made == []
    with lease.use() as one, lease.use() as same:
        assert (one, same) == (0, 0)
        lease.close()
        assert closed == []
        with lease.use() as other:
            assert other == 1
        assert closed == []  # the other is still open for the next
    assert closed == [0]
    lease.close(only_unused=True)
    assert closed == [0]
    lease.close()
    lease.close()
    assert closed == [0, 1]
    assert lease.get() == 2
    lease.close(only_unused=True)
    assert closed == [0, 1, 2]


# Forks


PARENT = """
import os, signal, sys, threading
import numpy as np
from runtime import Classifier
folder, provider = sys.argv[1:]
LABELS, RATE = ["dog", "rain", "bell"], 16_000
sound = np.random.default_rng(0).uniform(-0.5, 0.5, 9000).astype(np.float32)
classifier = Classifier(folder, LABELS, providers=(provider,), threads=1)
expected = classifier.predict(sound, RATE)
stream = classifier.predict_many([sound] * 100, RATE, batch_size=1)
next(stream)


def uses():
    assert classifier.predict(sound, RATE) == expected
    many = classifier.predict_many([sound] * 9, RATE)
    assert [r.predictions for r in many] == [expected] * 9


def goes_on():
    try:
        list(stream)
    except Exception as error:
        assert "another process" in str(error), error
    else:
        raise AssertionError("went on")


def forks():
    uses()
    if os.fork() == 0:
        uses()
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 7


def enters():
    global classifier
    with classifier:
        uses()
    del classifier


def in_child(what):
    child = os.fork()
    if child == 0:
        signal.alarm(100)
        what()
        sys.exit(3)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 3:
        print(what, code)


for what in (lambda: None, classifier.close, uses, enters, goes_on, forks):
    in_child(what)
stop = threading.Event()
workers = [threading.Thread(target=lambda: [uses() for _ in iter(stop.is_set, True)])]
for worker in workers:
    worker.start()
for _ in range(5):
    in_child(uses)
stop.set()
for worker in workers:
    worker.join()
uses()  # the parent's is as it was
stream.close()
"""


@forks
@pytest.mark.parametrize("provider", PROVIDERS)
def test_children_forked_after_loading_work_and_end(tiny_bundle: Path, provider: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PARENT, str(tiny_bundle), provider],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=380,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


# Other processes


def _worker(sent: tuple[Classifier, np.ndarray]) -> object:
    classifier, samples = sent
    return classifier.predict(samples, RATE)


# Another interpreter takes seconds to start; forkserver's workers are made as spawn's are.
@pytest.mark.parametrize(
    "method", sorted({"fork", "spawn"} & set(multiprocessing.get_all_start_methods()))
)
def test_a_classifier_may_be_sent_to_a_process(tiny_bundle: Path, method: str) -> None:
    made = Classifier(
        tiny_bundle, NAMES, scores="cosine", top_k=3, threshold=-0.5, threads=1, batch_size=3
    )
    expected = made.predict(clip(0), RATE)
    with multiprocessing.get_context(method).Pool(1) as pool:
        sent = pool.map_async(_worker, [(made, clip(0))] * 2)
        assert sent.get(timeout=120) == [expected] * 2


def test_what_is_pickled_is_what_was_asked_for(tiny_bundle: Path) -> None:
    made = Encoder(tiny_bundle, threads=1, batch_size=3, max_seconds=7.0, providers=("cpu",))
    other = pickle.loads(pickle.dumps(made))
    assert (other.batch_size, other.max_seconds, other.providers) == (3, 7.0, ("cpu",))
    assert np.array_equal(other.embed_text("rain"), made.embed_text("rain"))
    opened = pickle.loads(pickle.dumps(Encoder(Bundle(tiny_bundle))))
    assert opened.manifest == made.manifest
    classifier = Classifier(tiny_bundle, NAMES, scores="cosine", top_k=2, min_similarity=-0.9)
    for twin in (pickle.loads(pickle.dumps(classifier)), copy.copy(classifier)):
        assert twin.predict(clip(1), RATE) == classifier.predict(clip(1), RATE)
        assert twin.labels == classifier.labels


def test_a_bank_is_the_same_on_the_other_side(tiny_bundle: Path, tmp_path: Path) -> None:
    bank = Classifier(tiny_bundle, NAMES).bank
    bank.save(tmp_path / "bank.npz")
    for each in (bank, LabelBank.load(tmp_path / "bank.npz", mmap=True)):
        other = pickle.loads(pickle.dumps(each))
        assert (other.names, other.templates) == (bank.names, bank.templates)
        assert np.array_equal(other.embeddings, bank.embeddings)
        assert not other.embeddings.flags.writeable


def test_errors_may_be_sent() -> None:
    kinds = [
        kind for kind in vars(runtime.errors).values()
        if isinstance(kind, type) and issubclass(kind, ClapError)
    ]  # fmt: skip
    assert len(kinds) >= 6
    for kind in kinds:
        found = pickle.loads(pickle.dumps(kind("what was wrong")))
        assert type(found) is kind
        assert str(found) == "what was wrong"

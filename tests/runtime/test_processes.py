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


CHILD = """
import os, signal, sys, threading, warnings
import numpy as np
from runtime import Classifier
warnings.simplefilter("ignore")
folder, provider, what = sys.argv[1:]
from tests.tiny.bundle import LABELS, RATE, clip
classifier = Classifier(folder, LABELS, providers=(provider,))
expected = classifier.predict(clip(0), RATE)
stream = classifier.predict_many([clip(0)] * 3, RATE)
if what == "stream":
    next(stream)
stop = threading.Event()
def busy():
    while not stop.is_set():
        classifier.predict(clip(1), RATE)
worker = threading.Thread(target=busy)
if what == "busy":
    worker.start()
child = os.fork()
if child == 0:
    signal.alarm(30)
    if what == "close":
        classifier.close()
    if what in ("predict", "busy"):
        assert classifier.predict(clip(0), RATE) == expected
        many = classifier.predict_many([clip(0)] * 20, RATE)
        assert all(r.error is None for r in many)
    if what == "with":
        with classifier:
            classifier.predict(clip(0), RATE)
        del classifier
    if what == "stream":
        try:
            list(stream)
        except Exception as error:
            assert "another process" in str(error), error
        else:
            raise AssertionError("went on")
    if what == "grandchild":
        classifier.predict(clip(0), RATE)
        if os.fork() == 0:
            assert classifier.predict(clip(0), RATE) == expected
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
    print("done", flush=True)
    sys.exit(3)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
stop.set()
if what == "busy":
    worker.join()
assert classifier.predict(clip(0), RATE) == expected  # the parent's is as it was
sys.exit(code)
"""


@forks
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "what", ["exit", "close", "predict", "busy", "with", "stream", "grandchild"]
)
def test_a_child_forked_after_loading_works_and_ends(
    tiny_bundle: Path, provider: str, what: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tiny_bundle), provider, what],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "done\n"), done.stderr


# Other processes


def _worker(sent: tuple[Classifier, np.ndarray]) -> object:
    classifier, samples = sent
    return classifier.predict(samples, RATE)


@pytest.mark.parametrize("method", sorted(set(multiprocessing.get_all_start_methods())))
def test_a_classifier_may_be_sent_to_a_process(tiny_bundle: Path, method: str) -> None:
    made = Classifier(
        tiny_bundle, NAMES, scores="cosine", top_k=3, threshold=-0.5, threads=1, batch_size=3
    )
    expected = made.predict(clip(0), RATE)
    with multiprocessing.get_context(method).Pool(1) as pool:
        sent = pool.map_async(_worker, [(made, clip(0))] * 2)
        assert sent.get(timeout=60) == [expected] * 2


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

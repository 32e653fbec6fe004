"""Everything that writes what must be whole, as something that can be disturbed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clap_export.model.clap import ClapModel

Step = Callable[[Path], object]


@dataclass(frozen=True)
class Writer:
    """Something that writes into a folder.

    Attributes:
        before: makes the folder as it is before.
        write: what is disturbed.
        check: raises when what lies in the folder is not whole; says whether it is ``old`` or
            ``new``.
        share: of the faults asked for: what takes seconds gets fewer.
        again: whether it replaces what is there; else it refuses to.
        stays: names that a run that fails may leave.
    """

    before: Step
    write: Step
    check: Callable[[Path], str]
    share: float = 1.0
    again: bool = True
    stays: frozenset[str] = frozenset()


def writers(made: Path, only: Sequence[str] = ()) -> dict[str, Writer]:
    """Every way in which the project writes what must be whole, or those of some names.

    Args:
        made: folder for what they begin with.
        only: names; those that share nothing with them are not prepared.
    """
    import torch

    torch.set_num_threads(1)
    made.mkdir(parents=True)
    found: dict[str, Writer] = {}
    for group, names in GROUPS.items():
        if not only or set(only) & set(names):
            found |= group(made)
    return {name: writer for name, writer in found.items() if not only or name in only}


def _nothing(folder: Path) -> None:
    """Begin with an empty folder."""


def _age(exists: bool) -> str:
    return "new" if exists else "old"


def _banks(made: Path) -> dict[str, Writer]:
    import numpy as np

    from runtime import LabelBank

    rows = np.eye(4, 8, dtype=np.float32)
    banks = {
        age: LabelBank(tuple(f"{age} {i}" for i in range(4)), (), rows, "space")
        for age in ("old", "new")
    }
    return {
        "label bank": Writer(
            lambda folder: banks["old"].save(folder / "bank.npz"),
            lambda folder: banks["new"].save(folder / "bank.npz", overwrite=True),
            lambda folder: LabelBank.load(folder / "bank.npz").names[0].split()[0],
        )
    }


def _checkpoints(made: Path) -> dict[str, Writer]:
    import torch

    from clap_export.checkpoints import load, native
    from tests import tiny

    models = {age: tiny.model(tiny.config(), seed) for seed, age in enumerate(("old", "new"))}
    words = tiny.tokenizer().to_str()

    def writer(name: str) -> Writer:
        def age(folder: Path) -> str:
            state = load(folder / name).model.state_dict()
            for age, model in models.items():
                if all(torch.equal(v, state[k]) for k, v in model.state_dict().items()):
                    return age
            raise AssertionError("neither the old weights nor the new ones")

        return Writer(
            lambda folder: native.save(folder / name, models["old"], words),
            lambda folder: native.save(folder / name, models["new"], words),
            age,
        )

    return {
        "checkpoint, safetensors": writer("m.safetensors"), "checkpoint, pt": writer("m.pt"),
    }  # fmt: skip


def _exports(made: Path) -> dict[str, Writer]:
    from clap_export.export.pack import making, write_bundle
    from clap_export.parity.checkpoint import verify
    from clap_export.precision.choose import choose
    from runtime.bundle import Bundle
    from runtime.files import publish
    from tests import tiny

    checkpoint = tiny.checkpoint()
    exact = made / "fp32"
    write_bundle(checkpoint, exact)
    assert verify(exact, checkpoint).passed

    def lower(folder: Path) -> None:
        with making(folder / "bundle") as scratch:
            publish(choose(exact, scratch, "fp16", ())[0], folder / "bundle")

    def age(folder: Path) -> str:
        out = folder / "bundle"
        return _age(out.exists() and bool(Bundle(out)))

    def export(folder: Path) -> None:
        write_bundle(checkpoint, folder / "bundle")

    return {
        name: Writer(_nothing, write, age, share=0.25, again=False)
        for name, write in {"export": export, "precision": lower}.items()
    }


def _bundles(made: Path) -> dict[str, Writer]:
    import pytest

    from clap_export.engine.bundle import add_engines
    from clap_export.engine.options import BuildOptions
    from clap_export.engine.toolchain import toolchain
    from runtime import signature
    from runtime.bundle import Bundle
    from runtime.manifest import amend, read_manifest
    from tests.fakes.tensorrt_builder import machine
    from tests.tiny import bundle as tinybundle

    small = tinybundle.build(made / "small")
    machine(pytest.MonkeyPatch())  # a GPU and a TensorRT that are not there
    chain = toolchain(BuildOptions())
    private, public = keys(made)

    def copy(folder: Path) -> None:
        shutil.copytree(small, folder / "bundle")

    def build(folder: Path) -> None:
        cache = folder / "bundle.timing-cache"
        add_engines(folder / "bundle", chain, BuildOptions(), cache)

    def rename(folder: Path) -> None:
        amend(folder / "bundle", read_manifest(folder / "bundle"), name="new")

    def sign(folder: Path) -> None:
        bundle = Bundle(folder / "bundle")
        signature.sign(bundle.folder, bundle.manifest_bytes, private)

    def signed(folder: Path) -> str:
        there = (folder / "bundle" / signature.SIGNATURE).exists()
        return _age(bool(Bundle(folder / "bundle", public_key=public if there else None)) and there)

    return {
        "engines": Writer(
            copy,
            build,
            lambda folder: _age(Bundle(folder / "bundle").manifest.engines is not None),
            stays=frozenset({"bundle.timing-cache", ".bundle.lock"}),
        ),
        "manifest": Writer(
            copy, rename, lambda folder: _age(Bundle(folder / "bundle").manifest.name == "new")
        ),
        "signature": Writer(copy, sign, signed),
    }


def keys(made: Path) -> tuple[Path, Path]:
    """PEM files of a new key."""
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private, public = made / "owner.pem", made / "owner.pub"
    private.write_bytes(
        key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def _training(made: Path) -> dict[str, Writer]:
    import torch

    from tests import tiny
    from tests.tiny import run as tinyrun
    from train.contrastive.journal import METRICS, Journal
    from train.contrastive.state import RunState

    cpu = torch.device("cpu")
    loop = tinyrun.config(made).loop
    states = {
        age: RunState(tiny.model(tiny.config(), seed), loop, cpu)
        for seed, age in enumerate(("old", "new"))
    }
    for epoch, state in enumerate(states.values()):
        state.epoch = epoch
    records: list[dict[str, Any]] = [{"epoch": i, "loss": 1 / i} for i in (1, 2)]

    def state_age(folder: Path) -> str:
        fresh = RunState(tiny.model(tiny.config(), 2), loop, cpu)
        fresh.load(folder, cpu)
        want = states[_age(fresh.epoch == 1)].model.state_dict()
        found = fresh.model.state_dict()
        assert all(torch.equal(v, found[k]) for k, v in want.items())
        return _age(fresh.epoch == 1)

    def journal_age(folder: Path) -> str:
        lines = (folder / METRICS).read_text().splitlines()
        assert [json.loads(line) for line in lines] == records[: len(lines)]
        return _age(len(lines) == 2)

    return {
        "training's state": Writer(states["old"].save, states["new"].save, state_age),
        "training's journal": Writer(
            lambda folder: Journal(folder, records[:1]),
            lambda folder: Journal(folder, records[:1]).add(records[1], 2),
            journal_age,
        ),
    }


def _distilling(made: Path) -> dict[str, Writer]:
    import numpy as np

    from tests import tiny
    from train.config.distil import AudioLessonConfig
    from train.distil import cache
    from train.distil.course import Course, Record
    from train.distil.state import METRICS, DistilState

    key = cache.CacheKey("teacher", "items", 500)
    rows = {"old": np.zeros((500, 8)), "new": np.ones((500, 8))}
    records = [asdict(Record("audio", epoch, 1 / epoch, 0.5, 1.0)) for epoch in (1, 2)]

    def cache_age(folder: Path) -> str:
        found = cache.read(folder / "teacher.npz", key)
        assert found is not None
        assert len(np.unique(found)) == 1
        return _age(bool(found[0, 0]))

    def state() -> DistilState:
        student = tiny.model(tiny.config())
        course = Course(_Lesson(student), AudioLessonConfig(2, 8, 1e-2, files=("any",)), 0)
        return DistilState(student, [course], "fingerprint")

    def save(epochs: int) -> Step:
        made = state()
        made.history = records[:epochs]
        return lambda folder: made.save(folder, made.courses[0])

    def state_age(folder: Path) -> str:
        written = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
        assert written == records[: len(written)]
        found = state()
        found.load(folder)  # which brings the metrics up to the state
        assert found.history == records[: len(found.history)]
        assert len((folder / METRICS).read_text().splitlines()) == len(found.history)
        return _age(len(found.history) == 2)

    return {
        "distillation's state": Writer(save(1), save(2), state_age),
        "a teacher's embeddings": Writer(
            lambda folder: cache.write(folder / "teacher.npz", key, rows["old"]),
            lambda folder: cache.write(folder / "teacher.npz", key, rows["new"]),
            cache_age,
        ),
    }


class _Lesson:
    """Nothing is learned: its course brings an optimiser, which is saved."""

    name = "audio"
    steps = 1

    def __init__(self, student: ClapModel) -> None:
        self._student = student

    def modules(self) -> list[nn.Module]:
        return [self._student.audio_projection]

    def losses(self, epoch: int) -> Iterator[Tensor]:
        return iter(())

    def held_out(self) -> float:
        return 0.0


GROUPS: dict[Callable[[Path], dict[str, Writer]], tuple[str, ...]] = {
    _banks: ("label bank",),
    _checkpoints: ("checkpoint, safetensors", "checkpoint, pt"),
    _exports: ("export", "precision"),
    _bundles: ("engines", "manifest", "signature"),
    _training: ("training's state", "training's journal"),
    _distilling: ("distillation's state", "a teacher's embeddings"),
}
WRITERS = tuple(name for names in GROUPS.values() for name in names)

"""Where an engine may run, by what the manifest says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.engines import Engine, Profile, Range, check
from runtime.errors import BackendError

WINDOW = 8_000


def audio(most: int) -> Profile:
    return Profile({"waveform": Range((1, WINDOW), (most, WINDOW), (most, WINDOW))})


ENGINE = Engine(
    file="audio.engine", library="tensorrt", version="10.3.0.26", compute_capabilities=("8.6",),
    device="NVIDIA RTX A4000", hardware="none", version_compatible=False, tf32=False,
    precision="fp16", layers={"HALF": 3}, profiles=(audio(1), audio(8)),
)  # fmt: skip


def test_it_runs_where_it_was_built() -> None:
    check(ENGINE, "tensorrt", "10.3.0.26", "8.6")


@pytest.mark.parametrize(
    ("library", "version", "capability", "words"),
    [
        ("tensorrt_rtx", "10.3.0.26", "8.6", "built by tensorrt, and tensorrt_rtx is installed"),
        ("tensorrt", "10.4.0.1", "8.6", r"built by tensorrt 10\.3\.0\.26, and 10\.4\.0\.1 is"),
        ("tensorrt", "10.3.0.26", "8.9", r"compute capability 8\.6, and this one has 8\.9"),
    ],
)
def test_elsewhere_both_values_and_the_command_are_named(
    library: str, version: str, capability: str, words: str
) -> None:
    with pytest.raises(BackendError, match=words) as caught:
        check(ENGINE, library, version, capability)
    assert "'audio.engine'" in str(caught.value)
    assert "clap-export build BUNDLE" in str(caught.value)


@pytest.mark.parametrize(
    ("version", "runs"),
    [
        ("10.3.0.26", True),
        ("10.3.0.30", True),
        ("10.16.1.11", True),  # by numbers: as text, 10.16 would be before 10.3
        ("10.2.0.19", False),
        ("9.9.9.9", False),
        ("11.0.0.1", False),
    ],
)
def test_a_version_compatible_engine_runs_with_later_ones_of_its_major(
    version: str, runs: bool
) -> None:
    engine = replace(ENGINE, version_compatible=True)
    if runs:
        check(engine, "tensorrt", version, "8.6")
    else:
        with pytest.raises(BackendError, match=version.replace(".", r"\.")):
            check(engine, "tensorrt", version, "8.6")


@pytest.mark.parametrize(
    ("capability", "runs"), [("8.0", True), ("8.9", True), ("12.0", True), ("7.5", False)]
)
def test_an_engine_for_ampere_and_later_runs_on_those(capability: str, runs: bool) -> None:
    engine = replace(ENGINE, hardware="ampere_plus")
    if runs:
        check(engine, "tensorrt", "10.3.0.26", capability)
    else:
        with pytest.raises(BackendError, match=r"7\.5"):
            check(engine, "tensorrt", "10.3.0.26", capability)


def test_an_engine_for_one_compute_capability_runs_on_no_other() -> None:
    engine = replace(ENGINE, hardware="same_compute_capability")
    check(engine, "tensorrt", "10.3.0.26", "8.6")
    with pytest.raises(BackendError, match=r"8\.9"):
        check(engine, "tensorrt", "10.3.0.26", "8.9")


def test_an_engine_built_for_several_gpus_runs_on_each() -> None:
    engine = replace(ENGINE, compute_capabilities=("8.9", "12.0"))
    check(engine, "tensorrt", "10.3.0.26", "8.9")
    check(engine, "tensorrt", "10.3.0.26", "12.0")
    with pytest.raises(BackendError, match=r"8\.9, 12\.0, and this one has 10\.0"):
        check(engine, "tensorrt", "10.3.0.26", "10.0")


def test_a_range_holds_what_lies_between_its_ends() -> None:
    served = Range((1, 2), (4, 12), (8, 77))
    assert all(served.holds(shape) for shape in [(1, 2), (8, 77), (4, 12), (1, 77)])
    assert not any(served.holds(shape) for shape in [(0, 2), (9, 2), (1, 1), (1, 78), (1,), ()])


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        (((1,), (1, 2), (1, 2)), "different ranks"),
        (((), (), ()), "different ranks"),
        (((2,), (1,), (3,)), "min <= opt <= max"),
        (((1,), (4,), (3,)), "min <= opt <= max"),
        (((0,), (1,), (1,)), "min <= opt <= max"),
    ],
)
def test_a_range_whose_ends_do_not_fit_is_refused(
    ends: tuple[tuple[int, ...], ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Range(*ends)


def test_a_profile_holds_inputs_of_its_names_only() -> None:
    profile = Profile({"a": Range((1,), (1,), (2,)), "b": Range((1,), (1,), (2,))})
    assert profile.holds({"b": (2,), "a": (1,)})
    assert not profile.holds({"a": (1,)})
    assert not profile.holds({"a": (1,), "b": (3,)})
    assert not profile.holds({"a": (1,), "b": (1,), "c": (1,)})


def test_the_first_profile_that_fits_is_taken() -> None:
    assert ENGINE.profile_of({"waveform": (1, WINDOW)}) == 0
    assert ENGINE.profile_of({"waveform": (2, WINDOW)}) == 1
    assert ENGINE.profile_of({"waveform": (9, WINDOW)}) is None
    assert ENGINE.max_batch == 8

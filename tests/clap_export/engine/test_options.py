"""What may be asked of an engine, and what does not go together."""

from __future__ import annotations

import pytest

from clap_export.engine.options import MAX_BATCH, OPT_BATCH, BuildOptions
from runtime.errors import ClapError


def test_the_batch_to_tune_for_is_16_or_the_most_there_is() -> None:
    assert BuildOptions().max_batch == MAX_BATCH
    assert BuildOptions().best_batch == OPT_BATCH
    assert BuildOptions(max_batch=5).best_batch == 5
    assert BuildOptions(max_batch=1).best_batch == 1
    assert BuildOptions(max_batch=32, opt_batch=8).best_batch == 8


@pytest.mark.parametrize(
    ("most", "best"), [(0, None), (-1, None), (4, 0), (4, 5), (4, -1)], ids=str
)
def test_batches_that_no_profile_can_have_are_refused(most: int, best: int | None) -> None:
    with pytest.raises(ClapError, match=rf"--max-batch {most} --opt-batch {best}: .* at least 1"):
        BuildOptions(max_batch=most, opt_batch=best)


def test_tensorrt_itself_cannot_build_ahead_of_time() -> None:
    with pytest.raises(ClapError, match=r"leave --library tensorrt out .* or build on the GPU"):
        BuildOptions(compute_capabilities=("8.9",), library="tensorrt")
    assert BuildOptions(compute_capabilities=("8.9",)).library is None
    assert BuildOptions(compute_capabilities=("8.9",), library="tensorrt_rtx").max_batch


@pytest.mark.parametrize("strange", ["89", "8", "8.", ".9", "sm_89", "8.9a", "", "8.9.1"])
def test_a_compute_capability_is_two_numbers(strange: str) -> None:
    with pytest.raises(ClapError, match=r"give it like 8\.9"):
        BuildOptions(compute_capabilities=("12.0", strange))

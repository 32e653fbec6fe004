"""Fields of other libraries' configs: each is followed, known not to matter, or refused by name.

A field that is passed over in silence would give a model that computes something else, which no
comparison of ours with ours can see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from runtime.errors import ClapError

# In configs of transformers for every kind of model. Settings of text generation and of what is
# returned; names and labels; and how a computation is arranged, not what it gives.
TRANSFORMERS_UNUSED = frozenset(
    "_name_or_path architectures bad_words_ids begin_suppress_tokens bos_token_id "
    "chunk_size_feed_forward decoder_start_token_id diversity_penalty do_sample dtype "
    "early_stopping encoder_no_repeat_ngram_size eos_token_id exponential_decay_length_penalty "
    "finetuning_task forced_bos_token_id forced_eos_token_id id2label initializer_factor "
    "initializer_range label2id length_penalty max_length min_length no_repeat_ngram_size "
    "num_beam_groups num_beams num_return_sequences output_attentions output_hidden_states "
    "output_scores prefix problem_type remove_invalid_values repetition_penalty return_dict "
    "return_dict_in_generate sep_token_id suppress_tokens task_specific_params temperature "
    "tf_legacy_loss tie_encoder_decoder tie_word_embeddings tokenizer_class top_k top_p "
    "torch_dtype torchscript transformers_version typical_p use_bfloat16 use_cache "
    "attn_implementation _attn_implementation_autoset".split()
)  # fmt: skip


@dataclass(frozen=True)
class Field:
    """What a field may be.

    Attributes:
        default: of the library, where the config leaves it out.
        takes: the values, in words.
        fits: whether a value is one of them.
    """

    default: Any
    takes: str
    fits: Callable[[Any], bool]


@dataclass(frozen=True)
class Problem:
    """A field of a config that this project cannot follow."""

    table: str
    field: str
    value: Any
    takes: str

    @property
    def shown(self) -> str:
        """The value, cut: a file may hold anything in its place."""
        text = self.value if isinstance(self.value, str) else repr(self.value)
        return text if len(text) < 60 else f"{text[:57]}…"


def whole(default: int | None, most: int, least: int = 1) -> Field:
    """A whole number within bounds."""
    return Field(
        default, f"a whole number from {least} to {most}",
        lambda value: type(value) is int and least <= value <= most,
    )  # fmt: skip


def wholes(default: tuple[int, ...], most: int, length: int = 16) -> Field:
    """A list of whole numbers, each within bounds."""
    return Field(
        default, f"1 to {length} whole numbers from 1 to {most}",
        lambda value: isinstance(value, list | tuple)
        and 1 <= len(value) <= length
        and all(type(n) is int and 1 <= n <= most for n in value),
    )  # fmt: skip


def real(default: float, most: float, least: float = 0.0) -> Field:
    """A number within bounds."""
    return Field(
        default, f"a number from {least:g} to {most:g}",
        lambda value: type(value) in (int, float) and least <= value <= most,
    )  # fmt: skip


def choice(default: Any, *values: Any) -> Field:
    """One of some values; true and 1 are two values."""
    return Field(
        default, " or ".join(map(repr, values)),
        lambda value: any(type(value) is type(v) and value == v for v in values),
    )  # fmt: skip


def either(first: Field, second: Field) -> Field:
    """What one of two fields takes."""
    return Field(
        first.default, f"{first.takes}, or {second.takes}",
        lambda value: first.fits(value) or second.fits(value),
    )  # fmt: skip


def read(
    table: str, raw: Any, fields: Mapping[str, Field], unused: frozenset[str],
    problems: list[Problem],
) -> dict[str, Any]:  # fmt: skip
    """The fields of a table, defaults filled in.

    Args:
        table: its name.
        raw: what the file holds in its place; None stands for an empty one.
        fields: that are followed, or must have one value.
        unused: fields that decide nothing here. Any other one is a problem, unless it is null.
        problems: where they are added.
    """
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        problems.append(Problem(table, "as a whole", raw, "a table"))
        raw = {}
    found: dict[str, Any] = {}
    for name, field in fields.items():
        value = raw.get(name, field.default)
        if not field.fits(value):
            problems.append(Problem(table, name, value, field.takes))
        found[name] = value
    problems += [
        Problem(table, name, raw[name], "no such field that is known here")
        for name in sorted(raw.keys() - fields.keys() - unused)
        if raw[name] is not None
    ]
    return found


@contextmanager
def refusing(where: str) -> Iterator[None]:
    """Put what a config's own checks say into a sentence that names the file.

    Raises:
        ClapError: the block raised a `ValueError`, or failed at arithmetic with numbers of a file.
    """
    try:
        yield
    except (ValueError, ArithmeticError) as error:
        raise ClapError(f"{where}: no model can be made of its sizes ({error}).") from error

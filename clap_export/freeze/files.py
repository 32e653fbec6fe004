"""A tagger's files: the graph, and beside it the names of its labels, one a line."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import onnx

from runtime.backends import quiet
from runtime.errors import ClapError
from runtime.files import check_new, scratch, writing
from runtime.labels import LabelBank

SUFFIXES = {"onnx": (".onnx",), "openvino": (".xml", ".bin")}


def labels_path(out: Path) -> Path:
    """Where the names of a tagger's labels are."""
    return out.with_suffix(".labels.txt")


def check(names: Sequence[str], out: Path, kind: str, *, overwrite: bool) -> None:
    """Say before long work what :func:`write` would say behind it.

    Args:
        names: of the labels.
        out: see :func:`write`.
        kind: see :func:`write`.
        overwrite: see :func:`write`.

    Raises:
        ClapError: a file exists, the labels are beside another format of other ones, or ``out``
            has another ending.
    """
    for path, replace in _paths(names, out, kind, overwrite):
        check_new(path, overwrite=replace)


def write(
    model: onnx.ModelProto, bank: LabelBank, out: Path, kind: str, *, overwrite: bool
) -> tuple[Path, ...]:
    """Write a tagger; all of its files get their places when all are whole.

    Args:
        model: the tagger.
        bank: its labels.
        out: of the graph, with the ending of its kind.
        kind: ``onnx``; or ``openvino``, OpenVINO's own format of two files.
        overwrite: replace files that are there.

    Returns:
        paths of the files.

    Raises:
        ClapError: one exists or cannot be written, ``out`` has another ending, or OpenVINO is not
            installed.
    """
    paths = _paths(bank.names, out, kind, overwrite)
    with ExitStack() as stack:
        parts = [stack.enter_context(writing(p, overwrite=replace)) for p, replace in paths]
        if kind == "onnx":
            parts[0].write_bytes(model.SerializeToString(deterministic=True))
        else:
            for part, data in zip(parts, _openvino(model, out), strict=False):
                part.write_bytes(data)
        parts[-1].write_bytes(_listed(bank.names))
    return tuple(path for path, _ in paths)


def _paths(
    names: Sequence[str], out: Path, kind: str, overwrite: bool
) -> tuple[tuple[Path, bool], ...]:
    """The files of a tagger, that of its labels last, and whether each may be replaced."""
    suffixes = SUFFIXES[kind]
    if out.suffix != suffixes[0]:
        raise ClapError(f"'{out}' must end in {suffixes[0]}: it is what engines tell it by.")
    labels = labels_path(out)
    # The same tagger in another format has the same labels beside it.
    same = labels.is_file() and labels.read_bytes() == _listed(names)
    others = (out.with_suffix(each) for other in SUFFIXES.values() for each in other)
    left = [path for path in others if path.suffix not in suffixes and path.exists()]
    if labels.is_file() and overwrite and not same and left:
        raise ClapError(
            f"'{labels}' names the labels of '{left[0]}' too, which has others: give another name, "
            "or take that away."
        )
    graphs = ((out.with_suffix(suffix), overwrite) for suffix in suffixes)
    return *graphs, (labels, overwrite or same)


def _listed(names: Sequence[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode()


def _openvino(model: onnx.ModelProto, out: Path) -> tuple[bytes, bytes]:
    """The two files of OpenVINO's format, in the graph's own types, with the same metadata."""
    try:
        openvino = quiet.openvino()
    except Exception as error:  # a broken installation raises more than ImportError
        raise ClapError(
            f"--format openvino needs OpenVINO, which cannot be imported ({error}). "
            "Install it: pip install openvino"
        ) from error
    try:
        converted = openvino.Core().read_model(model.SerializeToString())
        for entry in model.metadata_props:
            converted.set_rt_info(entry.value, [entry.key])
        from openvino import serialize  # not save_model, which rounds weights to half by default

        with scratch(out) as folder:  # it wants names that end in xml and bin
            xml, weights = folder / "model.xml", folder / "model.bin"
            serialize(converted, str(xml), str(weights))
            return xml.read_bytes(), weights.read_bytes()
    except ClapError:
        raise
    except Exception as error:  # RuntimeError, and its own kinds
        raise ClapError(f"OpenVINO cannot convert the tagger ({error}).") from error

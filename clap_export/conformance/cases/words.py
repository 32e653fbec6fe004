"""``tokens``, ``embed_text`` and ``bank``: from texts to embeddings, kept and read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from clap_export.conformance import signals
from clap_export.conformance.archives import archive
from clap_export.conformance.kit import Tolerance
from clap_export.conformance.subject import WITHOUT_TEXT, Subject
from runtime import bank_file
from runtime.labels import LabelBank

TEXTS = {
    "plain": "a dog is barking",
    "capitals": "A DOG Is BARKING",
    "punctuation": "rain, wind & thunder (far away): it's 3.5 km off!?",
    "composed": "caf\u00e9 m\u00fcller na\u00efve \u00c5ngstr\u00f6m",
    "decomposed": "cafe\u0301 mu\u0308ller nai\u0308ve A\u030angstro\u0308m",
    "emoji": "a \U0001f415 barks \U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "chinese": "\u72d7\u5728\u53eb rain",
    "japanese": "\u96e8\u306e\u97f3\u3001\u30d9\u30eb",
    "korean": "\uac1c\uac00 \uc9d6\ub294\ub2e4",
    "hebrew": "\u05db\u05dc\u05d1 \u05e0\u05d5\u05d1\u05d7",
    "arabic": "\u0646\u0628\u0627\u062d \u0643\u0644\u0628",
    "devanagari": "\u0915\u0941\u0924\u094d\u0924\u093e",
    "cyrillic": "\u0421\u043e\u0431\u0430\u043a\u0430 \u0451\u0439",
    "greek": "\u039f \u03c3\u03ba\u03cd\u03bb\u03bf\u03c2 \u03a3\u0391\u03a3",
    "turkish": "\u0130stanbul \u0131\u015f\u0131k",
    "german": "Stra\u00dfe STRASSE \u1e9e",
    "ligatures": "\ufb01sh \ufb02ow \u210c \u2167",
    "numbers": "1234567890 1,000,000 \u00bd \u00b2 \u0663",
    "spaces": "  two   spaces\tand a tab\nand a line\u00a0end ",
    "wide-spaces": "a\u3000b\u2003c\u2028d\u200be",
    "joiners": "a\u200db\u200cc\u00add",
    "control": "bell\x07 and null\x00 and escape\x1b",
    "replacement": "lost \ufffd letter",
    "long-word": "z" * 150,
    "long": "the wind and the rain and the sea " * 30,
    "longest": "rain " * 4_000,
    "special-tokens": "[CLS] [SEP] [PAD] [UNK] [MASK] <s> </s> <pad> <|endoftext|>",
    "one-letter": "a",
    "symbols": "\u266a \u266b \u2192 \u20ac \u00a9 \u2122 ~`@#$%^*_+={}[]|\\<>/",
    "astral": "\U00010400 \U0001d400\U0001d7d8 \U00020000",
    "marks": "Z\u0351\u036b\u0343a\u0363\u0369l\u036cg\u0304o\u0321",
}
REFUSED = {"empty": "", "only-spaces": "   ", "too-long": "x" * 20_001}
BATCH = ("plain", "composed", "chinese", "long", "one-letter")
MARKED = ("\u00e9clair", "\u96e8", "rain \U0001f327", "UPPER case", "a, b; 'c'")


def texts(subject: Subject) -> None:
    """Tokens and embeddings of awkward texts."""
    if not subject.has_text:
        return
    draft = subject.draft
    same = {"embeddings": Tolerance("cosine", subject.limits.text())}
    for name, text in TEXTS.items():
        draft.ask(f"tokens/{name}", subject.given(texts=[text]))
    draft.ask("tokens/batch", subject.given(texts=[TEXTS[name] for name in BATCH]))
    draft.ask("embed_text/batch", subject.given(texts=[TEXTS[name] for name in BATCH]), same)
    for name in ("plain", "one-letter", "long", "emoji", "decomposed"):
        draft.ask(f"embed_text/{name}", subject.given(texts=[TEXTS[name]]), same)
    for name, text in REFUSED.items():
        draft.ask(f"tokens/refused/{name}", subject.given(texts=[text]))
        draft.ask(f"embed_text/refused/{name}", subject.given(texts=["rain", text]))
    draft.ask("embed_text/refused/none", subject.given(texts=[]))


def without_text(subject: Subject) -> None:
    """The bundle without its text encoder: banks can be used with it, and texts cannot."""
    if not subject.has_text:
        return
    draft, bundle = subject.draft, {"bundle": WITHOUT_TEXT}
    scale = {"logit_scale": Tolerance("absolute", 1e-6 * subject.manifest.logit_scale)}
    draft.ask("space/without-text", bundle, scale)
    sound = subject.sound(signals.scene(subject.rate, subject.window // 2, ("rain",)))
    bank = subject.saved("without-text", subject.apart(subject.given(**sound)))
    limits = subject.limits.ranked("softmax", subject.rate)
    draft.ask("classify/without-text/bank", {**bundle, **sound, "bank": bank}, limits)
    names = {**bundle, **sound, "labels": ["rain", "dog"]}
    draft.ask("classify/refused/without-text", names)
    draft.ask("tokens/refused/without-text", {**bundle, "texts": ["rain"]})
    draft.ask("embed_text/refused/without-text", {**bundle, "texts": ["rain"]})


def banks(subject: Subject) -> None:
    """Label banks in every form that is read, and some that are not."""
    bank, draft = subject.bank, subject.draft
    rng = np.random.default_rng(1)
    many = rng.standard_normal((200, subject.manifest.embedding_dim))
    rows = (many / np.linalg.norm(many, axis=1, keepdims=True)).astype(np.float32)
    names = tuple(f"label {i}" for i in range(len(rows)))
    forms = {
        "plain": _bytes(bank),
        "deflated": _bytes(bank, compressed=True),
        "one-label": _bytes(_of(bank, bank.names[:1], bank.embeddings[:1])),
        "many": _bytes(_of(bank, names, rows)),
        "marked-names": _bytes(_of(bank, MARKED, rows[: len(MARKED)])),
        "no-templates": _bytes(replace(bank, templates=())),
        "two-templates": _bytes(replace(bank, templates=("a {}", "the sound of {}"))),
    }
    for name, data in forms.items():
        asked(subject, name, data)
    fortran = archive(_meta(bank), embeddings=np.asfortranarray(bank.embeddings))
    asked(subject, "columns-first", fortran, optional=True)
    meta, rows = _meta(bank), np.array(bank.embeddings)
    whole = _bytes(bank)
    unnamed = {k: meta[k] for k in meta if k != "templates"}
    broken = {
        "other-space": ({**meta, "space_id": "another"}, rows),
        "other-dimensions": ({**meta, "names": ["a", "b", "c"]}, np.eye(3, dtype=np.float32)),
        "fewer-names": ({**meta, "names": meta["names"][1:]}, rows),
        "no-names": ({**meta, "names": []}, rows[:0]),
        "names-twice": ({**meta, "names": [meta["names"][0]] * len(rows)}, rows),
        "blank-name": ({**meta, "names": ["rain", " "]}, rows[:2]),
        "control-in-a-name": ({**meta, "names": ["rain", "b\x1b[1m"]}, rows[:2]),
        "not-of-unit-norm": (meta, rows * np.float32(1.5)),
        "not-a-number": (meta, rows * np.float32(np.nan)),
        "of-float64": (meta, rows.astype(np.float64)),
        "of-three-axes": (meta, rows[None]),
        "unknown-key": ({**meta, "colour": "red"}, rows),
        "missing-key": (unnamed, rows),
        "other-format": ({**meta, "format": "labels"}, rows),
        "other-version": ({**meta, "format_version": 2}, rows),
    }
    for name, (said, given) in broken.items():
        asked(subject, f"refused/{name}", archive(said, embeddings=given))
    # Why such a file cannot be read, each library says in words of its own.
    for name, data in {"cut-off": whole[: len(whole) // 2], "text": b"no archive\n" * 9}.items():
        asked(subject, f"refused/{name}", data, optional=True)
    draft.ask("bank/refused/missing", subject.given(bank="banks/not-there.npz"))


def asked(subject: Subject, name: str, data: bytes, optional: bool = False) -> None:
    """A bank's file, read."""
    file = subject.draft.file(f"banks/{name.replace('/', '-')}.npz", data)
    subject.draft.ask(f"bank/{name}", subject.given(bank=file), optional=optional)


def _of(bank: LabelBank, names: tuple[str, ...], rows: np.ndarray) -> LabelBank:
    return LabelBank(names, bank.templates, np.array(rows), bank.space_id)


def _meta(bank: LabelBank) -> dict[str, Any]:
    return {
        "format": bank_file.FORMAT, "format_version": bank_file.FORMAT_VERSION,
        "space_id": bank.space_id, "names": list(bank.names), "templates": list(bank.templates),
    }  # fmt: skip


def _bytes(bank: LabelBank, compressed: bool = False) -> bytes:
    return archive(_meta(bank), compressed, embeddings=np.array(bank.embeddings))

"""A model of a tagger's and a text encoder's parts, and of what clips taught."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import torch
from tokenizers import Tokenizer
from torch import Tensor

from clap_export.model.bridge_config import BridgeConfig
from clap_export.model.clap import LOGIT_SCALE_MAX, ClapModel, normalise
from clap_export.model.config import ClapConfig, ProjectionConfig
from clap_export.model.projection import Projection
from runtime.errors import ClapError
from runtime.prompts import fill_all
from train.bridge.lesson import Lesson
from train.bridge.sentence import Sentence
from train.bridge.tagger import Tagger
from train.config.bridge import BridgeRecipe, LearnedConfig
from train.data.texts import encode

_LEARNED = 0.25  # of a text's length: the shorter, the less of it is padding
_CONSTANT = 8.0
_TEXTS = 128  # read at once


class Builder:
    """Makes bridges of two towers.

    Attributes:
        bare: the bridge of tags alone, in evaluation mode, which hears and reads for the others.
        names: ``[tags, text_dim]`` unit vectors of the tags' names.
        tokenizer: of the texts, a ``tokenizers`` JSON.
        usual: ``[tags]``, what is usual to the tagger, of a bridge; None of others.

    Args:
        recipe: how.
        tagger, sentence: the towers.
    """

    def __init__(self, recipe: BridgeRecipe, tagger: Tagger, sentence: Sentence) -> None:
        self._recipe, self._tagger, self._sentence = recipe, tagger, sentence
        self.tokenizer, self.usual = sentence.tokenizer, tagger.usual
        self._tokenizer = Tokenizer.from_str(sentence.tokenizer)
        bridge = BridgeConfig(
            tagger.tags, sentence.dim, temperature=recipe.attention.temperature,
            floor=recipe.attention.floor,
            # These two end in a ReLU.
            root=tagger.encoder.yamnet is not None or tagger.encoder.cnn14 is not None,
        )  # fmt: skip
        licences = dict.fromkeys((recipe.tagger.licence, recipe.text.licence))
        self._config = ClapConfig(
            name=recipe.name,
            licence=recipe.licence or ", ".join(licences),
            embedding_dim=bridge.dim,
            audio=tagger.audio,
            audio_encoder=tagger.encoder,
            audio_projection=ProjectionConfig("linear"),
            text_encoder=sentence.encoder,
            text_projection=sentence.projection,
            default_template=recipe.default_template,
            bridge=bridge,
        )
        self.bare = self._model(bridge)
        self.names = self.read(tagger.tags)

    def fingerprint(self) -> str:
        """Of the tagger: its tensors' hash."""
        digest = hashlib.sha256()
        for name, value in sorted(self._tagger.tensors.items()):
            digest.update(name.encode() + value.detach().contiguous().numpy().tobytes())
        return digest.hexdigest()[:32]

    @torch.no_grad()
    def read(self, names: Sequence[str]) -> Tensor:
        """``[names, text_dim]``: the mean of the text encoder's unit vectors over the prompts."""
        model, templates = self.bare, self._recipe.templates
        texts = [text for name in names for text in fill_all(templates, name.replace("_", " "))]
        rows: list[Tensor] = []
        for start in range(0, len(texts), _TEXTS):
            tokens = encode(
                self._tokenizer, texts[start : start + _TEXTS], self._config.text_encoder
            )
            rows.append(normalise(model.text_projection(model.text_encoder(**tokens))))
        return normalise(torch.cat(rows).reshape(len(names), len(templates), -1).mean(dim=1))

    def model(self, lesson: Lesson, learned: LearnedConfig | None) -> ClapModel:
        """The bridge.

        Args:
            lesson: what clips taught.
            learned: how the learned part counts; None for a bridge of tags alone.

        Raises:
            ClapError: the lesson is of another tagger.
        """
        tagger = self._tagger
        if lesson.tagger != self.fingerprint() or len(lesson.usual) != len(tagger.tags):
            raise ClapError(
                f"the lesson is of the tagger {lesson.tagger}, this one is {self.fingerprint()}: "
                "give 'listings' in its place, or the tagger that it was learned with."
            )
        bridge = self._config.bridge
        assert bridge is not None  # it was made with one
        if learned is not None and lesson.labels:
            bridge = replace(
                bridge, labels=len(lesson.labels), gate_centre=learned.gate_centre,
                gate_width=learned.gate_width, learned=_LEARNED, constant=_CONSTANT,
                against=learned.handicap / _CONSTANT,
            )  # fmt: skip
        model = self._model(bridge)
        found = model.bridge
        assert found is not None
        centre = self.names.mean(dim=0)
        with torch.no_grad():
            found.usual.copy_(lesson.usual)
            found.centre.copy_(centre)
            found.tags.copy_(normalise(self.names - centre))
            if bridge.labels and learned is not None:
                assert isinstance(model.audio_projection, Projection)
                labels = self.read(lesson.labels)
                found.labels.copy_(labels)
                apart = normalise(labels - centre)
                matrix = spread(apart, learned.text_ridge) * (learned.weight / _LEARNED)
                model.audio_projection.linear1.weight.copy_(matrix.T @ lesson.answers)
                model.audio_projection.linear1.bias.copy_(matrix.T @ lesson.offset)
        return model

    def _model(self, bridge: BridgeConfig) -> ClapModel:
        config = replace(self._config, bridge=bridge, embedding_dim=bridge.dim)
        model = ClapModel(config).eval().requires_grad_(False)
        tensors = {**self._tagger.tensors, **self._sentence.tensors}
        own = model.state_dict()
        strange = sorted(tensors.keys() - own.keys())
        misfits = [n for n in tensors.keys() & own.keys() if own[n].shape != tensors[n].shape]
        given = ("audio_encoder.", "mel.", "text_encoder.", "text_projection.", "bridge.head.")
        missing = [n for n in own if n.startswith(given) and n not in tensors]
        if strange or misfits or missing:
            raise ClapError(
                f"the towers do not fit their configs: missing {missing}, unexpected {strange}, "
                f"of other shapes {sorted(misfits)}."
            )
        model.load_state_dict({**own, **tensors})
        with torch.no_grad():
            model.logit_scale.fill_(LOGIT_SCALE_MAX)  # scores are sums over few tags of many
        return model


def spread(labels: Tensor, ridge: float) -> Tensor:
    """From answers for labels to a vector that any text is compared with: ``[labels, text_dim]``.

    The answer for one of the labels is nearly kept, the answer for another text is mixed from
    those of labels that it is near to.

    Args:
        labels: ``[labels, text_dim]`` unit vectors.
        ridge: added to their products with themselves, which are 1.
    """
    x = labels.double()
    square = x @ x.T + ridge * torch.eye(len(x), dtype=torch.float64)
    return torch.linalg.solve(square, x).float()

"""A WordPiece vocabulary learned from captions, as a self-contained tokenizer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece
from tokenizers.trainers import WordPieceTrainer

from clap_export.model.config import ClapConfig

PAD, UNKNOWN, CLS, SEP = SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def learn_wordpiece(texts: Iterable[str], size: int) -> Tokenizer:
    """An uncased WordPiece tokenizer (BERT's scheme); ids 0 to 3 are the special tokens.

    Underscores become spaces, so that ``dog_bark`` is read as the words it means. The same texts
    give the same tokenizer.
    """
    texts = list(texts)
    learner = _tokenizer(WordPiece(unk_token=UNKNOWN))
    # Left alone, the trainer numbers the letters inside words ("##a") in the order of a hash table,
    # another one in each run, and decides ties by these numbers. Listed as special they have fixed
    # ones; they are special to this learner only.
    letters = {
        f"##{letter}" for text in texts for word in _words(learner, text) for letter in word[1:]
    }
    trainer = WordPieceTrainer(
        vocab_size=size, special_tokens=[*SPECIAL, *sorted(letters)], show_progress=False
    )
    learner.train_from_iterator(texts, trainer)
    tokenizer = _tokenizer(WordPiece(learner.get_vocab(), unk_token=UNKNOWN))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (CLS, SEP)],
    )
    return tokenizer


def with_vocabulary(model: ClapConfig, size: int) -> ClapConfig:
    """The same model with the text tower's vocabulary size filled in."""
    text = model.text_encoder
    return replace(model, text_encoder=replace(text, options={**text.options, "vocab_size": size}))


def _tokenizer(model: WordPiece) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace("_", " "), normalizers.BertNormalizer(lowercase=True)]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _words(tokenizer: Tokenizer, text: str) -> list[str]:
    normalised = tokenizer.normalizer.normalize_str(text)
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalised)]

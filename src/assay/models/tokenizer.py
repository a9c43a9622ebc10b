"""A byte-level BPE tokenizer: trained by `tokenizers`, applied by our kernel with the same ids.

It stands in the comparison as one ruler for all arms, so it is trained on a neutral sample of the pool and never on an
arm. Any text can be encoded and no byte is lost, so losses can be given per byte.
"""

import json
from collections.abc import Iterable
from functools import cached_property

import numpy as np
import pyarrow as pa
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from assay.artifacts.storage import Location, atomic_path
from assay.errors import ArtifactError, check_integer
from assay.kernels.arrow import utf8
from assay.kernels.bpe import PATTERN, build_merges, byte_classes, encode

MAX_VOCAB = 65_534


class BPE:
    """A trained byte-level BPE; `vocab_size` ids from 0.

    `to_json` is in the format of `tokenizers`, so other tools can read it (`Tokenizer.from_str`).
    """

    def __init__(self, definition: str):
        self._definition = definition

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "BPE":
        """Learns merges from `texts`; the same texts in the same order give the same tokenizer.

        Args:
            vocab_size: ids in all, of which 256 are single bytes; fewer when the texts are too small for more.

        Raises:
            InvalidParameterError: vocab_size outside 257 to 65,534.
        """
        check_integer("vocab_size", vocab_size, 257, MAX_VOCAB)
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(PATTERN), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer.to_str())

    @classmethod
    def load(cls, path: Location) -> "BPE":
        """Reads what `save` wrote.

        Raises:
            ArtifactError: the file is not a tokenizer that the kernel can apply.
        """
        bpe = cls(path.read_text(encoding="utf-8"))
        try:
            split = json.loads(bpe._definition)["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
        except (ValueError, KeyError, TypeError, IndexError):
            split = None
        if split != PATTERN:
            raise ArtifactError(f"{path} is not a tokenizer made by this version of Assay.")
        return bpe

    def save(self, path: Location) -> None:
        """Writes the tokenizer as JSON, whole or not at all."""
        with atomic_path(path) as temporary:
            temporary.write_text(self._definition, encoding="utf-8")

    def to_json(self) -> str:
        """The definition in the format of `tokenizers`."""
        return self._definition

    def __getstate__(self) -> str:
        return self._definition

    def __setstate__(self, definition: str) -> None:
        self._definition = definition

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return len(json.loads(self._definition)["model"]["vocab"])

    def encode(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts [tokens] uint16 and where each text's start [texts + 1] int64; null gives none."""
        data = utf8(texts)
        return encode(data.data, data.offsets, *self._tables)

    @cached_property
    def _tables(self) -> tuple[np.ndarray, ...]:
        model = json.loads(self._definition)["model"]
        vocab: dict[str, int] = model["vocab"]
        byte_ids = np.array([vocab[character] for character in _byte_characters()], np.int32)
        pairs = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
        left, right, merged = (
            np.array([vocab[token] for token in side], np.int32)
            for side in (
                [a for a, _ in pairs],
                [b for _, b in pairs],
                [a + b for a, b in pairs],
            )
        )
        size = 1 << max(4, (2 * len(pairs)).bit_length())
        return byte_classes(), byte_ids, *build_merges(left, right, merged, size)


def _byte_characters() -> list[str]:
    """The printable character that stands for each byte in a byte-level vocabulary (GPT-2's table)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {byte: chr(byte) for byte in printable}
    characters |= {byte: chr(256 + k) for k, byte in enumerate(others)}
    return [characters[byte] for byte in range(256)]

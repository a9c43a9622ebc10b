"""Neural language models from a folder: our checkpoints, and any causal model of transformers. Nothing is downloaded.

Throughput: documents are sorted by length and judged in batches of about equally many tokens, whose rows differ little
in length, so that next to nothing is padding. Only hidden states of tokens that are asked for meet the matrix of the
vocabulary, a block at a time, so that the logits of a batch are never in memory together.

Long documents are read in overlapping windows of the model's context, but 4,096 tokens at most (`models.lm.windows`).

Numbers: bfloat16 on a GPU, float32 elsewhere, unless told otherwise. What else is in the batch changes a token's log
probability in float32 by about 1e-6, in bfloat16 by about 1e-2; see docs/language-models.md for what is done about it.

Where it runs: ASSAY_DEVICE is auto (default: a GPU if there is one), cpu, cuda, cuda:1 or mps.
"""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch.nn.functional import cross_entropy

from assay.errors import AssayError, InvalidParameterError, MissingExtraError, check
from assay.models import gpt, torch_extra
from assay.models.lm import Windows, check_ids, windows
from assay.models.tokenizer import BPE

MAX_CONTEXT = 4096  # of models that could read more: attention over more costs more than it tells
_BATCH_TOKENS = {"cpu": 1 << 11, "cuda": 1 << 15}
_LOGITS = {"cpu": 1 << 21, "cuda": 1 << 28}  # numbers in the logits of a block
_LEAST_TOKENS = 32  # with fewer rows a product of matrices may be computed in another order
_MIN_KEPT, _KEPT_BYTES = 2, 2 << 30  # models kept in memory: so many in any case, more while all are this small
_TOKENIZERS = {"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tokenizer_config.json"}
_loading = threading.Lock()  # parts are scored side by side: only the first may load
_kept: dict[tuple[Any, ...], "NeuralLM"] = {}  # the latest used last
_busy = threading.Lock()  # torch has threads of its own, and a second batch would only take memory


class Network(NamedTuple):
    """A model in two halves: `body` gives states [rows, length, width] of ids [rows, length], `head` logits of states.

    The head is applied to states in any number and order.
    """

    body: Callable[[torch.Tensor], torch.Tensor]
    head: Callable[[torch.Tensor], torch.Tensor]


# From states [tokens, width], logits of the next token [tokens, vocabulary] float32 and which it is [tokens] int64 to
# figures of each token [tokens, figures] float32.
Work = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class NeuralLM:
    """A model ready to work; see `assay.models.lm.LM`.

    name: what errors call it. tokenize: as `LM.encode`. module: has the weights that `network` uses.
    """

    def __init__(
        self,
        name: str,
        network: Network,
        tokenize: Callable[[pa.Array], tuple[np.ndarray, np.ndarray]],
        *,
        vocab_size: int,
        context: int,
        end_id: int,
        device: torch.device,
        module: torch.nn.Module,
    ):
        self.name, self.network, self.encode, self.module = name, network, tokenize, module
        self.vocab_size, self.context, self.end_id, self.device = vocab_size, context, end_id, device

    def log_probabilities(self, ids: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Natural logarithm of each token's probability given those before it in its document [tokens] float32.

        Raises:
            InvalidParameterError: an id that the model does not have, or a probability that is no number.
        """
        return self._finite(self.figures(ids, starts, _log_probability)[:, 0])

    def judge(self, ids: np.ndarray, starts: np.ndarray, is_asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log probabilities of some tokens, and whether they are the likeliest; see `assay.models.lm.GreedyLM`."""
        found = self.figures(ids, starts, _log_probability_and_best, is_asked)
        return self._finite(found[:, 0]), found[:, -1] > 0

    def _finite(self, result: np.ndarray) -> np.ndarray:
        if not np.isfinite(result).all():
            raise InvalidParameterError(
                f"The language model in {self.name} gives log probabilities that are NaN or infinite. Its files are "
                f"damaged, or it does not work on this device: take another copy, or {torch_extra.DEVICE}=cpu."
            )
        return result

    def figures(
        self, ids: np.ndarray, starts: np.ndarray, work: Work, is_asked: np.ndarray | None = None
    ) -> np.ndarray:
        """What `work` makes of each token [tokens, figures] float32; it is called once for each block of tokens.

        Args:
            is_asked: the tokens that are asked for; those of others are 0 [tokens]; default all.

        Raises:
            InvalidParameterError: an id that the model does not have.
        """
        check_ids(ids, self.vocab_size)
        cut = windows(starts, self.context)
        is_asked = np.ones(len(ids), np.bool_) if is_asked is None else is_asked
        result = np.zeros((len(ids), 1), np.float32)
        with _busy, torch.inference_mode():
            for batch in batches(cut.length, _BATCH_TOKENS.get(self.device.type, _BATCH_TOKENS["cpu"]), self.context):
                places, found = self._figures(ids, cut, batch, work, is_asked)
                if not len(places):
                    continue
                if result.shape[1] != found.shape[1]:
                    result = np.zeros((len(ids), found.shape[1]), np.float32)
                result[places] = found
        return result

    def _figures(
        self, ids: np.ndarray, cut: Windows, batch: "Batch", work: Work, is_asked: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which tokens asked for the windows predict [tokens], and the figures of these [tokens, figures] float32."""
        rows, place = batch.rows, np.arange(batch.length)[None, :]
        length, first = cut.length[rows, None], cut.first[rows, None]
        targets = first + place
        asked = (place >= cut.skipped[rows, None]) & (place < length)
        asked &= is_asked[np.minimum(targets, len(ids) - 1)]
        wanted, places = np.flatnonzero(asked), targets[asked]
        if not len(places):
            return places, np.empty((0, 1), np.float32)
        read = np.clip(targets - 1, 0, len(ids) - 1)  # behind a row's end stands anything: nothing before it looks
        inputs = np.full((batch.num_rows, batch.length), self.end_id)
        inputs[: len(rows)] = ids[read]
        inputs[: len(rows)][cut.starts_document[rows], 0] = self.end_id
        states = self.network.body(torch.from_numpy(inputs).to(self.device)).flatten(0, 1)
        wanted, places = np.flatnonzero(asked), targets[asked]
        block = _LEAST_TOKENS * max(
            1, _LOGITS.get(self.device.type, _LOGITS["cpu"]) // self.vocab_size // _LEAST_TOKENS
        )
        filling = (0, -len(wanted) % _LEAST_TOKENS)  # products with the head, too, are of no fewer
        chosen, answers = (
            torch.from_numpy(np.pad(some.astype(np.int64), filling)).to(self.device).split(block)
            for some in (wanted, ids[places])
        )
        found = [
            work(states[some], self.network.head(states[some]).float(), answer)
            for some, answer in zip(chosen, answers, strict=True)
        ]
        return places, torch.cat(found)[: len(wanted)].cpu().numpy()


def _log_probability(states: torch.Tensor, logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    return -cross_entropy(logits, answers, reduction="none")[:, None]


def _log_probability_and_best(states: torch.Tensor, logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    is_best = logits.gather(1, answers[:, None]) == logits.amax(1, keepdim=True)
    return torch.cat((_log_probability(states, logits, answers), is_best.float()), 1)


class Batch(NamedTuple):
    """Rows that are judged together, and the shape that they are brought to; there may be more rows, of END alone."""

    rows: np.ndarray
    num_rows: int
    length: int


def batches(lengths: np.ndarray, num_tokens: int, context: int) -> Iterator[Batch]:
    """Rows in batches of about `num_tokens` tokens, of nearly equal lengths, brought to one of a few lengths.

    A row's own length says which one, and no batch is so small that products of matrices go another way: so on a CPU,
    as far as was tried, a row has the same digits whatever stands beside it. Costs 3 % in padding.

    Args:
        lengths: of the rows [rows], at most `context`.
    """
    shapes = np.minimum(padded(lengths), context)
    for length in np.unique(shapes)[::-1].tolist():
        rows, most = np.flatnonzero(shapes == length), max(1, num_tokens // length)
        for first in range(0, len(rows), most):
            some = rows[first : first + most]
            yield Batch(some, max(len(some), -(-_LEAST_TOKENS // length)), length)


def padded(lengths: np.ndarray) -> np.ndarray:
    """Lengths rounded up so that there are sixteen to an octave: by 6 % at most above 64, to a multiple of 4 below.

    >>> padded(np.array([1, 64, 65, 1000])).tolist()
    [4, 64, 68, 1024]
    """
    step = np.maximum(4, 2 ** np.ceil(np.log2(np.maximum(32, lengths) / 32)).astype(np.int64))
    return -(-lengths // step) * step


def load_lm(path: str | Path, *, device: torch.device | None = None, dtype: torch.dtype | None = None) -> NeuralLM:
    """The model in a folder, kept in memory for the next time while its files stay as they are.

    Args:
        path: a folder with a checkpoint of ours, or of a causal language model of transformers and its tokenizer.
        device: where it runs; None = as ASSAY_DEVICE says. dtype: of weights and products; None = bfloat16 on a GPU,
            else float32.

    Raises:
        InvalidParameterError: no such folder, no model or tokenizer in it, one that cannot be loaded or that reads what
            comes after a token, or a tokenizer with more ids than the model has.
        MissingExtraError: transformers is not installed.
    """
    place = torch_extra.device() if device is None else device
    numbers = dtype or (torch.bfloat16 if place.type == "cuda" else torch.float32)
    with _loading:
        question = (*_found(path), place, numbers)
        found = _kept.pop(question, None)
        if found is None:
            found = _loaded(*question)
        _kept[question] = found
        while len(_kept) > _MIN_KEPT and sum(map(_num_bytes, _kept.values())) > _KEPT_BYTES:
            del _kept[next(iter(_kept))]
        return found


def _num_bytes(lm: NeuralLM) -> int:
    return sum(weights.numel() * weights.element_size() for weights in lm.module.parameters())


def load_own(path: str | Path) -> NeuralLM:
    """As `load_lm`, in float32 and nobody else's, so that its weights may be changed.

    Raises:
        InvalidParameterError, MissingExtraError: as `load_lm`.
    """
    return _loaded(*_found(path), torch_extra.device(), torch.float32)


def _found(path: str | Path) -> tuple[Path, tuple[Any, ...]]:
    """The folder, and what tells whether its files have changed."""
    folder = Path(path).expanduser()
    way_out = "Models are not downloaded: put the model's files into a folder and give its path."
    check(folder.is_dir(), "model", str(path), "a folder that is there", way_out)
    files = [file for file in sorted(folder.iterdir()) if file.exists()]  # a link may lead nowhere
    return folder, tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)


def _loaded(folder: Path, files: tuple[Any, ...], device: torch.device, dtype: torch.dtype) -> NeuralLM:
    names = {name for name, *_ in files}
    if "config.json" not in names:
        raise InvalidParameterError(
            f"`model` (={folder}) must be a folder with a language model: config.json, weights and a tokenizer. It has "
            f"no config.json, but {', '.join(sorted(names)[:8]) or 'no files'}."
        )
    if not names & _TOKENIZERS:
        raise InvalidParameterError(
            f"`model` (={folder}) must hold the model's tokenizer, as tokenizer.json; it has "
            f"{', '.join(sorted(names)[:8])}. Put it there, from where the model comes from."
        )
    load = _ours if gpt.is_ours(folder) else _of_transformers
    return load(folder, device, dtype)


def _ours(folder: Path, device: torch.device, dtype: torch.dtype) -> NeuralLM:
    model = gpt.load(folder, device, dtype)
    model.precision = dtype
    bpe = BPE.load(folder / "tokenizer.json")
    _check_vocabulary(folder, bpe.vocab_size + 1, model.config.vocab_size)
    return of_network(model, bpe, str(folder))


def of_network(model: gpt.GPT, bpe: BPE, name: str = "memory") -> NeuralLM:
    """A network of ours that is in memory, where it is."""
    return NeuralLM(
        name,
        Network(model.eval().hidden, model.logits),
        bpe.encode,
        vocab_size=model.config.vocab_size,
        context=model.config.context,
        end_id=model.config.end_id,
        device=model.embedding.weight.device,
        module=model,
    )


def _of_transformers(folder: Path, device: torch.device, dtype: torch.dtype) -> NeuralLM:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise MissingExtraError(
            f"The language model in {folder} needs {error.name}, which is not installed. Run: "
            "pip install 'assay[neural]'"
        ) from error
    disable_progress_bar()  # Assay shows its own
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers have errors of their own, which share no other class
        raise InvalidParameterError(f"The tokenizer in {folder} cannot be loaded: {error}") from error
    try:
        model, report = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        model = model.to(device=device, dtype=dtype).eval()
    except (AssayError, MemoryError):
        raise
    except Exception as error:  # as above
        raise InvalidParameterError(f"The language model in {folder} cannot be loaded: {error}") from error
    if report["missing_keys"] or report["mismatched_keys"]:  # which transformers would fill with random numbers
        missing = ", ".join(map(str, [*report["missing_keys"], *report["mismatched_keys"]][:3]))
        raise InvalidParameterError(f"The language model in {folder} lacks weights: {missing}. Take another copy.")
    vocab_size = model.get_output_embeddings().weight.shape[0]
    _check_vocabulary(folder, len(tokenizer), vocab_size)
    _check_causal(folder, model, vocab_size)
    end_id = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    if end_id is None:
        raise InvalidParameterError(
            f"The tokenizer in {folder} has neither bos_token nor eos_token; the first token of a document is "
            "predicted from one of these. Name one in its tokenizer_config.json."
        )
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None) or MAX_CONTEXT
    return NeuralLM(
        str(folder),
        _network(model, vocab_size),
        _Tokenize(tokenizer),
        vocab_size=vocab_size,
        context=min(context, MAX_CONTEXT),
        end_id=end_id,
        device=device,
        module=model,
    )


def _check_vocabulary(folder: Path, num_ids: int, vocab_size: int) -> None:
    if num_ids > vocab_size:
        raise InvalidParameterError(
            f"The tokenizer in {folder} has {num_ids} ids, its model {vocab_size}: they do not belong together. Take "
            "the tokenizer that the model was trained with."
        )


def _check_causal(folder: Path, model: Any, vocab_size: int) -> None:
    """Raises InvalidParameterError if a token changes what is said before it: of encoders, which transformers loads."""
    probe = torch.zeros((2, 4), dtype=torch.int64, device=model.device)
    probe[1, -1] = vocab_size - 1
    with torch.inference_mode():
        one, other = model(input_ids=probe, use_cache=False).logits[:, :-1].float()
    noise = 1e-4 if model.dtype == torch.float32 else 5e-2
    if (one - other).abs().max() > noise * one.std():  # not where they are NaN: that is told when texts are judged
        raise InvalidParameterError(
            f"`model` (={folder}) must be a causal language model; this one ({type(model).__name__}) reads what comes "
            "after a token to predict it. Take a model that was trained to predict the next token."
        )


def _network(model: Any, vocab_size: int) -> Network:
    """The halves of a model where its logits are the output matrix times the last states; else all in the body.

    Some models scale or clip their logits, which shows on a few tokens.
    """

    def whole(inputs: torch.Tensor) -> torch.Tensor:
        return model(input_ids=inputs, use_cache=False).logits

    def body(inputs: torch.Tensor) -> torch.Tensor:
        return model.base_model(input_ids=inputs, use_cache=False).last_hidden_state

    head = model.get_output_embeddings()
    probe = torch.arange(min(8, vocab_size), device=model.device)[None]
    with torch.inference_mode():
        expected = whole(probe)
        try:
            is_product = torch.equal(head(body(probe)), expected)
        except (AttributeError, TypeError, RuntimeError):
            is_product = False
    return Network(body, head) if is_product else Network(whole, torch.nn.Identity())


class _Tokenize:
    """A tokenizer of transformers as `LM.encode`; what looks like a special token in a text is taken as text."""

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer

    def __call__(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        given = [text or "" for text in texts.to_pylist()]
        options = {"add_special_tokens": False, "return_attention_mask": False, "split_special_tokens": True}
        found = self._tokenizer(given, **options, verbose=False)["input_ids"] if given else []
        starts = np.cumsum([0, *map(len, found)])
        return np.concatenate([np.array(some, np.int32) for some in found] or [np.empty(0, np.int32)]), starts

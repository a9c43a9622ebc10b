"""The neural proxy: a small decoder of the kind that large models are.

Pre-norm blocks with RMSNorm, rotary positions, normalised queries and keys, SwiGLU, and an embedding that is also the
head: Qwen3's architecture (Yang et al. 2025, arXiv:2505.09388) with as many key heads as query heads, so a checkpoint
loads in whatever loads Qwen3. The output layers of both branches start smaller by the square root of their number
(Radford et al. 2019, GPT-2, section 2.3).

A sequence may hold several documents (`pieces`): attention stays within each. Rotary positions only act by their
differences, so that they go on counting in the next piece changes nothing but rounding.

Token ids: those of the tokenizer, and one more, END, at the start and end of a document. The embedding has rows up to
a multiple of 64; what no id stands for is part of the softmax, as other software has it too, and training makes it
vanish.

Checkpoints are folders in the layout of Hugging Face: `model.safetensors` (float32), `tokenizer.json` (the tokenizer,
and END as a special token that stands before every text), `tokenizer_config.json`, and `config.json`, which is written
last: it proves the rest.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn
from torch.nn import functional

from assay.artifacts.storage import atomic_path
from assay.errors import AssayError, InputError, check, check_choice, check_integer, check_number
from assay.models import torch_extra
from assay.models.attention import attend, spans
from assay.models.cross_entropy import token_losses
from assay.models.fused import EPSILON, attended, gated, normalised
from assay.models.sizes import SIZES

NONE = 65535  # the target of a position that has no loss
END = "<|endoftext|>"
_START = 0.02  # standard deviation of weights at the start


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """What a model is built from.

    vocab_size: ids, END included: it is the last.
    context: positions in a sequence, at most.
    theta: base of the rotary frequencies.
    """

    vocab_size: int
    width: int
    depth: int
    heads: int
    hidden: int
    context: int = 1024
    theta: float = 10_000.0

    def __post_init__(self) -> None:
        check_integer("vocab_size", self.vocab_size, 2, NONE)
        for name in ("width", "depth", "heads", "hidden", "context"):
            check_integer(name, getattr(self, name), 1)
        rule = f"a multiple of 2 × heads (={self.heads}), so that heads are of equal, even width"
        check(self.width % (2 * self.heads) == 0, "width", self.width, rule)
        check_number("theta", self.theta, "a number above 1", lambda x: x > 1)

    @classmethod
    def of(cls, size: str, vocab_size: int, context: int = 1024) -> "GPTConfig":
        """That of a size by name, as "1M".

        Raises:
            InvalidParameterError: an unknown size.
        """
        check_choice("size", size, SIZES)
        shape = SIZES[size]
        return cls(vocab_size=vocab_size, context=context, **shape._asdict())

    @property
    def rows(self) -> int:
        """Rows of the embedding: `vocab_size` up to a multiple of 64."""
        return -(-self.vocab_size // 64) * 64

    @property
    def end_id(self) -> int:
        """The id that stands at the start and end of a document."""
        return self.vocab_size - 1


class GPT(nn.Module):
    """A decoder with weights in float32, drawn from `seed`; the same seed gives the same weights on every device.

    precision: what matrix products are computed in: bfloat16 on a GPU, float32 on a CPU, unless it is set.
    """

    def __init__(self, config: GPTConfig, seed: int = 0):
        super().__init__()
        check_integer("seed", seed, 0)
        self.config = config
        self.precision: torch.dtype | None = None
        self.embedding = nn.Embedding(config.rows, config.width)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.depth))
        self.norm = nn.RMSNorm(config.width, eps=EPSILON)
        self._draw(seed)
        cosines, sines = _rotations(config)
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)

    def _draw(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for name, weights in self.named_parameters():
            if weights.ndim == 2:
                is_output = name.endswith(("output.weight", "down.weight"))
                scale = _START / (2 * self.config.depth) ** 0.5 if is_output else _START
                nn.init.normal_(weights, std=scale, generator=generator)

    def hidden(self, inputs: Tensor, pieces: Tensor | None = None) -> Tensor:
        """What the head reads, normalised.

        Args:
            inputs: ids [sequences, positions] int64.
            pieces: which piece of a document each position is of [sequences, positions]; attention stays within one.
                The positions of a piece are together. None: a sequence is one piece.

        Returns:
            [sequences, positions, width].

        Raises:
            InvalidParameterError: more positions than `config.context`.
        """
        num_positions = inputs.shape[1]
        rule = f"at most the model's context (={self.config.context})"
        check(num_positions <= self.config.context, "inputs.shape[1]", num_positions, rule)
        rotation = self.cosines[:num_positions], self.sines[:num_positions]
        if self._is_fused():
            state, starts = self.embedding(inputs.flatten()), _starts(inputs.shape, pieces)
            with self._casting():
                for block in self.blocks:
                    state = block.fused(state, rotation, starts)
            return normalised(state, self.norm.weight).view(*inputs.shape, -1)
        told = spans(pieces, self._precision())
        run = _compiled() if self.training and inputs.device.type == "cuda" and _can_compile() else _run
        with self._casting():
            state = self.embedding(inputs)
            for block in self.blocks:
                state = run(block, state, rotation, told)
            return _normed(state, self.norm)

    def losses(self, inputs: Tensor, targets: Tensor, pieces: Tensor | None = None) -> Tensor:
        """-ln p(target) at each position [sequences, positions] float32; 0 where the target is NONE (65535).

        Memory: the activations, and 8 MB of logits on a CPU, 256 MB on a GPU.
        """
        states = self.hidden(inputs, pieces).flatten(0, 1)
        head = self.embedding.weight
        precision = self._precision()
        losses = token_losses(states.to(precision), head.to(precision), targets.flatten(), NONE)
        return losses.view(targets.shape)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of all rows of the embedding [..., rows] float32; softmax makes them probabilities of the next id."""
        with self._casting():
            return functional.linear(hidden, self.embedding.weight).float()

    def _precision(self) -> torch.dtype:
        weights = self.embedding.weight
        if self.precision is not None or weights.dtype != torch.float32:
            return self.precision or weights.dtype
        return torch.bfloat16 if weights.device.type == "cuda" else torch.float32

    def _is_fused(self) -> bool:
        weights = self.embedding.weight
        return weights.device.type == "cpu" and weights.dtype == torch.float32

    def _casting(self) -> torch.autocast:
        weights, precision = self.embedding.weight, self._precision()
        return torch.autocast(weights.device.type, precision, enabled=precision != weights.dtype)


class _Block(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        width, self.heads = config.width, config.heads
        self.attention_norm = nn.RMSNorm(width, eps=EPSILON)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.query_norm = nn.RMSNorm(width // config.heads, eps=EPSILON)
        self.key_norm = nn.RMSNorm(width // config.heads, eps=EPSILON)
        self.output = nn.Linear(width, width, bias=False)
        self.hidden_norm = nn.RMSNorm(width, eps=EPSILON)
        self.gate_up = nn.Linear(width, 2 * config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, width, bias=False)

    def forward(self, state: Tensor, rotation: tuple[Tensor, Tensor], told: Tensor | None) -> Tensor:
        """The next state [sequences, positions, width], by torch's own layers: any device, any precision."""
        state = state + self._attend(_normed(state, self.attention_norm), rotation, told)
        gate, up = self.gate_up(_normed(state, self.hidden_norm)).chunk(2, dim=-1)
        return state + self.down(functional.silu(gate) * up)

    def _attend(self, state: Tensor, rotation: tuple[Tensor, Tensor], told: Tensor | None) -> Tensor:
        queries, keys, values = self.qkv(state).unflatten(-1, (3, self.heads, -1)).unbind(2)
        queries = _rotate(_normed(queries, self.query_norm), rotation).to(values.dtype)
        keys = _rotate(_normed(keys, self.key_norm), rotation).to(values.dtype)
        return self.output(attend(queries, keys, values, told).flatten(2))

    def fused(self, state: Tensor, rotation: tuple[Tensor, Tensor], starts: np.ndarray) -> Tensor:
        """The next state [positions, width] float32, by kernels for a CPU; `starts` as in `fused.attended`.

        Only products of matrices are in another precision, where one is asked for.
        """
        qkv = self.qkv(normalised(state, self.attention_norm.weight)).float().view(len(state), 3, self.heads, -1)
        gains = torch.stack((self.query_norm.weight * qkv.shape[-1] ** -0.5, self.key_norm.weight))
        state = state + self.output(attended(qkv, gains, rotation, starts))
        gates_ups = self.gate_up(normalised(state, self.hidden_norm.weight)).float()
        return state + self.down(gated(gates_ups))


def _run(block: _Block, state: Tensor, rotation: tuple[Tensor, Tensor], told: Tensor | None) -> Tensor:
    result: Tensor = block(state, rotation, told)
    return result


@cache
def _compiled() -> Callable[..., Tensor]:
    """`_run` compiled: once for all blocks of a shape."""
    return torch.compile(_run)


def _rotations(config: GPTConfig) -> tuple[Tensor, Tensor]:
    """Cosines and sines of each position's angles [context, head width / 2]; Su et al. 2021 (arXiv:2104.09864)."""
    size = config.width // config.heads
    frequencies = config.theta ** -(torch.arange(0, size, 2, dtype=torch.float32) / size)
    angles = torch.arange(config.context, dtype=torch.float32)[:, None] * frequencies
    return angles.cos(), angles.sin()


def _rotate(vectors: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Vectors [sequences, positions, heads, size] turned by their position's angles: halves are the two coordinates."""
    cosines, sines = (table[:, None] for table in rotation)
    first, second = vectors.chunk(2, dim=-1)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)


def _normed(state: Tensor, norm: nn.RMSNorm) -> Tensor:
    """At least in float32: the mean of squares is a sum, and the gain's gradient one over all positions."""
    wide = torch.promote_types(state.dtype, torch.float32)
    return functional.rms_norm(state.to(wide), norm.normalized_shape, norm.weight.to(wide), norm.eps).to(
        norm.weight.dtype
    )


@cache
def _can_compile() -> bool:
    """Whether torch.compile has what it makes a GPU's code with: Triton, and a C compiler for what calls it."""
    from torch.utils._triton import has_triton

    return bool(has_triton()) and any(shutil.which(os.environ.get("CC", name)) for name in ("cc", "gcc", "clang"))


def _starts(shape: torch.Size, pieces: Tensor | None) -> np.ndarray:
    """Where each position's piece starts, counted through all sequences [sequences * positions] int64."""
    begins = np.zeros(shape, bool)
    begins[:, 0] = True
    if pieces is not None:
        numbers = pieces.numpy()
        begins[:, 1:] = numbers[:, 1:] != numbers[:, :-1]
    return np.maximum.accumulate(np.where(begins.ravel(), np.arange(begins.size), 0))


def save(model: GPT, folder: Path, tokenizer_json: str) -> None:
    """Writes a model and its tokenizer; each file whole or not at all.

    Args:
        tokenizer_json: in the format of `tokenizers`, as `BPE.to_json` gives it; END is added.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: weights.detach().float().cpu().contiguous() for name, weights in _exported(model).items()}
    with atomic_path(folder / "model.safetensors") as temporary:
        temporary.write_bytes(to_bytes(tensors, metadata={"format": "pt"}))
    end_id = model.config.end_id
    texts = {
        "tokenizer.json": _with_end(tokenizer_json, end_id),
        "tokenizer_config.json": json.dumps(_tokenizer_config(model.config), indent=1),
        "config.json": json.dumps(_config(model.config), indent=1),
    }
    for name, text in texts.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def is_ours(folder: Path) -> bool:
    """Whether `save` wrote the folder."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("made_by") == "assay"


def load(folder: Path, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> GPT:
    """The model that `save` wrote.

    Args:
        device: None takes what ASSAY_DEVICE says.
        dtype: of the weights; None leaves float32.

    Raises:
        InputError: no such folder, none of ours, or a damaged one.
    """
    torch_extra.require()
    config, file = _read_config(folder), folder / "model.safetensors"
    model = GPT(config)
    try:
        tensors = load_file(file)
        model.load_state_dict(_imported(tensors, config))
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise InputError(f"{file} is missing or damaged: {error}. Take another copy.") from error
    if len(tensors) != len(_exported(model)):
        raise InputError(f"{file} has {len(tensors)} matrices, config.json speaks of {len(_exported(model))}: damaged.")
    target = torch_extra.device() if device is None else torch.device(device)
    return model.to(device=target, dtype=dtype)


def _read_config(folder: Path) -> GPTConfig:
    file = folder / "config.json"
    if not is_ours(folder):
        raise InputError(
            f"{folder} is not a checkpoint of Assay: it has no config.json that says made_by: assay. "
            "Other models of Hugging Face's layout are read by `load_lm`."
        )
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        return GPTConfig(
            vocab_size=raw["eos_token_id"] + 1,
            width=raw["hidden_size"],
            depth=raw["num_hidden_layers"],
            heads=raw["num_attention_heads"],
            hidden=raw["intermediate_size"],
            context=raw["max_position_embeddings"],
            theta=raw["rope_theta"],
        )
    except (KeyError, TypeError, AssayError) as error:
        raise InputError(f"{file} is damaged: {error}. Take another copy.") from error


def _config(config: GPTConfig) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "made_by": "assay",
        "vocab_size": config.rows,
        "hidden_size": config.width,
        "intermediate_size": config.hidden,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.heads,
        "head_dim": config.width // config.heads,
        "hidden_act": "silu",
        "rms_norm_eps": EPSILON,
        "rope_theta": config.theta,
        "max_position_embeddings": config.context,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "tie_word_embeddings": True,
        "bos_token_id": config.end_id,
        "eos_token_id": config.end_id,
        "torch_dtype": "float32",
    }


def _tokenizer_config(config: GPTConfig) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END,
        "eos_token": END,
        "model_max_length": config.context,
        "clean_up_tokenization_spaces": False,
    }


def _with_end(tokenizer_json: str, end_id: int) -> str:
    definition = json.loads(tokenizer_json)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    definition["added_tokens"] = [{"id": end_id, "content": END, **flags}]
    # Other software puts END before a text, as training does; our own tokenizer does not read this.
    start, text = {"SpecialToken": {"id": END, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    definition["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [start, text],
        "pair": [start, text, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {END: {"id": END, "ids": [end_id], "tokens": [END]}},
    }
    return json.dumps(definition, ensure_ascii=False)


_PARTS = {  # ours: those of Qwen3 that stand in it one after the other
    "attention_norm": ["input_layernorm"],
    "qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "query_norm": ["self_attn.q_norm"],
    "key_norm": ["self_attn.k_norm"],
    "output": ["self_attn.o_proj"],
    "hidden_norm": ["post_attention_layernorm"],
    "gate_up": ["mlp.gate_proj", "mlp.up_proj"],
    "down": ["mlp.down_proj"],
}
_WHOLE = {"embedding.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}


def _exported(model: GPT) -> dict[str, Tensor]:
    """Weights by Qwen3's names."""
    state = model.state_dict()
    found = {theirs: state[ours] for ours, theirs in _WHOLE.items()}
    for k in range(model.config.depth):
        for ours, theirs in _PARTS.items():
            parts = state[f"blocks.{k}.{ours}.weight"].chunk(len(theirs))
            found |= {f"model.layers.{k}.{name}.weight": part for name, part in zip(theirs, parts, strict=True)}
    return found


def _imported(tensors: dict[str, Tensor], config: GPTConfig) -> dict[str, Tensor]:
    """Weights by our names."""
    found = {ours: tensors[theirs] for ours, theirs in _WHOLE.items()}
    for k in range(config.depth):
        for ours, theirs in _PARTS.items():
            parts = [tensors[f"model.layers.{k}.{name}.weight"] for name in theirs]
            found[f"blocks.{k}.{ours}.weight"] = torch.cat(parts)
    return found

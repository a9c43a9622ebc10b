"""Against lm-evaluation-harness 0.4.13: the same items through its own model of transformers and through ours.

Its model is told to put the start mark before every context (`add_bos_token`), as ours always does.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("lm_eval")
pytestmark = pytest.mark.filterwarnings("ignore")

WORDS = "the a red blue old new cat dog bird sees finds likes big small river house runs slowly never often".split()
LETTERS = "question context answer".split()


def items(num: int, seed: int) -> Iterator[dict[str, Any]]:
    """Questions of random words; choices of different lengths, some with umlauts and spaces at the end."""
    rng = np.random.default_rng(seed)

    def words(least: int, most: int) -> str:
        return " ".join(rng.choice(WORDS, int(rng.integers(least, most))))

    for k in range(num):
        choices = [words(1, 4) + (" größer", "", " ", ".")[(k + c) % 4] for c in range(2 + k % 3)]
        question = f"the {words(2, 6)} _ {words(1, 5)} ."
        yield {
            "id": f"item-{k}",
            "question": question,
            "context": words(0, 30),
            "choices": choices,
            "answer": int(rng.integers(len(choices))),
        }


def tokenizer_json() -> str:
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    from assay.models.tokenizer import BPE

    texts = [" ".join(item["choices"]) + item["question"] + " Question: Answer:" for item in items(200, 9)]
    tokenizer = Tokenizer.from_str(BPE.train(texts, 300).to_json())
    tokenizer.add_special_tokens(["<s>"])
    start = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", start)])
    return str(tokenizer.to_str())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with two layers, a tokenizer, items, and tasks of the harness over them."""
    from tokenizers import Tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    folder: Path = tmp_path_factory.mktemp("harness")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(tokenizer_json()), bos_token="<s>")
    tokenizer.save_pretrained(folder / "model")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=256, bos_token_id=tokenizer.bos_token_id, initializer_range=0.3,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    for name, num, seed in (("mine/validation", 60, 1), ("mine/train", 20, 2)):
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(item) + "\n" for item in items(num, seed)), encoding="utf-8")
    return folder


def tasks(folder: Path) -> list[dict[str, Any]]:
    data = {split: str(folder / f"mine/{split}.jsonl") for split in ("train", "validation")}
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": data},
        "validation_split": "validation",
        "fewshot_split": "train",
        "doc_to_target": "answer",
        "doc_to_choice": "choices",
        "output_type": "multiple_choice",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    prompt = "{{context + '\n' if context else ''}}Question: {{question}}\nAnswer:"
    blank = {
        "doc_to_text": "answer",
        "doc_to_choice": "{% set parts = question.split('_') %}{{ [parts[0] + choices[0], parts[0] + choices[1]] }}",
    }
    return [
        {**common, "task": "default", "doc_to_text": prompt},
        {**common, "task": "shots", "doc_to_text": prompt, "num_fewshot": 2},
    ]

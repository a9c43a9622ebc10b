"""Against lm-evaluation-harness 0.4.13: the same items through its own model of transformers and through ours.

Its model is told to put the start mark before every context (`add_bos_token`), as ours always does.
"""

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", exc_type=ImportError)
for package in ("transformers", "lm_eval", "accelerate", "peft"):  # the last two for the harness's own model
    pytest.importorskip(package, exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore")

WORDS = ["the", "red", "old", "new", "cat", "dog", "bird", "sees", "finds", "big", "small", "river", "house", "slowly"]


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
            "answer": k % 2,
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


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """So small a model is not faster with two, and far slower where others work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with two layers, its tokenizer, and files of items."""
    folder: Path = tmp_path_factory.mktemp("harness")
    offline = {name: "1" for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")}
    os.environ |= {**offline, "TOKENIZERS_PARALLELISM": "false", "HF_DATASETS_CACHE": str(folder / "cache")}
    from tokenizers import Tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(tokenizer_json()), bos_token="<s>")
    tokenizer.save_pretrained(folder / "model")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=512, bos_token_id=tokenizer.bos_token_id, initializer_range=0.3,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    for name, num, seed in (("mine/validation", 40, 1), ("mine/train", 20, 2)):
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(item) + "\n" for item in items(num, seed)), encoding="utf-8")
    return folder


def tasks(folder: Path) -> list[dict[str, Any]]:
    """Tasks of the harness: questions, questions below two examples, blanks, and what greedy decoding gives or not."""
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
    before = "question.split('_')[0]"
    blank = {
        "doc_to_text": "answer",
        "doc_to_choice": f"{{{{[{before} + choices[0], {before} + choices[1]]}}}}",
        "doc_to_target": "{{question.split('_')[1].strip()}}",
    }
    cloze = {"output_type": "loglikelihood", "metric_list": [{"metric": "acc"}, {"metric": "perplexity"}]}
    greedy = {"dataset_kwargs": {"data_files": {"validation": str(folder / "greedy.jsonl")}}, "fewshot_split": None}
    rolling = {"output_type": "loglikelihood_rolling", "doc_to_text": "", "metric_list": [{"metric": "bits_per_byte"}]}
    return [
        {**common, "task": "default", "doc_to_text": prompt},
        {**common, "task": "shots", "doc_to_text": prompt, "num_fewshot": 2},
        {**common, "task": "blank", **blank},
        {**common, "task": "greedy", **greedy, **cloze, "doc_to_text": "{{context}}", "doc_to_choice": None},
        {**common, "task": "rolling", **rolling, "doc_to_target": "{{context}} größer", "doc_to_choice": None},
    ]


@pytest.fixture(scope="module")
def theirs(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What the harness's own model says of every item."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    write_greedy(folder, model, tokenizer)
    found: dict[str, list[dict[str, Any]]] = {}
    for chosen, add_start in ((tasks(folder)[:4], True), (tasks(folder)[4:], False)):  # rolling has a start of its own
        harness = HFLM(pretrained=model, tokenizer=tokenizer, device="cpu", batch_size=8, add_bos_token=add_start)
        options = {"bootstrap_iters": 0, "fewshot_random_seed": 3, "task_manager": TaskManager(include_defaults=False)}
        found |= simple_evaluate(model=harness, tasks=chosen, **options)["samples"]
    return found


def write_greedy(folder: Path, model: Any, tokenizer: Any) -> None:
    """Contexts with the two tokens that the model would go on with, or others in every second item."""
    lines = []
    for item in items(24, 5):
        text = item["question"]
        for _ in range(2):
            ids = torch.tensor([tokenizer.encode(text)])
            text += tokenizer.decode(model(ids).logits[0, -1].argmax())
        answer = text[len(item["question"]) :]
        if "\ufffd" not in answer and answer.strip() and not answer[0].isspace():
            answer = answer if len(lines) % 2 else answer + " cat"
            lines.append({"id": item["id"], "context": item["question"], "answer": answer})
    assert len(lines) > 5
    (folder / "greedy.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def theirs_of(samples: list[dict[str, Any]]) -> tuple[np.ndarray, list[int]]:
    """Log-likelihoods of all answers one after another, and the choice of each item."""
    nats = [[answer[0] for answer in sample["filtered_resps"]] for sample in samples]
    return np.concatenate(nats), [int(np.argmax(some)) for some in nats]


def test_adapter_gives_what_the_harness_says_of_the_same_items(folder: Path, theirs: dict[str, Any]) -> None:
    from assay.models.neural_lm import load_lm
    from assay.proxy.harness import run_harness

    table = run_harness(load_lm(folder / "model"), tasks(folder), seed=3)
    assert not any(table.column("is_truncated").to_pylist())
    for name, samples in theirs.items():
        rows = [row for row in table.to_pylist() if row["task"] == name]
        assert len(rows) == len(samples)
        mine = np.concatenate([row["log_likelihoods"] for row in rows])
        if name == "rolling":
            np.testing.assert_allclose(mine, [sample["filtered_resps"][0] for sample in samples], atol=1e-4)
            num_bytes = [sample["bits_per_byte"][1] for sample in samples]
            assert [row["gold_bytes"] for row in rows] == num_bytes
            continue
        nats, predicted = theirs_of(samples)
        np.testing.assert_allclose(mine, nats, atol=1e-4)
        assert [row["correct"] for row in rows] == [sample["acc"] for sample in samples]
        if name != "greedy":
            assert [row["predicted"] for row in rows] == predicted
            assert [row["correct_norm"] for row in rows] == [sample["acc_norm"] for sample in samples]
            assert np.mean(predicted) > 0 and 0.2 < np.mean([row["correct"] for row in rows]) < 0.8
    assert {row["correct"] for row in table.to_pylist() if row["task"] == "greedy"} == {0.0, 1.0}


def test_evaluation_equals_the_harness_on_the_same_items(folder: Path, theirs: dict[str, Any]) -> None:
    from assay.models.neural_lm import load_lm
    from assay.proxy.evaluate import evaluate
    from assay.proxy.tasks import read_task

    lm = load_lm(folder / "model")
    file = folder / "mine/validation.jsonl"
    rows = evaluate(lm, [read_task(file)]).to_pylist()
    nats, predicted = theirs_of(theirs["default"])
    np.testing.assert_allclose(np.concatenate([row["log_likelihoods"] for row in rows]), nats, atol=1e-4)
    assert [row["id"] for row in rows] == [sample["doc"]["id"] for sample in theirs["default"]]
    assert [row["predicted"] for row in rows] == predicted
    assert [row["correct"] for row in rows] == [sample["acc"] for sample in theirs["default"]]
    assert [row["correct_norm"] for row in rows] == [sample["acc_norm"] for sample in theirs["default"]]

    rows = evaluate(lm, [read_task(file, form="winogrande")]).to_pylist()
    mine = np.concatenate([row["log_likelihoods"][:2] for row in rows])
    np.testing.assert_allclose(mine, theirs_of(theirs["blank"])[0], atol=1e-4)


def test_our_checkpoints_give_the_harness_the_numbers_that_they_give_us(folder: Path) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    from assay.models.gpt import GPT, GPTConfig, save
    from assay.models.neural_lm import load_lm
    from assay.models.tokenizer import BPE
    from assay.proxy.evaluate import evaluate
    from assay.proxy.tasks import read_task

    bpe = BPE.train([" ".join(WORDS) + " Question: Answer:"] * 20, 300)
    config = GPTConfig(vocab_size=bpe.vocab_size + 1, width=64, depth=2, heads=1, hidden=128, context=512)
    model = GPT(config, seed=1)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(4)  # a new model thinks all tokens equally likely
    save(model, folder / "ours", bpe.to_json())
    harness = HFLM(pretrained=str(folder / "ours"), device="cpu", batch_size=8)
    options = {"bootstrap_iters": 0, "task_manager": TaskManager(include_defaults=False)}
    samples = simple_evaluate(model=harness, tasks=tasks(folder)[:1], **options)["samples"]["default"]
    nats, predicted = theirs_of(samples)
    rows = evaluate(load_lm(folder / "ours"), [read_task(folder / "mine/validation.jsonl")]).to_pylist()
    np.testing.assert_allclose(np.concatenate([row["log_likelihoods"] for row in rows]), nats, atol=2e-4, rtol=1e-5)
    assert [row["predicted"] for row in rows] == predicted


def test_what_the_harness_cannot_run_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lm_eval.tasks

    from assay.errors import InvalidParameterError
    from assay.models.neural_lm import load_lm
    from assay.proxy.harness import run_harness

    lm = load_lm(folder / "model")
    only_mine = partial(lm_eval.tasks.TaskManager, include_defaults=False)  # to read all others takes five seconds
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", only_mine)
    with pytest.raises(InvalidParameterError, match=r"`tasks` \(=\['no_such_task'\]\) must be tasks that"):
        run_harness(lm, ["no_such_task"])
    writing = {**tasks(folder)[0], "output_type": "generate_until", "doc_to_choice": None, "task": "writing"}
    with pytest.raises(InvalidParameterError, match="Task 'writing' is answered by writing"):
        run_harness(lm, [writing])

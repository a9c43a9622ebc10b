"""Tasks of lm-evaluation-harness, answered by any of our language models, item by item as in `proxy.evaluate`.

The harness (EleutherAI, package lm-eval) makes the prompts and draws the shots; log-likelihoods are ours. Tasks that
are answered by likelihood can be run (multiple_choice, loglikelihood, loglikelihood_rolling), not those for which a
model must write (generate_until): our models of likelihood do not.

Where tasks and their data come from is the harness's affair: those that it ships with fetch their data from the Hugging
Face hub, which an offline machine, or HF_HUB_OFFLINE=1, does not allow. Tasks over files of one's own need no network.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from assay.errors import InvalidParameterError, MissingExtraError, check_integer
from assay.models.lm import LM, document_sums
from assay.proxy.evaluate import SCHEMA, choices_made, log_likelihoods

_GENERATES = "generate_until"


def run_harness(
    lm: LM,
    tasks: Sequence[str | Mapping[str, Any]],
    *,
    folder: str | None = None,
    num_shots: int | None = None,
    max_items: int | None = None,
    seed: int = 0,
) -> pa.Table:
    """Every item of some tasks of the harness, as `proxy.evaluate.SCHEMA` says.

    `id` is the item's field of that name, else its number. Where an item has several right answers, `gold` and
    `gold_bits` are null, and `correct` and `correct_norm` what the harness says; so they are where a task has a metric
    of its own.

    Args:
        tasks: names of tasks or groups, or definitions as the harness's YAML files hold them.
        folder: where YAML files of one's own tasks lie.
        num_shots: examples before each question; default what the task says. seed: of their draw.
        max_items: how many items of each task, from the first; default all.

    Raises:
        MissingExtraError: lm-eval is not installed.
        InvalidParameterError: a task that nobody knows, or one for which a model must write.
    """
    _require()
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager, get_task_dict

    check_integer("seed", seed, 0)
    if num_shots is not None:
        check_integer("num_shots", num_shots, 0)
    if max_items is not None:
        check_integer("max_items", max_items, 1)
    names = {task for task in tasks if isinstance(task, str)}
    manager = TaskManager(include_path=folder, include_defaults=False)
    if names - set(manager.all_tasks):  # only then: the harness's own are thousands of files
        manager = TaskManager(include_path=folder)
    unknown = sorted(names - set(manager.all_tasks))
    if unknown or not tasks:
        raise InvalidParameterError(
            f"`tasks` (={unknown or list(tasks)!r}) must be tasks that lm-evaluation-harness knows. "
            "`lm-eval ls tasks` lists them; for your own give the `folder` of their YAML files."
        )
    found = dict(_flat(get_task_dict([task if isinstance(task, str) else dict(task) for task in tasks], manager)))
    for name, task in found.items():
        if task.OUTPUT_TYPE == _GENERATES:
            raise InvalidParameterError(
                f"Task {name!r} is answered by writing ({_GENERATES}), which models of likelihood here do not do. "
                "Leave it out, or run the harness on the model's folder by itself."
            )
    model = harness_model(lm)
    results = simple_evaluate(
        model=model,
        tasks=list(found.values()),
        num_fewshot=num_shots,
        limit=max_items,
        fewshot_random_seed=seed,
        task_manager=manager,
        bootstrap_iters=0,
    )
    rows = []
    for name, samples in results["samples"].items():
        filters = {sample["filter"]: None for sample in samples}
        for sample in samples:
            if sample["filter"] == next(iter(filters)):  # others pick from the same answers
                is_truncated = any(tuple(pair) in model.truncated for pair in sample["arguments"])
                rows.append({"task": name, "is_truncated": is_truncated, **_row(found[name], sample)})
    return pa.Table.from_pylist(rows, SCHEMA)


def harness_model(lm: LM) -> Any:
    """The model as `lm_eval.api.model.LM`, for `lm_eval.simple_evaluate(model=...)`.

    Its `truncated` holds the pairs of context and continuation that did not fit. Where the model cannot tell what
    greedy decoding gives, the answer is no.

    Raises:
        MissingExtraError: lm-eval is not installed.
    """
    _require()
    from lm_eval.api.model import LM as HarnessModel

    class Model(HarnessModel):
        def __init__(self) -> None:
            super().__init__()
            self.truncated: set[tuple[str, str]] = set()

        def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
            pairs = [request.args for request in requests]
            found = log_likelihoods(lm, pairs)
            self.truncated |= {
                pair for pair, is_truncated in zip(pairs, found.is_truncated, strict=True) if is_truncated
            }
            is_greedy = np.zeros(len(pairs), np.bool_) if found.is_greedy is None else found.is_greedy
            return list(zip(found.nats.tolist(), is_greedy.tolist(), strict=True))

        def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
            ids, starts = lm.encode(pa.array([request.args[0] for request in requests], pa.large_string()))
            nats: list[float] = document_sums(lm.log_probabilities(ids, starts), starts).tolist()
            return nats

        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            raise InvalidParameterError(f"Tasks of type {_GENERATES} need a model that writes; this one cannot.")

    return Model()


def _row(task: Any, sample: Mapping[str, Any]) -> dict[str, Any]:
    """An item as the harness answered it, but for its task."""
    doc, answers = sample["doc"], sample["filtered_resps"]
    row: dict[str, Any] = {"id": str(doc.get("id", sample["doc_id"]) if isinstance(doc, Mapping) else sample["doc_id"])}
    if task.OUTPUT_TYPE != "multiple_choice":
        is_rolling = not isinstance(answers[0], tuple | list)
        nats = np.array([answers[0] if is_rolling else answers[0][0]])
        row |= {"log_likelihoods": nats, "gold_bytes": len(sample["arguments"][0][-1].encode())}
        return row | {"gold_bits": -nats[0] / np.log(2), "correct": None if is_rolling else float(answers[0][1])}
    choices = task.doc_to_choice(doc)
    nats = np.array([answer[0] for answer in answers])[: len(choices)]  # behind them, likelihoods without a context
    row |= {"log_likelihoods": nats, "correct": sample.get("acc"), "correct_norm": sample.get("acc_norm")}
    gold = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    gold = choices.index(gold) if isinstance(gold, str) and gold in choices else gold
    if not isinstance(gold, int) or not 0 <= gold < len(choices) or "acc" not in sample:
        return row
    continuation = sample["arguments"][gold][1]
    row |= {"gold_bits": -nats[gold] / np.log(2), "gold_bytes": len(continuation.encode())}
    return row | choices_made(nats, [len(choice) for choice in choices], gold)


def _flat(tasks: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """The tasks of all groups, by name."""
    for name, task in tasks.items():
        if isinstance(task, Mapping):
            yield from _flat(task)
        else:
            yield str(name), task


def _require() -> None:
    try:
        import lm_eval  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"Tasks of lm-evaluation-harness need {error.name}, which is not installed. Run: "
            "pip install 'assay[harness]'"
        ) from error

"""`assay.merge`: one model from several that went on from the same one, by averaging their weights."""

import shutil
from collections.abc import Mapping, Sequence

from assay.artifacts.manifest import MANIFEST, Manifest
from assay.artifacts.model import FILES, Model, model_folder
from assay.artifacts.storage import Location, atomic_path, clear_scratch, scratch_for
from assay.artifacts.workspace import Draft, Workspace, make_folder
from assay.corpus.sharing import share_one
from assay.errors import InvalidParameterError, check
from assay.models.averaging import average, checked_shares

VERSION = 1
_MERGING = "merging"


def merge(
    models: Mapping[str, Model] | Sequence[Model],
    weights: Mapping[str, float] | Sequence[float] | None = None,
    *,
    workspace: Workspace | str | Location | None = None,
) -> Model:
    """The weighted average of models, or finds it made: it stands for a model trained on all that they read.

    Its loss ranks unions of data as models trained on the unions would be ranked; its level is off. See
    docs/merging.md.

    Args:
        models: each trained on a part of the data from one start (`assay.train(..., start=)`), or from the same seed;
            by name, or in a list.
        weights: of each model, by name or in the same order; default what each read. Divided by their sum.

    Raises:
        InvalidParameterError: no models, models without a common start, that differ in size, tokenizer or shapes, or
            weights that are not one a model, are below 0 or sum to 0.
        InputError: a model's files are missing or damaged.
    """
    named = dict(models) if isinstance(models, Mapping) else {f"{k}": model for k, model in enumerate(models)}
    for name, model in named.items():
        check(isinstance(model, Model), f"models[{name!r}]", model, "a model of `assay.train` or `assay.merge`")
    if isinstance(weights, Mapping):
        same = weights.keys() == named.keys()
        check(same, "weights", dict(weights), f"of the models: {', '.join(named)}")
        weights = [weights[name] for name in named]
    if weights is None:
        weights = [model.manifest.summary["tokens"] for model in named.values()]
    shares = checked_shares(weights, list(named))
    start = _common_start(named)
    parameters = {"weights": shares.tolist(), "start": start}
    inputs = {f"models.{k}": model.fingerprint for k, model in enumerate(named.values())}
    draft = Workspace(workspace).open_draft("model", "merged", VERSION, parameters, inputs)
    manifest = draft.finished()
    if manifest is None:
        draft.start()
        share_one(lambda: _merge(draft, named, shares.tolist()), draft.folder / MANIFEST)
        manifest = Manifest.load(draft.folder)
    return Model(draft.folder, manifest)


def _merge(draft: Draft, models: Mapping[str, Model], shares: Sequence[float]) -> None:
    made = scratch_for(draft.folder) / _MERGING
    num_parameters = average({name: model.path for name, model in models.items()}, shares, made)
    make_folder(model_folder(draft.folder))
    for name in FILES:
        with atomic_path(model_folder(draft.folder) / name) as path:
            shutil.copyfile(made / name, path)
    tokens = sum(model.manifest.summary["tokens"] for model in models.values())
    draft.finish(schema={}, parts=[], summary={"parameters": num_parameters, "tokens": tokens})
    clear_scratch(draft.folder, _MERGING)


def _common_start(models: Mapping[str, Model]) -> str:
    """What all models went on from: the fingerprint of a model, or the seed of the first weights."""
    starts = {name: _start_of(model) for name, model in models.items()}
    first_name, first = next(iter(starts.items()))
    for name, start in starts.items():
        if start != first:
            raise InvalidParameterError(
                f"Models {first_name!r} and {name!r} have no common start: one began with {first}, the other with "
                f"{start}. The average of such models is none; train each with the same `start=`."
            )
    return first


def _start_of(model: Model) -> str:
    manifest = model.manifest
    if "weights" in manifest.parameters:  # merged
        return str(manifest.parameters["start"])
    if "start" in manifest.inputs:
        return f"model {manifest.inputs['start']}"
    return f"seed {manifest.parameters['seed']}"

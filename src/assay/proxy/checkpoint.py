"""The state of a training run on disk: one safetensors file, replaced as a whole, so a killed run finds the last one.

Names in it: `weight.<name>` for each parameter; what the optimiser remembers of its gradient, AdamW's `mean.<name>` and
`square.<name>` or Muon's `momentum.<name>`; `curve.<name>` [steps so far]; `visiting.<name>` and `rule.<name>`, what
order and rule remember.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from assay.artifacts.manifest import remove_abandoned
from assay.artifacts.storage import atomic_path
from assay.errors import ArtifactError

FILE = "training.safetensors"


class Checkpoint(NamedTuple):
    """What a run is at a step. tensors: by group, then by name. figures: numbers and flags."""

    tensors: dict[str, dict[str, torch.Tensor]]
    figures: dict[str, Any]

    def arrays(self, group: str) -> dict[str, np.ndarray]:
        """A group of tensors as arrays of their own."""
        return {name: tensor.numpy().copy() for name, tensor in self.tensors.get(group, {}).items()}


def write(folder: Path, run: str, checkpoint: Checkpoint) -> None:
    """Replaces the checkpoint in a folder; `run` is the fingerprint of what is being trained."""
    flat = {
        f"{group}.{name}": tensor.detach().cpu().contiguous()
        for group, tensors in checkpoint.tensors.items()
        for name, tensor in tensors.items()
    }
    figures = json.dumps({"run": run, **checkpoint.figures}, sort_keys=True)
    with atomic_path(folder / FILE) as temporary:
        # `save_file` would write to a name of its own beside it, which a killed run leaves behind.
        temporary.write_bytes(save(flat, metadata={"format": "pt", "figures": figures}))


def read(folder: Path, run: str) -> Checkpoint | None:
    """The checkpoint in a folder, which is made where it is not there; None when it has none.

    Raises:
        ArtifactError: it is damaged, or of another run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder, FILE)
    file = folder / FILE
    if not file.exists():
        return None
    way_out = "Give another folder, or delete the file to train from the start."
    try:
        with safe_open(file, "pt") as stream:
            figures = json.loads(stream.metadata()["figures"])
            groups: dict[str, dict[str, torch.Tensor]] = {}
            for key in stream.keys():  # noqa: SIM118 - it is no dict
                group, _, name = key.partition(".")
                groups.setdefault(group, {})[name] = stream.get_tensor(key)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{file} is damaged: {error}. {way_out}") from error
    if figures.pop("run") != run:
        raise ArtifactError(
            f"{file} is of another run: model, text, settings, rule or seed are not the same. {way_out}"
        )
    return Checkpoint(groups, figures)

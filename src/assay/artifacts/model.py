"""The noun of training: a language model with its tokenizer, in a folder that other software reads as well."""

import shutil
from pathlib import Path
from typing import ClassVar

from assay.artifacts.kinds import Artifact, human_count
from assay.artifacts.storage import Location, atomic_path, open_bytes, scratch_for, within

FILES = ("model.safetensors", "tokenizer.json", "tokenizer_config.json", "config.json")
CURVE = "curve.parquet"
_FOLDER = "model"


class Model(Artifact):
    """A trained transformer; `path` is a folder in the layout of Hugging Face, for scorers, lm-eval and others."""

    kind: ClassVar[str] = "model"

    @property
    def path(self) -> Path:
        """The folder with weights, configuration and tokenizer, for `model:` of scorers; a copy of a remote one.

        Raises:
            StorageError: a remote one cannot be read.
        """
        place = model_folder(self.folder)
        if isinstance(place, Path):
            return place
        copy = scratch_for(place)
        copy.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            if not (copy / name).exists():
                with open_bytes(place / name) as file, atomic_path(copy / name) as path, open(path, "wb") as own:
                    shutil.copyfileobj(file, own)
        return copy

    def facts(self) -> dict[str, str]:
        summary = self.manifest.summary
        loss = {"training loss": f"{summary['loss']:.3f} nats per token at the end"} if "loss" in summary else {}
        return {
            "parameters": human_count(summary["parameters"]),
            "trained on": f"{human_count(summary['tokens'])} tokens",
            **loss,  # a merged model has none
            "path": str(self.path),
        }


def model_folder(folder: Location) -> Location:
    """Where the artifact in a folder has its model."""
    return within(folder, _FOLDER)

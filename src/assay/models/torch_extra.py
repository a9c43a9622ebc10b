"""torch is an extra: whether it is there, and the device that neural parts run on.

ASSAY_DEVICE is auto (default: a GPU if there is one), cpu, cuda, cuda:1 or mps.
"""

import os
from typing import TYPE_CHECKING

from assay.errors import InvalidParameterError, MissingExtraError

if TYPE_CHECKING:
    import torch

DEVICE = "ASSAY_DEVICE"
MIN_TORCH = (2, 6)


def require(what: str = "A neural model") -> None:
    """Asks that torch and safetensors are there; call it before a module that imports them.

    Raises:
        MissingExtraError: one is missing, or torch is older than 2.6, with the pip line.
    """
    way_out = "Run: pip install 'assay[neural]' (for a CPU: pip install torch==2.13.0 first, from PyTorch's CPU index)"
    try:
        import safetensors  # noqa: F401
        import torch
    except ImportError as error:
        raise MissingExtraError(f"{what} needs {error.name}, which is not installed. {way_out}") from error
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < MIN_TORCH:
        raise MissingExtraError(f"{what} needs torch 2.6 or newer; {torch.__version__} is installed. {way_out}")


def device() -> "torch.device":
    """The device that ASSAY_DEVICE names.

    Raises:
        InvalidParameterError: torch knows no such device, or cannot use it here.
        MissingExtraError: no torch.
    """
    require()
    import torch

    name = os.environ.get(DEVICE, "auto")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(name)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:  # torch says either where it cannot use a device
        text = str(error).splitlines()[0]
        raise InvalidParameterError(f"`{DEVICE}` (={name!r}) must be auto, cpu, cuda, cuda:1 or mps: {text}") from error
    return found

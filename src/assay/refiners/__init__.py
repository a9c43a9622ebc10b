"""Refiners: methods that change the text of documents. A new one is one file here and one line in the table."""

from assay.refiners.base import Refiner
from assay.refiners.c4 import C4

REFINERS: dict[str, type[Refiner]] = {"c4": C4}

__all__ = ["C4", "REFINERS", "Refiner"]

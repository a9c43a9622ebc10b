"""Randomness keyed by a document's id, so that a choice does not depend on order, batch or machine.

All random numbers are functions of (hash of the id, seed, stream): a stream is a purpose ("pool", "choice:dsir"), and
different streams are independent.
"""

import hashlib

import numpy as np

from assay.kernels.hashing import mix64_array


def keyed_hashes(id_hashes: np.ndarray, seed: int, stream: str) -> np.ndarray:
    """One uint64 a document [documents], independent across seeds and streams."""
    digest = hashlib.blake2b(f"{seed}/{stream}".encode(), digest_size=8).digest()
    return mix64_array(mix64_array(id_hashes) ^ np.frombuffer(digest, np.uint64)[0])


def uniforms(hashes: np.ndarray) -> np.ndarray:
    """Uniform numbers in (0, 1) from 64-bit hashes [documents], float64 with 53 random bits."""
    return ((hashes >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def gumbels(uniform: np.ndarray) -> np.ndarray:
    """Standard Gumbel numbers from uniform ones."""
    return -np.log(-np.log(uniform))

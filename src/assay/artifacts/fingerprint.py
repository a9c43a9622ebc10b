"""Names for content: what made an artifact decides what its folder is called.

An artifact's fingerprint is a hash of its kind, its parameters, the version of the method that made it and the
fingerprints of its inputs. The same question therefore finds the same folder, and a changed one cannot.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_HASH_BYTES = 8
_BLOCK_BYTES = 1 << 22


def fingerprint(kind: str, version: int, parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
    """16 hexadecimal digits (64 bits of BLAKE2b) that name the artifact made from these things."""
    question = {"kind": kind, "version": version, "parameters": parameters, "inputs": inputs}
    return hashlib.blake2b(canonical_json(question), digest_size=_HASH_BYTES).hexdigest()


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no blanks: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def file_fingerprint(path: Path) -> str:
    """BLAKE2b of a file's bytes, read in blocks; about 1 GB/s."""
    digest = hashlib.blake2b(digest_size=_HASH_BYTES)
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()

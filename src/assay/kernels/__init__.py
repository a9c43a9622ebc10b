"""Numba kernels: numpy in, numpy out.

Compiled code is cached beside the sources. Numba compares only the file of a function with its cache, so a kernel that
calls into another, changed file would go on with the old code; therefore the cache is emptied when any kernel's file
is another than when it was filled.
"""

from contextlib import suppress
from pathlib import Path


def _empty_stale_cache() -> None:
    folder = Path(__file__).parent
    cache = folder / "__pycache__"
    stats = [(path.name, path.stat()) for path in sorted(folder.glob("*.py"))]
    state = repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
    stamp = cache / "sources.stamp"
    with suppress(OSError):  # where nobody may write, numba keeps its cache elsewhere
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != state:
            cache.mkdir(exist_ok=True)
            for path in cache.glob("*.nbi"):
                path.unlink(missing_ok=True)
            stamp.write_text(state, encoding="utf-8")


_empty_stale_cache()

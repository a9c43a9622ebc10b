"""The cache of compiled kernels does not outlive the sources it was made from."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from numba.core.caching import IndexDataCacheFile
from numba.core.dispatcher import Dispatcher

import assay.kernels
from assay.kernels import decoder

PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); import assay_kernels.outer as o; print(o.outer(1))"
INNER = "from numba import njit\n\n@njit(cache=True)\ndef inner(x):\n    return x + {}\n"
OUTER = (
    "from numba import njit\nfrom assay_kernels.inner import inner\n\n"
    "@njit(cache=True)\ndef outer(x):\n    return inner(x)\n"
)


def test_a_kernel_that_calls_into_a_changed_file_is_compiled_anew(tmp_path: Path) -> None:
    folder = tmp_path / "assay_kernels"
    folder.mkdir()
    shutil.copy(Path(assay.kernels.__file__), folder / "__init__.py")
    (folder / "outer.py").write_text(OUTER)
    for number in (10, 200, 200):
        (folder / "inner.py").write_text(INNER.format(number))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=120
        )
        assert done.stdout.strip() == str(1 + number), done.stderr


SAVES = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import assay_kernels
from numba.core.caching import IndexDataCacheFile

folder, who = sys.argv[1:]
Path(folder, "ready-" + who).touch()
while not Path(folder, "go").exists():
    pass
for k in range(40):
    IndexDataCacheFile(folder, "kernel", "stamp").save((who, k), f"code of {who} {k}")
"""


def test_processes_that_fill_the_cache_at_once_load_their_own_code(tmp_path: Path) -> None:
    (tmp_path / "assay_kernels").mkdir()
    shutil.copy(Path(assay.kernels.__file__), tmp_path / "assay_kernels" / "__init__.py")
    everyone = "abcd"
    processes = [subprocess.Popen([sys.executable, "-c", SAVES, str(tmp_path), who]) for who in everyone]
    while len(list(tmp_path.glob("ready-*"))) < len(everyone):
        assert all(process.poll() is None for process in processes)
    (tmp_path / "go").touch()
    assert [process.wait(timeout=120) for process in processes] == [0] * len(everyone)
    cache = IndexDataCacheFile(str(tmp_path), "kernel", "stamp")
    keys = [(who, k) for who in everyone for k in range(40)]
    assert [cache.load(key) for key in keys] == [f"code of {who} {k}" for who, k in keys]


ROUNDS = """
import numpy as np
from assay.kernels.decoder import normalise_back
rng = np.random.default_rng(0)
rows, slopes, gain = (rng.standard_normal(shape, np.float32) for shape in ((99, 128), (99, 128), 128))
result, gain_slopes = np.empty((99, 128), np.float32), np.zeros((1, 128), np.float32)
normalise_back(0, 99, rows, gain, slopes, np.float32(1e-6), result, gain_slopes)
print(result.tobytes().hex())
"""


def test_the_process_that_compiles_rounds_as_those_that_load(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", ROUNDS]
    compiled, loaded = (subprocess.run(command, capture_output=True, env=environment, timeout=120) for _ in range(2))
    assert compiled.stdout == loaded.stdout and compiled.stdout, compiled.stderr


def test_kernels_that_may_round_freely_are_made_part_of_what_calls_them() -> None:
    """A function that is called exists twice, and the process that compiles runs another than those that load."""
    kernels = {name: value for name, value in vars(decoder).items() if isinstance(value, Dispatcher)}
    called = {name for of in kernels.values() for name in of.py_func.__code__.co_names if name in kernels}
    free = {name for name, of in kernels.items() if of.targetoptions.get("fastmath")}
    assert free
    for name in called & free:
        assert kernels[name].targetoptions.get("forceinline"), name

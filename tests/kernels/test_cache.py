"""The cache of compiled kernels does not outlive the sources it was made from."""

import shutil
import subprocess
import sys
from pathlib import Path

import assay.kernels

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

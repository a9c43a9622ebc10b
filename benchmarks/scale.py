"""`python -m benchmarks.scale`: memory and cost per document from 0.2 to 20 GB; writes its rows into results.json.

A pool of each size (see `scale_pool`) is read, scored, deduplicated, chosen from and written, in a process of its own
whose memory is sampled with that of its children. Costs are core seconds: unlike seconds they hardly depend on what
else the machine does. The largest size takes half an hour on two free cores and 60 GB of disk.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import vl_convert

import assay
from benchmarks.data import pool_files, target_file
from benchmarks.run import RESULTS, _machine, _today
from benchmarks.scale_pool import generate

SIZES = (0.2, 2.0, 20.0)
FIGURES = Path(__file__).parent / "scale.json"
CHART = Path(__file__).parents[1] / "docs" / "scale.svg"
_SECONDS_BETWEEN_SAMPLES = 0.1


def main() -> None:
    """Measures the sizes asked for and keeps them in scale.json; rows of results.json when all are there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=float, help=f"GB of text, default {SIZES}")
    parser.add_argument("--folder", type=Path, help="where pools are kept and work is done; default a temporary one")
    parser.add_argument("--child", nargs=3, metavar=("POOL", "TARGET", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--measured", action="store_true", help="measure nothing; use what scale.json holds")
    arguments = parser.parse_args()
    if arguments.child:
        _pipeline(*arguments.child)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        for size in () if arguments.measured else arguments.sizes or SIZES:
            _keep(measure(size, folder))
    rows = json.loads(FIGURES.read_text())
    print(table(rows))
    CHART.write_text(chart(rows), encoding="utf-8")
    _write_rows(rows)


def measure(size: float, folder: Path) -> dict[str, Any]:
    """All steps on a pool of `size` GB: documents, and core seconds, seconds and peak memory of each step."""
    files = pool_files(folder)
    pool = folder / f"pool-{size:g}"
    if not (pool / "done").exists():
        shutil.rmtree(pool, ignore_errors=True)
        generate(pool, files, int(size * 1e9))
        (pool / "done").touch()
    target = target_file(folder, files)
    work = folder / f"work-{size:g}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    command = [sys.executable, "-m", "benchmarks.scale", "--child", str(pool / "*.parquet"), str(target), str(work)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        sampler = _Sampler(process.pid)
        sampler.start()
        assert process.stdout is not None
        steps = []
        for line in process.stdout:
            steps.append(json.loads(line) | sampler.take())
            print(f"{size:g} GB: {steps[-1]}", flush=True)
    if process.returncode:
        raise RuntimeError(f"ended with {process.returncode}")
    shutil.rmtree(work)
    return {"gb": size, "steps": steps, "machine": _machine(), "date": _today()}


def _pipeline(pool: str, target: str, folder: str) -> None:
    space = Path(folder) / "w"
    with _measured("read"):
        documents = assay.read(pool, id="id", workspace=space)
        wanted = assay.read(target, workspace=space)
    with _measured("length"):
        lengths = assay.score(documents, "length", workspace=space)
    with _measured("dsir"):
        weights = assay.score(documents, "dsir", target=wanted, workspace=space)
    with _measured("exact"):
        assay.score(documents, "exact", workspace=space)
    with _measured("minhash"):
        near = assay.score(documents, "minhash", workspace=space)
    with _measured("select"):
        chosen = assay.select(
            documents,
            "top",
            scores=[weights, lengths, near],
            by="dsir.per_ngram",
            where="minhash.representative",
            budget="10%",
            workspace=space,
        )
    with _measured("write"):
        assay.write(documents, chosen, Path(folder) / "chosen")
    facts = {"documents": documents.num_documents, "bytes": documents.num_bytes, "parts": documents.num_parts}
    summary = {"clusters": near.manifest.summary["clusters"], "kept": chosen.manifest.counts["kept"]}
    print(json.dumps({"step": "all", **facts, **summary}), flush=True)
    os._exit(0)  # the engine's threads may abort winding down


@contextmanager
def _measured(step: str) -> Iterator[None]:
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    yield
    after = resource.getrusage(resource.RUSAGE_SELF)
    core = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"step": step, "core_s": core, "wall_s": time.perf_counter() - started}), flush=True)


class _Sampler(threading.Thread):
    """The most memory that a process and its children have held together, mapped files counted, since last asked."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self._pid, self._peak = pid, 0

    def run(self) -> None:
        while held := sum(_resident(pid) for pid in _family(self._pid)):
            self._peak = max(self._peak, held)
            time.sleep(_SECONDS_BETWEEN_SAMPLES)

    def take(self) -> dict[str, float]:
        peak, self._peak = self._peak, 0
        return {"peak_gb": peak / 1e9}


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(one for child in children for one in _family(int(child)))]


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _keep(measured: dict[str, Any]) -> None:
    known = {row["gb"]: row for row in json.loads(FIGURES.read_text())} if FIGURES.exists() else {}
    known[measured["gb"]] = measured
    FIGURES.write_text(json.dumps([known[gb] for gb in sorted(known)], indent=1) + "\n", encoding="utf-8")


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: core microseconds a document and peak memory of each step, a column for each size."""
    lines = ["| step | " + " | ".join(f"{row['gb']:g} GB" for row in rows) + " |", "|---" * (len(rows) + 1) + "|"]
    documents = [row["steps"][-1]["documents"] for row in rows]
    for k, step in enumerate(rows[0]["steps"][:-1]):
        steps = [row["steps"][k] for row in rows]
        cells = [
            f"{s['core_s'] / n * 1e6:.0f} us, {s['peak_gb']:.2f} GB" for s, n in zip(steps, documents, strict=True)
        ]
        lines.append(f"| {step['step']} | " + " | ".join(cells) + " |")
    cells = [
        f"{core_seconds(row) / n * 1e6:.0f} us, {_peak(row):.2f} GB" for row, n in zip(rows, documents, strict=True)
    ]
    return "\n".join([*lines, "| all | " + " | ".join(cells) + " |"])


def chart(rows: list[dict[str, Any]]) -> str:
    """SVG: peak memory of each step against the size of the pool."""
    values = [
        {"GB of text": row["gb"], "GB of memory": step["peak_gb"], "step": step["step"]}
        for row in rows
        for step in row["steps"][:-1]
    ]
    return vl_convert.vegalite_to_svg(
        {
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            "width": 420,
            "height": 260,
            "background": "white",
            "data": {"values": values},
            "mark": {"type": "line", "point": True},
            "encoding": {
                "x": {"field": "GB of text", "type": "quantitative", "scale": {"type": "log"}},
                "y": {"field": "GB of memory", "type": "quantitative", "scale": {"domain": [0, 4]}},
                "color": {"field": "step", "type": "nominal", "sort": None},
            },
        }
    )


def _peak(measured: dict[str, Any]) -> float:
    return max(step["peak_gb"] for step in measured["steps"])


def _write_rows(figures: list[dict[str, Any]]) -> None:
    """`scale.memory_20gb` and `scale.cost_per_document`: the largest size against the smallest."""
    measured = {row["gb"]: row for row in figures}
    if not {SIZES[0], SIZES[-1]} <= measured.keys():
        return
    small, large = measured[SIZES[0]], measured[SIZES[-1]]
    memory = [_peak(row) for row in (large, small)]
    cost = [core_seconds(row) / row["steps"][-1]["documents"] * 1e6 for row in (large, small)]
    rows = {row["name"]: row for row in json.loads(RESULTS.read_text())}
    for name, (ours, peer), unit in (
        ("scale.memory_20gb", memory, "GB at most"),
        ("scale.cost_per_document", cost, "core microseconds a document"),
    ):
        figures = {"ours": ours, "peer": peer, "unit": unit, "ratio": peer / ours, "peer_name": "the same for 0.2 GB"}
        rows[name] = {"name": name, **figures, "machine": large["machine"], "date": large["date"]}
    RESULTS.write_text(json.dumps(list(rows.values()), indent=1) + "\n", encoding="utf-8")


def core_seconds(measured: dict[str, Any]) -> float:
    """Core seconds of all steps."""
    return sum(step.get("core_s", 0.0) for step in measured["steps"])


if __name__ == "__main__":
    main()

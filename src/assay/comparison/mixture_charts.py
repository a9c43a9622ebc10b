"""Charts of the mixture report, as SVG text in the style of the other report."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.comparison.charts import GRID, INK, PALE, PALETTE, VERDICT_COLOURS, svg

if TYPE_CHECKING:
    from assay.comparison.mixture_report import Fitted, Verified

__all__ = ["VERDICT_COLOURS", "bars", "curves", "forest", "runs", "scatter"]

_FOUND = PALETTE[0]
_BASELINES = [PALETTE[1], PALETTE[2], PALETTE[3], PALETTE[4], PALETTE[5]]
_SHAPES = ["diamond", "circle", "triangle-up", "square", "cross"]
_LOSSES = ["#0b4f6c", "#2f8fa8", "#a9cfcf", "#e3dfd3", "#dcd3c3"]  # from the least loss to the most
_MAX_DRAWN = 400
_MAX_POINTS = 2_000  # of all response curves together
_NUM_BOLD = 10
_COLUMNS = 4
_MAX_PANELS = 16  # of a drawing: 200 in one take a minute to lay out
_WIDTH = 660  # of the bars


def bars(
    sources: Sequence[str], order: np.ndarray, mixtures: Mapping[str, np.ndarray], epochs: np.ndarray | None
) -> str:
    """Share of each source in the mixture found as a bar, in the others as a sign, with the epochs that it implies."""
    found, *others = mixtures
    names = [sources[k] for k in order]
    rows = [{"source": sources[k], "share": float(mixtures[found][k]), "in": found} for k in order]
    points = [{"source": sources[k], "share": float(mixtures[name][k]), "in": name} for name in others for k in order]
    highest = max(float(weights.max()) for weights in mixtures.values())
    x = {
        "field": "share",
        "type": "quantitative",
        "title": "share of tokens",
        "axis": {"format": "%", "tickCount": 8},
        "scale": {"domain": [0, min(1.0, highest * 1.05)]},
    }
    y = {
        "field": "source",
        "type": "nominal",
        "sort": names,
        "title": None,
        "axis": {"domain": False, "ticks": False, "labelLimit": 200, "labelPadding": 10},
    }
    scale = {"domain": others, "range": (_BASELINES * len(others))[: len(others)]}
    shapes = {"domain": others, "range": (_SHAPES * len(others))[: len(others)]}
    legend = {"title": None, "orient": "top", "symbolType": "circle"}
    layer: list[dict[str, Any]] = [
        {"data": {"values": rows}, "mark": {"type": "bar", "color": _FOUND}, "encoding": {"x": x, "y": y}},
        {
            "data": {"values": points},
            "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1, "stroke": "white", "strokeWidth": 1},
            "encoding": {
                "x": x,
                "y": y,
                "color": {"field": "in", "type": "nominal", "scale": scale, "legend": {**legend, "symbolType": None}},
                "shape": {"field": "in", "type": "nominal", "scale": shapes, "legend": legend},
            },
        },
    ]
    if epochs is not None:
        told = [{"source": sources[k], "epochs": _epochs(float(epochs[k]))} for k in order]
        layer.append(
            {
                "data": {"values": told},
                "mark": {"type": "text", "align": "left", "dx": 8},
                "encoding": {"x": {"value": _WIDTH}, "y": y, "text": {"field": "epochs"}},
            }
        )
    height = 26 if len(names) <= 20 else 20
    return svg({"width": _WIDTH, "height": {"step": height}, "layer": layer, "padding": {"right": 80, "left": 5}})


def _epochs(value: float) -> str:
    if not np.isfinite(value):
        return "none there"
    if 0 < value < 0.01:
        return "< 0.01 epochs"
    return f"{value:.2f} epochs" if value < 9.95 else f"{value:,.0f} epochs"


def runs(
    sources: Sequence[str],
    order: np.ndarray,
    weights: np.ndarray,
    losses: np.ndarray,
    found: np.ndarray,
    unit: str,
) -> str:
    """All runs, coloured by loss, the best on top: a triangle for three sources, else a line each over the sources."""
    drawn = sample(losses, _MAX_DRAWN)
    if len(sources) == 2:
        return _pair(sources, weights[drawn, 0], losses[drawn], float(found[0]), unit)
    if len(sources) == 3:
        return _triangle(sources, weights[drawn], losses[drawn], found, unit)
    return _parallel([sources[k] for k in order], weights[drawn][:, order], losses[drawn], found[order], unit)


def sample(losses: np.ndarray, at_most: int) -> np.ndarray:
    """Runs to draw, the worst first: all, or the best and a sample spread evenly over the ranks of loss [drawn]."""
    order = np.argsort(losses, kind="stable")
    if len(order) > at_most:
        rest = order[_NUM_BOLD:]
        order = np.concatenate(
            [order[:_NUM_BOLD], rest[np.linspace(0, len(rest) - 1, at_most - _NUM_BOLD).round().astype(int)]]
        )
    return order[::-1]


def _colour(losses: np.ndarray, unit: str) -> dict[str, Any]:
    """Loss as a colour; the worst tenth are all alike, or one bad run would make all others look good."""
    low, high = float(losses.min()), float(np.quantile(losses, 0.9))
    scale = {"domain": [low, max(high, low + 1e-9)], "range": _LOSSES, "clamp": True, "interpolate": "rgb"}
    legend = {
        "title": unit,
        "orient": "top",
        "gradientLength": 180,
        "gradientOpacity": 1,
        "format": ".3f",
        "tickCount": 3,
    }
    return {"field": "loss", "type": "quantitative", "scale": scale, "legend": legend}


def _pair(sources: Sequence[str], shares: np.ndarray, losses: np.ndarray, found: float, unit: str) -> str:
    rows = [{"share": float(s), "loss": float(v)} for s, v in zip(shares, losses, strict=True)]
    x = {
        "field": "share",
        "type": "quantitative",
        "title": f"share of {sources[0]}, the rest is {sources[1]}",
        "axis": {"format": "%"},
    }
    y = {"field": "loss", "type": "quantitative", "title": unit, "scale": {"zero": False}}
    return svg(
        {
            "width": 760,
            "height": 300,
            "layer": [
                {
                    "data": {"values": rows},
                    "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.9},
                    "encoding": {"x": x, "y": y, "color": _colour(losses, unit)},
                },
                {
                    "data": {"values": [{"share": found}]},
                    "mark": {"type": "rule", "color": PALETTE[1], "strokeWidth": 2, "strokeDash": [5, 3]},
                    "encoding": {"x": x},
                },
            ],
        }
    )


def _flat(weights: np.ndarray) -> np.ndarray:
    """Shares of three sources as points of a triangle, the first at the top [rows, 2]."""
    corners = np.array([[0.5, np.sqrt(3) / 2], [0.0, 0.0], [1.0, 0.0]])
    return weights @ corners


def _triangle(sources: Sequence[str], weights: np.ndarray, losses: np.ndarray, found: np.ndarray, unit: str) -> str:
    rows = [{"x": float(x), "y": float(y), "loss": float(v)} for (x, y), v in zip(_flat(weights), losses, strict=True)]
    lines = []
    for level in (0.0, 0.2, 0.4, 0.6, 0.8):
        for k in range(3):
            ends = np.zeros((2, 3))
            ends[:, k] = level
            ends[0, (k + 1) % 3] = ends[1, (k + 2) % 3] = 1 - level
            (x, y), (x2, y2) = _flat(ends).tolist()
            lines.append({"x": x, "y": y, "x2": x2, "y2": y2, "is_edge": level == 0})
    labels = [
        {"x": 0.5, "y": 0.905, "text": f"all {sources[0]}"},
        {"x": 0.0, "y": -0.045, "text": f"all {sources[1]}"},
        {"x": 1.0, "y": -0.045, "text": f"all {sources[2]}"},
    ]
    (here,) = _flat(found[None]).tolist()
    x = {"field": "x", "type": "quantitative", "axis": None, "scale": {"domain": [-0.32, 1.32]}}
    y = {"field": "y", "type": "quantitative", "axis": None, "scale": {"domain": [-0.08, 0.95]}}
    edge = {"condition": {"test": "datum.is_edge", "value": "#9aa5b1"}, "value": GRID}
    return svg(
        {
            "width": 850,
            "height": 533,
            "layer": [
                {
                    "data": {"values": lines},
                    "mark": {"type": "rule"},
                    "encoding": {"x": x, "y": y, "x2": {"field": "x2"}, "y2": {"field": "y2"}, "color": edge},
                },
                {
                    "data": {"values": rows},
                    "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "stroke": "white"},
                    "encoding": {"x": x, "y": y, "color": _colour(losses, unit)},
                },
                {
                    "data": {"values": labels},
                    "mark": {"type": "text", "fontWeight": "bold"},
                    "encoding": {"x": x, "y": y, "text": {"field": "text"}},
                },
                {
                    "data": {"values": [{"x": here[0], "y": here[1], "text": "found"}]},
                    "layer": [
                        {
                            "mark": {
                                "type": "point",
                                "shape": "diamond",
                                "size": 220,
                                "strokeWidth": 3,
                                "color": PALETTE[1],
                            },
                            "encoding": {"x": x, "y": y},
                        },
                        {
                            "mark": {"type": "text", "dy": -18, "fontWeight": "bold", "color": PALETTE[1]},
                            "encoding": {"x": x, "y": y, "text": {"field": "text"}},
                        },
                    ],
                },
            ],
        }
    )


def _parallel(names: list[str], weights: np.ndarray, losses: np.ndarray, found: np.ndarray, unit: str) -> str:
    num_bold = min(_NUM_BOLD, max(1, len(losses) // 5))

    def lines(rows: range) -> list[dict[str, Any]]:
        return [
            {"run": row, "source": name, "share": round(float(weights[row, k]), 4), "loss": float(losses[row])}
            for row in rows
            for k, name in enumerate(names)
        ]

    x = {
        "field": "source",
        "type": "nominal",
        "sort": names,
        "title": None,
        "axis": {"labelAngle": -40, "grid": True, "labelLimit": 130, "labelOverlap": False},
    }
    y = {
        "field": "share",
        "type": "quantitative",
        "title": "share of tokens",
        "scale": {"type": "sqrt", "domain": [0, 1]},
        "axis": {"format": "%", "values": [0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1]},
    }
    colour, cut = _colour(losses, unit), len(losses) - num_bold
    detail = {"detail": {"field": "run", "type": "nominal"}}
    return svg(
        {
            "width": 820,
            "height": 340,
            "layer": [
                {
                    "data": {"values": lines(range(cut))},
                    "mark": {"type": "line", "aria": False, "strokeWidth": 0.8, "opacity": 0.45},
                    "encoding": {"x": x, "y": y, "color": colour, **detail},
                },
                {
                    "data": {"values": lines(range(cut, len(losses)))},
                    "mark": {"type": "line", "aria": False, "strokeWidth": 1.8, "opacity": 0.95},
                    "encoding": {"x": x, "y": y, "color": colour, **detail},
                },
                {
                    "data": {"values": [{"source": n, "share": float(s)} for n, s in zip(names, found, strict=True)]},
                    "mark": {
                        "type": "line",
                        "color": PALETTE[1],
                        "strokeWidth": 3,
                        "point": {"color": PALETTE[1], "size": 45},
                    },
                    "encoding": {"x": x, "y": y},
                },
            ],
        }
    )


def curves(
    sources: Sequence[str],
    order: np.ndarray,
    fit: "Fitted",
    found: np.ndarray,
    weights: np.ndarray | None = None,
) -> str:
    """What is foretold as a source's share moves, one panel a source; band: the error on held-out runs; dots: runs.

    weights: of the runs; None draws no dots.
    """
    error = fit.error
    low, high = float(fit.curves.min() - error), float(fit.curves.max() + error)
    domain = [min(low, float(fit.losses.min())), max(high, float(np.quantile(fit.losses, 0.8)))]
    drawn = sample(fit.losses, max(20, _MAX_POINTS // len(sources)))
    drawn = drawn[fit.losses[drawn] <= domain[1]]
    panels = []
    for k in order:
        line = [
            {"share": float(s), "loss": float(v), "low": float(v - error), "high": float(v + error)}
            for s, v in zip(fit.shares[k], fit.curves[k], strict=True)
        ]
        end = float(fit.shares[k, -1])
        dots = [
            {"share": round(float(weights[r, k]), 4), "loss": round(float(fit.losses[r]), 5)}
            for r in drawn
            if weights is not None and weights[r, k] <= end
        ]
        at = [{"share": float(found[k]), "loss": float(np.interp(found[k], fit.shares[k], fit.curves[k]))}]
        panels.append(_panel(sources[k], line, dots, at, end, domain))
    starts = range(0, len(panels), _MAX_PANELS)
    pieces = [{"concat": panels[k : k + _MAX_PANELS], "columns": _COLUMNS, "spacing": 18} for k in starts]
    return "\n".join(svg(piece) for piece in pieces)


def _panel(
    name: str,
    line: list[dict[str, float]],
    dots: list[dict[str, float]],
    at: list[dict[str, float]],
    end: float,
    domain: list[float],
) -> dict[str, Any]:
    x = {
        "field": "share",
        "type": "quantitative",
        "title": None,
        "axis": {"format": ".0%" if end >= 0.05 else ".1%", "tickCount": 3, "grid": False},
        "scale": {"domain": [0, end], "nice": False},
    }
    y = {
        "field": "loss",
        "type": "quantitative",
        "title": None,
        "axis": {"tickCount": 4},
        "scale": {"domain": domain, "zero": False, "clamp": True},
    }
    return {
        "title": {"text": name, "fontSize": 12, "fontWeight": 600, "color": INK, "anchor": "start", "limit": 170},
        "width": 182,
        "height": 110,
        "layer": [
            {
                "data": {"values": dots},
                "mark": {
                    "type": "point",
                    "aria": False,
                    "filled": True,
                    "size": 9,
                    "color": PALE,
                    "opacity": 0.8,
                    "clip": True,
                },
                "encoding": {"x": x, "y": y},
            },
            {
                "data": {"values": line},
                "mark": {"type": "area", "color": _FOUND, "opacity": 0.15, "clip": True},
                "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
            },
            {
                "data": {"values": line},
                "mark": {"type": "line", "color": _FOUND, "strokeWidth": 2, "clip": True},
                "encoding": {"x": x, "y": y},
            },
            {
                "data": {"values": at},
                "mark": {
                    "type": "point",
                    "shape": "diamond",
                    "filled": True,
                    "size": 70,
                    "color": PALETTE[1],
                    "opacity": 1,
                },
                "encoding": {"x": x, "y": y},
            },
        ],
    }


def scatter(fit: "Fitted", unit: str, at_most: int = _MAX_DRAWN) -> str:
    """What was foretold for each run by what was fitted to other runs, against what it lost, around the diagonal."""
    drawn = sample(fit.losses, at_most)
    rows = [{"measured": float(fit.losses[r]), "foretold": float(fit.held_out[r])} for r in drawn]
    ends = [
        min(float(fit.losses.min()), float(fit.held_out.min())),
        max(float(fit.losses.max()), float(fit.held_out.max())),
    ]
    scale = {"zero": False, "domain": ends, "nice": True}
    x = {"field": "measured", "type": "quantitative", "title": f"measured {unit}", "scale": scale}
    y = {"field": "foretold", "type": "quantitative", "title": "foretold from other runs", "scale": scale}
    return svg(
        {
            "width": 340,
            "height": 300,
            "layer": [
                {
                    "data": {"values": [{"measured": end, "foretold": end} for end in ends]},
                    "mark": {"type": "line", "color": INK, "strokeDash": [4, 3], "strokeWidth": 1},
                    "encoding": {"x": x, "y": y},
                },
                {
                    "data": {"values": rows},
                    "mark": {
                        "type": "point",
                        "filled": True,
                        "size": 26,
                        "aria": False,
                        "color": _FOUND,
                        "opacity": 0.6,
                    },
                    "encoding": {"x": x, "y": y},
                },
            ],
        }
    )


def forest(verified: "Sequence[Verified]", unit: str) -> str:
    """How much less the mixture found loses than each other that was verified, with its interval."""
    rows = [
        {"name": row.name, "saved": row.saved, "low": row.low, "high": row.high, "verdict": verdict}
        for row in verified
        if row.saved is not None and row.low is not None and row.high is not None
        for verdict in ["better" if row.low > 0 else "worse" if row.high < 0 else "no difference shown"]
    ]
    y = {"field": "name", "type": "nominal", "sort": None, "title": None, "axis": {"domain": False, "ticks": False}}
    x: dict[str, Any] = {
        "field": "saved",
        "type": "quantitative",
        "title": f"{unit} saved by the mixture found  →  better",
    }
    x["axis"] = {"tickCount": 8}
    colour = {
        "field": "verdict",
        "type": "nominal",
        "scale": {"domain": list(VERDICT_COLOURS), "range": list(VERDICT_COLOURS.values())},
        "legend": None,
    }
    return svg(
        {
            "width": 700,
            "height": {"step": 40},
            "data": {"values": rows},
            "layer": [
                {
                    "data": {"values": [{"zero": 0}]},
                    "mark": {"type": "rule", "color": INK},
                    "encoding": {"x": {"field": "zero", "type": "quantitative"}},
                },
                {
                    "mark": {"type": "rule", "strokeWidth": 3},
                    "encoding": {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}, "color": colour},
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
                    "encoding": {"y": y, "x": x, "color": colour},
                },
            ],
        }
    )

"""The report's charts, as SVG text: Vega-Lite specifications rendered offline."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import vl_convert

from assay.comparison.result import multiplier_estimate
from assay.terminal import printable

VERDICT_COLOURS = {"better": "#0b7a5b", "worse": "#b3361e", "no difference shown": "#6b7280", "yardstick": "#374151"}
INK, GRID, PALE = "#1f2933", "#e5e7eb", "#c3cad4"
PALETTE = [
    "#2f6db5",
    "#e08a1e",
    "#4c9f70",
    "#b84a62",
    "#7c62b0",
    "#7f8c3b",
    "#3aa6a6",
    "#c46f3e",
    "#5f7383",
    "#9c5f9c",
]
_OTHER = "everything else"
_MAX_SOURCES = 9
_CONFIG = {
    "background": None,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "gridColor": GRID,
        "domainColor": GRID,
        "tickColor": GRID,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 260,
    },
    "legend": {"labelFontSize": 12, "labelLimit": 420, "titleFontSize": 12, "symbolType": "square"},
    "text": {"color": INK, "fontSize": 12},
}


def signed(value: float) -> str:
    """An effect with its sign, three decimals and a minus as wide as the plus."""
    return f"{value:+.3f}".replace("-", "−")


def forest(arms: Sequence[Mapping[str, Any]]) -> str:
    """Effect of every arm with its interval, around the line of no effect."""
    rows = [
        {"arm": a["name"], **a["effect"], "verdict": a["verdict"], "label": signed(a["effect"]["estimate"])}
        for a in arms
    ]
    y = {"field": "arm", "type": "nominal", "sort": None, "title": None, "axis": {"domain": False, "ticks": False}}
    title = "bits per byte saved against random  →  better"
    x = {"field": "estimate", "type": "quantitative", "title": title, "axis": {"tickCount": 9}}
    colour = {
        "field": "verdict",
        "type": "nominal",
        "scale": {"domain": list(VERDICT_COLOURS), "range": list(VERDICT_COLOURS.values())},
        "legend": None,
    }
    return svg(
        {
            "width": 800,
            "height": {"step": 44},
            "data": {"values": rows},
            "layer": [
                {"data": {"values": [{"zero": 0}]}, "mark": {"type": "rule", "color": INK}, "encoding": _x("zero")},
                {
                    "mark": {"type": "rule", "strokeWidth": 3},
                    "encoding": {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}, "color": colour},
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
                    "encoding": {"y": y, "x": x, "color": colour},
                },
                {
                    "mark": {"type": "text", "dy": -14},
                    "encoding": {"y": y, "x": x, "text": {"field": "label"}},
                },
            ],
        }
    )


def curve(points: Sequence[Mapping[str, Any]], arms: Sequence[Mapping[str, Any]], budget: int) -> str:
    """The random arm's loss over its budgets, and where each arm's loss meets it."""
    losses = [p["low"] for p in points] + [p["high"] for p in points] + [a["bits_per_byte"] for a in arms]
    margin = 0.05 * (max(losses) - min(losses) or 1)
    scale = {"domain": [min(losses) - margin, max(losses) + margin], "nice": False, "zero": False}
    first, last = points[0]["tokens"], points[-1]["tokens"]
    x = {
        "field": "tokens",
        "type": "quantitative",
        "scale": {"type": "log", "domain": [first, last * 1.02], "nice": False},
        "title": "tokens trained on",
        "axis": {"format": ".3~s", "values": [p["tokens"] for p in points], "grid": False},
    }
    y = {
        "field": "bits_per_byte",
        "type": "quantitative",
        "scale": scale,
        "title": "held-out bits per byte (lower is better)",
    }
    lines = [
        {
            "label": f"{arm['name']}  {multiplier_estimate(arm['multiplier'])}",
            "bits_per_byte": arm["bits_per_byte"],
            "start": budget,
            "end": min(last, max(first, arm["multiplier"]["estimate"] * budget)) if arm["multiplier"] else last,
            "verdict": arm["verdict"],
            "at": budget,
        }
        for arm in arms
    ]
    colour = {
        "field": "verdict",
        "type": "nominal",
        "scale": {"domain": list(VERDICT_COLOURS), "range": list(VERDICT_COLOURS.values())},
        "legend": None,
    }
    at_loss = {**y, "field": "bits_per_byte"}
    labels = _spread(lines, 0.055 * (max(losses) - min(losses) or 1))
    label = {
        "x": {**x, "field": "at"},
        "y": {**y, "field": "label_at"},
        "text": {"field": "label"},
        "color": colour,
    }
    return svg(
        {
            "width": 800,
            "height": 300,
            "layer": [
                {
                    "data": {"values": list(points)},
                    "mark": {"type": "area", "color": PALE, "opacity": 0.45},
                    "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
                },
                {
                    "data": {"values": list(points)},
                    "mark": {"type": "line", "color": INK, "point": {"color": INK, "size": 40}},
                    "encoding": {"x": x, "y": y},
                },
                {
                    "data": {"values": lines},
                    "mark": {"type": "rule", "strokeDash": [5, 4], "strokeWidth": 1.5},
                    "encoding": {"x": {**x, "field": "start"}, "x2": {"field": "end"}, "y": at_loss, "color": colour},
                },
                {
                    "data": {"values": lines},
                    "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
                    "encoding": {"x": {**x, "field": "at"}, "y": at_loss, "color": colour},
                },
                {
                    "data": {"values": [line for line in labels if line["end"] > budget]},
                    "mark": {"type": "text", "align": "right", "dx": -10},
                    "encoding": label,
                },
                {
                    "data": {"values": [line for line in labels if line["end"] <= budget]},
                    "mark": {"type": "text", "align": "left", "dx": 10},
                    "encoding": label,
                },
                {
                    "data": {"values": [{**points[0], "text": "random"}]},
                    "mark": {"type": "text", "align": "left", "dx": 8, "dy": -8},
                    "encoding": {"x": x, "y": y, "text": {"field": "text"}},
                },
            ],
        }
    )


def composition(pool: Mapping[str, float], arms: Mapping[str, Mapping[str, float]]) -> str:
    """Share of tokens by source, the pool above each arm; small sources are put together."""
    weight: Counter[str] = Counter()
    for shares in (pool, *arms.values()):
        total = sum(shares.values()) or 1.0
        weight.update({source: tokens / total for source, tokens in shares.items()})
    named = [source for source, _ in sorted(weight.items(), key=lambda item: (-item[1], item[0]))[:_MAX_SOURCES]]
    domain = [*named, _OTHER] if len(weight) > len(named) else named
    rows = []
    for label, shares in {"pool": pool, **arms}.items():
        total = sum(shares.values()) or 1.0
        merged: Counter[str] = Counter()
        for source, tokens in shares.items():
            merged[source if source in named else _OTHER] += tokens / total  # type: ignore[assignment]
        rows += [{"arm": label, "source": s, "share": merged[s], "order": k} for k, s in enumerate(domain) if merged[s]]
    return svg(
        {
            "width": 800,
            "height": {"step": 34},
            "data": {"values": rows},
            "mark": {"type": "bar", "size": 24},
            "encoding": {
                "y": {
                    "field": "arm",
                    "type": "nominal",
                    "sort": None,
                    "title": None,
                    "axis": {"domain": False, "ticks": False},
                },
                "x": {
                    "field": "share",
                    "type": "quantitative",
                    "scale": {"domain": [0, 1]},
                    "axis": {"format": "%", "tickCount": 5},
                    "title": "share of tokens",
                },
                "order": {"field": "order"},
                "color": {
                    "field": "source",
                    "type": "nominal",
                    "scale": {"domain": domain, "range": [*PALETTE[: len(named)], PALE]},
                    "legend": {"title": None, "orient": "bottom", "columns": 2},
                },
            },
        }
    )


def histogram(data: Mapping[str, Any], title: str, cut: float | None) -> str:
    """Scores of the pool and of the chosen documents, each scaled to its own sum, with the lowest chosen score."""
    edges = data["edges"]
    scale = {"type": "symlog", "constant": data["scale"], "domain": [edges[0], edges[-1]], "nice": False, "zero": False}
    rows = []
    for label, counts in (("pool", data["pool"]), ("chosen", data["chosen"])):
        total = sum(counts) or 1
        rows += [
            {"low": low, "high": high, "share": count / total, "of": label}
            for low, high, count in zip(edges, edges[1:], counts, strict=False)
        ]
    layers: list[dict[str, Any]] = [
        {
            "data": {"values": rows},
            "mark": {"type": "bar", "opacity": 0.75, "binSpacing": 0},
            "encoding": {
                "x": {
                    "field": "low",
                    "type": "quantitative",
                    "bin": {"binned": True},
                    "title": title,
                    "scale": scale,
                    "axis": {"values": _ticks(edges), "format": ".2~s", "grid": False},
                },
                "x2": {"field": "high"},
                "y": {"field": "share", "type": "quantitative", "stack": None, "title": None, "axis": {"format": "%"}},
                "color": {
                    "field": "of",
                    "type": "nominal",
                    "scale": {"domain": ["pool", "chosen"], "range": [PALE, PALETTE[0]]},
                    "legend": {"title": None, "orient": "bottom"},
                },
            },
        }
    ]
    if cut is not None and edges[0] < cut < edges[-1]:
        layers.append(
            {
                "data": {"values": [{"cut": cut, "text": "lowest chosen"}]},
                "layer": [
                    {"mark": {"type": "rule", "strokeDash": [4, 3], "color": INK}, "encoding": _x("cut")},
                    {
                        "mark": {"type": "text", "align": "center", "dy": -8},
                        "encoding": {**_x("cut"), "y": {"value": 0}, "text": {"field": "text"}},
                    },
                ],
            }
        )
    return svg({"width": 360, "height": 160, "layer": layers})


def _x(field: str) -> dict[str, Any]:
    return {"x": {"field": field, "type": "quantitative"}}


def _ticks(edges: Sequence[float]) -> list[float]:
    """Five edges, evenly spaced on the axis."""
    return [edges[round(k * (len(edges) - 1) / 4)] for k in range(5)]


def _spread(lines: Sequence[Mapping[str, Any]], gap: float) -> list[dict[str, Any]]:
    """The same lines with `label_at`, so that labels of nearly equal losses do not lie on each other."""
    spread: list[dict[str, Any]] = []
    for line in sorted(lines, key=lambda item: item["bits_per_byte"]):
        lowest = spread[-1]["label_at"] + gap if spread else -float("inf")
        spread.append({**line, "label_at": max(line["bits_per_byte"], lowest)})
    return spread


def svg(spec: dict[str, Any]) -> str:
    """A Vega-Lite specification, drawn in the report's style."""
    return vl_convert.vegalite_to_svg(
        {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "config": _CONFIG, **_drawable(spec)}
    )


def _drawable(value: Any) -> Any:
    """The same with signs for what no SVG can hold: the renderer ends the whole process over a control character."""
    if isinstance(value, dict):
        return {key: _drawable(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_drawable(v) for v in value]
    return printable(value) if isinstance(value, str) else value

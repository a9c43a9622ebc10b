"""What is known of how the rungs of the proxy ladder agree: on these very arms, where another rung was run on them."""

from collections.abc import Mapping, Sequence
from typing import Any

from assay.artifacts.comparison import Comparison
from assay.artifacts.fingerprint import fingerprint
from assay.artifacts.manifest import Manifest
from assay.artifacts.workspace import Workspace
from assay.comparison.agreement import agreement
from assay.errors import ArtifactError
from assay.proxy import Proxy

_RUNG_0 = "Rung 0 of the proxy ladder, an n-gram model: it sees which words follow which, and nothing that needs more. "
_RUNG_1 = "Rung 1 of the proxy ladder, a transformer much smaller than what the text is for. "
_UNKNOWN = "No other rung was run on these arms; `assay compare recipe.yaml --set proxy={other}` does. "
_ELSEWHERE = "On nine other arms, two targets, rungs 0 and 1 put 70 of 72 pairs in the same order (docs/evidence.md)."


def on_other_rungs(
    parameters: Mapping[str, Any], inputs: Mapping[str, str], version: int, workspace: Workspace
) -> dict[str, Comparison]:
    """Comparisons of the same arms, pool and targets by other proxies, in order of what stands for their runs.

    Args:
        parameters, inputs, version: of the comparison that asks; its runs and guards are all that counts of `inputs`.
    """
    found = {}
    for path in workspace.manifests("comparison-*"):
        try:
            manifest = Manifest.load(path.parent)
            is_other = manifest.version == version and manifest.parameters["proxy"] != parameters["proxy"]
            if is_other and _is_same_question(manifest, parameters, inputs):
                runs = {label: mark for label, mark in manifest.inputs.items() if not label.startswith("rung.")}
                other = Comparison(path.parent, manifest)
                _ = other.content
                found[fingerprint("rung", version, manifest.parameters, runs)] = other
        except (ArtifactError, OSError, ValueError):  # damaged, or being deleted: what is not there says nothing
            continue
    return dict(sorted(found.items()))


def compare_rungs(
    others: Sequence[Comparison], proxy: Proxy, arms: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """How other proxies that were run on the same arms, pool and targets agree with this one.

    Args:
        others: of `on_other_rungs`. arms: this comparison's results, as in comparison.json.

    Returns:
        for each of them its `proxy` with `rung`, `is_lower` (than this one) and the figures of `agreement`; in order.
    """
    found = []
    for other in (comparison.content for comparison in others):
        is_lower = (other["proxy"]["rung"], _size(other["proxy"])) < (proxy.rung, _size(proxy.parameters()))
        lower, upper = (other["arms"], arms) if is_lower else (arms, other["arms"])
        figures = agreement(lower, upper)
        if figures is not None:
            found.append({"proxy": other["proxy"], "is_lower": is_lower, **figures})
    return found


def trust(proxy: Proxy, rungs: Sequence[Mapping[str, Any]]) -> str:
    """What the report says of this rung and how it agrees with others."""
    text = _RUNG_0 if proxy.rung == 0 else _RUNG_1
    for other in rungs:
        name = " ".join(str(other["proxy"][key]) for key in ("name", "size") if key in other["proxy"])
        upper = "this rung" if other["is_lower"] else "that rung"
        text += (
            f"On the same arms, {name} (rung {other['proxy']['rung']}) puts {other['same_order']} of {other['pairs']} "
            f"pairs in the same order, and {other['told_apart_same_order']} of the {other['told_apart']} that {upper} "
            f"tells apart. "
        )
    if not rungs:
        text += _UNKNOWN.format(other="gpt" if proxy.rung == 0 else "ngram")
    return text + _ELSEWHERE


def _is_same_question(manifest: Manifest, parameters: Mapping[str, Any], inputs: Mapping[str, str]) -> bool:
    """Whether two comparisons differ in their proxies alone."""
    asked = [{k: v for k, v in p.items() if k != "proxy"} for p in (manifest.parameters, parameters)]
    guards = [{k: v for k, v in i.items() if k.startswith("guard.")} for i in (manifest.inputs, inputs)]
    return asked[0] == asked[1] and guards[0] == guards[1]


def _size(proxy: Mapping[str, Any]) -> float:
    """A size as in "5M", to tell lower from upper among neural rungs; 0 for n-grams."""
    return float(str(proxy.get("size", "0")).removesuffix("M"))

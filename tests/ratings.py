"""Planted quality: texts in which a share of the words is good, judged by that share."""

from typing import Any

import numpy as np


def planted(num_documents: int, seed: int = 0, length: int = 60) -> tuple[list[str], np.ndarray]:
    """Texts, and the share of good words in each [documents], uniform."""
    rng = np.random.default_rng(seed)
    shares = rng.random(num_documents)
    texts = []
    for share in shares:
        is_good = rng.random(length) < share
        texts.append(" ".join(f"{'good' if good else 'bad'}{rng.integers(40)}" for good in is_good))
    return texts, shares


def judgement_rows(num_pairs: int, seed: int = 0, criterion: str = "style", noise: float = 0.0) -> list[dict[str, Any]]:
    """Pairs of planted texts with the share of votes for the second, as `QuRating` reads them."""
    texts, shares = planted(num_pairs, seed)
    rng = np.random.default_rng(seed + 1)
    first, second = rng.integers(num_pairs, size=(2, num_pairs))
    second = np.where(first == second, (second + 1) % num_pairs, second)
    chances = 1 / (1 + np.exp(12 * (shares[first] - shares[second])))
    chances = np.where(rng.random(num_pairs) < noise, 1 - chances, chances)
    rows = zip(first, second, chances, strict=True)
    return [
        {"id": f"p{k}", "text": texts[a], "text_b": texts[b], criterion: float(p)} for k, (a, b, p) in enumerate(rows)
    ]


def label_rows(num_documents: int, seed: int = 0) -> list[dict[str, Any]]:
    """Planted texts with notes by two criteria and a domain, as `DataMan` reads them."""
    texts, shares = planted(num_documents, seed)
    notes = np.minimum(1 + (5 * shares).astype(int), 5)
    domains = ["law" if k % 2 else "coding" for k in range(num_documents)]
    return [
        {
            "id": f"l{k}",
            "text": f"{text} " + " ".join(f"{domain}{k % 7}" for _ in range(8)),
            "clarity": int(note),
            "overall_score": f"{note}/5",
            "domain": domain,
        }
        for k, (text, note, domain) in enumerate(zip(texts, notes, domains, strict=True))
    ]

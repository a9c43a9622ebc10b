"""Mixtures: how much of each source, in which phase. All of it under `assay.mix`; docs/mixture-search.md begins.

- A table of runs, anybody's: `read_runs`, `fit`; `fit_law`, `critical_ratio`, `relevance`.
- A recipe: `search`. With `simulate`, which tells what any mixture loses on n-gram models: `climb`, `ablate`,
  `ablate_tail`, `response_curve`, `doremi`, `learn_skills`, `skillit`, `critical_share`.
- Runs to do with a trainer of one's own: `design`, `runs_needed`, `propose`, `write_runs`.
- What is chosen then: `available`, `schedule`, `Phase`, `write_phases`. Models instead of text: `merge`.
"""

from assay.api.ablating import ablate, response_curve
from assay.api.continuing import critical_share
from assay.api.designing import design
from assay.api.fitting import fit_mixture as fit
from assay.api.merging import merge
from assay.api.mixture_output import search
from assay.api.online import doremi, learn_skills, skillit
from assay.api.scheduling import available, schedule, write_phases
from assay.api.simulating import simulations as simulate
from assay.api.tails import ablate_tail
from assay.mixtures.climb import climb
from assay.mixtures.cmr import critical_ratio
from assay.mixtures.design import propose, runs_needed
from assay.mixtures.laws import fit as fit_law
from assay.mixtures.relevance import relevance
from assay.mixtures.runs import Runs, read_runs, write_runs
from assay.mixtures.schedule import Phase

__all__ = [
    "Phase",
    "Runs",
    "ablate",
    "ablate_tail",
    "available",
    "climb",
    "critical_ratio",
    "critical_share",
    "design",
    "doremi",
    "fit",
    "fit_law",
    "learn_skills",
    "merge",
    "propose",
    "read_runs",
    "relevance",
    "response_curve",
    "runs_needed",
    "schedule",
    "search",
    "simulate",
    "skillit",
    "write_phases",
    "write_runs",
]

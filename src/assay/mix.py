"""Mixtures: how much of each source, in which phase. `assay.mix.fit`, `assay.mix.search`, and the methods behind them.

From a table of runs: `read_runs`, `fit`, `fit_law`, `critical_ratio`, `relevance`. From a recipe: `search`; and with
`simulate`, which answers what any mixture loses, `ablate`, `response_curve`, `climb`, `doremi`, `skillit`. For runs of
one's own trainer: `design`, `runs_needed`, `propose`. Afterwards: `available`, `schedule`, `write_phases`.
"""

"""Training-time rules: what a run does with its text beside reading it once in random order. No torch is needed here.

    changes   rules                                   with
    order     rs2, seta, infobatch, curriculum, upsample
    losses    reweight
    text      meco
    repeats   epochs
    weights   ema, lawa

Rules that change different things go together in one run (`Rules`). A new one is one class and one line in the table.
"""

from assay.proxy.rules.averaging import EMA, LAWA
from assay.proxy.rules.combining import Rules, rules_of
from assay.proxy.rules.curriculum import Curriculum, Upsample
from assay.proxy.rules.metadata import MeCo
from assay.proxy.rules.repeating import Epochs
from assay.proxy.rules.reweighting import Reweight
from assay.proxy.rules.sampling import RS2, InfoBatch, SeTa
from assay.proxy.rules_base import Rule

RULES: dict[str, type[Rule]] = {
    kind.name: kind for kind in (Curriculum, EMA, Epochs, InfoBatch, LAWA, MeCo, Reweight, RS2, SeTa, Upsample)
}

__all__ = ["RULES", "Rule", "Rules", "rules_of"]

"""Couplings: which source sample is paired with which data sample; they know no path (T52).

A `Coupling` rearranges or draws the sources of a batch. What makes pairs in other ways - `pooled` over several batches,
`SemiDiscrete` over a whole data set, a model's own ends (reflow) - makes them outside and hands them to the objective
as `eps`. `FromData` and any other `Source` change the law of eps itself.
"""

from obverse.objective.couplings.bias import Bias, bias
from obverse.objective.couplings.bridge import SchrodingerBridge, bridged
from obverse.objective.couplings.costs import Conditioned, Cost, FromFunction, Squared
from obverse.objective.couplings.coupling import Batch, Coupling, Independent
from obverse.objective.couplings.entropic import Sinkhorn, Unbalanced
from obverse.objective.couplings.exact import ExactOT, Partial, Within
from obverse.objective.couplings.matching import assignment
from obverse.objective.couplings.pools import Pool, pooled
from obverse.objective.couplings.semidiscrete import Pairs, SemiDiscrete
from obverse.objective.couplings.sources import FromData, Source

__all__ = [
    "Batch",
    "Bias",
    "Conditioned",
    "Cost",
    "Coupling",
    "ExactOT",
    "FromData",
    "FromFunction",
    "Independent",
    "Pairs",
    "Partial",
    "Pool",
    "SchrodingerBridge",
    "SemiDiscrete",
    "Sinkhorn",
    "Source",
    "Squared",
    "Unbalanced",
    "Within",
    "assignment",
    "bias",
    "bridged",
    "pooled",
]

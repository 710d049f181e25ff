"""Laws: sentences that are true of every member of a family, asked of ours and of anybody's."""

import obverse.laws.couplings
import obverse.laws.grids
import obverse.laws.inputs
import obverse.laws.metrics
import obverse.laws.nets
import obverse.laws.predictions
import obverse.laws.schedules
import obverse.laws.solvers
import obverse.laws.strengths
import obverse.laws.times
import obverse.laws.weightings  # noqa: F401
from obverse.laws.law import Law, Verdict, check, laws_of
from obverse.laws.resolve import resolve

__all__ = ["Law", "Verdict", "check", "laws_of", "resolve"]

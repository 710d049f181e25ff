"""Other libraries' conventions, both ways: their schedulers as tables, our tables as schedulers."""

from obverse.interop.between import Between
from obverse.interop.diffusers import Foreign, foreign, schedulers
from obverse.interop.export import Exported, export
from obverse.interop.match import Match, match
from obverse.interop.refusals import NotLinear
from obverse.interop.xray import Xray, look, xray

__all__ = [
    "Between",
    "Exported",
    "Foreign",
    "Match",
    "NotLinear",
    "Xray",
    "export",
    "foreign",
    "look",
    "match",
    "schedulers",
    "xray",
]

"""The command line: one verb a file, found here without importing any of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from io import TextIOWrapper

VERBS = {
    "train": "train a model on a path or a named data set",
    "sample": "draw from a trained model: pictures, arrays, the film of the trajectory",
    "evaluate": "measure samples against held-out data, beside real against real",
    "advise": "measure every method on a trained model, and say which to use for how many network calls",
    "tune": "fit a sampler of a few network calls to a trained model",
    "report": "write one self-contained page about a trained model",
    "demo": "train on real digits, sample, measure and report: three minutes",
    "reproduce": "train a run again from its folder alone, and say whether every byte is the same",
    "inspect": "show a run, a schedule, or what training recipes weigh each log-SNR with",
    "compare": "say whether two samplers are the same algorithm, diffusers' schedulers too, and where they part",
    "list": "show every member of every family",
    "check": "put one's own schedule, solver, weighting ... through the laws of its family",
}

_HEAD = """obverse - diffusion models and Gaussian flow matching are the same thing

usage: obverse VERB ...          obverse VERB --help says more
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; the exit code is 0, 1 (a check failed), 2 (asked wrongly) or 128 + signal."""
    if argv is None and isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr is: a terminal may not know every letter
    argv = [*(sys.argv[1:] if argv is None else argv)]  # the verb `list` is a module here
    verb = argv[0] if argv else "--help"
    if verb in ("-h", "--help", "help"):
        width = max(map(len, VERBS))
        print(_HEAD, *(f"  {name:<{width}}  {about}" for name, about in VERBS.items()), sep="\n")
        return 0
    if verb in ("-V", "--version"):
        from obverse import __version__

        print(f"obverse {__version__}")
        return 0
    if verb not in VERBS:
        near = get_close_matches(verb, VERBS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        print(f"obverse: no verb {verb!r}{hint}\nobverse --help lists them: {', '.join(VERBS)}.", file=sys.stderr)
        return 2
    return _guarded(verb, argv[1:])


def _guarded(verb: str, argv: list[str]) -> int:
    """The verb's exit code; what obverse refuses is one short message, not a traceback."""
    from obverse.cli.console import warned
    from obverse.ground.errors import NonFinite, ObverseError

    try:
        with warned(verb):
            code: int = import_module(f"obverse.cli.{verb}").main(argv)
        return code
    except ObverseError as error:
        print(f"obverse {verb}: {error}", file=sys.stderr)
        return 1 if isinstance(error, NonFinite) else 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has seen enough
        sys.stderr.close()
        return 0

"""The files of a draw: a picture, the numbers, the film, a table, sounds."""

from __future__ import annotations

import csv
import io
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from obverse.cli.reel import Reel
from obverse.ground.errors import InvalidArgument

if TYPE_CHECKING:
    from torch import Tensor

    from obverse.recipes import Trained

SOUNDS = 64  # that become files of their own, at most


def write(
    trained: Trained, x: Tensor, labels: Tensor | None, numbers: range, reel: Reel, out: Path, seed: int
) -> list[Path]:
    """The picture, the numbers and the film of a draw; the files' paths."""
    import numpy as np

    from obverse.data import png, sheet, wav
    from obverse.recipes.build import pictured, shown

    facts, seen = shown(trained.recipe, trained.facts, x)
    raw = facts.scaling.undo(seen)
    arrays: dict[str, Any] = {"x": raw.numpy(), "seed": seed, "sample": np.array(numbers)}
    if labels is not None:
        arrays["label"] = labels.numpy()
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    files = {".npz": packed.getvalue()}
    out.parent.mkdir(parents=True, exist_ok=True)
    films: list[Path] = []
    try:
        files[".png"] = png(
            sheet(*pictured(trained.recipe, facts, [seen]), columns=min(16, len(facts.classes)) or None)
        )
        films = reel.write(out, partial(pictured, trained.recipe, trained.facts))
    except InvalidArgument as error:  # data of a shape that has no picture has numbers all the same
        print(f"no picture: {error}", file=sys.stderr)
    if facts.columns:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(facts.table(x, labels, trained.recipe.label))
        files[".csv"] = text.getvalue().encode()
    if facts.rate and raw.ndim == 3:
        files |= {f"-{number}.wav": wav(one, facts.rate) for number, one in zip(numbers[:SOUNDS], raw, strict=False)}
    for suffix, data in files.items():
        out.with_name(out.name + suffix).write_bytes(data)
    return [*(out.with_name(out.name + suffix) for suffix in files), *films]

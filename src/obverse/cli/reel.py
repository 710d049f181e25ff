"""The film of a draw: what is kept of every step, and the file that it becomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from obverse.path import Estimate
    from obverse.sampler import Round, Step

Show = Literal["state", "data", "noise"]
Film = Literal["gif", "mp4", "sheet", "none"]

SAMPLES = 64  # of a film
ROWS, COLUMNS = 10, 12  # of a contact sheet, at most
LOUD = 3.0  # standard deviations that are drawn as black and white where noise is shown


class Frame(NamedTuple):
    """One moment of a film.

    x: (samples *data). logsnr: where on the path; None where every sample is somewhere else.
    """

    x: Tensor
    logsnr: float | None


@dataclass
class Reel:
    """Frames, as they come in.

    Args:     show: the states, divided by (alpha² + sigma²)^½ so that they look alike on every schedule; or what the
                  model took for the data or the noise in them.
              film: the file that is to be made.
    """

    show: Show
    film: Film
    frames: list[Frame] = field(default_factory=list)
    _latest: Estimate | None = None

    def step(self, step: Step) -> None:
        """Keep what is shown of one step."""
        if self.film == "none":
            return
        if self.show == "state":
            frame = Frame(step.x_t[:SAMPLES].cpu() / float(step.level.r), float(step.level.logsnr))
            if self.frames and self.frames[-1].logsnr == frame.logsnr:  # corrected where it was
                self.frames.pop()
            self.frames.append(frame)
        elif step.estimate is not None and step.estimate is not self._latest:  # several states may follow one call
            self._latest = e = step.estimate
            seen = type(e)(e.x_t[:SAMPLES], e.level, e.output[:SAMPLES], e.face)
            self.frames.append(Frame((seen.data if self.show == "data" else seen.noise).cpu(), float(e.level.logsnr)))

    def round(self, attempt: Round) -> None:
        """Keep where everybody is after one attempt of an adaptive run."""
        from obverse.ground.shapes import against

        if self.film == "none":
            return
        x_t = (attempt.x_t / against(attempt.level.r, attempt.x_t)).cpu()
        who = attempt.who.cpu()
        shown = who < SAMPLES
        x = self.frames[-1].x.clone() if self.frames else x_t[shown]  # everybody takes part in the first
        x[who[shown]] = x_t[shown]
        self.frames.append(Frame(x, None))

    def end(self, x: Tensor) -> None:
        """The samples, where the frames do not lead there by themselves."""
        if self.film != "none" and self.frames and (self.show == "data" or self.frames[-1].logsnr is None):
            self.frames.append(Frame(x[:SAMPLES], float("inf")))

    @property
    def shown(self) -> list[Frame]:
        """The frames that the file has: all, or as many as a contact sheet has columns, evenly."""
        last = len(self.frames) - 1
        if self.film != "sheet" or last < COLUMNS:
            return self.frames
        return [self.frames[round(k * last / (COLUMNS - 1))] for k in range(COLUMNS)]

    @property
    def words(self) -> str:
        """What the columns of a contact sheet are."""
        if any(frame.logsnr is None for frame in self.shown):
            return f"columns: {len(self.shown)} of {len(self.frames)} rounds, every sample at a level of its own"
        places = ", ".join(f"{frame.logsnr:.3g}" for frame in self.shown)
        return f"columns: {'state' if self.show == 'state' else 'estimate of the ' + self.show} at log-SNR {places}"

    def write(self, out: Path, seen: Callable[[Sequence[Tensor]], list[Tensor]] = list) -> list[Path]:
        """The file, beside the others of a draw; none where there is nothing to show.

        Args:     seen: what the frames look like; default as they are.
        Raises:   InvalidArgument for data of a shape that has no picture; MissingExtra for mp4 without ffmpeg.
        """
        from obverse.data import contact, film, png, video

        frames = [frame.x for frame in self.shown]
        if not frames:
            return []
        low, high = (-LOUD, LOUD) if self.show == "noise" and frames[0].ndim == 4 else (None, None)
        frames = seen(frames)
        if self.film == "mp4":
            return [video(frames, out.with_name(out.name + ".mp4"), low=low, high=high)]
        if self.film == "gif":
            suffix, data = ".gif", film(frames, low=low, high=high)
        else:
            rows = ROWS if frames[0].ndim > 2 else SAMPLES
            suffix, data = "-sheet.png", png(contact([x[:rows] for x in frames], low=low, high=high))
        path = out.with_name(out.name + suffix)
        path.write_bytes(data)
        return [path]

"""What a person sees, a script reads, or nobody: bars, lines or JSON."""

from __future__ import annotations

import io
import json
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from inspect import cleandoc
from itertools import takewhile
from shutil import get_terminal_size
from textwrap import fill
from typing import Any

import tyro

from obverse.ground.errors import InvalidArgument

BLINK = 0.05  # seconds between two sights of a bar: a step can be shorter than drawing it
PATIENCE = 2.0  # seconds between lines where there is no terminal to draw a bar on


@dataclass(frozen=True, kw_only=True)
class Talk:
    """How a verb talks.

    Args:
        json: print JSON lines instead of text.
        quiet: print only the result.
        own: a file.py or a module with schedules, solvers ... of one's own, whose names then work here.
    """

    json: bool = False
    quiet: bool = False
    own: str | None = None

    def say(self, text: str) -> None:
        """Something for a person, while at work."""
        if not (self.quiet or self.json):
            print(text, flush=True)

    def result(self, text: str, values: Mapping[str, Any]) -> None:
        """What the verb was asked for: text, or the same as one JSON line."""
        print(json.dumps(values) if self.json else text, flush=True)

    def bar(self, what: str, total: int) -> Bar:
        """A progress bar with an ETA; use as a context."""
        return Bar(self, what, total)


class Bar:
    """Progress of one long thing: a bar on a terminal, a line now and then elsewhere, JSON lines with --json."""

    def __init__(self, talk: Talk, what: str, total: int, done: int = 0) -> None:
        self.talk, self.what, self.total, self.done, self.first = talk, what, total, done, done
        self.begun = self.shown = time.monotonic()
        self.progress: Any = None

    def __enter__(self) -> Bar:
        if sys.stdout.isatty() and not (self.talk.quiet or self.talk.json):
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self.progress = Progress(*columns, TextColumn("{task.fields[note]}"))
            self.progress.start()
            self.task = self.progress.add_task(self.what, total=self.total, completed=self.done, note="")
        return self

    def __exit__(self, *_: object) -> None:
        if self.progress is not None:
            self.progress.update(self.task, completed=self.done)
            self.progress.stop()

    def to(self, done: int, numbers: Mapping[str, float] | None = None) -> None:
        """So much is done; numbers are shown beside it."""
        numbers = numbers or {}
        self.done, now = done, time.monotonic()
        if self.progress is not None:
            if now - self.shown >= BLINK or done >= self.total:
                self.shown = now
                self.progress.update(self.task, completed=done, total=self.total, note=_note(numbers))
            return
        if self.talk.quiet or (now - self.shown < PATIENCE and done < self.total):
            return
        self.shown = now
        if self.talk.json:
            print(json.dumps({"at": self.what, "done": done, "of": self.total, **numbers}), flush=True)
        elif now - self.begun > PATIENCE:
            left = (now - self.begun) / max(1, done - self.first) * (self.total - done)
            print(f"  {self.what} {done}/{self.total}  {_note(numbers)}  {left:.0f} s left", flush=True)


def _note(numbers: Mapping[str, float]) -> str:
    """Numbers in words: loss 0.1234  samples/s 512."""
    return "  ".join(f"{name.replace('_per_second', '/s')} {value:.4g}" for name, value in numbers.items())


@contextmanager
def warned(verb: str) -> Iterator[None]:
    """While this lasts, a warning is one line, shown once, without the place in the code that it came from."""
    said = set[str]()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        words = " ".join(str(message).split())
        if words not in said:
            said.add(words)
            print(f"obverse {verb}: warning: {words}", file=sys.stderr, flush=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def parse(options: type[Any], argv: list[str], verb: str, default: Any = None) -> Any:
    """A verb's options from its words, --help included."""
    prog, about = f"obverse {verb}", _about(cleandoc(options.__doc__ or "").partition("Args:")[0])
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            asked = tyro.cli(options, args=argv, prog=prog, description=about, default=default, config=config)
    except SystemExit as stop:
        if not stop.code:  # --help
            raise
        raise InvalidArgument(f"{_sentence(said.getvalue())} ({prog} --help says more)") from None
    if asked.own is not None:
        from obverse.laws.resolve import imported

        imported(asked.own)
    return asked


def _about(text: str) -> str:
    """Paragraphs in lines of the terminal's width; indented, as tyro joins those that are not."""
    width = get_terminal_size().columns
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))
    return "\n\n".join(fill(words, width, initial_indent="  ", subsequent_indent="  ") for words in paragraphs)


def _sentence(box: str) -> str:
    """What a box of several lines says: its title, its rules and its pointer to --help left out."""
    lines = [line.strip("╭╮╰╯│─ ") for line in box.splitlines()[1:]]
    said = takewhile(lambda line: not line.startswith("For full helptext"), (ln for ln in lines if ln.strip("-")))
    return " ".join(said).strip()

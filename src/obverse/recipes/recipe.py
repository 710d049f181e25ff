"""A whole run, described: frozen, checked, written as JSON, TOML or YAML. Imports no torch."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_type_hints

from obverse.ground.errors import DataError, InvalidArgument, UnknownName
from obverse.train.settings import Training

if TYPE_CHECKING:
    from obverse.train.run import Run

T = TypeVar("T")


@dataclass(frozen=True)
class Recipe:
    """What is trained on what, and how; every choice is a spec (`obverse list` shows the members).

    Args:
        data: a name (digits, fashion-mnist) or a path: a folder or archives of images, sounds or arrays; .npy, .npz,
            .safetensors, IDX, .csv, .parquet, .arrow.
        damaged: refuse what cannot be learnt from, or skip and count it.
        image_size: pixels a side; needed when images differ in size.
        label: the column (tables) or key (.npz) that holds classes.
        columns: of a table: numbers; mixed takes words and missing values too, ordinal with words as ranks.
        length: steps of a sound or a series; needed when they differ in length.
        points: how many are drawn of each point cloud.
        encoder: a folder with an AutoencoderKL of diffusers; its latents are learnt in place of the images.
        augment: what images go through, such as flip, crop:pixels=2, jitter; several with +.
        holdout: share of the samples kept for judging; 0 keeps none.
        conditional: whether each class is learnt apart, if there are classes; else all are as one.
        drop: share of conditions hidden while training, so that guidance works.
        schedule: the path, such as linear, cosine, vp, edm.
        predicts: what the network predicts: data, noise, flow, v, velocity, score, edm.
        time: how it is told where it is: t, data-at-1, logsnr, log-nsr ...
        precondition: how its state is scaled: none, unit-variance, circle.
        net: its architecture, such as unet:width=32, dit, mlp; auto: unet for images and signals, mlp for vectors.
        times: where on the path training looks.
        weighting: how errors count.
        error: what the error of a sample is: square, or huber, pseudo-huber, which outliers pull less.
        recall: share of samples whose network is shown its own estimate of the data, and sees it in sampling too, at
            twice the calls; 0 builds a network that sees none.
        coupling: how data and noise are paired: independent, exact-ot.
        training: steps, rates and intervals.
    """

    data: str = "digits"
    damaged: Literal["refuse", "skip"] = "refuse"
    image_size: int | None = None
    label: str | None = None
    columns: Literal["numbers", "mixed", "ordinal"] = "numbers"
    length: int | None = None
    points: int | None = None
    encoder: str | None = None
    augment: str = "none"
    holdout: float = 0.1
    conditional: bool = True
    drop: float = 0.1
    schedule: str = "linear"
    predicts: str = "flow"
    time: str = "t"
    precondition: str = "none"
    net: str = "auto"
    times: str = "stratified"
    weighting: str = "flow"
    error: str = "square"
    recall: float = 0.0
    coupling: str = "independent"
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        if self.damaged not in ("refuse", "skip"):
            raise InvalidArgument(f"damaged is 'refuse' or 'skip', got {self.damaged!r}.")
        for name in ("holdout", "drop"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidArgument(f"{name} is a share in [0, 1), got {getattr(self, name)} (0.1 is usual).")
        if not 0 <= self.recall <= 1:
            raise InvalidArgument(f"recall is a share in [0, 1], got {self.recall} (0.5 is usual; 0 builds without).")

    def told(self, labels: T) -> T | None:
        """What a model of this recipe is told of labels, or of the names of classes: all, or None.

        Example:
            >>> Recipe(data="digits").told((3, 1)), Recipe(data="digits", conditional=False).told((3, 1))
            ((3, 1), None)
        """
        return labels if self.conditional else None

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a JSON file."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, values: Mapping[str, Any], where: str = "recipe") -> Recipe:
        """The recipe that a mapping describes; what it leaves out is at its default.

        Raises:   UnknownName for a key that does not exist, naming the nearest; InvalidArgument for a bad value.
        """
        made: Recipe = _fill(cls, values, where)
        return made

    @classmethod
    def of_run(cls, run: Run) -> Recipe:
        """The recipe that a run was begun with.

        Raises:   DataError for a run of something else; as `from_json`.
        """
        where = f"{run.folder}/config.json"
        if "recipe" not in run.config:
            raise DataError(f"{where} names no recipe: the run was begun by something else than `obverse train`.")
        return cls.from_json(run.config["recipe"], where)

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """A recipe from a .toml, .yaml or .json file; training's fields under `[training]`."""
        path = Path(path)
        try:
            text = path.read_text()
        except OSError as error:
            raise InvalidArgument(f"{path} cannot be read as a recipe: {error.strerror}.") from None
        try:
            if path.suffix == ".toml":
                values = tomllib.loads(text)
            elif path.suffix in (".yaml", ".yml"):
                import yaml

                values = yaml.safe_load(text) or {}
            else:
                values = json.loads(text)
        except ValueError as error:
            raise InvalidArgument(f"{path} is not valid {path.suffix[1:] or 'JSON'}: {error}.") from None
        except Exception as error:  # yaml's errors share no base with ValueError
            raise InvalidArgument(f"{path} is not valid YAML: {str(error).splitlines()[0]}.") from None
        if not isinstance(values, dict):
            raise InvalidArgument(f"{path} holds a {type(values).__name__}; a recipe is a table of names and values.")
        values.pop("reached", None)  # what a recipe of the shelf measured
        return cls.from_json(values, path.name)


def _fill(cls: Any, values: Mapping[str, Any], where: str) -> Any:
    hints = get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}
    filled: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise UnknownName(f"key of {where}", key, known)
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, Mapping):
                raise InvalidArgument(f"{where}: {key} is a table of names and values, got {value!r}.")
            filled[key] = _fill(hints[key], value, f"{where}.{key}")
        else:
            filled[key] = _value(value, hints[key], f"{where}: {key}")
    return cls(**filled)


def _value(value: Any, hint: Any, where: str) -> Any:
    """A value of a file, checked against the field's type; whole numbers serve as floats, lists as tuples."""
    options: tuple[Any, ...] = getattr(hint, "__args__", ())
    if getattr(hint, "__origin__", None) is Literal:
        if value not in options:
            raise UnknownName(where, str(value), options)
        return value
    if getattr(hint, "__origin__", None) is tuple and options[1:] == (...,):
        if not isinstance(value, list | tuple):
            raise InvalidArgument(f"{where} is a list, got {value!r}.")
        return tuple(_value(v, options[0], where) for v in value)
    if getattr(hint, "__origin__", None) is tuple:
        if not isinstance(value, list | tuple) or len(value) != len(options):
            raise InvalidArgument(f"{where} is a list of {len(options)} numbers, got {value!r}.")
        return tuple(_value(v, o, where) for v, o in zip(value, options, strict=True))
    if float in options and type(None) not in options:  # one number, or several
        return _value(value, options[1] if isinstance(value, list | tuple) else float, where)
    if type(None) in options:
        return None if value is None else _value(value, next(o for o in options if o is not type(None)), where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        kind = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[hint]
        raise InvalidArgument(f"{where} is {kind}, got {value!r}.")
    return value

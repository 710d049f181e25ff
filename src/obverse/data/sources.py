"""Sources: what a user calls data, a name or a path, to the reader that knows it."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path

from obverse.data import generated
from obverse.data.archives import ARCHIVES, Archives
from obverse.data.arrays import from_array
from obverse.data.arrow import read_arrow, read_parquet
from obverse.data.cells import read_mixed
from obverse.data.containers import read_idx, read_npy, read_npz, read_safetensors
from obverse.data.damage import Ledger, printable
from obverse.data.dataset import Dataset
from obverse.data.hub import is_saved, read_saved
from obverse.data.images import SUFFIXES, read_images
from obverse.data.listing import Folder, Progress
from obverse.data.oneshots import one_shots
from obverse.data.rows import Turned
from obverse.data.scaling import Scaling
from obverse.data.signals import SERIES, SOUNDS, read_signals
from obverse.data.solids import solids
from obverse.data.tables import read_csv
from obverse.ground import extras
from obverse.ground.errors import DataError, InvalidArgument, UnknownName

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # where Debian's dataset-fashion-mnist puts it
# fmt: off
_GARMENTS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
             "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
# fmt: on
_IDX_TRAIN = ("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz")


def load(
    source: str | Path,
    *,
    damaged: str = "refuse",
    image_size: int | None = None,
    label: str | None = None,
    columns: str = "numbers",
    length: int | None = None,
    points: int | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Data from a name or a path.

    | source                                       | read as                                                    |
    |----------------------------------------------|------------------------------------------------------------|
    | digits                                       | 1,797 grey images of 8 x 8, 10 classes (scikit-learn)      |
    | fashion-mnist, or a folder of its files      | 60,000 grey images of 28 x 28, 10 classes                  |
    | two-moons, 8-gaussians, s-curve              | 10,000 points of the plane, of a known law                 |
    | wine                                         | 178 rows of 13 measurements, 3 classes (scikit-learn)      |
    | penguins                                     | 344 birds of 3 species, words and gaps (palmerpenguins)    |
    | solids                                       | 6,000 clouds of 128 points, on one of six solids           |
    | one-shots                                    | 78 drums of half a second, 5 classes (sonic-pi-samples)    |
    | mnist1d                                      | 4,000 signals of length 40, 10 classes (mnist1d)           |
    | a folder of images                           | images; with subfolders, one class each                    |
    | a folder of .wav, .flac, .npy or .npz        | sounds, series, clouds, by the table in `data.signals`     |
    | .tar, .zip, a folder of them                 | the same, read in place; classes also from .cls and .json  |
    | a folder that `datasets` saved               | its images, or its table of numbers                        |
    | .npy, .npz, .safetensors, IDX (also .gz)     | images, vectors or arrays, by the table in `data.arrays`   |
    | .csv, .tsv, .parquet, .arrow, .feather       | a table of numbers, each column standardised               |

    A folder called "digits" is written "./digits". Nothing is ever unpickled.

    Args:     source: the name or path.
              damaged: "refuse" what cannot be learnt from (truncated images, NaN, missing values ...), or "skip" it:
                leave it out, count it, and list it in `Dataset.damage`.
              image_size: for a folder of images: scale the shorter side to so many pixels and crop the centre.
              label: the column of a table or the key of a .npz that holds the class.
              columns: "numbers" refuses words and missing values of a table; "mixed" learns them too, words as
                columns of 0 and 1, "ordinal" as their rank (see `data.mixed`).
              length: for a folder of sounds or series: how many steps each is cut or padded to; for an array of
                signals: how long they are, so that (N, length, C) is told from (N, C, length).
              points: for a folder of point clouds: how many points are drawn of each.
              progress: for a folder: called with (files read, files in all) after each file.
    Returns:  samples in raw units, in memory or where they lie, with the scaling that their batches go through.
    Raises:   DataError naming file, row and reason; UnknownName for a name or path that does not exist;
              InvalidArgument for an option that the source has no use for; MissingExtra for digits or Parquet.
    Example:
        >>> digits = load("digits")
        >>> len(digits), digits.shape, len(digits.classes)
        (1797, (1, 8, 8), 10)
    """
    path, kind = Path(source), _kind(source)
    words = None if columns == "numbers" else columns
    _check(source, kind, image_size=image_size, length=length, points=points, label=label, columns=words)
    if kind in _MADE:
        return _MADE[kind]()
    if kind in _SHIPPED:
        return _SHIPPED[kind](damaged)
    if kind in _TABLES and words is not None:
        return read_mixed(path, damaged, label, ordinal=words == "ordinal")
    if kind in _TABLES:
        return _TABLES[kind](path, damaged, label)
    if kind == "saved":
        return read_saved(path, damaged, image_size, label, progress)
    if kind in _FOLDERS:
        return _read_files(path, damaged, image_size, length, points, progress)
    if kind == "idx":
        return read_idx(_idx_in(path) or path, printable(path.resolve().name), damaged)
    return _along(read_npy(path, damaged) if kind == ".npy" else _KEYED[kind](path, damaged, label), length)


def _check(source: str | Path, kind: str, **options: int | str | None) -> None:
    """Refuse options that the source has no use for."""
    for option, value in options.items():
        kinds, what = _OPTIONS[option]
        bad = value < 1 if isinstance(value, int) else option == "columns" and value not in ("mixed", "ordinal")
        if value is not None and (bad or kind not in kinds):
            raise InvalidArgument(f"{option} is {what}; got {value!r} for {source}.")
    if sum(options[name] is not None for name in ("image_size", "length", "points")) > 1:
        raise InvalidArgument(f"image_size, length and points are each for other files; give one for {source}.")


def _kind(source: str | Path) -> str:
    """A name, a suffix, "folder" or "idx": which reader is meant."""
    path = Path(source)
    if isinstance(source, str) and source in NAMES:
        return source
    if not path.exists():
        raise UnknownName("data set or path", printable(path), NAMES)
    if path.is_dir():
        return "saved" if is_saved(path) else "idx" if _idx_in(path) else "folder"
    if path.suffix.lower() in (*_ARRAYS, *_TABLES, *ARCHIVES):
        return path.suffix.lower()
    if "idx" in path.name or path.name.endswith("ubyte"):
        return "idx"
    raise DataError(
        f"{printable(path)} is not a kind of file that is read here: a folder of images, sounds or arrays, "
        f"{', '.join((*_ARRAYS, *_TABLES, *ARCHIVES))}, IDX (a name with 'idx', also .gz)."
    )


def _along(data: Dataset, length: int | None) -> Dataset:
    """An array of signals with time last, whose length is known."""
    if length is None or (len(data.shape) == 2 and data.shape[1] == length):
        return data
    if len(data.shape) != 2 or data.shape[0] != length:
        raise InvalidArgument(
            f"length is that of signals (N, C, length) or (N, length, C); got {length} for {data.shape}."
        )
    values = Turned(data.values)
    return replace(data, values=values, scaling=Scaling.standard(values))


def _read_files(
    path: Path,
    damaged: str,
    image_size: int | None,
    length: int | None,
    points: int | None,
    progress: Progress | None,
) -> Dataset:
    """A folder or archives: the images in it, or else the sounds, or else the series; only what an option is for."""
    shards, kinds = _shards(path), [SUFFIXES, SOUNDS, SERIES]
    kinds = kinds[:1] if image_size else kinds[1:] if length else kinds[2:] if points else kinds
    for suffixes in kinds:
        ledger = Ledger(damaged)
        listing = Archives(shards, suffixes, ledger) if shards else Folder(path, suffixes, ledger)
        if len(listing):
            break
    ledger.require_samples(len(listing), f"{printable(path)} (as a folder of {' '.join(chain(*kinds))})")
    if suffixes is SUFFIXES:
        data = read_images(path, listing, ledger, image_size, progress)
    else:
        data = read_signals(path, listing, ledger, length, points, progress)
    others = (Folder(path, ARCHIVES, Ledger("skip")) if shards and path.is_dir() else listing).others
    kinds_of_others = ", ".join(suffix for suffix, _ in others.most_common(3))
    notes = (f"not read: {others.total():,} other files ({kinds_of_others})",) if others else ()
    return replace(data, notes=(*data.notes, *notes))


def _shards(path: Path) -> list[Path]:
    """An archive, or those in a folder, in the order of their names."""
    files = path.iterdir() if path.is_dir() else [path]
    return sorted(file for file in files if file.suffix.lower() in ARCHIVES and file.is_file())


def _idx_in(folder: Path) -> Path | None:
    return next((folder / name for name in _IDX_TRAIN if (folder / name).is_file()), None)


def _digits(damaged: str) -> Dataset:
    """Alpaydin & Kaynak (1998), the test half, as shipped with scikit-learn: ink counted from 0 to 16."""
    bunch = extras.load("sklearn.datasets", extra="data").load_digits()
    return from_array(bunch.images.astype("uint8"), bunch.target, name="digits", damaged=damaged, top=16)


def _fashion_mnist(damaged: str) -> Dataset:
    """Xiao, Rasul & Vollgraf (2017), the training half."""
    images = _idx_in(FASHION_MNIST)
    if images is None:
        raise DataError(
            f"fashion-mnist is not in {FASHION_MNIST}: apt install dataset-fashion-mnist, or give the path of a folder "
            f"that holds {_IDX_TRAIN[1]}."
        )
    return read_idx(images, "fashion-mnist", damaged, _GARMENTS)


_KEYED = {".npz": read_npz, ".safetensors": read_safetensors}
_ARRAYS, _FOLDERS = (".npy", *_KEYED), ("folder", *ARCHIVES)
_MADE = {
    "two-moons": generated.two_moons,
    "8-gaussians": generated.eight_gaussians,
    "s-curve": generated.s_curve,
    "wine": generated.wine,
    "mnist1d": generated.signals,
    "penguins": generated.penguins,
    "solids": solids,
}
_SHIPPED = {"digits": _digits, "fashion-mnist": _fashion_mnist, "one-shots": one_shots}
NAMES = (*_SHIPPED, *_MADE)
_TABLES = {".csv": read_csv, ".tsv": read_csv, ".parquet": read_parquet, ".arrow": read_arrow, ".feather": read_arrow}
_OPTIONS: dict[str, tuple[tuple[str, ...], str]] = {  # the kinds of source that have a use for each, and what it is
    "image_size": ((*_FOLDERS, "saved"), "pixels >= 1, for a folder of images"),
    "length": ((*_FOLDERS, *_ARRAYS), ">= 1, for a folder of sounds or series, or an array of signals"),
    "points": (_FOLDERS, ">= 1, for a folder of point clouds"),
    "label": ((*_KEYED, "saved", *_TABLES), "a column of a table or a key of a .npz"),
    "columns": (tuple(_TABLES), "numbers, or of a table mixed or ordinal"),
}

"""Sources: what a user calls data, a name or a path, to the reader that knows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from obverse.data.arrays import from_array, read_idx, read_npy, read_npz
from obverse.data.damage import printable
from obverse.data.dataset import Dataset
from obverse.data.images import read_folder
from obverse.data.tables import read_csv, read_parquet
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
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Data from a name or a path.

    | source                                       | read as                                                    |
    |----------------------------------------------|------------------------------------------------------------|
    | digits                                       | 1,797 grey images of 8 x 8, 10 classes (scikit-learn)      |
    | fashion-mnist, or a folder of its files      | 60,000 grey images of 28 x 28, 10 classes                  |
    | a folder of images                           | images; with subfolders, one class each                    |
    | .npy, .npz, IDX (also .gz)                   | images, vectors or arrays, by the table in `data.arrays`   |
    | .csv, .tsv, .parquet                         | a table of numbers, each column standardised               |

    A folder called "digits" is written "./digits". Nothing is ever unpickled.

    Args:     source: the name or path.
              damaged: "refuse" what cannot be learnt from (truncated images, NaN, missing values ...), or "skip" it:
                leave it out, count it, and list it in `Dataset.damage`.
              image_size: for a folder of images: scale the shorter side to so many pixels and crop the centre.
              label: the column of a table or the key of a .npz that holds the class.
              progress: for a folder of images: called with (files read, files in all) after each file.
    Returns:  everything in memory, in raw units, with the scaling that its batches go through.
    Raises:   DataError naming file, row and reason; UnknownName for a name or path that does not exist;
              InvalidArgument for an option that the source has no use for; MissingExtra for digits or Parquet.
    Example:
        >>> digits = load("digits")
        >>> len(digits), digits.shape, len(digits.classes)
        (1797, (1, 8, 8), 10)
    """
    path, kind = Path(source), _kind(source)
    if image_size is not None and (kind != "folder" or image_size < 1):
        raise InvalidArgument(f"image_size is pixels >= 1, for a folder of images; got {image_size} for {source}.")
    if label is not None and kind not in (".npz", *_TABLES):
        raise InvalidArgument(f"label is a column of a table or a key of a .npz; got {label!r} for {source}.")
    if kind in _NAMES:
        return _NAMES[kind](damaged)
    if kind in _TABLES:
        return _TABLES[kind](path, damaged, label)
    if kind == "folder":
        return read_folder(path, damaged, image_size, progress)
    if kind == ".npz":
        return read_npz(path, damaged, label)
    if kind == ".npy":
        return read_npy(path, damaged)
    return read_idx(_idx_in(path) or path, printable(path.resolve().name), damaged)


def _kind(source: str | Path) -> str:
    """A name, a suffix, "folder" or "idx": which reader is meant."""
    path = Path(source)
    if isinstance(source, str) and source in _NAMES:
        return source
    if not path.exists():
        raise UnknownName("data set or path", printable(path), _NAMES)
    if path.is_dir():
        return "idx" if _idx_in(path) else "folder"
    if path.suffix.lower() in (".npy", ".npz", *_TABLES):
        return path.suffix.lower()
    if "idx" in path.name or path.name.endswith("ubyte"):
        return "idx"
    raise DataError(
        f"{printable(path)} is not a kind of file that is read here: a folder of images, .npy, .npz, IDX "
        f"(a name with 'idx', also .gz), {', '.join(_TABLES)}."
    )


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


_NAMES = {"digits": _digits, "fashion-mnist": _fashion_mnist}
_TABLES = {".csv": read_csv, ".tsv": read_csv, ".parquet": read_parquet}

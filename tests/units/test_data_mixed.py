"""Mixed tables: there and back without a loss, and what is no table of that kind refused by name."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from sklearn.preprocessing import OneHotEncoder

from obverse.data import Schema, from_columns, load
from obverse.ground.errors import DataError, InvalidArgument
from obverse.recipes import Recipe, Trained, fit
from obverse.recipes.sampling import Sampling
from obverse.train import Training

CSV = """species,island,mass,sex
Adelie,Dream,3750,male
Gentoo,,5000.5,NA
Adelie,Biscoe,,female
Chinstrap,Dream,1,male
"""


def columns(path: Path, text: str, **options: str) -> tuple[dict[str, list], torch.Tensor]:
    path.write_text(text)
    data = load(path, columns=options.pop("columns", "mixed"), **options)  # type: ignore[arg-type]
    assert data.schema is not None
    x = data.rows(torch.arange(len(data))).x
    return data.schema.decode(data.scaling.undo(x).numpy()), x


@pytest.mark.parametrize("how", ["mixed", "ordinal"])
def test_a_csv_comes_back_from_network_units_cell_by_cell(tmp_path: Path, how: str) -> None:
    back, x = columns(tmp_path / "a.csv", CSV, columns=how)
    assert x.isfinite().all()
    for name in ("species", "island", "sex"):
        wanted = [row[name] if row[name] not in ("", "NA") else None for row in csv.DictReader(CSV.splitlines())]
        assert back[name] == wanted
    assert [None if v is None else round(float(v), 2) for v in back["mass"]] == [3750, 5000.5, None, 1]


def test_parquet_with_words_and_nothing_comes_back(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    wanted = {"a": [1, None, 3], "b": ["x", "y", None], "c": [True, False, True], "d": [0.5, 1.5, 2.5]}
    pq.write_table(pa.table(wanted), tmp_path / "a.parquet")
    data = load(tmp_path / "a.parquet", columns="mixed")
    assert data.schema is not None
    back = data.schema.decode(data.values[:].numpy())
    assert back == {**wanted, "c": ["True", "False", "True"]}


def test_words_become_scikit_learns_columns() -> None:
    words = [["b"], ["a"], ["c"], ["a"]]
    theirs = OneHotEncoder(sparse_output=False).fit_transform(words)
    assert np.array_equal(from_columns({"w": [w for (w,) in words]}).values[:].numpy(), theirs)


@settings(deadline=None, max_examples=60)
@given(some.data(), some.integers(1, 12), some.booleans())
def test_any_table_comes_back(draw: some.DataObject, count: int, ordinal: bool) -> None:
    words = some.sampled_from(["x", "a b", "ü", None])
    number = some.one_of(some.none(), some.floats(-1e6, 1e6, allow_subnormal=False))
    table = {
        "words": draw.draw(some.lists(words, min_size=count, max_size=count)),
        "numbers": draw.draw(some.lists(number, min_size=count, max_size=count)),
        "whole": draw.draw(some.lists(some.integers(-9, 9), min_size=count, max_size=count)),
    }
    try:
        schema = Schema.of(table, ordinal=ordinal)
    except DataError as error:
        assert "nothing is there" in str(error)  # noqa: PT017
        return
    assert Schema.from_json(schema.to_json()) == schema
    assert schema.decode(schema.encode(table) + 0.3 * (np.arange(len(schema.names)) % 1)) == table


def test_missing_numbers_are_the_mean_and_are_marked() -> None:
    data = from_columns({"a": [1.0, math.nan, 4.0]})
    assert data.columns == ("a", "a is missing") and data.values[:].tolist() == [[1, 0], [2.5, 1], [4, 0]]
    assert "missing values" in data.summary()


def test_text_is_refused_by_name_with_the_fix(tmp_path: Path) -> None:
    text = "name,a\n" + "".join(f"somebody {i},{i}\n" for i in range(80))
    with pytest.raises(DataError, match=r"column 'name' holds 80 different words .* drop the column"):
        columns(tmp_path / "a.csv", text)
    with pytest.raises(DataError, match="nothing is there in column 'b'"):
        columns(tmp_path / "a.csv", "a,b\n1,\n2,NA\n")
    with pytest.raises(DataError, match="no column to learn from"):
        columns(tmp_path / "a.csv", "k\nx\n", label="k")
    with pytest.raises(InvalidArgument, match="columns is numbers"):
        load("digits", columns="mixed")


def test_as_many_words_as_rows_are_text_or_columns_in_one(tmp_path: Path) -> None:
    rows = [f"{i} {2 * i} x" for i in range(20)]
    with pytest.raises(DataError, match=r"column 'a b c' holds 20 different words .* drop the column.* , ; tab or \|"):
        columns(tmp_path / "a.csv", "\n".join(["a b c", *rows]))
    back, _ = columns(tmp_path / "b.csv", "\n".join(["a b c", *rows, rows[0]]))
    assert back["a b c"] == [*rows, rows[0]]
    back, _ = columns(tmp_path / "c.csv", "\n".join(["a|b|c", *rows]).replace(" ", "|"))
    assert back == {"a": list(range(20)), "b": list(range(0, 40, 2)), "c": ["x"] * 20}


def test_decimal_commas_are_no_words(tmp_path: Path) -> None:
    for cells in (["1,5", "1,5", "2,5"], ["3", "", "2,25"]):
        with pytest.raises(DataError, match=r"column 'a' holds '[12],2?5': write [12]\.2?5"):
            columns(tmp_path / "a.csv", "\n".join(["a;b", *(f"{cell};1" for cell in cells)]))
    for cell, way in (("1,234", "1.234 or 1234"), ("-1,234,567", "-1234567"), ("12,345.6", "12345.6")):
        with pytest.raises(DataError, match=rf"column 'a' holds '{cell}': write {way} if"):
            columns(tmp_path / "a.csv", f'a,b\n"{cell}",1\n5,2\n')
    back, _ = columns(tmp_path / "a.csv", "a;b\n1,2;1\n1,2,3;2\nboth, or none;3\n")
    assert back["a"] == ["1,2", "1,2,3", "both, or none"]


def test_columns_of_one_name_are_refused_whatever_the_file(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.Table.from_arrays([pa.array([1, 2]), pa.array(["x", "y"])], names=["a", "a"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "a.csv").write_text("a,a\n1,x\n")
    for name in ("a.parquet", "a.arrow", "a.csv"):
        with pytest.raises(DataError, match=f"{name} has two columns called 'a'"):
            load(tmp_path / name, columns="mixed")


def test_the_class_of_a_mixed_table_may_not_be_missing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,k\n1,x\n2,NA\n3,y\n")
    with pytest.raises(DataError, match="line 3: no class in column 'k'"):
        load(tmp_path / "a.csv", label="k", columns="mixed")
    data = load(tmp_path / "a.csv", label="k", columns="mixed", damaged="skip")
    assert data.classes == ("x", "y") and data.values[:].tolist() == [[1], [3]]
    (tmp_path / "b.csv").write_text("a,k\n1,x\n1\n\n2,NA\n3,y\n")
    data = load(tmp_path / "b.csv", label="k", columns="mixed", damaged="skip")
    assert [damage.where.rpartition("b.csv ")[2] for damage in data.damage] == ["line 3", "line 5"]


def test_capital_letters_in_a_suffix_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "A.CSV").write_text(CSV)
    assert len(load(tmp_path / "A.CSV", columns="mixed")) == 4
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"a": [1, None]}), tmp_path / "B.PARQUET")
    assert load(tmp_path / "B.PARQUET", columns="mixed").columns == ("a", "a is missing")


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_a_nan_of_numpy_is_missing(kind: type) -> None:
    schema = from_columns({"a": np.array([1, math.nan, 3], kind)}).schema
    assert schema is not None and schema.names == ("a", "a is missing")


def test_what_spreadsheets_and_c_put_in_place_of_nothing_is_missing(tmp_path: Path) -> None:
    back, _ = columns(tmp_path / "a.csv", "a,b\n1,x\n-nan,#N/A\n+NaN,y\n3,y\n")
    assert back == {"a": [1, None, None, 3], "b": ["x", None, "y", "y"]}


def test_a_summary_says_which_columns_are_words_and_which_may_count_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",price,day\n0,$1,2\n1,$2,3\n")
    said = load(tmp_path / "a.csv", columns="mixed").summary()
    assert "learnt as words: 'price' (2)\n" in said and "column '' is learnt as the others are" in said
    (tmp_path / "b.csv").write_text(",day\n0,2\n1,3\n")
    assert "column '' is learnt as the others are" in load(tmp_path / "b.csv").summary()


def test_rows_after_a_quote_that_never_ends_are_not_a_word(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv cannot be read: unexpected end of data in what begins at line 4"):
        columns(tmp_path / "a.csv", 'a,b\n1,"x\ny"\n2,"y\n3,z\n4,x\n')


def test_what_pandas_puts_in_place_of_nothing_is_missing() -> None:
    pd = pytest.importorskip("pandas")
    columns = {
        "whole": pd.array([1, None, 3], dtype="Int64"),
        "true": pd.array([True, None, False], dtype="boolean"),
        "word": pd.array(["u", None, "w"], dtype="string"),
        "day": pd.to_datetime(["2020-01-01", None, "2020-01-03"]),
    }
    schema = from_columns(columns).schema
    assert schema is not None
    back = schema.decode(schema.encode(columns))
    assert all([cell is None for cell in cells] == [False, True, False] for cells in back.values())
    assert back["whole"] == [1, None, 3]


def test_a_word_that_is_not_known_is_refused() -> None:
    with pytest.raises(DataError, match="holds 'c'; known: a, b"):
        Schema.of({"w": ["a", "b"]}).encode({"w": ["c"]})


def test_samples_of_a_model_of_a_mixed_table_are_lines_of_its_cells(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    recipe = Recipe(data=str(tmp_path / "a.csv"), columns="mixed", net="mlp", training=Training(steps=2, batch=4))
    assert len(list(fit(recipe, tmp_path / "run").steps)) == 2
    trained = Trained.open(tmp_path / "run")
    head, *lines = trained.facts.table(trained.sampled(9, Sampling(steps=2)).x)
    assert head == ["species", "island", "mass", "sex"] and len(lines) == 9
    for species, island, mass, sex in lines:
        assert species in ("Adelie", "Gentoo", "Chinstrap") and island in ("Biscoe", "Dream", "")
        assert sex in ("male", "female", "") and (mass == "" or math.isfinite(float(mass)))
    assert fit(recipe, tmp_path / "run", resume=True).first == 2

"""CSV and Parquet tables: numbers in, scaled; every bad cell named by file, line and column."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from obverse.data import load
from obverse.ground.errors import DataError, InvalidArgument, UnknownName

pa = pytest.importorskip("pyarrow")


def csv(tmp_path: Path, text: str, name: str = "t.csv", encoding: str = "utf-8") -> Path:
    (tmp_path / name).write_bytes(text.encode(encoding))
    return tmp_path / name


def parquet(tmp_path: Path, **columns: object) -> Path:
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


def test_a_table_is_scaled_as_scikit_learn_scales_it_and_undone(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal([1, -2e6, 3e-9], [5, 10, 1e-12], (200, 3))
    path = csv(tmp_path, "a,b,c\n" + "\n".join(",".join(map(repr, map(float, row))) for row in table))
    data = load(path)
    assert (data.columns, data.kind, len(data)) == (("a", "b", "c"), "vectors", 200)
    assert np.array_equal(data.values.numpy(), table)
    x = data.rows(torch.arange(200)).x
    assert x.dtype == torch.float32 and np.allclose(x, StandardScaler().fit_transform(table), atol=1e-5)
    assert np.allclose(data.scaling.undo(x), table, rtol=1e-6)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_the_separator_is_found(tmp_path: Path, mark: str) -> None:
    data = load(csv(tmp_path, f"a{mark}b\n1{mark}2\n3{mark}4\n", "t.tsv"))
    assert data.columns == ("a", "b") and data.values.tolist() == [[1, 2], [3, 4]]


def test_a_first_line_of_numbers_is_data(tmp_path: Path) -> None:
    data = load(csv(tmp_path, "1,2\r\n\r\n3,4e1"))
    assert data.columns == ("0", "1") and data.values.tolist() == [[1, 2], [3, 40]]


def test_a_first_line_that_may_be_names_or_a_row_is_said_to_be_which(tmp_path: Path) -> None:
    assert "first line is a row" in load(csv(tmp_path, "0,1,2\n3,4,5\n")).summary()
    assert "first line" not in load(csv(tmp_path, "a,b\n3,4\n")).summary()
    with pytest.raises(DataError, match=r"line 1: column '0' holds 'id'.*no name of a column is a number"):
        load(csv(tmp_path, "id,2019\n3,4\n"))
    years = load(csv(tmp_path, "id,2019\n3,4\n"), columns="mixed")
    assert years.columns == ("id", "2019") and "first line names the columns, '2019' too" in years.summary()
    assert "first line" not in load(csv(tmp_path, "a,b\n3,x\n"), columns="mixed").summary()


def test_a_byte_order_mark_quotes_and_spaces_are_no_part_of_a_name(tmp_path: Path) -> None:
    data = load(csv(tmp_path, '"a", b\n1,2\n', encoding="utf-8-sig"))
    assert data.columns == ("a", "b")


def test_the_column_of_the_class_is_no_number(tmp_path: Path) -> None:
    data = load(csv(tmp_path, "a,kind,b\n1,cat,2\n3,ant,4\n5,cat,6\n"), label="kind")
    assert data.columns == ("a", "b") and data.classes == ("ant", "cat")
    assert data.labels is not None and data.labels.tolist() == [1, 0, 1]
    assert data.values.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_a_column_of_words_is_refused_with_its_first_value_and_the_fix(tmp_path: Path) -> None:
    path = csv(tmp_path, "a,city\n1,Paris\n2,Rome\n")
    with pytest.raises(DataError, match=r"t\.csv line 2: column 'city' holds 'Paris', .* label='city'"):
        load(path)
    with pytest.raises(DataError, match=r"nothing is left, all 2 .* column 'city' holds 'Paris'"):
        load(path, damaged="skip")


def test_a_number_with_a_comma_is_not_sent_where_it_is_refused_again(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 'a' holds '1,5', .*; write 1\.5 .* label='a'") as refusal:
        load(csv(tmp_path, "a;b\n1,5;2\n3;4\n"))
    assert "mixed" not in str(refusal.value)


def test_a_table_without_a_header_and_with_words_says_how_to_name_the_class(tmp_path: Path) -> None:
    path = csv(tmp_path, "5.1,3.5,setosa\n4.9,3.0,virginica\n")
    with pytest.raises(DataError, match="line 1: column '2' holds 'setosa'"):
        load(path)
    assert load(path, label="2").classes == ("setosa", "virginica")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1", r"1 cells, but the first line has 2"),
        ("1,2,3", r"3 cells, but the first line has 2"),
        ("1,", r"column 'b' is empty"),
        (" ,2", r"column 'a' is empty"),
        ("nan,2", r"column 'a' is nan"),
        ("1,-inf", r"column 'b' is -inf"),
        ("1,two", r"column 'b' holds 'two'"),
    ],
)
def test_a_bad_line_is_refused_or_skipped(tmp_path: Path, line: str, reason: str) -> None:
    path = csv(tmp_path, f"a,b\n5,6\n{line}\n7,8\n")
    with pytest.raises(DataError, match=rf"t\.csv line 3: {reason}.*damaged='skip'"):
        load(path)
    data = load(path, damaged="skip")
    assert data.values.tolist() == [[5, 6], [7, 8]]
    assert [damage.where.endswith("t.csv line 3") for damage in data.damage] == [True]


@pytest.mark.parametrize("nothing", [" ", "NA", "nan"])
def test_a_line_without_a_class_is_refused_or_skipped(tmp_path: Path, nothing: str) -> None:
    path = csv(tmp_path, f"a,kind\n1,x\n2,{nothing}\n")
    with pytest.raises(DataError, match=f"line 3: no class in column 'kind', which holds '{nothing}'"):
        load(path, label="kind")
    assert len(load(path, label="kind", damaged="skip")) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"a,b\n", "no samples"),
        (b"a,b\n1,\xff\n", "cannot be read"),
        ("a,b\n1,2\n".encode("utf-16"), "cannot be read"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"t\.csv.*{reason}"):
        load(tmp_path / "t.csv")


def test_a_constant_column_is_reported_and_restored_exactly(tmp_path: Path) -> None:
    data = load(csv(tmp_path, "a,same\n" + "".join(f"{i},0.1\n" for i in range(10))))
    assert data.scaling.constant == (1,) and "same" in data.summary()
    x = data.rows(torch.arange(10)).x
    assert (x[:, 1] == 0).all()
    sampled = data.scaling.undo(torch.randn(10, 2, generator=torch.Generator().manual_seed(0)))
    assert (sampled[:, 1] == 0.1).all()


def test_a_label_that_is_no_column_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'kind'"):
        load(csv(tmp_path, "a,kind\n1,x\n"), label="kinds")


def test_a_table_of_the_class_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column to learn from"):
        load(csv(tmp_path, "kind\nx\ny\n"), label="kind")


def test_parquet_gives_the_numbers_of_every_numeric_type(tmp_path: Path) -> None:
    path = parquet(
        tmp_path,
        whole=pa.array([1, 2, 3], pa.int64()),
        half=pa.array([0.5, 1.5, 2.5], pa.float32()),
        truth=pa.array([True, False, True]),
        money=pa.array([1, 2, 3]).cast(pa.decimal128(20, 0)),
        kind=pa.array(["b", "a", "b"]).dictionary_encode(),
    )
    data = load(path, label="kind")
    assert data.columns == ("whole", "half", "truth", "money") and data.classes == ("a", "b")
    assert data.values.tolist() == [[1, 0.5, 1, 1], [2, 1.5, 0, 2], [3, 2.5, 1, 3]]


def test_a_missing_value_of_parquet_is_refused_or_skipped(tmp_path: Path) -> None:
    path = parquet(tmp_path, a=[1, None, 3, 4], b=[1.0, 2.0, float("inf"), 4.0], kind=["x", None, "x", None])
    with pytest.raises(DataError, match=r"t\.parquet row 1: NaN in column 'a'"):
        load(path, label="kind")
    data = load(path, label="kind", damaged="skip")
    assert data.values.tolist() == [[1, 1]] and data.classes == ("x",)
    assert [damage.where.rpartition(" ")[2] for damage in data.damage] == ["1", "2", "3"]


def test_a_class_of_arrow_that_is_nan_is_none_and_a_dictionary_of_numbers_is_numbers(tmp_path: Path) -> None:
    feather, pa = pytest.importorskip("pyarrow.feather"), pytest.importorskip("pyarrow")
    table = pa.table({"a": pa.array([7, 8, 7]).dictionary_encode(), "k": [1.0, math.nan, 2.0]})
    feather.write_feather(table, tmp_path / "t.arrow", compression="uncompressed")
    with pytest.raises(DataError, match="row 1: no class in column 'k', which holds nan"):
        load(tmp_path / "t.arrow", label="k")
    data = load(tmp_path / "t.arrow", label="k", damaged="skip")
    assert data.values[:].tolist() == [[7], [7]] and data.classes == ("1.0", "2.0")


def test_a_column_of_words_in_parquet_is_refused_with_its_first_value_and_the_fix(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 'city' holds 'Paris', .* label='city'"):
        load(parquet(tmp_path, a=[1, 2], city=[None, "Paris"]), damaged="skip")


def test_damaged_parquet_is_refused_by_name(tmp_path: Path) -> None:
    good = parquet(tmp_path, a=[1.0, 2.0]).read_bytes()
    for content in (b"", good[: len(good) // 2], b"PAR1" + bytes(40) + b"PAR1"):
        (tmp_path / "t.parquet").write_bytes(content)
        with pytest.raises(DataError, match=r"t\.parquet"):
            load(tmp_path / "t.parquet")


def test_an_image_size_for_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="folder of images"):
        load(csv(tmp_path, "a\n1\n"), image_size=8)

"""Files as other programs write them: `muster inspect` says what is wrong with each, and what it suggests works."""

import csv
import gzip
import io
import json
import shlex
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.sources.inspection import inspect
from connectors.sources.limits import ParseLimits
from connectors.verification.policy import refuse
from connectors.verification.verifier import verify_file
from orchestration.cli.main import main
from schemas.import_spec import ImportSpec
from schemas.text_form import delimiter_of
from tests.fakes.import_log import NoRejects
from tests.unit.orchestration.cli.conftest import Requested

GERMAN = [("user_id", "age", "city"), *((f"u{n}", 20 + n, ("Köln", "Rom", 'a "b", c')[n % 3]) for n in range(30))]
JAPANESE = [("user_id", "年齢", "都市"), *((f"u{n}", 20 + n, ("東京", "大阪市", "さいたま")[n % 3]) for n in range(30))]
KATAKANA = [("user_id", "age", "city"), ("u1", 20, "東京"), ("u2", 30, "カタカナ")]
NAIVE = [("user_id", "seen"), *((f"u{n}", f"2024-01-05 10:00:{n:02}") for n in range(30))]
NUMBERS = [("user_id", "age"), *((f"u{n}", "thirty" if n % 417 == 3 else 20 + n % 50) for n in range(5000))]
HOUSES = [("user_id", "house"), *((f"u{n}", "12a" if n % 20 == 3 else n) for n in range(100))]
GAPS = [("user_id", "age"), *((f"u{n}", "N/A" if n % 3 else n) for n in range(99))]
IDS = [("user_id", "age"), *((name, 7) for name in ("NA", "null", "-", "None", "#N/A")), *GERMAN[1:]]


def text(rows: Sequence[Sequence[object]], *, separator: str = ",", encoding: str = "utf-8") -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=separator).writerows(row[:2] if rows is IDS else row for row in rows)
    return out.getvalue().encode(encoding)


def aligned(rows: Sequence[Sequence[object]]) -> bytes:
    return "".join(f"{a!s:<12}{b!s:>8}  {str(c)[:4]}\n" for a, b, c in rows).encode()


def parquet(rows: Sequence[tuple[str, str]]) -> bytes:
    out = io.BytesIO()
    times = pa.array([datetime.fromisoformat(seen) for _, seen in rows[1:]], pa.timestamp("ns"))
    pq.write_table(pa.table({"user_id": [user for user, _ in rows[1:]], "seen": times}), out)
    return out.getvalue()


def json_lines(rows: Sequence[Sequence[object]], encoding: str) -> bytes:
    objects = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in objects).encode(encoding)


def inspected(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    code = main(["inspect", str(path), "--json", *options])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("name", "content", "rows", "codes", "step"),
    [
        ("space.csv", text(GERMAN, separator=" "), GERMAN, ["separator"], 'delimiter=" "'),
        ("aligned.txt", aligned(JAPANESE), JAPANESE, ["separator"], "map(str.split"),
        ("x.jsonl", json_lines(JAPANESE, "cp932"), JAPANESE, ["encoding"], "iconv -f CP932"),
        (
            "latin spaces.csv",
            text(GERMAN, separator=" ", encoding="cp1252"),
            GERMAN,
            ["encoding", "separator"],
            "CP1252",
        ),
        ("it's.jsonl.gz", gzip.compress(json_lines(GERMAN, "latin-1")), GERMAN, ["encoding"], "gzip -dc <"),
    ],
)
def test_unreadable_file_gets_a_conversion_command(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
    rows: Sequence[Sequence[object]],
    codes: list[str],
    step: str,
) -> None:
    (tmp_path / name).write_bytes(content)
    code, found = inspected(tmp_path / name, capsys)
    assert (code, found["import"], [one["code"] for one in found["findings"]]) == (3, None, codes)
    command = found["findings"][-1]["suggestion"]
    assert step in command
    subprocess.run(["bash", "-c", command], check=True)  # as a user pastes it
    [converted] = tmp_path.glob("*.converted.*")
    seen = inspect(converted)
    assert (seen.fault, seen.findings, seen.rejected, seen.rows) == (None, (), 0, len(rows) - 1)
    assert [c.name for c in seen.columns] == list(rows[0])
    assert [c.type for c in seen.columns] == ["string", "long", "string"]
    assert seen.columns[2].examples == tuple(dict.fromkeys(str(row[2]) for row in rows[1:]))


FOREIGN = [
    ("semicolon.csv", text(GERMAN, separator=";"), GERMAN, "semicolon", "utf-8"),
    ("tab.tsv", text(GERMAN, separator="\t"), GERMAN, "tab", "utf-8"),
    ("pipe.csv", text(GERMAN, separator="|"), GERMAN, "bar", "utf-8"),
    ("cp932.csv", text(JAPANESE, encoding="cp932"), JAPANESE, "comma", "cp932"),
    ("short cp932.csv", text(KATAKANA, encoding="cp932"), KATAKANA, "comma", "cp932"),
    ("euc.csv", text(JAPANESE, encoding="euc-jp"), JAPANESE, "comma", "euc-jp"),
    ("marked.csv", text(JAPANESE, encoding="utf-16"), JAPANESE, "comma", "utf-16"),
    ("le.csv", text(JAPANESE, encoding="utf-16-le"), JAPANESE, "comma", "utf-16le"),
    ("be.csv", text(JAPANESE, encoding="utf-16-be"), JAPANESE, "comma", "utf-16be"),
    ("latin.csv", text(GERMAN, encoding="latin-1"), GERMAN, "comma", "cp1252"),
    ("german excel.csv", text(GERMAN, separator=";", encoding="cp1252"), GERMAN, "semicolon", "cp1252"),
    ("excel.csv", text(GERMAN, separator="\t", encoding="utf-16"), GERMAN, "tab", "utf-16"),
    ("it's.csv.gz", gzip.compress(text(GERMAN, encoding="latin-1")), GERMAN, "comma", "cp1252"),
]


@pytest.mark.parametrize(("name", "content", "rows", "delimiter", "encoding"), FOREIGN)
def test_foreign_csv_gets_an_import_that_reads_it(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    requested: Requested,
    name: str,
    content: bytes,
    rows: Sequence[Sequence[object]],
    delimiter: str,
    encoding: str,
) -> None:
    (tmp_path / name).write_bytes(content)
    code, found = inspected(tmp_path / name, capsys)
    options = {
        "encoding": [] if encoding == "utf-8" else ["--encoding", encoding],
        "separator": [] if delimiter == "comma" else ["--delimiter", delimiter],
    }
    assert (code, found["rejected"], found["rows"]) == (0, 0, len(rows) - 1)
    assert {one["code"]: one["suggestion"].split() for one in found["findings"]} == {
        name: words for name, words in options.items() if words
    }
    assert [c["name"] for c in found["columns"]] == list(rows[0])
    assert [c["type"] for c in found["columns"]] == ["string", "long", "string"]
    assert found["columns"][2]["examples"] == list(dict.fromkeys(str(row[2]) for row in rows[1:]))
    assert main([word.replace("NAME", "vip") for word in shlex.split(found["import"])[1:]]) == 0
    [(_, _, changes)] = requested
    spec = ImportSpec().with_changes(changes)
    assert (spec.delimiter, spec.encoding) == (delimiter_of(delimiter), encoding)
    seen = verify_file(
        tmp_path / name, spec, partitions=2, limits=ParseLimits(), rejects=NoRejects(), on_progress=lambda _: None
    )
    assert (seen.rows, seen.rejected) == (len(rows) - 1, 0)


@pytest.mark.parametrize(
    ("name", "content", "codes", "options", "rejected"),
    [
        ("bom.csv", text(GERMAN, encoding="utf-8-sig"), [], ["--column", "age:long", "--column", "city"], 0),
        ("naive.csv", text(NAIVE), ["local_times"], ["--column", "seen:timestamp", "--timezone", "UTC"], 0),
        ("naive.parquet", parquet(NAIVE), ["local_times"], ["--column", "seen:timestamp", "--timezone", "UTC"], 0),
        ("numbers.csv", text(NUMBERS), ["mostly_typed"], ["--column", "age:long", "--max-reject-share", "0.0024"], 12),
        ("houses.csv", text(HOUSES), ["mostly_typed"], ["--column", "house"], 0),
        ("gaps.csv", text(GAPS), ["null_like_value"], ["--column", "age:long", "--null", "", "--null", "N/A"], 0),
        (
            "ids.csv",
            text(IDS),
            ["null_like_id"],
            [
                *("--column", "age:long", "--null", "", "--null", "#N/A", "--null", "-", "--null", "NA"),
                *("--null", "None", "--null", "null", "--max-reject-share", "0.1429"),
            ],
            5,
        ),
    ],
)
def test_readable_file_gets_an_import_that_keeps_its_rows(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    requested: Requested,
    name: str,
    content: bytes,
    codes: list[str],
    options: list[str],
    rejected: int,
) -> None:
    (tmp_path / name).write_bytes(content)
    code, found = inspected(tmp_path / name, capsys)
    assert (code, [one["code"] for one in found["findings"]], found["rejected"]) == (0, codes, rejected)
    command = shlex.split(found["import"])
    assert command == ["muster", "import", str(tmp_path / name), "--audience", "NAME", *options]
    assert main([word.replace("NAME", "vip") for word in command[1:]]) == 0
    [(_, _, changes)] = requested
    spec = ImportSpec().with_changes(changes)
    seen = verify_file(
        tmp_path / name, spec, partitions=2, limits=ParseLimits(), rejects=NoRejects(), on_progress=lambda _: None
    )
    assert seen.rejected == rejected
    refuse(seen, spec, {}, None)  # raises if the import would fail


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"user_id,age\n", "no_rows"),
        (b"user_id,age\na,1\nb\nc\n", "most_rows_rejected"),
        ("user_id,name\na,Иванов\nb,Петров\n".encode("cp1251"), "most_rows_rejected"),
    ],
)
def test_import_that_would_lose_most_rows_is_not_suggested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, code: str
) -> None:
    (tmp_path / "f.csv").write_bytes(content)
    exit_code, found = inspected(tmp_path / "f.csv", capsys)
    assert (exit_code, found["import"], found["findings"][-1]["code"]) == (3, None, code)
    assert found["findings"][-1]["blocking"]


def test_invalid_values_are_named_by_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f.csv").write_bytes(text(NUMBERS))
    assert main(["inspect", str(tmp_path / "f.csv")]) == 0
    *_, note, options, command = capsys.readouterr().out.splitlines()
    assert note == (
        "note: the column 'age' is 99.8 % whole numbers; 12 of 5,000 values do not fit, such as 'thirty' (row 4), "
        "'thirty' (row 421), 'thirty' (row 838). The suggested import reads it as long and rejects these rows; to keep "
        "them as text:"
    )
    assert (options, command.rpartition(" --audience ")[2]) == (
        "  --column age",
        "NAME --column age:long --max-reject-share 0.0024",
    )


def test_suggestion_shows_control_characters_of_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f.csv").write_bytes(b"user_id,it's\ta\na,x\n")
    assert main(["inspect", str(tmp_path / "f.csv")]) == 0
    command = capsys.readouterr().out.splitlines()[-1]
    assert command.endswith(r" --column $'it_s_a=it\'s\ta'")
    echoed = subprocess.run(
        ["bash", "-c", f"printf %s {command.split(' --column ')[1]}"], check=True, capture_output=True
    )
    assert echoed.stdout == b"it_s_a=it's\ta"

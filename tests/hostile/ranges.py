"""Text files cut into ranges anywhere, read side by side and chained: never another table than one pass reads."""

import io
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from connectors.sources.chaining import Again, Chained, Link, RangeOutcome, chain, first_ranges, rebased, rebased_fault
from connectors.sources.csv_reader import CsvReader
from connectors.sources.fields_seen import FieldsSeen
from connectors.sources.jsonl_reader import JsonLinesReader
from connectors.sources.ranges import FileRange, UnknownRangeError
from connectors.sources.rejects import RejectBatch
from schemas.columns import Column
from schemas.errors import UserError
from schemas.import_spec import ImportSpec
from schemas.row_digest import PartitionDigests
from tests.hostile import corpus_files, fuzzing, naive_csv, naive_json
from tests.hostile.json_cases import JSON_SPEC
from tests.hostile.judging import Outcome, against_naive, naive_outcome
from tests.hostile.reading import comparable
from tests.hostile.twin import SPEC as TWINS
from tests.hostile.twin import WANTED

SPEC: Final = ImportSpec(id_column="user_id", columns=(Column(name="c", type="string"), Column(name="n", type="long")))
LIMIT: Final = 1024 * 1024
"""Bytes of the largest record."""
RAW: Final = 6
"""Place of `raw` in a reject."""


@dataclass
class Found:
    """What was read: rows with ordinals, rejects, digests of four partitions, and the fault of the file."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    rejects: list[tuple[Any, ...]] = field(default_factory=list)
    digests: tuple[Any, ...] = ()
    fault: tuple[Any, ...] = ()


@dataclass
class Cost:
    """`again`: ranges read again; `read`: bytes from their begins to their ends; `rounds` of that."""

    again: int = 0
    read: int = 0
    rounds: int = 0


def one_pass(content: bytes, spec: ImportSpec, options: dict[str, Any]) -> Found:
    """Read the file as one."""
    return _found([(_reader(io.BytesIO(content), spec, options), Link(place=0, reading=0, rows=0, lines=0))], spec)


def in_ranges(
    content: bytes, spec: ImportSpec, cuts: Sequence[int], options: dict[str, Any], *, beyond: int
) -> tuple[Found, Cost]:
    """Read the file in ranges, as workers would."""
    ranges = [replace(part, beyond=beyond) for part in first_ranges(cuts, len(content))]
    readings: list[list[RangeOutcome]] = [[] for _ in ranges]
    items: list[list[list[Any]]] = [[] for _ in ranges]
    fields: list[list[Any]] = [[] for _ in ranges]
    cost = Cost()
    todo = dict(enumerate(ranges))
    while True:
        for place, part in todo.items():
            outcome, found, seen = _read_range(content, spec, part, options)
            readings[place].append(outcome)
            items[place].append(found)
            fields[place].append(seen)
            cost.read += (outcome.end or len(content)) - (outcome.begin or part.begin)
        match chain(ranges, readings, again=cost.rounds):
            case Again(ranges=more):
                todo = dict(more)
                cost.again += len(todo)
                cost.rounds += 1
                assert cost.rounds <= len(ranges) + 4
            case Chained(links=links):
                break
    chained = [(items[link.place][link.reading], link) for link in links]
    result = _found(chained, spec)
    last = readings[links[-1].place][links[-1].reading]
    if last.fault is not None:
        fault = rebased_fault(UserError.from_record(dict(last.fault)), links[-1])  # type: ignore[arg-type]
        result.fault = _fault(fault)
    elif spec.format == "jsonl":
        seen = FieldsSeen(spec)
        for link in links:
            seen.add_record(fields[link.place][link.reading])
        try:
            seen.check()
        except UserError as exc:
            result.fault = _fault(exc)
    return result, cost


def _read_range(
    content: bytes, spec: ImportSpec, part: FileRange, options: dict[str, Any]
) -> tuple[RangeOutcome, list[Any], Any]:
    end = part.near_end if part.bounded else part.size
    source = io.BytesIO(content[: part.head] + content[part.first : end])
    begins: list[int] = []
    reader: Any = _reader(source, spec, {**options, "part": part, "on_begin": begins.append})
    found: list[Any] = []
    try:
        found.extend(reader)
    except UnknownRangeError:
        return RangeOutcome(), [], None
    except UserError as exc:
        begin = part.begin if not part.bounded else next(iter(begins), None)
        return RangeOutcome(begin=begin, fault=None if begin is None else exc.as_record()), found, None
    rows = sum(item.num_rows for item in found)
    outcome = RangeOutcome(begin=begins[0], end=reader.end, rows=rows, lines=reader.lines)
    return outcome, found, getattr(reader, "fields", None)


def _reader(source: io.BytesIO, spec: ImportSpec, options: dict[str, Any]) -> Any:
    if spec.format == "jsonl":
        options = {name: value for name, value in options.items() if name != "batch_rows"}
        return JsonLinesReader(source, spec, **options)
    return CsvReader(source, spec, **options)


def _found(parts: Sequence[tuple[Any, Link]], spec: ImportSpec) -> Found:
    result, digests = Found(), PartitionDigests(spec.row_schema, 4)
    try:
        for items, link in parts:
            for item in items:
                if isinstance(item, RejectBatch):
                    result.rejects += [tuple(row.values()) for row in rebased(item, link).batch.to_pylist()]
                    continue
                digests.add(item)
                ordinals, *columns = [comparable(column) for column in item.columns]
                result.rows += zip([ordinal + link.rows for ordinal in ordinals], *columns, strict=True)
    except UserError as exc:
        result.fault = _fault(exc)
    result.digests = digests.digests()
    return result


def _fault(exc: UserError) -> tuple[Any, ...]:
    return exc.code, exc.message, exc.detail


TOKENS: Final = (
    b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"\0", b"\xef\xbb\xbf", b"\xff", b"\xc3\xa9", b"user_id,c,n",
    b'"a","b","1"\n', b"a,b,1\n", b"a,b,1\r\n", b'"x\ny",b,2\n', b'"x\r\n""y""\r\n",b,2\r\n', b"k", b"7", b" ",
    b'a,"', b'",3\n', b'"\n', b'\n"', b'","', b"x" * 40, b",,\n", b"\n\n", b"c,user_id,n\n", b"PAR1", b"a,b,x\n",
    b"\x1f\x8b\x08", b"PK\x03\x04", b"\xff\xfe",
)  # fmt: skip
JSON_TOKENS: Final = (
    b'{"user_id":"a","c":"b","n":1}\n', b'{"user_id":"a","c":"b","n":1}\r\n', b"\n", b"\r\n", b"\r", b"{}", b"null\n",
    b'{"user_id":"\\n","c":"x","n":2}\n', b'"', b"\\", b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b"x" * 40, b'{"user_id":"',
    b'"}\n', b'{"other":1}\n', b'{"user_id":"a","n":"x"}\n', b"PAR1", b"\x1f\x8b\x08", b" ",
)  # fmt: skip
HEADS: Final = (
    b"user_id,c,n\n", b"user_id,c,n\r\n", b"\xef\xbb\xbfuser_id,c,n\n", b'"user_id","c","n"\n', b'n,"x\ny",user_id,c\n',
    b"user_id,c,n",
)  # fmt: skip


def csv_content(chance: random.Random) -> bytes:
    """An ordinary file, one with some damage, one of random pieces, or one that never resynchronises."""
    head = chance.choice(HEADS)
    match chance.randrange(5):
        case 0:
            return head + b"".join(chance.choice(TOKENS) for _ in range(chance.randint(0, 60)))
        case 1:
            return head + b"a,b,1\n" * chance.randint(0, 20) + b'k,"' + chance.choice(TOKENS) * chance.randint(1, 60)
        case _:
            body = bytearray(_ordinary(chance))
            for _ in range(chance.choice((0, 0, 1, 3))):
                at = chance.randrange(len(body) + 1)
                body[at : at + chance.choice((0, 1, 5))] = chance.choice(TOKENS)
            return head + bytes(body)


def _ordinary(chance: random.Random) -> bytes:
    quoted, breaks = chance.random() < 0.5, chance.random() < 0.7
    end = chance.choice((b"\n", b"\r\n"))
    out = []
    for k in range(chance.randint(0, 30)):
        text = chance.choice((b"", b"some text", b"a, b", b'say ""hi""', b"two" + end + b"lines", b"l" * (3 * k)))
        text = text if breaks else text.replace(end, b" ")
        quotes = quoted or any(mark in text for mark in (b",", b'"', b"\n"))
        number = b"x" if chance.random() < 0.15 else b"%d" % chance.randint(-9, 9999)
        row = [b"u%d" % k, b'"' + text + b'"' if quotes else text, number]
        out.append(b",".join(row) + (end if chance.random() > 0.02 else b""))
    return b"".join(out)


def json_content(chance: random.Random) -> bytes:
    """Lines, most of them sound."""
    weights = [20, 20, *[1] * (len(JSON_TOKENS) - 2)]
    return b"".join(chance.choices(JSON_TOKENS, weights, k=chance.randint(0, 40)))


def cuts_of(chance: random.Random, size: int) -> list[int]:
    """Where to cut a file: everywhere, evenly, or anywhere."""
    if chance.random() < 0.5 and size > 2:
        return sorted(chance.sample(range(1, size), min(size - 1, chance.randint(1, 6))))
    step = chance.choice((1, 2, 7, 13, 64, 64, 200, max(1, size // 4), max(1, size // 16)))
    return list(range(step, size, step))


def wrong(count: int, seed: int) -> tuple[list[str], Counter[str]]:
    """Differences of ranges to one pass, and to naive readers, in random files and cuts; and how many were what."""
    chance = random.Random(f"ranges {seed}")
    seeds = {suffix: [path.read_bytes() for path in corpus_files.files(suffix)] for suffix in (".csv", ".jsonl")}
    differences: list[str] = []
    counts: Counter[str] = Counter()
    for number in range(count):
        suffix = (".csv", ".jsonl")[number % 2]
        from_corpus = number % 4 >= 2
        if from_corpus:
            content = fuzzing.mutated(chance, chance.choice(seeds[suffix]), chance.choice(seeds[suffix]))
            spec = TWINS if suffix == ".csv" else JSON_SPEC
        else:
            content = csv_content(chance) if suffix == ".csv" else json_content(chance)
            spec = SPEC if suffix == ".csv" else replace(SPEC, format="jsonl")
        limit = LIMIT if from_corpus else chance.choice((30, 64, 300, LIMIT))
        options = {
            "record_limit": limit,
            "block_bytes": 4096 if limit == LIMIT else chance.choice((1, 16, 50, 4096)),
            "batch_rows": chance.choice((1, 3, 64)),
        }
        cuts, beyond = cuts_of(chance, len(content)), chance.choice((4, 50, limit + 2, 1 << 21))
        expected = one_pass(content, spec, options)
        got, cost = in_ranges(content, spec, cuts, options, beyond=beyond)
        counts += Counter(files=1, ranges=len(cuts) + 1, again=cost.again, faults=bool(expected.fault))
        counts += Counter(rows=len(expected.rows), rejects=len(expected.rejects))
        difference = _difference(expected, got, whole_raw=limit == LIMIT)
        if from_corpus:
            difference = difference or _from_naive(content, suffix, got)
        if difference:
            differences.append(f"{difference}: {content!r}, {cuts}, {options}, {beyond}")
    return differences, counts


def _from_naive(content: bytes, suffix: str, got: Found) -> str:
    if suffix == ".csv":
        expected = naive_outcome(lambda: naive_csv.read(content, WANTED))
    else:
        expected = naive_outcome(lambda: naive_json.read(content))
    rejects = sorted(((*one[:3], one[4]) for one in got.rejects), key=lambda one: one[0])
    found = Outcome(refusal=got.fault[0]) if got.fault else Outcome(rows=got.rows, rejects=rejects)
    return against_naive(expected, found)


def _difference(expected: Found, got: Found, *, whole_raw: bool) -> str:
    if got.fault != expected.fault:
        return f"fault {got.fault}, not {expected.fault}"
    if expected.fault and expected.fault[0] == "SECOND_HEADER":
        return ""  # what precedes it depends on the size of blocks even in one pass
    if got.rows != expected.rows:
        return f"rows {got.rows}, not {expected.rows}"
    if _comparable(got, whole_raw=whole_raw) != _comparable(expected, whole_raw=whole_raw):
        return f"rejects {got.rejects}, not {expected.rejects}"
    return "" if got.digests == expected.digests else "digests"


def _comparable(found: Found, *, whole_raw: bool) -> list[tuple[Any, ...]]:
    """Rejects by ordinal; `raw` of a header, and of a record over a small limit, depends on what was read at once."""
    rejects = sorted(found.rejects, key=lambda reject: -1 if reject[0] is None else reject[0])
    depends = {"bad_header"} if whole_raw else {"bad_header", "row_too_large"}
    return [one[:RAW] if one[4] in depends else one for one in rejects]

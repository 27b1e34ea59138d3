"""Mutated files from a seed: each is compared with our naive reader, or with the content it was made from."""

import gzip
import io
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from connectors.sources.compression import Compression, CountedSource, Decompressed
from connectors.sources.csv_reader import CsvReader
from schemas.errors import UserError
from tests.hostile import corpus_files, naive_avro
from tests.hostile.avro_bytes import SYNC, block, header, record, rows_of, varint
from tests.hostile.avro_cases import AVRO_SPEC, TWIN
from tests.hostile.avro_cases import twin as avro_rows
from tests.hostile.csv_ends import zstd
from tests.hostile.isolated import DIED, RAISED, each
from tests.hostile.judging import SILENT, Outcome, against_naive, naive_outcome
from tests.hostile.parquet_bytes import page_data
from tests.hostile.parquet_cases import CLEAN, PARQUET_SPEC, WRITERS, clean
from tests.hostile.reading import outcome_of, parse, read_avro, read_parquet
from tests.hostile.twin import SPEC, WANTED, twin_of, values

TOKENS: Final = (
    b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"\0", b"\xef\xbb\xbf", b"\xff", b"\xc3", b"\xed\xa0\x80", b"user_id",
    b"{", b"}", b"[", b"]", b":", b"\\", b"\\u0000", b"\\ud83d", b"1e309", b"-", b"+", b"0", b"null", b"NaN", b" ",
    b"\t", "\u00a0".encode(), "\u2028".encode(), "é".encode(), "😀".encode(), b"9" * 25, b'","', b'\n"', b'"\n',
)  # fmt: skip


NUMBERS: Final = tuple(varint(n) for n in (-(2**63), -(2**31) - 1, -1, 0, 1, 2, 63, 64, 2**31, 2**63 - 1, 2**63, 2**64))
BLOCKS: Final = {".csv": (1, 16, 50, 4096), ".jsonl": (50, 300, 4096)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A file that was read wrongly."""

    suffix: str
    content: bytes
    wrong: str


def mutated(chance: random.Random, seed: bytes, other: bytes, tokens: Sequence[bytes] = TOKENS) -> bytes:
    """One to four mutations of a seed file."""
    content = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(content) + 1)
        until = min(len(content), at + chance.choice((1, 1, 2, 8, 60)))
        match chance.randrange(7):
            case 0:
                content[at:at] = chance.choice(tokens)
            case 1:
                del content[at:until]
            case 2:
                content[at:until] = chance.choice(tokens)
            case 3 if at < len(content):
                content[at] ^= 1 << chance.randrange(8)
            case 4:
                content[at:at] = content[at:until]
            case 5:
                start = chance.randrange(len(other) + 1)
                content[at:at] = other[start : start + chance.randint(1, 200)]
            case _ if chance.randrange(8) == 0:
                del content[at:]
    return bytes(content)


def texts(suffix: str, count: int, seed: int) -> Iterator[Finding]:
    """Mutate the CSV or JSON Lines corpus."""
    chance = random.Random(f"{suffix} {seed}")
    seeds = [path.read_bytes() for path in corpus_files.files(suffix)]
    for _ in range(count):
        content = mutated(chance, chance.choice(seeds), chance.choice(seeds))
        size = chance.choice(BLOCKS[suffix])
        if suffix == ".csv":
            verdict = partial(corpus_files.csv_verdict, kept=chance.choice(corpus_files.KEPT))
        else:
            verdict = partial(corpus_files.jsonl_verdict)
        wrong = _verdict_or_error(partial(verdict, content, block_bytes=size))
        if wrong:
            yield Finding(suffix=suffix, content=content, wrong=wrong)


def avros(count: int, seed: int) -> Iterator[Finding]:
    """Mutate sound Avro files after the header: a field of a row, the bytes of a row, or whole blocks."""
    chance = random.Random(f"avro {seed}")
    head, tokens = header(TWIN), (*TOKENS, *NUMBERS, SYNC)
    rows = [[rows_of(record((f["name"], f["type"])), [row]) for f in TWIN["fields"]] for row in avro_rows()[:20]]
    files = [b"".join(block(1, b"".join(row)) for row in rows)]
    for _ in range(count):
        first, other, last = ([*row] for row in chance.choices(rows, k=3))
        match chance.randrange(4):
            case 0:
                blocks = mutated(chance, files[0], files[0], tokens)
            case 1:
                blocks = block(2, mutated(chance, b"".join(first), b"".join(other), tokens) + b"".join(last))
            case _:
                at = chance.randrange(len(first))
                first[at] = chance.choice((*NUMBERS, chance.choice(NUMBERS) + first[at][1:], chance.choice(other)))
                blocks = block(2, b"".join(first) + b"".join(last))
        wrong = _verdict_or_error(partial(_avro_verdict, head, blocks))
        if wrong:
            yield Finding(suffix=".avro", content=head + blocks, wrong=wrong)


def _avro_verdict(head: bytes, blocks: bytes) -> str:
    expected = naive_outcome(lambda: naive_avro.read(blocks, TWIN, SYNC, WANTED))
    return against_naive(expected, read_avro(head + blocks, AVRO_SPEC))


def _verdict_or_error(verdict: Callable[[], str]) -> str:
    """The verdict; an error not caused by the file is a finding too."""
    try:
        return verdict()
    except Exception as exc:  # noqa: BLE001  # that is what is looked for
        return f"{RAISED} {exc!r}"


PACKERS: Final[dict[Compression, Callable[[bytes], bytes]]] = {
    "gzip": lambda content: gzip.compress(content, mtime=0),
    "zstd": zstd,
}


def wrappers(count: int, seed: int) -> Iterator[Finding]:
    """Damage gzip, and Zstandard with a checksum: expect the packed rows, or an error."""
    chance = random.Random(f"wrappers {seed}")
    twin = twin_of(6_000)
    expected = [(n, *values(row)) for n, row in enumerate(twin.rows)]
    for number in range(count):
        compression = list(PACKERS)[number % 2]
        packed = PACKERS[compression](twin.content())
        content = damaged(chance, packed)
        outcome = _unpacked(content, compression)
        if not outcome.refusal and (outcome.rows != expected or outcome.rejects):
            yield Finding(suffix=f".csv.{compression}", content=content, wrong=f"{SILENT} of damaged {compression}")


def _unpacked(content: bytes, compression: Compression) -> Outcome:
    def read() -> CsvReader:
        source = CountedSource(io.BytesIO(content))
        unpacked = Decompressed(source, compression, max_decoded_bytes=1 << 26, max_ratio=1e6)
        return CsvReader(unpacked, SPEC, block_bytes=4096)

    try:
        return outcome_of(read)
    except UserError as exc:
        return Outcome(refusal=exc.code)


def damaged(chance: random.Random, content: bytes) -> bytes:
    """Flip bits, lose bytes, repeat a piece, append bytes."""
    out = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(out))
        match chance.randrange(7):
            case 0 | 1 | 2:
                out[at] ^= 1 << chance.randrange(8)
            case 3:
                out[at] = chance.randrange(256)
            case 4:
                del out[at : at + chance.randint(1, 20)]
            case 5:
                out += out[at : at + chance.randint(1, 20)]
            case _:
                out[at:at] = out[at : at + 16]
    return bytes(out)


@lru_cache
def _written(name: str) -> bytes:
    return clean(**WRITERS[name])


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetCounts:
    """Outcomes of damaged Parquet files. `unknowable`: other rows, caused by a bit without a checksum.

    `peak`: largest memory of a process that read them, in bytes.
    """

    same: int = 0
    refused: int = 0
    unknowable: int = 0
    died: int = 0
    peak: int = 0


def parquets(count: int, seed: int, folder: Path) -> tuple[ParquetCounts, list[Finding]]:
    """Flip bits in Parquet; a file that kills the process is read again through the product's own child."""
    chance = random.Random(f"parquet {seed}")
    made: dict[bytes, bool] = {}
    for number in range(count):
        name = list(WRITERS)[number % len(WRITERS)]
        whole = _written(name)
        safe = "write_page_checksum" in WRITERS[name] and chance.randrange(2) == 0
        made[_in_pages(chance, whole) if safe else damaged(chance, whole)] = safe

    peaks: list[int] = []
    verdicts = list(each(partial(_against_clean, folder=folder), list(made), peaks))
    findings = []
    for (content, safe), verdict in zip(made.items(), verdicts, strict=True):
        wrong = ""
        if verdict.startswith((DIED, RAISED)):
            wrong = _named(content, folder) or (verdict if verdict.startswith(RAISED) else "")
        elif verdict == "other" and safe:
            wrong = f"{SILENT} of a page with a checksum"
        if wrong:
            findings.append(Finding(suffix=".parquet", content=content, wrong=wrong))
    same, other = verdicts.count("same"), verdicts.count("other")
    died = sum(verdict.startswith(DIED) for verdict in verdicts)
    refused = len(made) - same - other - died
    return ParquetCounts(same=same, unknowable=other, died=died, refused=refused, peak=max(peaks)), findings


def _against_clean(content: bytes, folder: Path) -> str:
    outcome = read_parquet(content, PARQUET_SPEC, folder)
    if outcome.refusal:
        return outcome.refusal
    return "same" if outcome.rows == CLEAN.rows and not outcome.rejects else "other"


def _in_pages(chance: random.Random, whole: bytes) -> bytes:
    """Flip a bit in a page's data: after its header, which no checksum covers, and before the footer."""
    content = bytearray(whole)
    place = chance.choice(_runs(whole))
    content[chance.randrange(*place)] ^= 1 << chance.randrange(8)
    return bytes(content)


_runs = lru_cache(page_data)


def _named(content: bytes, folder: Path) -> str:
    """What is wrong with the error that the product's child reports for a file: it must be a named one."""
    path = folder / "deadly.parquet"
    path.write_bytes(content)
    outcome = parse(path, PARQUET_SPEC)
    named = {"PARSER_CRASHED", "PARSER_MEMORY", "PARSER_TIMEOUT", "CORRUPT_FILE"}
    return "" if outcome.refusal in named or not outcome.refusal else f"ended with {outcome.refusal}"

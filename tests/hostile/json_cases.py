"""JSON Lines with one fault between clean lines; the meaning is given here, or by our own decoder."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from schemas.import_spec import ImportSpec
from tests.hostile.judging import Outcome, against_naive
from tests.hostile.naive_json import line_outcome
from tests.hostile.reading import read_jsonl
from tests.hostile.twin import SPEC

BLOCK: Final = 4096
BOM: Final = b"\xef\xbb\xbf"
CLEAN: Final = b'{"user_id":"user-%06d","n":%d,"d":0.5,"note":"caf\xc3\xa9 \\u65e5 %d","day":"2024-02-29"}'
JSON_SPEC: Final = ImportSpec(
    columns=SPEC.columns, format="jsonl", allow_missing_columns=tuple(column.name for column in SPEC.columns)
)


def _with(member: str) -> bytes:
    return b'{"user_id":"me",' + member.encode() + b"}"


OK: Final = ""
LINES: Final[tuple[tuple[str, bytes, str], ...]] = (
    ("duplicate key", _with('"n":1,"n":2'), "duplicate_key"),
    ("duplicate key, the same value", _with('"n":1,"n":1'), "duplicate_key"),
    ("duplicate id", _with('"user_id":"you"'), "duplicate_key"),
    ("duplicate key by an escape", _with(r'"n":1,"\u006e":2'), "duplicate_key"),
    ("duplicate key inside", _with('"x":{"a":1,"a":2}'), "duplicate_key"),
    ("NaN", _with('"d":NaN'), "bad_json"),
    ("Infinity", _with('"d":Infinity'), "bad_json"),
    ("-Infinity", _with('"d":-Infinity'), "bad_json"),
    ("NaN in a member that is not kept", _with('"x":[NaN]'), "bad_json"),
    ("1e400", _with('"d":1e400'), "bad_value"),
    ("2^63", _with('"n":9223372036854775808'), "bad_value"),
    ("2^63 - 1", _with('"n":9223372036854775807'), OK),
    ("-2^63", _with('"n":-9223372036854775808'), OK),
    ("1.0 as a long", _with('"n":1.0'), "bad_value"),
    ("1e2 as a long", _with('"n":1e2'), "bad_value"),
    ("text as a long", _with('"n":"1"'), "bad_value"),
    ("true as a long", _with('"n":true'), "bad_value"),
    ("2^53 + 1 as a double", _with('"d":9007199254740993'), "bad_value"),
    ("2^53 as a double", _with('"d":9007199254740992'), OK),
    ("10^400 as a double", _with('"d":1' + "0" * 400), "bad_value"),
    ("digits without end", _with('"d":' + "9" * 5000), "bad_json"),
    ("leading zero", _with('"n":01'), "bad_json"),
    ("plus sign", _with('"n":+1'), "bad_json"),
    ("no digit before the point", _with('"d":.5'), "bad_json"),
    ("no digit behind the point", _with('"d":5.'), "bad_json"),
    ("hexadecimal", _with('"n":0x10'), "bad_json"),
    ("digits of another script", _with('"n":١'), "bad_json"),
    ("minus zero", _with('"n":-0,"d":-0.0'), OK),
    ("integer minus zero as a double", _with('"d":-0'), OK),
    ("half of a pair", _with(r'"note":"\ud83d"'), "invalid_utf8"),
    ("the other half", _with(r'"note":"\ude00x"'), "invalid_utf8"),
    ("halves the wrong way", _with(r'"note":"\ude00\ud83d"'), "invalid_utf8"),
    ("half of a pair in the id", b'{"user_id":"\\ud83d"}', "invalid_utf8"),
    ("a pair", _with(r'"note":"\ud83d\ude00"'), OK),
    ("surrogate in UTF-8", b'{"user_id":"\xed\xa0\xbd"}', "invalid_utf8"),
    ("overlong", b'{"user_id":"\xc0\xaf"}', "invalid_utf8"),
    ("Latin-1", b'{"user_id":"caf\xe9"}', "invalid_utf8"),
    ("cut character", b'{"user_id":"\xe6\x97"}', "invalid_utf8"),
    ("NUL by an escape", _with(r'"note":"a\u0000b"'), "nul_byte"),
    ("NUL by an escape in the id", b'{"user_id":"a\\u0000"}', "nul_byte"),
    ("NUL in a text", b'{"user_id":"a\0b"}', "bad_json"),
    ("NUL behind the object", b'{"user_id":"a"}\0', "bad_json"),
    ("control character", b'{"user_id":"a\tb"}', "bad_json"),
    ("deep arrays", _with('"x":' + "[" * 5000 + "]" * 5000), "too_deep"),
    ("deep objects", _with('"x":' + '{"a":' * 5000 + "1" + "}" * 5000), "too_deep"),
    ("byte order mark", b'\xef\xbb\xbf{"user_id":"a"}', "bad_json"),
    ("two objects", b'{"user_id":"a"}{"user_id":"b"}', "bad_json"),
    ("two objects and a space", b'{"user_id":"a"} {"user_id":"b"}', "bad_json"),
    ("comma behind the object", b'{"user_id":"a"},', "bad_json"),
    ("trailing comma", b'{"user_id":"a",}', "bad_json"),
    ("trailing comma in an array", _with('"x":[1,]'), "bad_json"),
    ("comment", b'{"user_id":"a"} // why', "bad_json"),
    ("comment inside", b'{"user_id":/* why */"a"}', "bad_json"),
    ("single quotes", b"{'user_id':'a'}", "bad_json"),
    ("no quotes", b'{user_id:"a"}', "bad_json"),
    ("array of objects", b'[{"user_id":"a"}]', "not_an_object"),
    ("array opens", b"[", "bad_json"),
    ("a text", b'"a"', "not_an_object"),
    ("null", b"null", "not_an_object"),
    ("a number", b"1", "not_an_object"),
    ("Python's words", _with('"x":None'), "bad_json"),
    ("undefined", _with('"x":undefined'), "bad_json"),
    ("cut in a text", b'{"user_id":"a', "bad_json"),
    ("cut behind a colon", b'{"user_id":', "bad_json"),
    ("cut behind a value", b'{"user_id":"a"', "bad_json"),
    ("bad escape", _with(r'"note":"\x41"'), "bad_json"),
    ("short escape", _with(r'"note":"\u12"'), "bad_json"),
    ("escaped member names", b'{"user\\u005fid":"me","\\u006e":5}', OK),
    ("blank", b"", "blank_line"),
    ("spaces", b" \t ", "blank_line"),
    ("form feed", b'\x0c{"user_id":"a"}', "bad_json"),
    ("no-break space", b'\xc2\xa0{"user_id":"a"}', "bad_json"),
    ("spaces around", b'  {"user_id" : "me"}\t', OK),
    ("CR inside", b'{"user_id":\r"me"}', OK),
    ("no id", b'{"n":1}', "id_missing"),
    ("id null", b'{"user_id":null}', "id_missing"),
    ("id empty", b'{"user_id":""}', "id_empty"),
    ("id blank", '{"user_id":"\u3000"}'.encode(), "id_blank"),
    ("id of another case", b'{"User_ID":"a"}', "id_missing"),
    ("id an integer", b'{"user_id":12345678901234567890}', OK),
    ("id a float", b'{"user_id":1.0}', "bad_value"),
    ("id an exponent", b'{"user_id":1e5}', "bad_value"),
    ("id true", b'{"user_id":true}', "bad_value"),
    ("id an array", b'{"user_id":["a"]}', "bad_value"),
    ("id too long", b'{"user_id":"' + b"k" * 192 + b'"}', "id_too_long"),
    ("id an integer too long", b'{"user_id":' + b"1" * 192 + b"}", "id_too_long"),
    ("nested value", _with('"note":{"a":1}'), "bad_value"),
    ("text null", _with('"note":null,"n":null'), OK),
    ("text empty", _with('"note":""'), OK),
    ("date of no month", _with('"day":"2024-02-30"'), "bad_value"),
    ("date a number", _with('"day":20240101'), "bad_value"),
    ("moment without an offset", _with('"at":"2024-01-01T00:00:00"'), "no_timezone"),
    ("lines of Unicode", _with('"note":"a\u2028b\u0085c"'), OK),
    ("zero-width space in an id", '{"user_id":"a\u200b"}'.encode(), OK),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A file with one odd line, and its meaning."""

    name: str
    content: bytes
    expected: Outcome
    blocks: tuple[int, ...]
    """Bytes of the blocks in which it is read."""


def cases(name: str, line: bytes, code: str) -> Iterator[Case]:
    """The line first, in the middle and last, across a border, with LF and CRLF, in files of each size."""
    for size in (3, 150):
        clean = [CLEAN % (n, n * 7, n) for n in range(size)]
        borders = [
            BLOCK - p - sum(len(c) + 1 for c in clean[:8]) for p in (1, len(line) // 2, len(line), len(line) + 1)
        ]
        for at, end, padding in (
            (0, b"\n", 0), (size // 2, b"\r\n", 0), (size, b"\n", 0), (size, b"", 0),
            *((8, b"\n", border) for border in borders if size > 8 and border > 0),
        ):  # fmt: skip
            lines = [c + b"\n" for c in clean]
            if padding:
                lines[7] = lines[7].removesuffix(b"\n") + b" " * padding + b"\n"
            lines.insert(at, line + end)
            if (at == size and not end and not line) or (at == 0 and line.startswith(BOM)):
                continue  # not a line at all, or the byte order mark of the file
            yield Case(
                name=f"{name} / line {at} of {size}, {end!r}",
                content=b"".join(lines),
                expected=_meant(lines, at, code),
                blocks=(BLOCK, 37) if size == 3 else (BLOCK if padding else 2500,),  # padded to meet a border of BLOCK
            )


def _meant(lines: list[bytes], at: int, code: str) -> Outcome:
    rows: list[tuple[Any, ...]] = []
    rejects: list[tuple[Any, ...]] = []
    offset = 0
    for ordinal, line in enumerate(lines):
        found, _ = line_outcome(line.rstrip(b"\n").removesuffix(b"\r"))
        if ordinal == at and (found if isinstance(found, str) else OK) != code:
            raise AssertionError(f"the naive reader makes {found!r} of {line[:80]!r}, which is {code or 'sound'}")
        if isinstance(found, str):
            rejects.append((ordinal, ordinal + 1, offset, found))
        else:
            rows.append((ordinal, *found))
        offset += len(line)
    return Outcome(rows=rows, rejects=rejects)


def verdicts(case: Case) -> Iterator[str]:
    """What is wrong with the product's reading."""
    for block_bytes in case.blocks:
        outcome = read_jsonl(case.content, JSON_SPEC, block_bytes=block_bytes)
        if wrong := against_naive(case.expected, outcome):
            yield f"{case.name}, blocks of {block_bytes}: {wrong}"

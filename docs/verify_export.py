"""Check a Muster export without Muster: python verify_export.py FOLDER/manifest.json

Needs xxhash; pyarrow for Parquet, zstandard for .zst. Exit code 0: all numbers match; 1: the first difference.
"""

import csv
import gzip
import hashlib
import io
import json
import struct
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import xxhash

csv.field_size_limit(2**31 - 1)  # else a text has 131,072 characters at most
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(t):
    d = t - EPOCH
    return (d.days * 86400 + d.seconds) * 10**6 + d.microseconds


def word(number):
    return (int(number) % 2**64).to_bytes(8, "little")


BYTES = {  # of a value: text (CSV), JSON value or Python value (Parquet); docs/digest.md
    "string": lambda v: v.encode(),
    "long": word,
    "double": lambda v: struct.pack("<d", float(v)),
    "boolean": lambda v: word(v in (True, "true")),
    "date": lambda v: word((v if isinstance(v, date) else date.fromisoformat(v)).toordinal() - 719163),
    "timestamp": lambda v: word(micros(v if isinstance(v, datetime) else datetime.fromisoformat(v))),
}


def rows(path, form, names):
    if form["name"] == "parquet":
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches():
            yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)
        return
    data = path.read_bytes()
    if form["compression"] == "gzip":
        data = gzip.decompress(data)
    elif form["compression"] == "zstd":
        import zstandard

        data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    if form["name"] == "jsonl":
        for line in data.decode().removesuffix("\n").split("\n"):
            yield [json.loads(line)[name] for name in names]
        return
    escaped, null = form["formulas"] == "escape", form["null_token"]
    for row in list(csv.reader(io.StringIO(data.decode(), newline="")))[1:]:
        values = [row[0], *(None if text == null else text for text in row[1:])]
        yield [v.removeprefix("'") if escaped and v is not None else v for v in values]


def digest(rows, types):
    count, sums = 0, [0, 0]
    for row in rows:
        count += 1
        values = [None if v is None else BYTES[t](v) for v, t in zip(row, types, strict=True)]
        for lane in (0, 1):
            h = lane
            for value in values:
                h = (
                    xxhash.xxh64_intdigest(value, h)
                    if value is not None
                    else xxhash.xxh64_intdigest(b"", h ^ 2**64 - 1)
                )
            sums[lane] = (sums[lane] + h) % 2**64
    return count, *sums


def watched(rows, bounds):
    for row in rows:
        bounds[:] = [bounds[0] if bounds else row[0], row[0]]
        yield row


def parsed(text):
    _, count, *lanes = text.split(":")
    return int(count), *(int(lane, 16) for lane in lanes)


def plus(total, digest, sign=1):
    return tuple((a + sign * b) % 2**64 for a, b in zip(total, digest, strict=True))


def main(address):
    manifest = json.loads(Path(address).read_text(encoding="utf-8"))
    names, types = zip(*((c["name"], c["type"]) for c in manifest["schema"]), strict=True)
    base = parsed(manifest["delta"]["digest"]) if manifest["delta"] else (0, 0, 0)
    totals = {}  # of the files, by their change
    for file in manifest["files"]:
        path = Path(address).parent / file["key"]
        data = path.read_bytes()
        if (len(data), hashlib.sha256(data).hexdigest()) != (file["bytes"], file["sha256"]):
            return f"{path}: bytes or sha256 differ"
        bounds = []  # first and last user id
        found = digest(watched(rows(path, manifest["format"], names), bounds), types)
        if [found, found[0], *bounds] != [parsed(file["digest"]), file["rows"], file["min"], file["max"]]:
            return f"{path}: digest differs, or rows, min or max: {found} {bounds}"
        totals[file.get("change")] = plus(totals.get(file.get("change"), (0, 0, 0)), found)
    total = base
    for change, found in totals.items():
        total = plus(total, found, -1 if change == "removed" else 1)
    if "selection" in manifest:  # not all rows, or other columns: then there are accounts of all that was read
        read, views = {}, {}
        for account in manifest["selection"]["accounts"]:
            view = account.get("view", "version")  # a delta has two, that of its version and that of its base
            kept, filtered, suppressed, views[view] = (
                parsed(account[name]) for name in ("kept", "filtered", "suppressed", "exported")
            )
            same_columns = account["kept"][:16] == account["exported"][:16]
            if kept[0] != views[view][0] or (same_columns and kept != views[view]):
                return f"{account['kept']} was kept, and {account['exported']} exported"
            read[view] = plus(plus(kept, filtered), suppressed)
        removed, added = (totals.pop(change, (0, 0, 0)) for change in ("removed", "added"))
        arrived = plus(plus(views.get("base", totals.get(None, (0, 0, 0))), removed, -1), added)
        if arrived != views["version"] or read.get("base", base) != base:
            return f"the files lead to {arrived}, not to {views['version']}, or the base is not {base}"
        if manifest["delta"] and parsed(manifest["delta"]["kept"]) != views["base"]:
            return f"the delta starts from {manifest['delta']['kept']}, not from {views['base']}"
        total = read["version"]
    counts = sum(file["rows"] for file in manifest["files"]), total[0]
    whole = (total, *counts) == (parsed(manifest["digest"]), manifest["rows"], manifest["members"])
    return None if whole else f"the rows come to {total}, not to {manifest['digest']}, or (rows, members) to {counts}"


if __name__ == "__main__":
    difference = main(sys.argv[1])
    print(difference or "all numbers match")
    sys.exit(1 if difference else 0)

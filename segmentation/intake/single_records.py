"""Single records as columns, without a Python object per record: all that are certainly valid.

Kernels find the members of JSON objects and of Avro records. What they do not take, and what a check of a column does
not accept for certain, is left to the reader of one record at a time (`decoding`), which says why it is refused, or
accepts it after all. Both make the same row of the same record.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from schemas.activity import (
    EARLIEST_US,
    MAX_AHEAD_US,
    MAX_PROPERTIES,
    PROPERTY_MAX_BYTES,
    RECORD_MAX_BYTES,
    TENANT,
)
from schemas.activity_columns import NAME_MAX_CHARACTERS, OCCURRED_AT
from schemas.buffers import string_buffers
from schemas.columns import USER_ID
from schemas.ids import DEFAULT_TENANT, TenantName
from schemas.kernels.avro_records import scan_avro
from schemas.kernels.compiling import kernel
from schemas.kernels.json_objects import scan_objects
from schemas.kernels.members import (
    ABSENT,
    INTEGER,
    NULL,
    OBJECT,
    STRING,
    Found,
    Ints,
    Longs,
    Mask,
    Members,
    find_members,
    with_validity,
)
from schemas.kernels.values import parse_instants
from schemas.partitioning import partitions_of
from segmentation.intake.json_records import EXACT
from segmentation.intake.refusals import Refused
from segmentation.intake.tenants import Existed
from segmentation.intake.topic_records import TopicRecords
from segmentation.intake.value_maps import maps_of_members
from segmentation.intake.values import check_name, check_tenant

Kinds = Mapping[str, frozenset[int]]
OPTIONAL_STRING = frozenset({STRING, NULL, ABSENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Single records of one topic.

    `kinds`: the members of a JSON object, and the kinds that each may have. `avro_headers`: the first bytes of a
    record in Avro, one for each schema; `avro_fields`: the same members there, in order, and their types
    (`schemas.kernels.avro_records`).
    """

    kinds: Kinds
    avro_headers: tuple[bytes, ...]
    avro_fields: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Singles:
    """m records of a topic that are valid in form. `rows`, int64[m]: their indices. Members are given by name."""

    records: TopicRecords
    rows: Longs
    members: Members
    by_name: Mapping[str, Ints]
    millis: bool
    """True if whole times are milliseconds, as in JSON; they are microseconds in Avro."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def received_at_us(self) -> Longs:
        """int64[m]."""
        return self.records.received_at_us[self.rows]

    @property
    def offsets(self) -> Longs:
        """int64[m]."""
        return self.records.offsets[self.rows]

    def without(self, dropped: Mask) -> "Singles":
        """The others."""
        return Singles(
            records=self.records,
            rows=self.rows[~dropped],
            members=self.members,
            by_name={name: members[~dropped] for name, members in self.by_name.items()},
            millis=self.millis,
        )

    def texts(self, name: str) -> pa.StringArray:
        """The strings of a member; null if it is null or absent."""
        members = self.by_name[name]
        return with_validity(self.members.texts(members), self.members.kinds(members) == STRING)

    def is_kind(self, name: str, kind: int) -> Mask:
        """bool[m]."""
        found: Mask = self.members.kinds(self.by_name[name]) == kind
        return found

    def tenants(self) -> pa.StringArray:
        """The tenant of each."""
        if not self.is_kind(TENANT, STRING).any():
            return pa.repeat(pa.scalar(DEFAULT_TENANT, pa.string()), len(self))
        return self.texts(TENANT).fill_null(DEFAULT_TENANT)

    def times(self) -> tuple[Longs, Mask]:
        """`occurred_at` in microseconds since 1970 UTC, and which of them are doubtful (these have another time)."""
        members, received_at_us = self.by_name[OCCURRED_AT], self.received_at_us
        us = self.members.longs(members)
        doubtful = np.zeros(len(us), np.bool_)
        if self.millis:
            doubtful = np.abs(us) > EXACT
            us = np.where(doubtful, 0, us) * 1000
            texts = np.flatnonzero(self.members.kinds(members) == STRING)
            if len(texts):
                found, bad = np.empty(len(texts), np.int64), np.empty(len(texts), np.bool_)
                parse_instants(*string_buffers(self.members.texts(members[texts])), found, bad)
                us[texts], doubtful[texts] = found, bad
        doubtful |= (us < EARLIEST_US) | (us > received_at_us + MAX_AHEAD_US)
        return np.where(doubtful, received_at_us, us), doubtful

    def maps(self, name: str, type_: pa.MapType, *, nulls: bool) -> tuple[pa.MapArray, Mask]:
        """The maps of a member, and which of them are doubtful. `nulls`: keep entries without a value."""
        owners = self.by_name[name]
        most = len(self.members.kind)
        offsets, entries = np.empty(len(owners) + 1, np.int32), np.empty(most, np.int32)
        doubtful, unclear = np.empty(len(owners), np.bool_), np.empty(most, np.bool_)
        _entries(self.members, owners, nulls, offsets, entries, doubtful, unclear)
        entries = entries[: offsets[-1]]
        if (at := np.flatnonzero(unclear[: offsets[-1]])).size:
            names = self.members.keys(entries[at]).dictionary_encode()
            bad = np.array([_is_bad(check_name, one) for one in names.dictionary.to_pylist()])
            of_rows = np.searchsorted(offsets, at[bad[names.indices.to_numpy()]], side="right") - 1
            doubtful[of_rows] = True
        return maps_of_members(self.members, offsets, entries, type_), doubtful

    def doubtful(self, user_ids: pa.StringArray, tenants: pa.StringArray, partitions: int, existed: Existed) -> Mask:
        """bool[m]: True for records with another key than their user, in another partition, or of no tenant."""
        out = np.empty(len(self), np.bool_)
        key_start, key_end = self.records.key_start[self.rows], self.records.key_end[self.rows]
        _have_other_keys(self.members, self.by_name[USER_ID], key_start, key_end, out)
        out |= partitions_of(user_ids, partitions)[0] != self.records.partition
        encoded = tenants.dictionary_encode()
        codes, names = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
        earliest = np.full(len(names), np.iinfo(np.int64).max)
        np.minimum.at(earliest, codes, self.received_at_us)  # a tenant that existed then has existed since
        unknown = [
            _is_bad(check_tenant, name) or not existed(TenantName(name), at_us)
            for name, at_us in zip(names, earliest.tolist(), strict=True)
        ]
        out |= np.array(unknown, np.bool_)[codes]
        return out


def valid_singles(
    records: TopicRecords, shape: Shape, rows_of: Callable[[Singles], tuple[pa.RecordBatch, Mask]]
) -> tuple[list[pa.RecordBatch], Mask]:
    """The rows of all single records that are certainly valid, and which records they are, bool[n].

    `rows_of`: the rows of some of them, and which of those are doubtful, bool[m].
    """
    batches: list[pa.RecordBatch] = []
    taken = np.zeros(len(records), np.bool_)
    for header in (None, *shape.avro_headers):
        rest = np.flatnonzero(~taken)
        singles = _json(records, rest, shape) if header is None else _avro(records, rest, shape, header)
        while len(singles):
            rows, doubtful = rows_of(singles)
            if not doubtful.any():
                batches.append(rows)
                taken[singles.rows] = True
                break
            singles = singles.without(doubtful)
    return batches, taken


def _json(records: TopicRecords, rows: Longs, shape: Shape) -> Singles:
    members = scan_objects(records.data, records.size, records.value_start[rows], records.value_end[rows])
    found = find_members(members, list(shape.kinds))
    possible = members.taken & ~found.others
    for kinds, of_name in zip(shape.kinds.values(), found.by_name, strict=True):
        possible &= members.are_kinds(of_name, *kinds)
    return _singles(records, rows, list(shape.kinds), members, found, possible, millis=True)


def _avro(records: TopicRecords, rows: Longs, shape: Shape, header: bytes) -> Singles:
    starts, ends = records.value_start[rows], records.value_end[rows]
    members, found = scan_avro(records.data, starts, ends, header, list(shape.avro_fields.values()))
    return _singles(records, rows, list(shape.avro_fields), members, found, members.taken, millis=False)


def _singles(
    records: TopicRecords,
    rows: Longs,
    names: Sequence[str],
    members: Members,
    found: Found,
    possible: Mask,
    *,
    millis: bool,
) -> Singles:
    possible = possible & (records.value_end[rows] - records.value_start[rows] <= RECORD_MAX_BYTES)
    by_name = {name: of_name[possible] for name, of_name in zip(names, found.by_name, strict=True)}
    return Singles(records=records, rows=rows[possible], members=members, by_name=by_name, millis=millis)


def _is_bad(check: Callable[[str], None], text: str) -> bool:
    try:
        check(text)
    except Refused:
        return True
    return False


@kernel
def _entries(
    members: Members,
    owners: Ints,
    nulls: bool,  # noqa: FBT001  # a compiled kernel takes no keywords
    offsets: Ints,
    entries: Ints,
    doubtful: Mask,
    unclear: Mask,
) -> None:
    """Write the members of the objects `owners`, with the offsets of a map array. `unclear`: names to be checked."""
    n = 0
    for row in range(len(owners)):
        offsets[row] = n
        doubtful[row] = False
        owner = owners[row]
        if owner < 0 or members.kind[owner] != OBJECT:
            continue
        if members.number[owner] - owner - 1 > MAX_PROPERTIES:
            doubtful[row] = True
            continue
        for k in range(owner + 1, members.number[owner]):
            kind, number, name = members.kind[k], members.number[k], members.key_start[k]
            name_size = members.key_end[k] - name
            plain_name = 0 < name_size <= NAME_MAX_CHARACTERS and 32 < members.data[name] < 127
            if kind == INTEGER and not -EXACT <= number <= EXACT:
                doubtful[row] = True
            if kind == STRING and members.end[k] - members.start[k] > PROPERTY_MAX_BYTES:
                doubtful[row] = True
            if kind == NULL and not nulls:  # no entry, but its name is checked
                doubtful[row] |= not plain_name
                continue
            unclear[n] = not plain_name
            entries[n] = k
            n += 1
    offsets[len(owners)] = n


@kernel
def _have_other_keys(members: Members, users: Ints, key_start: Ints, key_end: Ints, out: Mask) -> None:
    """True for keys that are not the text of their member. A record may have no key."""
    d = members.data
    for row in range(len(users)):
        out[row] = False
        if key_end[row] < 0:
            continue
        user = members.start[users[row]]
        size = members.end[users[row]] - user
        out[row] = key_end[row] - key_start[row] != size
        j = 0
        while j < size and not out[row]:
            out[row] = d[key_start[row] + j] != d[user + j]
            j += 1

"""Checks of every attempt: against the partitions frozen on the job, and against what verification saw in the file."""

from connectors.publishing.ports import TopicLog
from connectors.verification.evidence import Evidence
from connectors.verification.stream import ParsedSummary
from schemas.digest import Digest
from schemas.errors import FatalError, UserError


def require_partition_count(log: TopicLog, frozen: int) -> None:
    """Raises `FatalError` TOPIC_PARTITIONS_CHANGED unless the topic has the frozen number of partitions."""
    if (found := log.partitions()) != frozen:
        raise FatalError(
            "TOPIC_PARTITIONS_CHANGED",
            f"topic {log.topic} has {found} partitions, but the job was registered with {frozen}: users would be "
            "looked up in the wrong partitions. Restore the topic's old number of partitions, or register the job "
            "again",
            topic=log.topic,
            found=found,
            frozen=frozen,
        )


def compare(sent: tuple[Digest, ...], evidence: Evidence, summary: ParsedSummary) -> None:
    """Check that what was sent is what verification saw, in every partition.

    Raises `UserError` SOURCE_CHANGED, and `FatalError` EVIDENCE_MISMATCH, which names the partition.
    """
    if sent == evidence.partitions:
        return
    seen = {"source_bytes": evidence.source_bytes, "decoded_bytes": evidence.decoded_bytes}
    now = {"source_bytes": summary.source_bytes, "decoded_bytes": summary.decoded_bytes}
    if now != seen:
        raise UserError(
            "SOURCE_CHANGED",
            f"the file was changed during the import: {now['source_bytes']} bytes ({now['decoded_bytes']} "
            f"uncompressed), verification read {seen['source_bytes']} ({seen['decoded_bytes']}). Upload it again under "
            "a new name",
            verified=seen,
            sent=now,
        )
    wrong = [p for p, (a, b) in enumerate(zip(sent, evidence.partitions, strict=False)) if a != b]
    if len(sent) != len(evidence.partitions):
        raise FatalError(
            "EVIDENCE_MISMATCH",
            f"verification counted {len(evidence.partitions)} partitions, {len(sent)} were sent",
        )
    first = wrong[0]
    raise FatalError(
        "EVIDENCE_MISMATCH",
        f"partition {first}: {sent[first].count} rows with digest {sent[first]} were sent, verification counted "
        f"{evidence.partitions[first].count} with {evidence.partitions[first]} (differs in {len(wrong)} partition(s))",
        partition=first,
        partitions=wrong,
        sent=str(sent[first]),
        verified=str(evidence.partitions[first]),
    )

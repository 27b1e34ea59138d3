"""The mutants: bugs that the suites must catch, each with the promise it breaks and the suites that must see it.

`promises` are the numbers of the promises in docs/evidence.md. `SCHEDULES` and `SEGMENT_SCHEDULES` are the simulator;
the rest are tests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.mutation import feed_bugs, job_bugs, reader_bugs, segment_bugs, stream_bugs, unit_bugs
from tests.mutation.patches import Patches

SCHEDULES: Final = "schedules"
SEGMENT_SCHEDULES: Final = "schedules of segments"
UNIT_SCHEDULES: Final = "schedules of units"
"""The simulator with the seeds of `make test`, one by one, until an invariant does not hold."""

SIMULATED: Final = frozenset({SCHEDULES, SEGMENT_SCHEDULES, UNIT_SCHEDULES})

FOLD: Final = "tests/unit/segmentation/test_progress.py"
ATTEMPTS: Final = "tests/contract/test_catalog.py::test_attempt_starts_only_while_importing_after_the_known_one[sqlite]"
DUPLICATES: Final = "tests/contract/test_catalog.py::test_duplicate_remains_one_after_its_original_failed[sqlite]"
PUBLISHED_TWICE: Final = (
    "tests/contract/test_version_store.py::test_publishing_the_same_import_twice_is_one_version[memory]"
)
SLEPT_THROUGH_A_ROLLBACK: Final = (
    "tests/contract/test_version_store.py::test_late_writer_does_not_undo_a_rollback[sqlite]"
)
NOT_TOO_OLD: Final = "tests/unit/orchestration/control/test_gc.py::test_job_does_not_expire_before_three_days"
RACE_LOST: Final = "tests/integration/lake/test_iceberg_store.py::test_append_that_loses_a_race_is_refused"
ARCHIVING: Final = "tests/unit/segmentation/test_archiving.py"
OWNERS: Final = "tests/unit/streams/test_partition_task.py"
EVALUATOR: Final = "tests/property/test_evaluator.py"
SEQUENCES: Final = "tests/property/test_sequences.py"
AGGREGATES: Final = "tests/property/test_aggregates.py"
SUCCESSION: Final = "tests/unit/segmentation/evaluation/test_succession.py"
SPANS: Final = "tests/property/test_spans.py"
PROTOCOL: Final = "tests/property/test_import_protocol.py"
UNITS: Final = "tests/unit/orchestration/kinds/test_units.py"
HOSTILE_CSV: Final = "tests/hostile/test_csv.py"
HOSTILE_JSON: Final = "tests/hostile/test_jsonl.py"
HOSTILE_RANGES: Final = "tests/hostile/test_ranges.py"
FEEDS: Final = "tests/unit/segmentation/feeds/test_following.py"
FEED_DEATHS: Final = "tests/property/test_feeds.py"
CHAINING: Final = "tests/unit/connectors/sources/test_chaining.py"
HOSTILE_FUZZ: Final = "tests/hostile/test_fuzz.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One bug. Every suite in `caught_by` must fail with it."""

    bug: Callable[[Patches], None]
    promises: tuple[int, ...]
    caught_by: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the function, with spaces."""
        return self.bug.__name__.replace("_", " ")

    @property
    def what(self) -> str:
        """The bug in one sentence."""
        return (self.bug.__doc__ or "").strip()


MUTANTS: Final = (
    Mutant(bug=stream_bugs.count_only, promises=(2,), caught_by=(FOLD,)),
    Mutant(bug=stream_bugs.seq_count, promises=(2, 3), caught_by=(FOLD,)),
    Mutant(bug=stream_bugs.xor_digest, promises=(2,), caught_by=("tests/unit/schemas/test_digest.py", SCHEDULES)),
    Mutant(bug=stream_bugs.attempt_ignored, promises=(3,), caught_by=(FOLD, SCHEDULES)),
    Mutant(bug=stream_bugs.evidence_ignored, promises=(2,), caught_by=("tests/unit/segmentation/test_completion.py",)),
    Mutant(bug=stream_bugs.attempts_mixed, promises=(1,), caught_by=("tests/unit/segmentation/test_completion.py",)),
    Mutant(
        bug=stream_bugs.duplicates_twice, promises=(1, 3), caught_by=("tests/unit/segmentation/test_progress_acks.py",)
    ),
    Mutant(bug=stream_bugs.first_row_wins, promises=(2,), caught_by=("tests/unit/streams/test_merge.py",)),
    Mutant(
        bug=stream_bugs.ack_before_durable,
        promises=(3,),
        caught_by=("tests/unit/streams/test_materialiser_order.py", SCHEDULES),
    ),
    Mutant(
        bug=stream_bugs.ack_before_part,
        promises=(3,),
        caught_by=("tests/unit/streams/test_materialiser_order.py", SCHEDULES),
    ),
    Mutant(
        bug=stream_bugs.exception_swallowed,
        promises=(1, 3),
        caught_by=("tests/unit/streams/test_materialiser_order.py", SCHEDULES),
    ),
    Mutant(
        bug=stream_bugs.intent_despite_failed_run,
        promises=(3,),
        caught_by=("tests/unit/streams/test_materialiser_order.py",),
    ),
    Mutant(
        bug=stream_bugs.intent_not_stored,
        promises=(3,),
        caught_by=("tests/unit/streams/test_materialiser_order.py", SCHEDULES),
    ),
    Mutant(
        bug=stream_bugs.stale_owner_acknowledges,
        promises=(3,),
        caught_by=("tests/unit/streams/test_materialiser_order.py",),
    ),
    Mutant(bug=stream_bugs.late_chunks_reopen, promises=(3,), caught_by=(FOLD,)),
    Mutant(
        bug=job_bugs.unpinned_object,
        promises=(1, 2),
        caught_by=("tests/unit/connectors/storage/test_pinned.py", SCHEDULES),
    ),
    Mutant(bug=job_bugs.fence_ignored, promises=(3,), caught_by=("tests/unit/orchestration/kinds/test_lifecycle.py",)),
    Mutant(
        bug=job_bugs.markers_before_acks,
        promises=(1,),
        caught_by=("tests/unit/connectors/publishing/test_importer.py", SCHEDULES),
    ),
    Mutant(
        bug=job_bugs.unregistered_twin, promises=(3,), caught_by=("tests/unit/orchestration/kinds/test_lifecycle.py",)
    ),
    Mutant(
        bug=job_bugs.duplicate_comes_to_life,
        promises=(3,),
        caught_by=(DUPLICATES,),
    ),
    Mutant(bug=job_bugs.late_attempt, promises=(3,), caught_by=(ATTEMPTS,)),
    Mutant(bug=job_bugs.no_guard, promises=(1, 6), caught_by=(SCHEDULES, PROTOCOL)),
    Mutant(bug=job_bugs.own_commit_unknown, promises=(3,), caught_by=(PUBLISHED_TWICE, SCHEDULES)),
    Mutant(bug=job_bugs.unconditional_commit, promises=(1, 6), caught_by=(RACE_LOST, SCHEDULES)),
    Mutant(bug=job_bugs.rollback_unmarked, promises=(6,), caught_by=(SLEPT_THROUGH_A_ROLLBACK, SCHEDULES)),
    Mutant(
        bug=job_bugs.cancel_while_publishing,
        promises=(1, 3),
        caught_by=("tests/unit/segmentation/test_jobs.py",),
    ),
    Mutant(bug=job_bugs.ends_early, promises=(3,), caught_by=(NOT_TOO_OLD, SCHEDULES)),
    Mutant(
        bug=job_bugs.wrong_duplicates,
        promises=(2,),
        caught_by=("tests/unit/orchestration/kinds/test_receipts.py", SCHEDULES),
    ),
    Mutant(bug=job_bugs.one_row_off, promises=(4,), caught_by=("tests/unit/connectors/sources/test_csv_reader.py",)),
    Mutant(
        bug=reader_bugs.quote_in_a_field,
        promises=(4,),
        caught_by=(HOSTILE_CSV, HOSTILE_FUZZ, "tests/unit/connectors/sources/test_csv_reader.py"),
    ),
    Mutant(bug=reader_bugs.text_after_a_quote, promises=(4,), caught_by=(HOSTILE_CSV, HOSTILE_FUZZ)),
    Mutant(
        bug=reader_bugs.nul_let_through,
        promises=(4,),
        caught_by=(HOSTILE_CSV, HOSTILE_FUZZ, "tests/unit/connectors/sources/test_csv_reader.py"),
    ),
    Mutant(
        bug=reader_bugs.skipping_forgets, promises=(4,), caught_by=("tests/unit/connectors/sources/test_csv_reader.py",)
    ),
    Mutant(bug=reader_bugs.offsets_of_blocks, promises=(4,), caught_by=(HOSTILE_CSV, HOSTILE_FUZZ)),
    Mutant(
        bug=reader_bugs.number_wrapped,
        promises=(4,),
        caught_by=(HOSTILE_CSV, "tests/unit/connectors/sources/test_typed_columns.py"),
    ),
    Mutant(bug=reader_bugs.last_row_dropped, promises=(4,), caught_by=(HOSTILE_CSV, "tests/hostile/test_csv_ends.py")),
    Mutant(bug=reader_bugs.mark_kept, promises=(4,), caught_by=(HOSTILE_CSV,)),
    Mutant(bug=reader_bugs.bytes_unchecked, promises=(4,), caught_by=(HOSTILE_CSV, HOSTILE_FUZZ)),
    Mutant(
        bug=reader_bugs.last_key_wins,
        promises=(4,),
        caught_by=(HOSTILE_JSON, HOSTILE_FUZZ, "tests/unit/connectors/sources/test_jsonl_reader.py"),
    ),
    Mutant(bug=reader_bugs.ids_unjudged, promises=(4,), caught_by=(HOSTILE_CSV, HOSTILE_JSON)),
    Mutant(bug=reader_bugs.range_bases_off_by_one, promises=(4,), caught_by=(HOSTILE_RANGES,)),
    Mutant(bug=reader_bugs.ranges_unchained, promises=(4,), caught_by=(HOSTILE_RANGES, CHAINING, UNIT_SCHEDULES)),
    Mutant(bug=reader_bugs.fault_of_a_guess, promises=(4,), caught_by=(HOSTILE_RANGES, CHAINING, UNIT_SCHEDULES)),
    Mutant(bug=reader_bugs.pages_unchecked, promises=(4,), caught_by=("tests/hostile/test_parquet.py",)),
    Mutant(bug=job_bugs.one_event_too_many, promises=(5,), caught_by=("tests/property/test_evaluator.py",)),
    Mutant(
        bug=job_bugs.past_taken_for_complete,
        promises=(5,),
        caught_by=("tests/unit/segmentation/evaluation/test_succession.py",),
    ),
    Mutant(
        bug=segment_bugs.replaced_owner_counts,
        promises=(3, 5),
        caught_by=(OWNERS, SEGMENT_SCHEDULES),
    ),
    Mutant(
        bug=segment_bugs.replaced_owner_continues,
        promises=(3, 5),
        caught_by=(OWNERS, SEGMENT_SCHEDULES),
    ),
    Mutant(
        bug=segment_bugs.start_overlooked,
        promises=(3, 5),
        caught_by=(OWNERS, SEGMENT_SCHEDULES),
    ),
    Mutant(
        bug=segment_bugs.difference_forgotten,
        promises=(3, 5),
        caught_by=(OWNERS, SEGMENT_SCHEDULES),
    ),
    Mutant(
        bug=segment_bugs.target_ignored,
        promises=(3, 5),
        caught_by=(OWNERS, SEGMENT_SCHEDULES),
    ),
    Mutant(
        bug=segment_bugs.pause_read_as_evaluated,
        promises=(3, 5),
        caught_by=(OWNERS, SEGMENT_SCHEDULES),
    ),
    Mutant(
        bug=segment_bugs.clock_goes_back,
        promises=(3, 5),
        caught_by=(OWNERS, SEGMENT_SCHEDULES),
    ),
    Mutant(
        bug=segment_bugs.acknowledged_before_archived,
        promises=(3, 5),
        caught_by=(OWNERS, SEGMENT_SCHEDULES),
    ),
    Mutant(
        bug=segment_bugs.checkpoint_knows_too_much,
        promises=(3, 5),
        caught_by=(OWNERS, SEGMENT_SCHEDULES),
    ),
    Mutant(
        bug=segment_bugs.archived_since_checkpoint_ignored,
        promises=(3, 5),
        caught_by=(OWNERS, SEGMENT_SCHEDULES),
    ),
    Mutant(
        bug=segment_bugs.tail_ignored,
        promises=(3, 5),
        caught_by=(OWNERS, SEGMENT_SCHEDULES),
    ),
    Mutant(
        bug=segment_bugs.any_range_archived,
        promises=(3, 5),
        caught_by=(ARCHIVING, SEGMENT_SCHEDULES),
    ),
    Mutant(
        bug=segment_bugs.snapshot_out_of_step,
        promises=(3, 5),
        caught_by=(OWNERS, SEGMENT_SCHEDULES),
    ),
    Mutant(
        bug=segment_bugs.deadlines_forgotten,
        promises=(5,),
        caught_by=(EVALUATOR, SEGMENT_SCHEDULES),
    ),
    Mutant(
        bug=segment_bugs.future_events_count,
        promises=(5,),
        caught_by=(EVALUATOR, SEGMENT_SCHEDULES),
    ),
    Mutant(
        bug=segment_bugs.copies_count,
        promises=(5,),
        caught_by=(EVALUATOR, SEGMENT_SCHEDULES),
    ),
    Mutant(
        bug=segment_bugs.late_events_dropped,
        promises=(5,),
        caught_by=(EVALUATOR, SEGMENT_SCHEDULES),
    ),
    Mutant(
        bug=segment_bugs.new_version_unnoticed,
        promises=(5,),
        caught_by=(OWNERS, SEGMENT_SCHEDULES),
    ),
    Mutant(
        bug=segment_bugs.deleted_without_leaving,
        promises=(5,),
        caught_by=(OWNERS, SEGMENT_SCHEDULES),
    ),
    Mutant(bug=segment_bugs.span_closed, promises=(5,), caught_by=(SPANS,)),
    Mutant(bug=segment_bugs.anniversary_once, promises=(5,), caught_by=(SPANS,)),
    Mutant(bug=segment_bugs.days_of_utc, promises=(5,), caught_by=(SPANS,)),
    Mutant(bug=segment_bugs.run_too_long, promises=(5,), caught_by=(SEQUENCES,)),
    Mutant(bug=segment_bugs.horizon_without_not, promises=(5,), caught_by=(SEQUENCES, SEGMENT_SCHEDULES)),
    Mutant(bug=segment_bugs.tie_of_one_side, promises=(5,), caught_by=(SEQUENCES, SEGMENT_SCHEDULES)),
    Mutant(bug=segment_bugs.floor_forgotten, promises=(5,), caught_by=(SEQUENCES,)),
    Mutant(bug=segment_bugs.window_closed, promises=(5,), caught_by=(SEQUENCES, SEGMENT_SCHEDULES)),
    Mutant(bug=segment_bugs.every_value_the_same, promises=(5,), caught_by=(SEQUENCES, SEGMENT_SCHEDULES)),
    Mutant(bug=segment_bugs.not_noticed_late, promises=(5,), caught_by=(SEQUENCES, SEGMENT_SCHEDULES)),
    Mutant(bug=segment_bugs.moments_lost_with_the_owner, promises=(3, 5), caught_by=(SEQUENCES, SEGMENT_SCHEDULES)),
    Mutant(bug=segment_bugs.bound_of_sums_ignored, promises=(5,), caught_by=(AGGREGATES, SEGMENT_SCHEDULES)),
    Mutant(bug=segment_bugs.numbers_summed_as_doubles, promises=(5,), caught_by=(AGGREGATES,)),
    Mutant(bug=segment_bugs.bound_of_sums_off_by_one, promises=(5,), caught_by=(AGGREGATES, SEGMENT_SCHEDULES)),
    Mutant(bug=segment_bugs.window_of_sums_closed, promises=(5,), caught_by=(AGGREGATES, SEGMENT_SCHEDULES)),
    Mutant(bug=segment_bugs.ties_rounded_to_even, promises=(5,), caught_by=(AGGREGATES,)),
    Mutant(bug=segment_bugs.values_counted_as_events, promises=(5,), caught_by=(AGGREGATES,)),
    Mutant(bug=segment_bugs.numbers_of_a_shorter_window_kept, promises=(5,), caught_by=(SUCCESSION,)),
    Mutant(bug=unit_bugs.base_seq_off_by_one, promises=(1,), caught_by=(UNITS, UNIT_SCHEDULES)),
    Mutant(bug=unit_bugs.evidence_counted_twice, promises=(1,), caught_by=(UNITS, UNIT_SCHEDULES)),
    Mutant(bug=unit_bugs.earlier_round_counted, promises=(1,), caught_by=(UNITS, UNIT_SCHEDULES)),
    Mutant(bug=unit_bugs.lost_units_overlooked, promises=(1,), caught_by=(UNITS,)),
    Mutant(bug=unit_bugs.accepted_rows_as_ordinals, promises=(1,), caught_by=(UNITS,)),
    Mutant(bug=unit_bugs.profiles_side_by_side, promises=(1,), caught_by=(UNITS,)),
    Mutant(bug=unit_bugs.event_ordinals_over_the_set, promises=(1,), caught_by=(UNITS,)),
    Mutant(bug=job_bugs.pins_ignored, promises=(6,), caught_by=("tests/contract/test_version_store.py",)),
    Mutant(bug=job_bugs.checks_bytes_only, promises=(7,), caught_by=("tests/integration/lake/test_exporting.py",)),
    Mutant(bug=feed_bugs.replaced_owner_delivered, promises=(3,), caught_by=(FEEDS,)),
    Mutant(bug=feed_bugs.position_after_the_first_user, promises=(3,), caught_by=(FEEDS, FEED_DEATHS)),
    Mutant(bug=feed_bugs.epochs_alike, promises=(3,), caught_by=(FEEDS, FEED_DEATHS)),
)

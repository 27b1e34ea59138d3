# ruff: noqa: SLF001 - the whole file replaces private parts of moto
"""Where moto's Map states differ from AWS: 24 to 28 of `stepfunctions_patches`.

A worker is a thread that runs items one after the other, each in a frame of the state's environment. A child of a
Distributed Map is an execution of its own to whoever looks from inside: its context object, its history and the limit
of that are its own. From outside, only its map run can be described.
"""

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from orchestration.local.engine.moto_parts import PARSER, module
from orchestration.local.engine.stepfunctions_errors import within_limit

MAP: Final = PARSER + "asl.component.state.exec.state_map."
ERRORS: Final = PARSER + "asl.component.common.error_name."
THRESHOLD: Final = "The specified tolerated failure threshold was exceeded"
INLINE_AT_ONCE: Final = 40
"""AWS runs at most so many iterations of an inline Map at once, whatever MaxConcurrency says."""
DISTRIBUTED_AT_ONCE: Final = 1000
"""Most children of a Distributed Map at once; each takes two threads. AWS runs up to 10,000."""
POLL_S: Final = 0.1


def install() -> None:
    """Apply the patches."""
    _inline()
    _distributed()


def _inline() -> None:
    component = module(MAP + "iteration.inline_iteration_component").InlineIterationComponent
    worker = module(MAP + "iteration.iteration_worker").IterationWorker

    def evaluate_items(self: Any) -> None:
        frame, job = self._env.open_frame(), self._job_pool.next_job()
        while job is not None:
            inner = frame.open_inner_frame()
            try:
                self._eval_job(env=inner, job=job)
            except Exception as exc:  # noqa: BLE001  # the history is full; `_eval_job` keeps all other errors itself
                job.job_output = exc
            frame.close_frame(inner)
            following = self._job_pool.next_job() if self._env.is_running() and not _failed(job) else None
            if following is None:
                frame.event_history_context.source_event_id = inner.event_history_context.last_published_event_id
                self._env.close_frame(frame)  # before the job: the state goes on once all jobs are closed
            self._job_pool.close_job(job)
            job = following
        self._env.close_frame(frame)

    def evaluate_state(self: Any, env: Any) -> None:
        eval_input = env.stack.pop()
        env.stack.append(_run(self, env, eval_input, eval_input.input_items, INLINE_AT_ONCE))

    worker.eval, component._eval_body = evaluate_items, evaluate_state


def _failed(job: Any) -> bool:
    return isinstance(job.job_output, Exception)


def _run(component: Any, env: Any, eval_input: Any, items: Sequence[Any], at_once: int) -> list[Any]:
    """Run all items; their outputs in order. If the execution ends meanwhile, only those that have ended.

    Raises the first error of an item that the Map does not tolerate, after it stopped the other items.
    """
    pool = module(MAP + "iteration.job").JobPool(job_program=component._get_iteration_program(), job_inputs=items)
    for _ in range(min(len(items), at_once, eval_input.max_concurrency or at_once)):
        component._launch_worker(env=env, eval_input=eval_input, job_pool=pool)
    while not pool._is_terminated() and env.is_running():
        pool._termination_event.wait(POLL_S)
    error = pool.get_worker_exception()
    if error is not None:
        with env._state_mutex:
            frames = list(env._frames)
        for frame in frames:
            frame.set_stop(stop_date=datetime.now(UTC), cause=str(error), error=None)
        raise error
    return [job.job_output for job in pool.get_closed_jobs()]


def _distributed() -> None:
    component = module(MAP + "iteration.distributed_iteration_component").DistributedIterationComponent
    worker = module(MAP + "iteration.itemprocessor.distributed_item_processor_worker").DistributedItemProcessorWorker
    writer = module(MAP + "result_writer.result_writer_decl").ResultWriter

    def write(_self: Any, env: Any) -> None:
        raise _failure(env, "StatesResultWriterFailed", "the embedded engine writes no results")

    component._eval_body = _evaluate_map_run
    worker.eval = _evaluate_children
    writer._eval_body = write


def _evaluate_map_run(self: Any, env: Any) -> None:
    eval_input = env.stack.pop()
    record, status = eval_input.map_run_record, module(PARSER + "api").MapRunStatus
    _event(env, "MapRunStarted", mapRunStartedEventDetails={"mapRunArn": record.map_run_arn})
    try:
        items = _items(env, eval_input)
        for counter in (record.item_counter, record.execution_counter):
            counter.total.count(len(items))
            counter.pending.count(len(items))
        outputs = _run(self, env, eval_input, items, DISTRIBUTED_AT_ONCE)
    except Exception as exc:
        error, cause = getattr(exc, "extract_error_cause_pair", lambda: None)() or (None, str(exc))
        _event(env, "MapRunFailed", mapRunFailedEventDetails={"error": error, "cause": cause})
        _abort_pending(record)
        record.set_stop(status=status.FAILED)
        raise
    if env.is_running():
        _event(env, "MapRunSucceeded")
        record.set_stop(status=status.SUCCEEDED)
    else:
        _abort_pending(record)
        record.set_stop(status=status.ABORTED)
    env.stack.append(outputs)


def _event(env: Any, event_type: str, **details: Any) -> None:
    kind = module(PARSER + "api").HistoryEventType(event_type)
    env.event_manager.add_event(context=env.event_history_context, event_type=kind, event_details=details or None)


def _items(env: Any, eval_input: Any) -> Sequence[Any]:
    """What the ItemReader reads, or the state's input. Raises States.ItemReaderFailed."""
    if not eval_input.item_reader:
        items: Sequence[Any] = eval_input.input_items
        return items
    known = (
        module(ERRORS + "failure_event").FailureEventException,
        module(PARSER + "asl.utils.json_path").NoSuchJsonPathError,
    )
    try:
        eval_input.item_reader.eval(env=env)
    except known:
        raise
    except Exception as exc:
        raise _failure(env, "StatesItemReaderFailed", str(exc)) from exc
    read: Sequence[Any] = env.stack.pop()
    return read


def _abort_pending(record: Any) -> None:
    for counter in (record.item_counter, record.execution_counter):
        pending = counter.pending.get()
        counter.pending.offset(-pending)
        counter.aborted.count(pending)


def _evaluate_children(self: Any) -> None:
    record, context = self._map_run_record, module(PARSER + "asl.eval.event.event_manager").EventHistoryContext
    counters = (record.item_counter, record.execution_counter)
    while self._env.is_running() and (job := self._job_pool.next_job()) is not None:
        for counter in counters:
            counter.pending.offset(-1)
            counter.running.count()
        frame = self._env.open_inner_frame(context.of_program_start())
        try:
            outcome = _child(self, frame, job)
        except Exception as exc:  # noqa: BLE001  # of the ItemSelector: it fails the Map, not the child
            outcome, job.job_output = "failed", exc
        self._env.delete_frame(frame)
        for counter in counters:
            getattr(counter, outcome).count()
            counter.running.offset(-1)
        if outcome == "failed" and not _failed(job) and _too_many(record):
            job.job_output = _failure(frame, "StatesExceedToleratedFailureThreshold", THRESHOLD)
        self._job_pool.close_job(job)


def _child(worker: Any, env: Any, job: Any) -> str:
    """Run one child, and set the job's output. Returns the name of the counter that counts it.

    The ItemSelector is evaluated first, in the parent: it sees the parent's context object and the item, both of which
    are hidden from the child. Raises States.DataLimitExceeded for an input over 256 KiB.
    """
    context = env.states.context_object.context_object_data
    context["Map"] = {"Item": {"Index": job.job_index, "Value": job.job_input}}
    env.states.reset(job.job_input)
    worker._eval_input(env_frame=env)
    given = env.states.get_input()
    if not within_limit(given):
        cause = f"The input of item {job.job_index} exceeds the maximum number of bytes service limit."
        raise _failure(env, "StatesStatesDataLimitExceeded", cause)
    del context["Map"]
    arn, name = worker._map_run_record.map_state_machine_arn, str(uuid.uuid4())
    context["StateMachine"] = {"Id": arn, "Name": arn.rpartition(":")[2]}
    context["Execution"] = {
        **context["Execution"],
        "Id": f"{arn.replace(':stateMachine:', ':execution:')}:{name}",
        "Name": name,
        "Input": given,
        "StartTime": datetime.now(UTC).isoformat(),
    }
    env.event_manager = module(PARSER + "asl.eval.event.event_manager").EventManager()
    env.event_manager._owner = env
    _event(env, "ExecutionStarted", executionStartedEventDetails={"input": json.dumps(given)})
    job.job_program.eval(env)
    ended = env.program_state()
    states = module(PARSER + "asl.eval.program_state")
    if isinstance(ended, states.ProgramEnded):
        job.job_output = env.states.get_input()
        return "succeeded"
    return "failed" if isinstance(ended, states.ProgramError) else "aborted"


def _too_many(record: Any) -> bool:
    """Whether more children failed than the Map tolerates. Of two thresholds, one that is 0 is not set."""
    failed, total = record.item_counter.failed.get(), record.item_counter.total.get()
    count, share = record.tolerated_failure_count, record.tolerated_failure_percentage
    if not count and not share:
        return True
    return bool((count and failed > count) or (share and failed * 100 > share * total))


def _failure(env: Any, error_type: str, cause: str) -> Exception:
    names = module(ERRORS + "states_error_name_type").StatesErrorNameType
    error = module(ERRORS + "states_error_name").StatesErrorName(typ=getattr(names, error_type))
    details = {"mapRunFailedEventDetails": {"error": error.error_name, "cause": cause}}
    made: Exception = module(ERRORS + "failure_event").FailureEventException(
        module(ERRORS + "failure_event").FailureEvent(
            env=env, error_name=error, event_type="MapRunFailed", event_details=details
        )
    )
    return made

"""The stages of an export, written out to `export_audience.asl.json` by `make workflow`."""

from typing import Final

from orchestration.workflow.stages import (
    EXECUTION,
    FAILED,
    FAILURE,
    NO_ROOM_YET,
    PATIENT,
    SYSTEM_FAILURE,
    UNREGISTERED,
    Await,
    Call,
    Catch,
    Choice,
    Fail,
    Machine,
    Map,
    Step,
    Succeed,
    Wait,
    choose_by,
)
from schemas.topics import MAX_JOB_AGE_S

EXPORT: Final = {"export_id": "$.export_id"}
GROUP: Final = EXPORT | {"execution": "$.execution", "number": "$.number"}
GIVEN_UP: Final = (Catch(error="States.ALL", next="FailExportGroup"),)


def _notify(outcome: str, comment: str, *, then: str) -> Call:
    return Call(comment, EXPORT | {"outcome": outcome}, function="NotifyExport", next=then)


EXPORT_AUDIENCE: Final = Machine(
    "One export: a version of an audience, or a new one of a segment's members, becomes files with a manifest, or no "
    "manifest at all. Every step leaves the export's state in the catalog and Route follows it.",
    timeout_s=MAX_JOB_AGE_S,
    stages={
        "RegisterExport": Call(
            "Record which version goes where. Idempotent.",
            {"input": "$"} | EXECUTION,
            retry=PATIENT,
            unavailable=NO_ROOM_YET,
            catch=UNREGISTERED,
        ),
        "Route": Choice(
            rules=choose_by(
                "state",
                {
                    "DUPLICATE": "Duplicate",
                    "AWAITING": "AwaitSnapshot",
                    "REGISTERED": "PlanExport",
                    "WRITING": "WriteGroups",
                    "FINISHING": "FinishExport",
                    "READY": "NotifySuccess",
                    "CANCELLED": "Stopping",
                },
            ),
            default="AlreadyFailed",
        ),
        "AwaitSnapshot": Await(
            "An export of a segment: wait until the snapshot has ended that makes its version. The relay starts that, "
            "and answers.",
            EXPORT | {"task_token": "$$.Task.Token"} | EXECUTION,
            function="BeginAwait",
            timeout_s=MAX_JOB_AGE_S,
            final=("States.Timeout",),
            catch=FAILURE,
        ),
        "PlanExport": Call(
            "Pin the version that a snapshot has made. Lease the versions, check the destination, divide the work into "
            "groups.",
            EXPORT | EXECUTION,
            retry=PATIENT,
            catch=FAILURE,
        ),
        "WriteGroups": Map(
            "Write the remaining groups in parallel. A group that is given up does not stop the others.",
            items="$.groups",
            max_concurrency="$.at_once",
            item=EXPORT | EXECUTION | {name: f"$$.Map.Item.Value.{name}" for name in ("number", "place", "timeout_s")},
            stages={
                "WriteExportGroup": Step(
                    "Write the files of one group; an error that a repeat would not change is kept with the group.",
                    GROUP,
                    where="WriteWhere",
                    command="export",
                    large="group",
                    role="${ExportTaskRole}",
                    timeout="$.timeout_s",
                    catch=GIVEN_UP,
                    next=None,
                    task_next=None,
                ),
                "FailExportGroup": Call(
                    "Record why the group was given up; FinishExport raises it.",
                    GROUP | FAILED,
                    retry=PATIENT,
                    next=None,
                ),
            },
            catch=(SYSTEM_FAILURE,),
            next="FinishExport",
        ),
        "FinishExport": Call(
            "Check that all digests add up, then write the manifest.", EXPORT | EXECUTION, retry=PATIENT, catch=FAILURE
        ),
        "NotifySuccess": _notify("ready", "Announce that the export is ready.", then="Ready"),
        "ExtractCause": Call(
            "The user error as data: code, message, where.",
            {"job_id": "$.export_id"} | FAILED,
            result={"ResultSelector": {"error.$": "$.Payload.error"}, "ResultPath": "$.cause"},
            catch=(SYSTEM_FAILURE,),
            next="MarkFailed",
        ),
        "MarkFailed": Call(
            "Mark the export FAILED with its cause, unless it ended otherwise or may have its manifest.",
            EXPORT | EXECUTION | {"error": "$.cause.error"},
            function="MarkExportFailed",
            next="AfterFailure",
        ),
        "NotifyCustomer": _notify("user-error", "Tell the person who asked for the export.", then="UserFailure"),
        "AfterFailure": Choice(
            comment="People are notified only of a failure that was recorded. An export in FINISHING may have its "
            "manifest: the reconciler starts a new execution, which rolls it forward.",
            rules=(
                ({"state": "FAILED", "user_error": True}, "NotifyCustomer"),
                ({"state": "FAILED"}, "NotifyOperators"),
                ({"state": "FINISHING"}, "NotifyOperators"),
            ),
            default="Route",
        ),
        "MarkSystemFailure": Call(
            "Mark the export FAILED with the system's error, unless it ended otherwise or may have its manifest.",
            EXPORT | EXECUTION | FAILED,
            function="MarkExportFailed",
            next="AfterFailure",
        ),
        "NotifyOperators": _notify("system-error", "Tell the operators.", then="SystemFailure"),
        "NotifyUnregistered": Call(
            "Tell the operators about an export that could not be registered.",
            {"outcome": "not-registered", "input": "$$.Execution.Input", "failure": "$"} | EXECUTION,
            function="Notify",
            next="SystemFailure",
        ),
        "Duplicate": Succeed(),
        "Ready": Succeed(),
        "Stopping": Wait(
            "The caller that cancelled the export also stops the execution, which then ends as ABORTED; otherwise the "
            "reconciler stops it.",
            seconds=30,
            next="Cancelled",
        ),
        "Cancelled": Fail(error="Cancelled", cause="The export was cancelled; there is no manifest."),
        "AlreadyFailed": Choice(rules=(({"user_error": True}, "NotifyCustomer"),), default="NotifyOperators"),
        "UserFailure": Fail(error="UserError", cause="The request is at fault; `muster jobs show` shows the details."),
        "SystemFailure": Fail(
            error="SystemError", cause="Muster could not finish the export; `muster jobs show` shows why."
        ),
    },
)

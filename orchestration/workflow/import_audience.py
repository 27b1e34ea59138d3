"""The stages of an import, written out to `import_audience.asl.json` by `make workflow`."""

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
    SpreadMap,
    Step,
    Succeed,
    Wait,
    choose_by,
)
from schemas.topics import MAX_JOB_AGE_S

JOB: Final = {"job_id": "$.job_id"}
TOKEN: Final = {"task_token": "$$.Task.Token"}


UNIT: Final = JOB | {"execution": "$.execution", "number": "$.number"}
UNIT_OF_ATTEMPT: Final = UNIT | {"attempt": "$.attempt"}
UNIT_GIVEN_UP: Final = (Catch(error="States.ALL", next="FailUnit"),)
GROUP: Final = UNIT | {"plan": "$.plan"}
ITEM: Final = JOB | EXECUTION | {name: f"$$.Map.Item.Value.{name}" for name in ("number", "place")}
UNITS: Final = {"bucket": "$.units.bucket", "key": "$.units.key", "max_concurrency": "$.units.at_once"}


def _notify(outcome: str, comment: str, *, then: str) -> Call:
    return Call(comment, JOB | {"outcome": outcome}, function="Notify", next=then)


IMPORT_AUDIENCE: Final = Machine(
    "One import: a file in S3 becomes one published version of an audience or nothing, or events or changes of "
    "profiles in the archive. A snapshot of a segment, written by its workers, becomes a version in the same way. "
    "Every step leaves the job's state in the catalog and Route follows it, so a repeated step or a new execution "
    "continues where the job is.",
    timeout_s=MAX_JOB_AGE_S,
    stages={
        "RegisterImport": Call(
            "Pin the object or the segment, freeze the spec and the number of partitions. Idempotent; a duplicate "
            "ends here.",
            {"input": "$"} | EXECUTION,
            retry=PATIENT,
            unavailable=NO_ROOM_YET,
            catch=UNREGISTERED,
        ),
        "Route": Choice(
            rules=(
                ({"state": "VERIFYING", "spread": True}, "PlanUnits"),
                ({"state": "IMPORTING", "spread": True}, "BeginAttempt"),
                ({"state": "BUILDING", "spread": True}, "PlanParts"),
                ({"state": "PUBLISHING", "spread": True}, "PlanParts"),
                *choose_by(
                    "state",
                    {
                        "DUPLICATE": "Duplicate",
                        "REGISTERED": "AwaitTurn",
                        "VERIFYING": "VerifyWhere",
                        "IMPORTING": "ImportWhere",
                        "AWAITING": "AwaitMaterialisation",
                        "BUILDING": "BuildWhere",
                        "PUBLISHING": "PublishWhere",
                        "READY": "NotifySuccess",
                        "SUPERSEDED": "NotifySuperseded",
                        "CANCELLED": "Stopping",
                    },
                ),
            ),
            default="AlreadyFailed",
        ),
        "AwaitTurn": Await(
            "Wait until the job may begin: tenants in turn, small files apart from large ones. The relay answers; "
            "waiting is not a failure.",
            JOB | TOKEN | EXECUTION,
            function="BeginAwait",
            timeout_s=MAX_JOB_AGE_S,
            final=("States.Timeout",),
            catch=FAILURE,
        ),
        "VerifyFile": Step(
            "Strict scan, typed check, rejects, and an independent count and digest of every partition.",
            JOB | EXECUTION,
            where="VerifyWhere",
            command="verify",
            large="file",
            timeout="$.timeouts.verify_s",
        ),
        "PlanUnits": Call(
            "Cut the files into units, once; in later rounds, name those to be read again. With one unit, the file is "
            "verified as any other.",
            JOB | EXECUTION,
            catch=FAILURE,
            next="UnitsPlanned",
        ),
        "UnitsPlanned": Choice(
            rules=(({"spread": True}, "VerifyUnits"), ({"state": "VERIFYING"}, "VerifyWhere")), default="Route"
        ),
        "VerifyUnits": SpreadMap(
            "Verify the units side by side. Each writes what it has seen, or its fault, to staging.",
            **UNITS,
            item=ITEM | {"verify_s": "$$.Map.Item.Value.verify_s"},
            stages={
                "VerifyUnit": Step(
                    "Strict scan of one unit, as of a file; an error that a repeat would not change is its result.",
                    UNIT,
                    where="VerifyUnitWhere",
                    command="verify-unit",
                    large="unit",
                    timeout="$.verify_s",
                    catch=UNIT_GIVEN_UP,
                    next=None,
                    task_next=None,
                ),
                "FailUnit": Call(
                    "Record why the unit was given up; GatherEvidence raises it.",
                    UNIT | FAILED,
                    retry=PATIENT,
                    next=None,
                ),
            },
            catch=(SYSTEM_FAILURE,),
            next="GatherEvidence",
        ),
        "GatherEvidence": Call(
            "Add up what the units have seen, or fail with the first fault in the order of the files. The job remains "
            "VERIFYING if ranges of text have to be read again, since they do not fit together.",
            JOB | EXECUTION | {"round": "$.units.round"},
            retry=PATIENT,
            catch=FAILURE,
        ),
        "ImportToKafka": Step(
            "A new attempt: start markers, chunks, end markers. Only chunks for events and profiles, a request to "
            "every partition for a segment.",
            JOB | EXECUTION,
            where="ImportWhere",
            command="import",
            large="file",
            timeout="$.timeouts.import_s",
        ),
        "BeginAttempt": Call(
            "A new attempt whose units are sent side by side: start markers.",
            JOB | EXECUTION,
            catch=FAILURE,
            next="AttemptBegun",
        ),
        "AttemptBegun": Choice(
            rules=(({"spread": True}, "SendUnits"), ({"state": "IMPORTING"}, "ImportWhere")), default="Route"
        ),
        "SendUnits": SpreadMap(
            "Send the chunks of the units side by side. Each writes what it has sent, or its fault, to staging.",
            **UNITS,
            item=ITEM | {"attempt": "$.attempt", "import_s": "$$.Map.Item.Value.import_s"},
            stages={
                "SendUnit": Step(
                    "The chunks of one unit, with the same numbers whenever it is repeated.",
                    UNIT_OF_ATTEMPT,
                    where="SendUnitWhere",
                    command="import-unit",
                    large="unit",
                    timeout="$.import_s",
                    catch=(Catch(error="States.ALL", next="FailSending"),),
                    next=None,
                    task_next=None,
                ),
                "FailSending": Call(
                    "Record why the unit was given up; EndAttempt raises it.",
                    UNIT_OF_ATTEMPT | FAILED,
                    function="FailUnit",
                    retry=PATIENT,
                    next=None,
                ),
            },
            catch=(SYSTEM_FAILURE,),
            next="EndAttempt",
        ),
        "EndAttempt": Call(
            "Compare what all units have sent with the evidence, then send the end markers.",
            JOB | EXECUTION | {"attempt": "$.attempt"},
            catch=FAILURE,
        ),
        "ReadOutcome": Call(
            "Read the result that a task left in the catalog and raise its user error; a task has only an exit code.",
            JOB | EXECUTION,
            catch=FAILURE,
        ),
        "AwaitMaterialisation": Await(
            "Wait until all partitions of one attempt have reconciled, the archive holds all of its events or "
            "profiles, or every partition has written the members of the segment. The relay answers, and sends "
            "heartbeats unless the workers make no progress.",
            JOB | TOKEN | EXECUTION,
            function="BeginAwait",
            heartbeat_s=300,  # 15 heartbeats of the control plane, one every 20 s
            timeout_s=2 * 24 * 60 * 60,
            final=("MaterialisationFailed", "WorkersStalled", "States.Timeout", "States.HeartbeatTimeout"),
            catch=(
                Catch(error="MaterialisationFailed", next="RetryImport"),
                Catch(error="States.HeartbeatTimeout", next="EnsureWorkers"),
                *FAILURE,
            ),
        ),
        "EnsureWorkers": Call(
            "No heartbeat: start what runs on demand, and wait again, for as long as capacity is missing. Where "
            "workers always run, the job fails.",
            JOB | EXECUTION,
            catch=FAILURE,
        ),
        "RetryImport": Call(
            "A partition did not reconcile: back to IMPORTING for another attempt, a bounded number of times.",
            JOB | FAILED | EXECUTION,
            catch=FAILURE,
        ),
        "PlanParts": Call(
            "Group the partitions that are to be built, or read again, once. One group is built or read as any other.",
            JOB | EXECUTION,
            catch=FAILURE,
            next="PartsPlanned",
        ),
        "PartsPlanned": Choice(
            rules=(
                ({"state": "BUILDING", "spread": True}, "BuildParts"),
                ({"state": "PUBLISHING", "spread": True}, "CheckParts"),
                ({"state": "BUILDING"}, "BuildWhere"),
                ({"state": "PUBLISHING"}, "PublishWhere"),
            ),
            default="Route",
        ),
        "BuildParts": SpreadMap(
            "Merge the groups with the base side by side. Each writes what it has built, or its fault, to staging.",
            **UNITS,
            item=ITEM | {"plan": "$.plan", "build_s": "$$.Map.Item.Value.build_s"},
            stages={
                "BuildPart": Step(
                    "Append and remove: merge the partitions of one group.",
                    GROUP,
                    where="BuildPartWhere",
                    command="build-unit",
                    large="group",
                    timeout="$.build_s",
                    catch=(Catch(error="States.ALL", next="FailPart"),),
                    next=None,
                    task_next=None,
                ),
                "FailPart": Call(
                    "Record why the group was given up; GatherParts raises it.",
                    GROUP | FAILED,
                    function="FailUnit",
                    retry=PATIENT,
                    next=None,
                ),
            },
            catch=(SYSTEM_FAILURE,),
            next="GatherParts",
        ),
        "GatherParts": Call(
            "Make one build of what the groups have built, or fail with the first fault in order.",
            JOB | EXECUTION | {"plan": "$.plan"},
            retry=PATIENT,
            catch=FAILURE,
        ),
        "CheckParts": SpreadMap(
            "Read the parts again side by side. PublishVersion takes what they find, and reads what is missing.",
            **UNITS,
            item=ITEM | {"plan": "$.plan", "publish_s": "$$.Map.Item.Value.publish_s"},
            stages={
                "CheckPart": Step(
                    "Count and digest the parts of one group again; a replace is compared with the version before.",
                    GROUP,
                    where="CheckPartWhere",
                    command="check-unit",
                    large="group",
                    timeout="$.publish_s",
                    catch=(Catch(error="States.ALL", next="LeaveUnread"),),
                    next=None,
                    task_next=None,
                ),
                "LeaveUnread": Call(
                    "The group was given up: PublishVersion reads its parts.",
                    GROUP | FAILED,
                    function="FailUnit",
                    retry=PATIENT,
                    next=None,
                ),
            },
            catch=(SYSTEM_FAILURE,),
            next="PublishWhere",
        ),
        "BuildVersion": Step(
            "Append and remove: merge with the pinned base. For a segment: copy the members that its workers wrote "
            "into the lake.",
            JOB | EXECUTION,
            where="BuildWhere",
            command="build",
            large="audience",
            timeout="$.timeouts.build_s",
        ),
        "PublishVersion": Step(
            "Reconcile verification = Kafka = parts, then one Iceberg commit. For events and profiles: count what is "
            "stored.",
            JOB | EXECUTION,
            where="PublishWhere",
            command="publish",
            large="version",
            timeout="$.timeouts.publish_s",
            retry=PATIENT,
            task_retry=PATIENT,
        ),
        "NotifySuccess": _notify("ready", "Announce that the audience is ready, or what the file added.", then="Ready"),
        "NotifySuperseded": _notify(
            "superseded", "Announce that a newer import is already published.", then="Superseded"
        ),
        "ExtractCause": Call(
            "The user error as data: code, message, where.", JOB | FAILED, catch=(SYSTEM_FAILURE,), next="MarkFailed"
        ),
        "MarkFailed": Call(
            "Mark the job FAILED with its cause, unless it ended otherwise or may have been published.",
            JOB | {"error": "$.error"} | EXECUTION,
            next="AfterFailure",
        ),
        "NotifyCustomer": _notify("user-error", "Tell the customer what is wrong with the file.", then="UserFailure"),
        "AfterFailure": Choice(
            comment="People are notified only of a failure that was recorded. A job in PUBLISHING may have its "
            "version: the reconciler starts a new execution, which rolls it forward.",
            rules=(
                ({"state": "FAILED", "user_error": True}, "NotifyCustomer"),
                ({"state": "FAILED"}, "NotifyOperators"),
                ({"state": "PUBLISHING"}, "NotifyOperators"),
            ),
            default="Route",
        ),
        "MarkSystemFailure": Call(
            "Mark the job FAILED with the system's error, unless it ended otherwise or may have been published.",
            JOB | FAILED | EXECUTION,
            function="MarkFailed",
            next="AfterFailure",
        ),
        "NotifyOperators": _notify("system-error", "Tell the operators.", then="SystemFailure"),
        "NotifyUnregistered": Call(
            "Tell the operators about an object that could not be registered; there is no job.",
            {"outcome": "not-registered", "input": "$$.Execution.Input", "failure": "$"} | EXECUTION,
            function="Notify",
            next="SystemFailure",
        ),
        "Duplicate": Succeed(),
        "Ready": Succeed(),
        "Superseded": Succeed(),
        "Stopping": Wait(
            "The caller that cancelled the job also stops the execution, which then ends as ABORTED; otherwise the "
            "reconciler stops it.",
            seconds=30,
            next="Cancelled",
        ),
        "Cancelled": Fail(error="Cancelled", cause="The job was cancelled; nothing was published."),
        "AlreadyFailed": Choice(rules=(({"user_error": True}, "NotifyCustomer"),), default="NotifyOperators"),
        "UserFailure": Fail(
            error="UserError", cause="The file or the request is at fault; `muster jobs show` shows the details."
        ),
        "SystemFailure": Fail(
            error="SystemError", cause="Muster could not finish the job; `muster jobs show` shows why."
        ),
    },
)

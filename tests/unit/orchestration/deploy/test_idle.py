"""The cost of a month without jobs counts what the example's stack has."""

from benchmarks.idle_month import ALWAYS, HOUSEKEEPING_MINUTES, Idle, idle_lines
from benchmarks.scaling_bench import PEAK_MIB
from orchestration.deploy.environment import secrets_of
from orchestration.deploy.sizes import FARGATE
from orchestration.platform.settings import Settings
from orchestration.quoting.deployment import CPU, Deployment
from orchestration.quoting.prices import load_prices
from schemas.metrics import MISSING_TASKS, SCHEDULE_OVERDUE, UNCONTROLLED_WORK, UNSERVED_MESSAGES
from tests.unit.orchestration.deploy.conftest import Template


def test_monthly_costs_match_the_stack(template: Template) -> None:
    idle = Idle()
    assert len(template.of_type("ECS::Service")) == 4  # workers, segment workers, the control plane, the feeder
    deployed = template.settings
    assert (idle.workers, idle.segment_workers) == (deployed.workers.min, deployed.segment_workers.min)
    assert (idle.relays, idle.watched) == (deployed.limits.control_planes.least, not deployed.limits.fixed)
    assert deployed.idle_minutes < HOUSEKEEPING_MINUTES
    alarms = template.of_type("CloudWatch::Alarm").values()
    assert idle.alarms == sum(len(alarm.get("Metrics", [None])) for alarm in alarms)
    # Filters of logs count nothing in an hour without lines.
    assert idle.metrics == len({UNSERVED_MESSAGES, UNCONTROLLED_WORK, MISSING_TASKS, SCHEDULE_OVERDUE.name})
    assert idle.keys == len(template.of_type("KMS::Key"))
    assert idle.secrets == len(secrets_of(template.settings))
    kinds = {endpoint["VpcEndpointType"] for endpoint in template.of_type("EC2::VPCEndpoint").values()}
    assert (kinds, idle.endpoints) == ({"Gateway"}, 0)


def test_idle_stack_runs_nothing_else(template: Template) -> None:
    assert {group["MinSize"] for group in template.of_type("AutoScaling::AutoScalingGroup").values()} == {"0"}
    for mapping in template.of_type("Lambda::EventSourceMapping").values():
        assert "ProvisionedPollerConfig" not in mapping
    for kind in (
        "EC2::Instance",
        "EC2::NatGateway",
        "RDS::DBInstance",
        "MSK::Cluster",
        "ElasticLoadBalancingV2::LoadBalancer",
    ):
        assert template.of_type(kind) == {}


def test_fargate_has_the_sizes_of_every_deployment_and_a_worker_has_room_for_its_peak() -> None:
    for idle in ALWAYS.values():
        for size in (idle.worker, idle.relay):
            assert size.gb * 1024 in FARGATE[int(size.vcpu * CPU)]
        assert idle.worker.gb * 1024 >= 2 * PEAK_MIB


def test_an_idle_stack_costs_at_most_seven_dollars() -> None:
    ours = [line for line in idle_lines(Idle(), load_prices()) if line.ours]
    assert 4 < sum(line.usd_month for line in ours) <= 7
    assert not [line.what for line in ours if line.usd_month > 2.5]


def test_a_function_has_the_disk_that_is_quoted(template: Template) -> None:
    settings = Settings(lambda_file_bytes=template.settings.jobs.lambda_file_bytes)
    deployed = template["VerifyFileFunction"]["EphemeralStorage"]["Size"]
    assert Deployment(settings=settings).function_disk_gb * 1024 == deployed

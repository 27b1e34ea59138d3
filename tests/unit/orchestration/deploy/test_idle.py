"""The cost of a month without jobs counts what the example's stack has."""

from benchmarks.idle_month import SMALLER, Idle
from benchmarks.scaling_bench import PEAK_MIB
from orchestration.deploy.environment import secrets_of
from orchestration.deploy.sizes import FARGATE
from orchestration.platform.settings import Settings
from orchestration.quoting.deployment import CPU, Deployment
from tests.unit.orchestration.deploy.conftest import Template


def test_monthly_costs_match_the_stack(template: Template) -> None:
    idle = Idle()
    assert len(template.of_type("ECS::Service")) == 3  # workers, segment workers, the control plane
    deployed = template.settings
    assert (idle.workers, idle.segment_workers) == (deployed.workers.count, deployed.segment_workers.count)
    assert idle.alarms == len(template.of_type("CloudWatch::Alarm"))
    assert idle.metrics == len(template.of_type("Logs::MetricFilter"))
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
    for idle in SMALLER.values():
        for size in (idle.worker, idle.relay):
            assert size.gb * 1024 in FARGATE[int(size.vcpu * CPU)]
        assert idle.worker.gb * 1024 >= 2 * PEAK_MIB
        assert idle.workers >= 1


def test_a_function_has_the_disk_that_is_quoted(template: Template) -> None:
    settings = Settings(lambda_file_bytes=template.settings.jobs.lambda_file_bytes)
    deployed = template["VerifyFileFunction"]["EphemeralStorage"]["Size"]
    assert Deployment(settings=settings).function_disk_gb * 1024 == deployed

"""The service of the API, if the settings name its host: one task behind a load balancer inside the network, over TLS.

The stack makes no DNS name: an alias of the host points to the output `ApiBalancer`.
"""

from typing import Any, Final

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elb

from orchestration.deploy.environment import api_environment
from orchestration.deploy.stack import grants
from orchestration.deploy.stack.network import HTTPS, NOWHERE
from orchestration.deploy.stack.services import Balanced, make_service
from orchestration.deploy.stack.site import Grant, Site, acknowledge, create_after, role
from orchestration.deploy.stack.tasks import ECS_TASKS, Cluster, make_family
from orchestration.workflow.resources import machine_specs
from schemas.layout import UPLOADS_PREFIX
from segmentation.scaling import Range

PORT: Final = 18480
ONE: Final = Range(least=1, most=1)
API_SECRETS: Final = ("CATALOG_URL", "KAFKA_CREDENTIALS", "OIDC_CLIENT_SECRET")
IDLE_S: Final = 60
"""The balancer closes connections that are silent for so long: streams say something every 15 s."""
TLS_POLICY: Final = "ELBSecurityPolicy-TLS13-1-2-2021-06"
ANSWERS: Final = "200,421"
"""The balancer checks a task by its address, which is no name of the service: 421 shows that it answers. Whether the
catalog does is asked by the container's own check, by a name that it knows."""
_OWN_LOG: Final = "the service logs every request with principal and tenant; the balancer would repeat the addresses"


def make_api(site: Site, cluster: Cluster, clients: str) -> Any:
    """Create the service and its balancer, and return the latter; None without a host.

    `clients`: the security group of all of Muster's processes.
    """
    api = site.settings.api
    if not api.host:
        return None
    balancer_group, group = _security_groups(site)
    family = make_family(
        site,
        "ApiDefinition",
        site.names.of("api"),
        ["serve", "api"],
        role_=role(site, "ApiRole", ECS_TASKS, _grants(site), "The service of the API"),
        execution_role=cluster.execution_role,
        logs="api",
        secrets=API_SECRETS,
        cpu=api.cpu,
        memory_mib=api.memory_mib,
        health="api",
        extra=api_environment(site.settings, PORT),
        port=PORT,
    )
    balancer, target, listener = _balancer(site, balancer_group)
    balanced = Balanced(target=target, port=PORT)
    service = make_service(site, "ApiService", "api", family, cluster, [clients, group], ONE, balanced=balanced)
    create_after(service, listener)
    return balancer


def _security_groups(site: Site) -> tuple[str, str]:
    """That of the balancer, and that of the tasks, which let in nobody else."""
    settings = site.settings
    balancer: Any = ec2.CfnSecurityGroup(
        site.stack,
        "ApiBalancerSecurityGroup",
        group_description=f"Balancer of the API of {settings.name}",
        vpc_id=settings.network.vpc,
        security_group_ingress=[
            ec2.CfnSecurityGroup.IngressProperty(
                ip_protocol="tcp", from_port=HTTPS, to_port=HTTPS, cidr_ip=cidr, description="Clients of the API"
            )
            for cidr in settings.api.clients
        ],
        security_group_egress=[NOWHERE],
    )
    tasks: Any = ec2.CfnSecurityGroup(
        site.stack,
        "ApiSecurityGroup",
        group_description=f"Tasks of the API of {settings.name}",
        vpc_id=settings.network.vpc,
        # What tasks send is up to the group of all of Muster's processes.
        security_group_egress=[NOWHERE],
    )
    ports = {"ip_protocol": "tcp", "from_port": PORT, "to_port": PORT, "description": "From the balancer to the tasks"}
    ec2.CfnSecurityGroupIngress(
        site.stack,
        "ApiIngress",
        group_id=tasks.attr_group_id,
        source_security_group_id=balancer.attr_group_id,
        **ports,
    )
    ec2.CfnSecurityGroupEgress(
        site.stack,
        "ApiBalancerEgress",
        group_id=balancer.attr_group_id,
        destination_security_group_id=tasks.attr_group_id,
        **ports,
    )
    return str(balancer.attr_group_id), str(tasks.attr_group_id)


def _balancer(site: Site, group: str) -> tuple[Any, Any, Any]:
    """The balancer, its target group, and the listener without which no task can register."""
    settings = site.settings
    attribute = elb.CfnLoadBalancer.LoadBalancerAttributeProperty
    balancer = elb.CfnLoadBalancer(
        site.stack,
        "ApiBalancer",
        type="application",
        scheme="internal",
        subnets=list(settings.network.subnets),
        security_groups=[group],
        load_balancer_attributes=[
            attribute(key="idle_timeout.timeout_seconds", value=str(IDLE_S)),
            attribute(key="routing.http.drop_invalid_header_fields.enabled", value="true"),
        ],
    )
    acknowledge(balancer, "ELB2", _OWN_LOG)
    target = elb.CfnTargetGroup(
        site.stack,
        "ApiTargets",
        target_type="ip",
        protocol="HTTP",
        port=PORT,
        vpc_id=settings.network.vpc,
        health_check_path="/v1/health",
        health_check_interval_seconds=15,
        healthy_threshold_count=2,
        unhealthy_threshold_count=4,
        matcher=elb.CfnTargetGroup.MatcherProperty(http_code=ANSWERS),
        target_group_attributes=[
            elb.CfnTargetGroup.TargetGroupAttributeProperty(key="deregistration_delay.timeout_seconds", value="30")
        ],
    )
    listener = elb.CfnListener(
        site.stack,
        "ApiListener",
        load_balancer_arn=balancer.ref,
        port=HTTPS,
        protocol="HTTPS",
        ssl_policy=TLS_POLICY,
        certificates=[elb.CfnListener.CertificateProperty(certificate_arn=settings.api.certificate)],
        default_actions=[elb.CfnListener.ActionProperty(type="forward", target_group_arn=target.ref)],
    )
    for name, value, description in (
        ("ApiUrl", f"https://{settings.api.host}", "The service; its name must be an alias of ApiBalancer"),
        ("ApiBalancerName", balancer.attr_dns_name, "DNS name of the balancer"),
    ):
        cdk.CfnOutput(site.stack, name, value=value, description=description)
    return balancer, target, listener


def _grants(site: Site) -> list[Grant]:
    """Reads everything that questions may ask for; writes nothing but uploads, whose requests it signs."""
    buckets = site.settings.buckets
    return [
        *grants.read_objects(site, (buckets.inbox,), buckets.inbox_prefix, versions=True),
        *grants.read_objects(site, (buckets.staging, *site.settings.shared.imports), versions=True),
        *grants.read_objects(site, (buckets.lake,)),
        *grants.write_only(site, buckets.staging, UPLOADS_PREFIX),
        *grants.use_key(site, *site.settings.shared.keys),
        *grants.read_secrets(site, API_SECRETS),
        *grants.use_kafka(site),
        *grants.run_machines(site, [machine.name for machine in machine_specs()]),
        *grants.scale_services(site, describe=True),
    ]

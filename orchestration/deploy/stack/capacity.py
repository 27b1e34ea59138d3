"""Machines for tasks beyond Fargate: a group of EC2 instances that is empty while there is no such task."""

from typing import Any, Final

import aws_cdk as cdk
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam

from orchestration.deploy.stack import grants
from orchestration.deploy.stack.site import Grant, Service, Site, acknowledge, role
from orchestration.deploy.stack.tasks import Cluster

AMI: Final = {
    "x86_64": "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id",
    "arm64": "/aws/service/ecs/optimized-ami/amazon-linux-2023/arm64/recommended/image_id",
}
"""AWS' parameters for the latest ECS image, resolved when an instance starts."""
USER_DATA: Final = """#!/bin/bash
cat >>/etc/ecs/ecs.config <<'END'
ECS_CLUSTER={cluster}
ECS_AWSVPC_BLOCK_IMDS=true
ECS_ENABLE_TASK_IAM_ROLE=true
ECS_IMAGE_PULL_BEHAVIOR=prefer-cached
END
"""
WARM_UP_S: Final = 180
DISK_MIB_S: Final = 500
"""For a merge that spills to disk; gp3 has 125 by default."""


def make_capacity(site: Site, cluster: Cluster, security_group: str) -> None:
    """Launch template, group, capacity provider, and its association with the cluster."""
    settings, names = site.settings, site.names
    machines = settings.machines
    instance_role = _instance_role(site, cluster)
    profile = iam.CfnInstanceProfile(site.stack, "MachineProfile", roles=[instance_role.ref])
    data = ec2.CfnLaunchTemplate
    template = data(
        site.stack,
        "MachineTemplate",
        launch_template_data=data.LaunchTemplateDataProperty(
            image_id=f"resolve:ssm:{AMI[settings.architecture]}",
            iam_instance_profile=data.IamInstanceProfileProperty(arn=profile.attr_arn),
            security_group_ids=[security_group],
            # Two hops would let a container request the credentials of its machine.
            metadata_options=data.MetadataOptionsProperty(
                http_tokens="required", http_put_response_hop_limit=1, http_endpoint="enabled"
            ),
            monitoring=data.MonitoringProperty(enabled=True),
            block_device_mappings=[
                data.BlockDeviceMappingProperty(
                    device_name="/dev/xvda",
                    ebs=data.EbsProperty(
                        volume_size=machines.disk_gib,
                        volume_type="gp3",
                        throughput=DISK_MIB_S,
                        encrypted=True,
                        delete_on_termination=True,
                    ),
                )
            ],
            user_data=cdk.Fn.base64(USER_DATA.format(cluster=names.cluster)),
            tag_specifications=[
                data.TagSpecificationProperty(resource_type=kind, tags=[cdk.CfnTag(key="Name", value=names.capacity)])
                for kind in ("instance", "volume")
            ],
        ),
    )
    mixed = autoscaling.CfnAutoScalingGroup
    group = mixed(
        site.stack,
        "MachineGroup",
        min_size="0",
        max_size=str(machines.max),
        vpc_zone_identifier=list(settings.network.subnets),
        # An instance with a task is not ended; ECS lifts the protection when it has none.
        new_instances_protected_from_scale_in=True,
        mixed_instances_policy=mixed.MixedInstancesPolicyProperty(
            instances_distribution=mixed.InstancesDistributionProperty(
                on_demand_percentage_above_base_capacity=100, on_demand_allocation_strategy="prioritized"
            ),
            launch_template=mixed.LaunchTemplateProperty(
                launch_template_specification=mixed.LaunchTemplateSpecificationProperty(
                    launch_template_id=template.ref, version=template.attr_latest_version_number
                ),
                overrides=[mixed.LaunchTemplateOverridesProperty(instance_type=type_) for type_ in machines.types],
            ),
        ),
        tags=[mixed.TagPropertyProperty(key="AmazonECSManaged", value="true", propagate_at_launch=True)],
    )
    # A test checks that the volumes are encrypted.
    acknowledge(group, "EC26", "the rule does not support a group with several instance types, and fails on it")
    acknowledge(
        group, "AS3", "instances come and go with single tasks, which the job shows; a mail for each would be noise"
    )
    provider = ecs.CfnCapacityProvider
    capacity_provider = provider(
        site.stack,
        "MachineCapacity",
        name=names.capacity,
        auto_scaling_group_provider=provider.AutoScalingGroupProviderProperty(
            auto_scaling_group_arn=group.ref,
            managed_termination_protection="ENABLED",
            managed_draining="ENABLED",
            managed_scaling=provider.ManagedScalingProperty(
                status="ENABLED",
                target_capacity=100,
                minimum_scaling_step_size=1,
                maximum_scaling_step_size=machines.max,
                instance_warmup_period=WARM_UP_S,
            ),
        ),
    )
    ecs.CfnClusterCapacityProviderAssociations(
        site.stack,
        "ClusterCapacity",
        cluster=cluster.resource.ref,
        capacity_providers=["FARGATE", capacity_provider.ref],
        default_capacity_provider_strategy=[
            ecs.CfnClusterCapacityProviderAssociations.CapacityProviderStrategyProperty(
                capacity_provider="FARGATE", weight=1
            )
        ],
    )


def _instance_role(site: Site, cluster: Cluster) -> Any:
    settings, names = site.settings, site.names
    in_cluster = {"ArnEquals": {"ecs:cluster": cluster.arn}}
    policy = [
        Grant(
            actions=(
                "ecs:RegisterContainerInstance",
                "ecs:DeregisterContainerInstance",
                "ecs:SubmitAttachmentStateChanges",
                "ecs:SubmitContainerStateChange",
                "ecs:SubmitTaskStateChange",
            ),
            resources=(cluster.arn,),
        ),
        Grant(
            actions=("ecs:Poll", "ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState"),
            resources=(settings.arn("ecs", f"container-instance/{names.cluster}/*"),),
            condition=in_cluster,
            reason="an instance gets its name when it registers",
        ),
        Grant(actions=("ecs:DiscoverPollEndpoint",), resources=("*",), reason=grants.NO_RESOURCE_TYPE),
    ]
    service = Service(principal="ec2.amazonaws.com", purpose_tag=False)
    return role(site, "MachineRole", service, policy, "ECS agent of machines")

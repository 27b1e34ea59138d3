"""Network access: one security group for all of Muster's processes, and endpoints of AWS' services if configured."""

from typing import Any, Final

from aws_cdk import aws_ec2 as ec2

from orchestration.deploy.stack.site import Site

HTTPS: Final = 443
NOWHERE: Final = ec2.CfnSecurityGroup.EgressProperty(
    ip_protocol="-1", cidr_ip="127.0.0.1/32", description="Nowhere: EC2 lets a group without rules send everywhere"
)
"""For groups that only receive, and those whose rules are resources of their own (AWS CloudFormation User Guide,
AWS::EC2::SecurityGroup, "Remove the default egress rule")."""


def make_network(site: Site) -> str:
    """Create the network resources; returns the id of the security group."""
    settings = site.settings
    egress = [
        # Addresses of S3 and of AWS' endpoints change, and webhooks go anywhere.
        ec2.CfnSecurityGroup.EgressProperty(
            ip_protocol="tcp", from_port=HTTPS, to_port=HTTPS, cidr_ip="0.0.0.0/0", description="HTTPS"
        )
    ]
    kafka, database = settings.kafka, settings.database
    targets = [(port, kafka.security_group, "Kafka") for port in kafka.ports]
    targets.append((database.port, database.security_group, "PostgreSQL"))
    targets += [(settings.mail.port, "", "SMTP")] if settings.mail.from_ else []
    for port, group, what in targets:
        peer = {"destination_security_group_id": group} if group else {"cidr_ip": "0.0.0.0/0"}
        egress.append(
            ec2.CfnSecurityGroup.EgressProperty(
                ip_protocol="tcp", from_port=port, to_port=port, description=what, **peer
            )
        )
    clients = ec2.CfnSecurityGroup(
        site.stack,
        "ClientsSecurityGroup",
        group_description=f"Functions, tasks and services of {settings.name}",
        vpc_id=settings.network.vpc,
        security_group_egress=egress,
    )
    for port, group, what in targets:
        if group:
            logical = f"{what}Ingress" + (str(port) if what == "Kafka" else "")
            _ingress(site, logical, group, port, clients.attr_group_id, f"{settings.name} to {what}")
    _endpoints(site, clients.attr_group_id)
    return str(clients.attr_group_id)


def _ingress(site: Site, logical: str, group: str, port: int, source: str, description: str) -> None:
    ec2.CfnSecurityGroupIngress(
        site.stack,
        logical,
        group_id=group,
        ip_protocol="tcp",
        from_port=port,
        to_port=port,
        source_security_group_id=source,
        description=description,
    )


def _endpoints(site: Site, clients: str) -> None:
    network, region = site.settings.network, site.settings.region
    if network.route_tables:
        ec2.CfnVPCEndpoint(
            site.stack,
            "S3Endpoint",
            vpc_id=network.vpc,
            service_name=f"com.amazonaws.{region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=list(network.route_tables),
        )
    if not network.endpoints:
        return
    group: Any = ec2.CfnSecurityGroup(
        site.stack,
        "EndpointsSecurityGroup",
        group_description=f"Endpoints of AWS services for {site.settings.name}",
        vpc_id=network.vpc,
        security_group_egress=[NOWHERE],
    )
    _ingress(site, "EndpointsIngress", group.attr_group_id, HTTPS, clients, "HTTPS")
    if site.settings.kafka.cluster and site.settings.kafka.security_group:
        # The pollers of the event source mapping run in the cluster's own security group.
        _ingress(
            site,
            "PollersIngress",
            group.attr_group_id,
            HTTPS,
            site.settings.kafka.security_group,
            "Pollers of job events",
        )
    if "email-smtp" in network.endpoints and site.settings.mail.from_ and site.settings.mail.port != HTTPS:
        _ingress(site, "MailIngress", group.attr_group_id, site.settings.mail.port, clients, "SMTP")
    for service in network.endpoints:
        ec2.CfnVPCEndpoint(
            site.stack,
            "".join(word.capitalize() for word in service.replace(".", "-").split("-")) + "Endpoint",
            vpc_id=network.vpc,
            service_name=f"com.amazonaws.{region}.{service}",
            vpc_endpoint_type="Interface",
            private_dns_enabled=True,
            subnet_ids=list(network.subnets),
            security_group_ids=[group.attr_group_id],
        )

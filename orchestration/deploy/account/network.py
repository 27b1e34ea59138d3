"""Subnets in different zones, a way out of them, and security groups that exist."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from orchestration.deploy.account.asking import AbsentError, AccountFinding, Clients, asking, note, ok, wrong
from orchestration.deploy.settings import DeploySettings

ADDRESSES_MIN: Final = 16
"""Free addresses in a subnet: each task, endpoint and group of functions takes one."""
ADDRESSES: Final = "vpc-max-elastic-ips"
EVERYWHERE: Final = "0.0.0.0/0"
SUBNETS: Final = "network.subnets"


def needed_endpoints(settings: DeploySettings) -> list[str]:
    """The services of AWS that processes call, by their names as endpoints, besides S3."""
    names = ["ecr.api", "ecr.dkr", "logs", "secretsmanager", "sns", "states"]
    names += [] if settings.limits.fixed else ["scheduler"]
    names += ["ecs"] if settings.machines.max or not settings.limits.fixed else []
    names += ["ecs-agent", "ecs-telemetry"] if settings.machines.max else []
    names += ["email-smtp"] if settings.mail.from_ and not settings.mail.host else []
    names += ["lambda", "sts"] if settings.kafka.cluster else []  # Lambda's pollers
    return names


def check_network(settings: DeploySettings, clients: Clients) -> Iterator[AccountFinding]:
    """The VPC, its subnets and their routes, endpoints and security groups."""
    ec2, network = clients("ec2"), settings.network
    try:
        with asking("InvalidSubnetID.NotFound", "InvalidSubnetID.Malformed"):
            subnets = ec2.describe_subnets(SubnetIds=list(network.subnets))["Subnets"]
    except AbsentError:
        yield wrong(SUBNETS, "at least one does not exist in this account and region", "list existing subnets")
        return
    yield from _subnets(settings, subnets)
    yield from _names(settings, ec2)
    yield from _groups(settings, ec2)
    with asking():
        tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [network.vpc]}])["RouteTables"]
        endpoints = ec2.describe_vpc_endpoints(Filters=[{"Name": "vpc-id", "Values": [network.vpc]}])["VpcEndpoints"]
    yield from _routes(settings, tables, endpoints, ec2)
    yield from _endpoints(settings, endpoints)


def _subnets(settings: DeploySettings, subnets: Sequence[Mapping[str, Any]]) -> Iterator[AccountFinding]:
    vpc = settings.network.vpc
    if foreign := [one["SubnetId"] for one in subnets if one["VpcId"] != vpc]:
        yield wrong(SUBNETS, f"{', '.join(foreign)} are not in {vpc}", "list subnets of network.vpc")
    zones = {one["AvailabilityZone"] for one in subnets}
    if len(zones) < 2:
        yield wrong(
            SUBNETS, f"all are in the zone {', '.join(zones)}", "list subnets in two or more availability zones"
        )
    else:
        yield ok(SUBNETS, f"{len(subnets)} in the zones {', '.join(sorted(zones))}")
    for one in subnets:
        if one["AvailableIpAddressCount"] < ADDRESSES_MIN:
            yield wrong(
                SUBNETS,
                f"{one['SubnetId']} has {one['AvailableIpAddressCount']} free addresses",
                f"use a subnet with at least {ADDRESSES_MIN}",
            )


def _names(settings: DeploySettings, ec2: Any) -> Iterator[AccountFinding]:
    vpc = settings.network.vpc
    try:
        with asking("InvalidVpcID.NotFound"):
            names = ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsHostnames")["EnableDnsHostnames"]
            support = ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsSupport")["EnableDnsSupport"]
    except AbsentError:
        yield wrong("network.vpc", f"{vpc} does not exist in this account and region", "name an existing VPC")
        return
    if not (names["Value"] and support["Value"]):
        yield wrong(
            "network.vpc",
            "DNS names are off: endpoints and databases are not found by their names",
            f"aws ec2 modify-vpc-attribute --vpc-id {vpc} --enable-dns-hostnames, and --enable-dns-support",
        )


def _groups(settings: DeploySettings, ec2: Any) -> Iterator[AccountFinding]:
    vpc = settings.network.vpc
    for where, group in (("kafka", settings.kafka.security_group), ("database", settings.database.security_group)):
        if not group:
            continue
        try:
            with asking("InvalidGroup.NotFound", "InvalidGroupId.Malformed"):
                (found,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
        except AbsentError:
            yield wrong(f"{where}.security_group", f"{group} does not exist", "name the group of the servers")
            continue
        if found["VpcId"] != vpc:
            yield note(
                f"{where}.security_group", f"{group} is in {found['VpcId']}", "groups of another VPC need peering"
            )


def _routes(
    settings: DeploySettings, tables: Sequence[Mapping[str, Any]], endpoints: Sequence[Mapping[str, Any]], ec2: Any
) -> Iterator[AccountFinding]:
    without = []
    for subnet in settings.network.subnets:
        route = _way_out(subnet, tables)
        if route is None:
            without.append(subnet)
        elif route.get("State") == "blackhole":
            yield wrong(SUBNETS, f"{subnet} routes to a gateway that is gone", "point the route to a NAT gateway")
        elif str(route.get("GatewayId", "")).startswith("igw-"):
            yield wrong(
                SUBNETS,
                f"{subnet} is public: processes get no public address, and an Internet gateway serves no others",
                "list private subnets, with a NAT gateway or with endpoints",
            )
    if not without:
        yield ok("network", "every subnet has a way out")
        return
    have = {_service(one) for one in endpoints} | set(settings.network.endpoints)
    have |= {"s3"} if settings.network.route_tables else set()
    missing = [name for name in ("s3", *needed_endpoints(settings)) if name not in have]
    if missing:
        yield wrong(
            "network.endpoints",
            f"{', '.join(without)} have no route to 0.0.0.0/0, and there are no endpoints for {', '.join(missing)}",
            "add a NAT gateway, or list these in network.endpoints (for s3, the route tables in network.route_tables)",
        )
        yield from _addresses(ec2)
    if settings.notify.operator_webhooks or settings.notify.webhook_secret:
        yield note("notify", "webhooks need a way to the Internet, which subnets without NAT lack", "add a NAT gateway")


def _way_out(subnet: str, tables: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The default route of a subnet, by its own table or, failing that, the main one."""
    own = [t for t in tables if any(a.get("SubnetId") == subnet for a in t.get("Associations", ()))]
    main = [t for t in tables if any(a.get("Main") for a in t.get("Associations", ()))]
    for table in own or main:
        for route in table.get("Routes", ()):
            if route.get("DestinationCidrBlock") == EVERYWHERE:
                return dict(route)
    return None


def _addresses(ec2: Any) -> Iterator[AccountFinding]:
    with asking():
        used = len(ec2.describe_addresses()["Addresses"])
        limits = ec2.describe_account_attributes(AttributeNames=[ADDRESSES])["AccountAttributes"]
    known = {limit["AttributeName"]: limit["AttributeValues"] for limit in limits}
    values = [int(value["AttributeValue"]) for value in known.get(ADDRESSES, ())]
    if values and used >= values[0]:
        yield wrong(
            "quota of Elastic IPs",
            f"all {values[0]} are in use, and each NAT gateway needs one",
            "release one, or have the quota raised (Service Quotas: EC2-VPC Elastic IPs)",
        )


def _endpoints(settings: DeploySettings, endpoints: Sequence[Mapping[str, Any]]) -> Iterator[AccountFinding]:
    foreign = [one for one in endpoints if {"Key": "muster", "Value": settings.name} not in one.get("Tags", ())]
    for one in foreign:
        service = _service(one)
        if one.get("VpcEndpointType") == "Interface" and service in settings.network.endpoints:
            yield wrong(
                "network.endpoints",
                f"{service} has an endpoint in the VPC already ({one['VpcEndpointId']})",
                "leave it out here, and let it admit Muster's security group",
            )
        taken = set(one.get("RouteTableIds", ())) & set(settings.network.route_tables)
        if service == "s3" and taken:
            yield wrong(
                "network.route_tables",
                f"{', '.join(sorted(taken))} have a gateway of S3 already ({one['VpcEndpointId']})",
                "leave them out",
            )


def _service(endpoint: Mapping[str, Any]) -> str:
    """`com.amazonaws.eu-central-1.ecr.api` -> `ecr.api`."""
    return ".".join(str(endpoint["ServiceName"]).split(".")[3:])

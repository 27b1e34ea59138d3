"""The brokers, as far as Amazon MSK says: their state, logons, addresses and secrets."""

from collections.abc import Iterator, Mapping
from typing import Any

from orchestration.deploy.account.asking import AbsentError, AccountFinding, Clients, asking, note, ok, wrong
from orchestration.deploy.settings import DeploySettings


def check_kafka(settings: DeploySettings, clients: Clients) -> Iterator[AccountFinding]:
    """The cluster of the settings, if it is one of Amazon MSK."""
    kafka = settings.kafka
    if not kafka.cluster:
        yield note(
            "kafka.bootstrap",
            "brokers outside of Amazon MSK cannot be asked from here",
            "the setup task says whether it reaches them: section 4 of docs/deploy.md",
        )
        return
    msk = clients("kafka")
    try:
        with asking("NotFoundException"):
            cluster = msk.describe_cluster_v2(ClusterArn=kafka.cluster)["ClusterInfo"]
            brokers = msk.get_bootstrap_brokers(ClusterArn=kafka.cluster)
    except AbsentError:
        yield wrong("kafka.cluster", f"{kafka.cluster} does not exist", "name an existing cluster")
        return
    if cluster.get("State") != "ACTIVE":
        yield wrong("kafka.cluster", f"is {cluster.get('State')}", "wait until it is ACTIVE, or heal it")
    else:
        yield ok("kafka.cluster", "is ACTIVE")
    yield from _brokers(settings, cluster.get("Provisioned") or {})
    yield from _address(settings, brokers)
    if kafka.secret:
        with asking():
            pages = msk.get_paginator("list_scram_secrets").paginate(ClusterArn=kafka.cluster)
            secrets = {arn for page in pages for arn in page.get("SecretArnList", ())}
        if kafka.secret not in secrets:
            yield wrong(
                "kafka.secret",
                "is not associated with the cluster, which then refuses the user",
                "aws kafka batch-associate-scram-secret "
                f"--cluster-arn {kafka.cluster} --secret-arn-list {kafka.secret}",
            )


def _brokers(settings: DeploySettings, provisioned: Mapping[str, Any]) -> Iterator[AccountFinding]:
    number = provisioned.get("NumberOfBrokerNodes")
    if number is not None and number < settings.kafka.replication_factor:
        yield wrong(
            "kafka.replication_factor",
            f"is {settings.kafka.replication_factor}, but the cluster has {number} brokers",
            "add brokers, or lower it before the first setup",
        )


def _address(settings: DeploySettings, brokers: Mapping[str, str]) -> Iterator[AccountFinding]:
    kafka = settings.kafka
    kind = "SaslIam" if kafka.with_role else "SaslScram" if kafka.mechanism else "Tls"
    known = [
        text
        for name in (f"BootstrapBrokerString{kind}", f"BootstrapBrokerStringVpcConnectivity{kind}")
        if (text := brokers.get(name))
    ]
    if not known:
        yield wrong(
            "kafka.mechanism",
            f"the cluster has no listener for {kafka.mechanism or 'TLS without a logon'}",
            "turn that authentication on in MSK, or use another mechanism",
        )
        return
    hosts = {host for text in known for host in text.split(",")}
    if foreign := [host for host in kafka.bootstrap.split(",") if host not in hosts]:
        yield note(
            "kafka.bootstrap",
            f"{', '.join(foreign)} are not among the cluster's: {known[0]}",
            "compare, in particular the ports; a name of your own may lead there",
        )
    else:
        yield ok("kafka.bootstrap", "is the cluster's own")

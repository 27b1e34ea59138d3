"""Valid values of `kafka_bootstrap`, and refused ones."""

import pytest

from schemas.errors import FatalError, UserError
from schemas.kafka_address import (
    KafkaAddress,
    KafkaCredentials,
    broker_not_trusted,
    logon_refused,
    unusable,
    with_ca,
    with_credentials,
)

WITH_ROLE = "sasl_ssl://a:9098?mechanism=AWS_MSK_IAM&region=eu-central-1"
SECURE = "sasl_ssl://b-1.msk:9096,b-2.msk:9096?mechanism=SCRAM-SHA-512&credentials=/run/kafka.json"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:19092", KafkaAddress(hosts=("127.0.0.1:19092",))),
        ("a:1, b:65535", KafkaAddress(hosts=("a:1", "b:65535"))),
        ("[::1]:9092", KafkaAddress(hosts=("[::1]:9092",))),
        ("ssl://a:9094", KafkaAddress(hosts=("a:9094",), protocol="ssl")),
        ("ssl://a:9094/?ca=/etc/ca.pem", KafkaAddress(hosts=("a:9094",), protocol="ssl", ca="/etc/ca.pem")),
        (
            SECURE,
            KafkaAddress(
                hosts=("b-1.msk:9096", "b-2.msk:9096"),
                protocol="sasl_ssl",
                mechanism="SCRAM-SHA-512",
                credentials="/run/kafka.json",
            ),
        ),
        (
            "sasl_plaintext://a:1?credentials=/with%20space%26more+plus&mechanism=PLAIN",
            KafkaAddress(
                hosts=("a:1",), protocol="sasl_plaintext", mechanism="PLAIN", credentials="/with space&more+plus"
            ),
        ),
    ],
)
def test_kafka_address_round_trips_through_text(text: str, expected: KafkaAddress) -> None:
    assert KafkaAddress.parse(text) == expected
    assert KafkaAddress.parse(str(expected)) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no host"),
        (":9092", "has no host"),
        ("a:1,", "has no host"),
        ("a:1,,b:2", "has no host"),
        ("a", "is not host:port"),
        ("a:", "is not host:port"),
        ("a:b", "is not host:port"),
        ("a:0", "is not host:port"),
        ("a:65536", "is not host:port"),
        ("a:1/path", "is not host:port"),
        ("a b:1", "is not host:port"),
        ("kafka://a:1", "the scheme 'kafka' is not one of ssl, sasl_plaintext, sasl_ssl"),
        ("SSL://a:1", "the scheme 'SSL' is not one of"),
        ("ssl://a:1?mechanism=PLAIN", "mechanism=PLAIN is for sasl_ssl://"),
        ("ssl://a:1?credentials=/f", "credentials= is for sasl_ssl://"),
        ("sasl_plaintext://a:1?mechanism=PLAIN&credentials=/f&ca=/c", "ca= is for ssl://"),
        ("sasl_ssl://a:1?credentials=/f", "sasl_ssl needs mechanism="),
        ("sasl_ssl://a:1?mechanism=PLAIN", "sasl_ssl needs credentials=FILE"),
        ("sasl_ssl://a:1?mechanism=PLAIN&credentials=", "credentials= is empty"),
        ("sasl_ssl://a:1?mechanism=GSSAPI&credentials=/f", "the mechanism 'GSSAPI' is not one of SCRAM-SHA-512"),
        ("sasl_ssl://a:1?mechanism=PLAIN&mechanism=PLAIN&credentials=/f", "mechanism= is given twice"),
        ("sasl_ssl://a:1?mechanism=PLAIN&credentials=/f&verify=no", "the parameter 'verify' is not one of"),
        ("sasl_ssl://?mechanism=PLAIN&credentials=/f", "has no host"),
        ("ssl://a:x", "is not host:port"),
        ("sasl_ssl://a:1?mechanism=AWS_MSK_IAM", "mechanism=AWS_MSK_IAM needs region="),
        ("sasl_ssl://a:1?mechanism=AWS_MSK_IAM&region=r&credentials=/f", "credentials= is not for mechanism=AWS_MSK"),
        ("sasl_plaintext://a:1?mechanism=AWS_MSK_IAM&region=r", "mechanism=AWS_MSK_IAM is for sasl_ssl://"),
        ("sasl_ssl://a:1?mechanism=PLAIN&credentials=/f&region=r", "region= is for mechanism=AWS_MSK_IAM"),
    ],
)
def test_address_error_names_the_setting(text: str, why: str) -> None:
    with pytest.raises(UserError) as refused:
        KafkaAddress.parse(text)
    assert (refused.value.code, refused.value.detail["name"]) == ("BAD_SETTINGS", "kafka_bootstrap")
    assert refused.value.message.startswith("setting kafka_bootstrap: ")
    assert why in refused.value.message


@pytest.mark.parametrize(
    "text",
    [
        "sasl_ssl://muster:hush-hush@a:1?mechanism=PLAIN&credentials=/f",
        "muster:hush-hush@a:1",
        "sasl_ssl://a:1?mechanism=PLAIN&password=hush-hush",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UserError) as refused:
        KafkaAddress.parse(text)
    assert refused.value.code == "BAD_SETTINGS"
    assert "hush-hush" not in str(refused.value.as_record())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:1", "a:1"),
        ("ssl://a:1", "ssl://a:1"),
        ("sasl_ssl://a:1", "sasl_ssl://a:1?credentials=/the%20file"),
        ("sasl_ssl://a:1?mechanism=PLAIN", "sasl_ssl://a:1?mechanism=PLAIN&credentials=/the%20file"),
        (SECURE, SECURE),
        (WITH_ROLE, WITH_ROLE),
    ],
)
def test_credentials_fill_in_a_logon_without_any(text: str, expected: str) -> None:
    assert with_credentials(text, "/the file") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:1", "a:1"),
        ("sasl_plaintext://a:1?mechanism=PLAIN", "sasl_plaintext://a:1?mechanism=PLAIN"),
        ("ssl://a:1", "ssl://a:1?ca=/the%20file"),
        (WITH_ROLE, f"{WITH_ROLE}&ca=/the%20file"),
        ("ssl://a:1?ca=/own", "ssl://a:1?ca=/own"),
    ],
)
def test_certificates_fill_in_an_address_with_tls(text: str, expected: str) -> None:
    assert with_ca(text, "/the file") == expected


def test_secrets_manager_credentials_are_read_and_never_printed() -> None:
    found = KafkaCredentials.parse('{"username": "muster", "password": "hush-hush", "more": 1}', "/f")
    assert (found.username, found.password) == ("muster", "hush-hush")
    assert "hush-hush" not in f"{found!r} {found}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hush-hush", "it is not JSON"),
        ('["hush-hush"]', "it is not a JSON object"),
        ('{"username": "hush-hush"}', "its password is missing or not a string"),
        ('{"password": "hush-hush"}', "its username is missing or not a string"),
        ('{"username": "", "password": "hush-hush"}', "its username is missing or not a string"),
        ('{"username": "u", "password": 5}', "its password is missing or not a string"),
    ],
)
def test_unusable_credentials_are_refused_without_their_content(text: str, why: str) -> None:
    with pytest.raises(FatalError) as refused:
        KafkaCredentials.parse(text, "/run/kafka.json")
    assert refused.value.code == "CREDENTIALS_UNUSABLE"
    assert f"/run/kafka.json (from the setting kafka_bootstrap) cannot be used: {why}" in refused.value.message
    assert "hush-hush" not in f"{refused.value.as_record()} {refused.value.__cause__}"


def test_refusal_names_broker_mechanism_and_files() -> None:
    address = KafkaAddress.parse(SECURE)
    refused = logon_refused(address, "b-1.msk:9096", "Authentication failed")
    assert refused.code == "LOGON_REFUSED"
    assert "Kafka at b-1.msk:9096 refuses the logon with SCRAM-SHA-512: Authentication failed" in refused.message
    assert "are read from /run/kafka.json" in refused.message
    untrusted = broker_not_trusted(address, "b-1.msk:9096", "self-signed")
    assert untrusted.code == "BROKER_NOT_TRUSTED"
    assert "It must be trusted by the system's certificates" in untrusted.message
    own = broker_not_trusted(KafkaAddress.parse("ssl://a:1?ca=/ca.pem"), "a:1", "expired")
    assert "It must be trusted by the certificates in /ca.pem" in own.message
    assert unusable("/ca.pem", "No such file or directory").detail == {"path": "/ca.pem"}

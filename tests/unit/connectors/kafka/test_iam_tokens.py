"""Tokens for Amazon MSK: signed by AWS' library, shared by the clients of a process, renewed in time."""

import asyncio
import base64
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import faust
import pytest

from connectors.kafka import iam_tokens
from connectors.kafka.aiokafka_logon import aiokafka_options
from connectors.kafka.iam_tokens import IamTokens, Token
from connectors.kafka.logon import librdkafka_config
from schemas.errors import RetriableError
from streams.logon import faust_options

ADDRESS = "sasl_ssl://b-1:9098?mechanism=AWS_MSK_IAM&region=eu-central-1"


@pytest.fixture(autouse=True)
def role(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of the role")
    iam_tokens.iam_tokens.cache_clear()


def test_token_is_a_signed_request_to_connect() -> None:
    token = IamTokens("eu-central-1").current()
    url = urlsplit(base64.urlsafe_b64decode(token.text + "==").decode())
    query = parse_qs(url.query)
    assert (url.scheme, url.hostname) == ("https", "kafka.eu-central-1.amazonaws.com")
    assert query["Action"] == ["kafka-cluster:Connect"]
    assert query["X-Amz-Credential"][0].split("/")[0::2] == ["AKIDEXAMPLE", "eu-central-1", "aws4_request"]
    assert query["X-Amz-Security-Token"] == ["of the role"]
    assert "hush-hush" not in token.text
    assert 600 < token.expires_at_s - time.time() <= 900


def test_clients_of_a_process_share_a_token_until_it_is_about_to_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    signed: list[str] = []
    now_s = 1000.0

    def sign(region: str) -> Token:
        signed.append(region)
        return Token(text=f"token {len(signed)}", expires_at_s=now_s + 900)

    monkeypatch.setattr(iam_tokens, "_signed", sign)
    tokens = IamTokens("eu-central-1", now_s=lambda: now_s)
    assert [tokens.current().text, *tokens.for_librdkafka(""), asyncio.run(tokens.token())] == [
        *("token 1", "token 1", 1900.0, "token 1")
    ]
    now_s += 600
    assert tokens.current().text == "token 1"
    now_s += 1
    assert (tokens.current().text, signed) == ("token 2", ["eu-central-1"] * 2)


def test_every_library_gets_the_tokens() -> None:
    config, options = librdkafka_config(ADDRESS), aiokafka_options(ADDRESS)
    credentials = faust_options(ADDRESS)["broker_credentials"]
    assert isinstance(credentials, faust.auth.OAuthCredentials)
    provider = options["sasl_oauth_token_provider"]
    token = provider.current()
    assert config["oauth_cb"]("") == (token.text, token.expires_at_s)
    assert provider is credentials.oauth_cb
    assert (config["sasl.mechanism"], options["sasl_mechanism"]) == ("OAUTHBEARER", "OAUTHBEARER")
    assert (options["security_protocol"], credentials.protocol.value) == ("SASL_SSL", "SASL_SSL")
    assert "sasl.password" not in config


def _aiokafka_token(address: str) -> str:
    provider: IamTokens = aiokafka_options(address)["sasl_oauth_token_provider"]
    return asyncio.run(provider.token())


@pytest.mark.parametrize("ask", [librdkafka_config, _aiokafka_token])
def test_missing_credentials_are_an_outage_that_names_the_remedy(
    ask: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(RetriableError, match=r"NO_KAFKA_TOKEN: .* needs the role of the process"):
        ask(ADDRESS)

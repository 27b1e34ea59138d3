"""The S3 server's inner ports take no writes of others."""

from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from orchestration.local.home import Home
from orchestration.local.ports import LOOPBACK, Ports
from orchestration.local.seaweedfs import s3_client
from tests.conftest import StartStack

pytestmark = [pytest.mark.integration, pytest.mark.embedded("no broker in it")]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_the_filer_refuses_writes_without_a_signature_and_s3_goes_on(start_stack: StartStack, method: str) -> None:
    settings = start_stack(parts=("s3",))
    ports = Ports.load(Home(path=settings.home).ports_file, settings)
    client = s3_client(settings)
    client.put_object(Bucket=settings.lake_bucket, Key="part", Body=b"members")
    url = f"http://{LOOPBACK}:{ports.s3_filer}/buckets/{settings.lake_bucket}/part"

    with pytest.raises(HTTPError, match="401"):
        urlopen(Request(url, method=method, data=b"others" if method == "PUT" else None), timeout=10)

    assert client.get_object(Bucket=settings.lake_bucket, Key="part")["Body"].read() == b"members"

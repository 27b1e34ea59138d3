"""Writing whole objects, the same for every S3 client. Errors are boto3's."""

import itertools
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from boto3.s3.transfer import TransferConfig
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

SINGLE_PUT_BYTES = 256 * 2**20  # S3 accepts 5 GiB in one request, but a lost connection would cost all of it
PIECE_BYTES = 64 * 2**20  # times 10,000 pieces: files up to 625 GiB
PLAIN: Final[Mapping[str, str]] = MappingProxyType({})
"""No extra arguments: an object with the defaults of the bucket."""


def put_file(
    client: "S3Client",
    bucket: str,
    key: str,
    path: Path,
    *,
    config: "TransferConfig | None" = None,
    on_bytes: Callable[[int], None] | None = None,
) -> None:
    """Store a file, in several pieces if it is large; an existing object is replaced once the last byte has arrived.

    `on_bytes` gets the size of each piece sent, from the threads of the upload.
    """
    from boto3.s3.transfer import ProgressCallbackInvoker, TransferConfig, create_transfer_manager

    # `client.upload_file` wraps the answer of the store and may lose it: a manager that ends before its last thread
    # raises it again, and Python then cuts it off the exception that wraps it.
    with create_transfer_manager(client, config or TransferConfig()) as manager:
        subscribers = [] if on_bytes is None else [ProgressCallbackInvoker(on_bytes)]
        manager.upload(str(path), bucket, key, subscribers=subscribers).result()


def put_if_absent(
    client: "S3Client",
    bucket: str,
    key: str,
    body: bytes | Path,
    *,
    extra: Mapping[str, str] = PLAIN,
    replace_empty: bool = False,
) -> bool:
    """Store bytes or a file under an unused key. False if the key is taken, perhaps by the same bytes.

    One request for bytes and for files of up to `SINGLE_PUT_BYTES`; larger files are sent in pieces, which S3 completes
    under the same condition. `extra`: boto3 arguments for a new object, such as its encryption. `replace_empty`: treat
    an empty object as absent. SeaweedFS keeps one if a client dies between the header and the body of its PUT.
    """
    if _put_if({"IfNoneMatch": "*"}, client, bucket, key, body, extra):
        return True
    if not replace_empty:
        return False
    found = client.head_object(Bucket=bucket, Key=key)
    return not found["ContentLength"] and _put_if({"IfMatch": found["ETag"]}, client, bucket, key, body, extra)


def may_write(client: "S3Client", bucket: str, key: str, *, extra: Mapping[str, str] = PLAIN) -> None:
    """Check that an object may be written, with all permissions this needs, without writing one.

    Starts and aborts a multipart upload, which stays invisible until it is completed.
    """
    _give_up(client, bucket, key, _begin(client, bucket, key, extra))


def _put_if(
    condition: Mapping[str, str],
    client: "S3Client",
    bucket: str,
    key: str,
    body: bytes | Path,
    extra: Mapping[str, str],
) -> bool:
    from botocore.exceptions import ClientError

    arguments: dict[str, Any] = {**condition, **extra}
    try:
        if isinstance(body, bytes):
            client.put_object(Bucket=bucket, Key=key, Body=body, **arguments)
        elif body.stat().st_size > SINGLE_PUT_BYTES:
            _put_pieces(condition, client, bucket, key, body, extra)
        else:
            with body.open("rb") as stream:
                client.put_object(Bucket=bucket, Key=key, Body=stream, **arguments)
    except ClientError as exc:
        if exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == HTTPStatus.PRECONDITION_FAILED:
            return False
        raise
    return True


def _put_pieces(
    condition: Mapping[str, Any], client: "S3Client", bucket: str, key: str, path: Path, extra: Mapping[str, str]
) -> None:
    upload = _begin(client, bucket, key, extra)
    try:
        pieces: list[CompletedPartTypeDef] = []
        with path.open("rb") as stream:
            for number in itertools.count(1):
                if not (piece := stream.read(PIECE_BYTES)):
                    break
                answer = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=piece)
                pieces.append({"ETag": answer["ETag"], "PartNumber": number})
        client.complete_multipart_upload(
            Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": pieces}, **condition
        )
    except BaseException:
        _give_up(client, bucket, key, upload)
        raise


def _begin(client: "S3Client", bucket: str, key: str, extra: Mapping[str, Any]) -> str:
    return client.create_multipart_upload(Bucket=bucket, Key=key, **extra)["UploadId"]


def _give_up(client: "S3Client", bucket: str, key: str, upload: str) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    # The original failure matters more than this one, and permission to write does not imply permission to abort.
    with suppress(BotoCoreError, ClientError):
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)

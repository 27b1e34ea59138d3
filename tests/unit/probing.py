"""What a process may do, found by trying: each attempt is code that raises if it is refused."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_INET, AF_UNIX, SOCK_DGRAM, SOCK_STREAM, socket

PROBE = """
import ctypes, json, os, signal, socket, struct, subprocess, sys
C = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
def passwd(): open("/etc/passwd").read()
def settings(): open(G["settings"]).read()
def listing(): os.listdir(os.path.dirname(G["settings"]))
def init(): open("/proc/1/environ").read()
def parent(): open(f"/proc/{os.getppid()}/environ").read()
def sibling(): open(f"/proc/{G['sibling']}/environ").read()
def command(): open(f"/proc/{G['sibling']}/cmdline").read()
def write(): open(G["settings"], "a").close()
def make(): open(G["settings"] + ".new", "w").close()
def remove(): os.unlink(G["victim"])
def truncate(): os.truncate(G["settings"], os.stat(G["settings"]).st_size)
def chmod(): os.chmod(G["settings"], 0o600)
def tcp(): socket.create_connection(("127.0.0.1", G["tcp"]), 5).close()
def store(): socket.create_connection(("127.0.0.1", G["store"]), 5).close()
def bind(): socket.create_server(("127.0.0.1", 0)).close()
def udp(): socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", G["udp"]))
def abstract(): socket.socket(socket.AF_UNIX).connect(G["abstract"])
def set_uid(): subprocess.run(["/usr/bin/su", "--version"], check=True, stdout=subprocess.PIPE)
def program(): subprocess.run([sys.executable, "-S", "-c", ""], check=True)
def loader(): subprocess.run([G["loader"], "--help"], check=True, stdout=subprocess.PIPE)
def signal_(): os.kill(G["sibling"], signal.SIGCONT)
def trace():
    check(C.ptrace(16, G["sibling"], 0, 0))  # PTRACE_ATTACH, PTRACE_DETACH
    os.waitpid(G["sibling"], 0x40000000)
    check(C.ptrace(17, G["sibling"], 0, 0))
def capabilities():
    words = (ctypes.c_uint32 * 6)()
    check(C.capget(struct.pack("=Ii", 0x20080522, 0), words))
    if not any(words):
        raise OSError("no capabilities")
def privileges():
    if C.prctl(39, 0, 0, 0, 0) == 1:  # PR_GET_NO_NEW_PRIVS
        raise OSError("no new privileges")
def attempt(names):
    found = {}
    for name in names:
        try:
            globals()[name]()
            found[name] = "done"
        except Exception as exc:
            found[name] = type(exc).__name__
    return found
"""
REPORT = "PROBED "


def names() -> list[str]:
    """Names of all attempts."""
    lines = [line.removeprefix("def ").partition("(")[0] for line in PROBE.splitlines() if line.startswith("def ")]
    return [name for name in lines if name not in {"check", "attempt"}]


@contextmanager
def targets(folder: Path, sibling: int) -> Iterator[dict[str, object]]:
    """Targets of the attempts: a secret file, listeners, another process."""
    settings, victim = folder / "settings.toml", folder / "victim"
    settings.write_text("s3_secret_key = 'x'\n")
    victim.touch()
    with (
        socket(AF_INET, SOCK_STREAM) as tcp,
        socket(AF_INET, SOCK_STREAM) as store,
        socket(AF_INET, SOCK_DGRAM) as udp,
        socket(AF_UNIX) as abstract,
    ):
        for listener in (tcp, store):
            listener.bind(("127.0.0.1", 0))
            listener.listen()
        udp.bind(("127.0.0.1", 0))
        abstract.bind(f"\0muster-probe-{sibling}")
        abstract.listen()
        yield {
            "settings": str(settings),
            "victim": str(victim),
            "tcp": tcp.getsockname()[1],
            "store": store.getsockname()[1],
            "udp": udp.getsockname()[1],
            "abstract": f"\0muster-probe-{sibling}",
            "loader": str(next(Path("/").glob("lib*/ld-*so*"))),  # a readable program
            "sibling": sibling,
        }


def unconfined(given: dict[str, object]) -> dict[str, str]:
    """Results of the attempts in an unconfined child."""
    code = f"{PROBE}G = json.loads({json.dumps(given)!r})\nprint(json.dumps(attempt({names()!r})))"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def script(given: dict[str, object], *, patch: str = "") -> str:
    """A `sitecustomize` that makes each child attempt everything once confined, report the results, and end."""
    return f"""{PROBE}
G = json.loads({json.dumps(given)!r})
import connectors.sandbox as sandbox
{patch}
def apply_to_this_thread(self, apply_to_this_thread=sandbox.Confinement.apply_to_this_thread):
    missing = apply_to_this_thread(self)
    found = attempt({names()!r})
    os.write(2, ({REPORT!r} + json.dumps(found) + "\\n").encode())
    os._exit(9)
sandbox.Confinement.apply_to_this_thread = apply_to_this_thread
"""


def report(stderr: str) -> dict[str, str]:
    """The report of such a child."""
    [line] = [line for line in stderr.splitlines() if line.startswith(REPORT)]
    found: dict[str, str] = json.loads(line.removeprefix(REPORT))
    return found

"""Confines a child that works on untrusted input: a pure plan, and the system calls that enforce it.

A plan names what is allowed. Everything else that this kernel can refuse is refused: files and TCP by Landlock, gaining
rights by `no_new_privs`, the network by a separate namespace. What a kernel cannot refuse is a missing layer (`Layer`);
the caller decides whether to continue without it.

Constants are those of include/uapi/linux/{landlock,prctl,sched,mount,capability}.h; the system call numbers are the
same on every processor that Python runs on except Alpha. Landlock: https://docs.kernel.org/userspace-api/landlock.html.
"""

import contextlib
import ctypes
import logging
import os
import struct
import subprocess
import sys
import sysconfig
import zoneinfo
from dataclasses import dataclass
from enum import Flag
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from connectors.confinement import C_LIBRARY, PACKAGE_ROOT, child_environment
from schemas.errors import FatalError

SYS_LANDLOCK_CREATE_RULESET: Final = 444
SYS_LANDLOCK_ADD_RULE: Final = 445
SYS_LANDLOCK_RESTRICT_SELF: Final = 446
SYS_MOUNT_SETATTR: Final = 442
LANDLOCK_CREATE_RULESET_VERSION: Final = 1 << 0
LANDLOCK_RULE_PATH_BENEATH: Final = 1
LANDLOCK_RULE_NET_PORT: Final = 2

WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
REMOVE_DIR: Final = 1 << 4
REMOVE_FILE: Final = 1 << 5
MAKE_DIR: Final = 1 << 7
MAKE_REG: Final = 1 << 8
REFER: Final = 1 << 13
TRUNCATE: Final = 1 << 14
IOCTL_DEV: Final = 1 << 15
RESOLVE_UNIX: Final = 1 << 16
ALL_OF_ABI_1: Final = (1 << 13) - 1
"""EXECUTE (1 << 0) to MAKE_SYM (1 << 12)."""
FS_RIGHTS: Final = ((1, ALL_OF_ABI_1), (2, REFER), (3, TRUNCATE), (5, IOCTL_DEV), (9, RESOLVE_UNIX))
"""Rights over files, by the ABI that introduced them."""
READ: Final = READ_FILE | READ_DIR
WRITE: Final = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | TRUNCATE
"""Everything else is allowed nowhere: programs, devices, links, sockets."""
FILE_RIGHTS: Final = WRITE_FILE | READ_FILE | TRUNCATE
"""Those rights of `WRITE` that a rule for a file, as opposed to a directory, may name."""
BIND_TCP: Final = 1 << 0
CONNECT_TCP: Final = 1 << 1
SCOPE_ABSTRACT_UNIX_SOCKET: Final = 1 << 0
SCOPE_SIGNAL: Final = 1 << 1

PR_SET_NO_NEW_PRIVS: Final = 38
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000
AT_FDCWD: Final = -100
AT_RECURSIVE: Final = 0x8000
MOUNT_ATTR_RDONLY: Final = 0x1
LINUX_CAPABILITY_VERSION_3: Final = 0x20080522

OWN_PACKAGES: Final = ("schemas", "segmentation", "connectors")
SYSTEM_FILES: Final = tuple(
    Path(path)
    for path in (
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/nix/store",
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/dev/null",
        "/dev/urandom",
        "/sys/devices/system/cpu",
        "/sys/kernel/mm/transparent_hugepage/enabled",  # this and the next: for jemalloc
        "/proc/sys/vm/overcommit_memory",
    )
)
NAME_FILES: Final = tuple(
    Path("/etc") / name for name in ("resolv.conf", "hosts", "nsswitch.conf", "host.conf", "gai.conf")
)
"""Files from which the C library resolves host names."""
CERTIFICATE_FILES: Final = tuple(
    Path(path)
    for path in (
        "/etc/ssl/certs",
        "/etc/ssl/cert.pem",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/openssl.cnf",
        "/etc/pki/tls/certs",
        "/etc/pki/tls/cert.pem",
        "/etc/pki/ca-trust/extracted",
        "/usr/share/ca-certificates",
        "/usr/local/share/ca-certificates",
    )
)
"""Certificates that TLS trusts: no private keys."""

_log = logging.getLogger(__name__)


class Layer(Flag):
    """One kind of access that is refused to a child if the kernel can do it."""

    PRIVILEGES = 1
    """No rights from running a program (no_new_privs), and no capabilities."""
    FILES = 2
    """No files except those of its plan, no devices, no programs; no access to other processes (ptrace)."""
    TRUNCATION = 4
    """No truncation of other files by name."""
    TCP = 8
    """No TCP except to the ports of its plan."""
    SCOPES = 16
    """No signals and no abstract Unix sockets to other processes."""
    NAMESPACES = 32
    """A network without interfaces (no UDP either), separate System V memory, and all mounts read-only (no chmod)."""


LANDLOCK_LAYERS: Final = ((Layer.FILES, 1), (Layer.TRUNCATION, 3), (Layer.TCP, 4), (Layer.SCOPES, 6))
"""With the ABI that each needs: Linux 5.13, 6.2, 6.7, 6.12."""
LAYER_NAMES: Final = {
    Layer.PRIVILEGES: "privileges (no_new_privs, capabilities)",
    Layer.FILES: "files (Landlock, Linux 5.13)",
    Layer.TRUNCATION: "truncation (Landlock, Linux 6.2)",
    Layer.TCP: "TCP (Landlock, Linux 6.7)",
    Layer.SCOPES: "signals and abstract sockets (Landlock, Linux 6.12)",
    Layer.NAMESPACES: "network (user namespaces)",
}
NO_LAYERS: Final = Layer(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a child may do. Paths that do not exist are skipped."""

    readable: tuple[Path, ...] = ()
    """Files, and directories with everything in them."""
    writable: tuple[Path, ...] = ()
    """Directories in which it may also write, create and remove."""
    ports: tuple[int, ...] = ()
    """TCP ports it may connect to, on any host: Landlock knows no addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """A plan in terms of one Landlock ABI: what is refused by default, and the exceptions."""

    handled_fs: int
    handled_net: int
    scoped: int
    paths: tuple[tuple[Path, int], ...]
    ports: tuple[tuple[int, int], ...]

    @property
    def attributes(self) -> bytes:
        """Struct landlock_ruleset_attr, with the fields that this ABI knows."""
        words = [word for word in (self.handled_fs, self.handled_net, self.scoped) if word]
        return struct.pack(f"={len(words)}Q", *words)


def ruleset(plan: Plan, abi: int) -> Ruleset:
    """The strictest rules of an ABI (1 or later) under which the plan works."""
    handled = sum(rights for since, rights in FS_RIGHTS if abi >= since)
    return Ruleset(
        handled_fs=handled,
        handled_net=BIND_TCP | CONNECT_TCP if abi >= 4 else 0,
        scoped=SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL if abi >= 6 else 0,
        paths=(*((path, READ) for path in plan.readable), *((path, WRITE & handled) for path in plan.writable)),
        ports=tuple((port, CONNECT_TCP) for port in plan.ports) if abi >= 4 else (),
    )


def missing_layers(abi: int) -> Layer:
    """The layers that a kernel with this Landlock ABI (0: none) lacks."""
    missing = NO_LAYERS
    for layer, since in LANDLOCK_LAYERS:
        if abi < since:
            missing |= layer
    return missing


def describe_layers(missing: Layer) -> str:
    """Layers in words."""
    return ", ".join(words for layer, words in LAYER_NAMES.items() if layer in missing)


def landlock_abi() -> int:
    """The kernel's Landlock ABI; 0 if Landlock is absent, disabled, or hidden by a system call filter."""
    return max(0, int(C_LIBRARY.syscall(SYS_LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_CREATE_RULESET_VERSION)))


class Confinement:
    """Rules that are created once and applied by this process, or by each of its forks."""

    def __init__(self, plan: Plan) -> None:
        """Raises OSError if the kernel has Landlock but does not accept the rules."""
        abi = landlock_abi()
        self.missing = missing_layers(abi)
        self._fd = _create(ruleset(plan, abi)) if abi else -1

    @property
    def fds(self) -> set[int]:
        """Descriptors that a fork must keep until it has applied the rules."""
        return {self._fd} - {-1}

    def drop_privileges(self) -> None:
        """Drop all capabilities, including root's, and prevent programs from gaining any; forks inherit this."""
        header = struct.pack("=Ii", LINUX_CAPABILITY_VERSION_3, 0)
        refused = [C_LIBRARY.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), C_LIBRARY.capset(header, bytes(24))]
        if any(refused):  # by a filter of system calls: the kernel itself allows both
            self.missing |= Layer.PRIVILEGES

    def apply_to_this_thread(self) -> Layer:
        """Confine this thread, which must be the only one, permanently; returns the missing layers.

        Each call creates a domain of its own: two forks cannot signal or inspect each other. Landlock confines only the
        calling thread, so if there is another one, all its layers are missing. Raises OSError.
        """
        if not _single_threaded():
            self.missing |= missing_layers(0)
        self.drop_privileges()
        if self._fd >= 0:
            _checked(C_LIBRARY.syscall(SYS_LANDLOCK_RESTRICT_SELF, self._fd, 0), "landlock_restrict_self")
            os.close(self._fd)
            self._fd = -1
        return self.missing


def enter_namespaces() -> Layer:
    """Move this process and its forks into separate namespaces: no network, no shared memory, nothing writable.

    Returns `Layer.NAMESPACES` as missing if the system allows no user namespaces or the process has another thread
    (nothing has changed then), or if the mounts cannot be made read-only.
    """
    if C_LIBRARY.unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWNS) != 0:
        return Layer.NAMESPACES
    read_only = struct.pack("=4Q", MOUNT_ATTR_RDONLY, 0, 0, 0)  # struct mount_attr
    result = C_LIBRARY.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, b"/", AT_RECURSIVE, read_only, len(read_only))
    return NO_LAYERS if result == 0 else Layer.NAMESPACES


def probe() -> Layer:
    """The layers that are missing for children of this process. Tries them in a process that ends with the attempt.

    Raises OSError if the kernel has Landlock but does not accept the rules.
    """
    command = [sys.executable, "-P", "-m", "connectors.sandbox"]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}")
    return Layer(int(done.stdout))


@cache
def warn(who: str, missing: Layer) -> None:
    """Log, once per process, which layers a child lacks."""
    if missing:
        _log.warning("%s: this system does not confine %s (setting sandbox = auto)", who, describe_layers(missing))


def require(who: str, missing: Layer) -> None:
    """Raises `FatalError` SANDBOX_INCOMPLETE if a layer is missing."""
    if missing:
        raise FatalError(
            "SANDBOX_INCOMPLETE",
            f"sandbox = required, but this system does not confine {describe_layers(missing)} of {who}: "
            "see docs/security.md, or set sandbox = auto",
            missing=describe_layers(missing),
        )


def program_files() -> tuple[Path, ...]:
    """Paths that a Python child reads to import further: the interpreter, packages, shared libraries, zone data.

    Of a clone only our packages, not its other files: it may contain a home, for example.
    """
    sites = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    numpy = find_spec("numpy")
    sites |= {Path(numpy.origin).parents[1]} if numpy is not None and numpy.origin else set()
    for package in OWN_PACKAGES:
        import_module(package)  # their parent directory cannot be listed after confinement
    own_packages = [PACKAGE_ROOT / package for package in OWN_PACKAGES]
    libraries = [Path(path) for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if path.startswith("/")]
    zones = [Path(path) for path in (*zoneinfo.TZPATH, os.environ.get("TZDIR", "")) if path.startswith("/")]
    python = [Path(sys.base_prefix) / "lib"]
    return tuple(dict.fromkeys([*sorted(sites), *own_packages, *python, *libraries, *zones, *SYSTEM_FILES]))


def _create(rules: Ruleset) -> int:
    """Create the rules; returns their descriptor."""
    attributes = rules.attributes
    made = C_LIBRARY.syscall(SYS_LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    fd = _checked(made, "landlock_create_ruleset")
    for path, rights in rules.paths:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            _allow_path(fd, path, rights)
    for port, rights in rules.ports:
        rule = struct.pack("=QQ", rights, port)  # struct landlock_net_port_attr
        _checked(C_LIBRARY.syscall(SYS_LANDLOCK_ADD_RULE, fd, LANDLOCK_RULE_NET_PORT, rule, 0), "landlock_add_rule")
    return fd


def _allow_path(fd: int, path: Path, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        allowed = rights if path.is_dir() else rights & FILE_RIGHTS
        rule = struct.pack("=Qi", allowed, descriptor)  # struct landlock_path_beneath_attr
        result = C_LIBRARY.syscall(SYS_LANDLOCK_ADD_RULE, fd, LANDLOCK_RULE_PATH_BENEATH, rule, 0)
        _checked(result, f"landlock_add_rule {path}")
    finally:
        os.close(descriptor)


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def _single_threaded() -> bool:
    return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208  # numbers, not paths


if __name__ == "__main__":
    confinement = Confinement(Plan(readable=program_files()))
    confinement.missing |= enter_namespaces()
    sys.stdout.write(str(confinement.apply_to_this_thread().value))

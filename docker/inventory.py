"""What a base image holds: prints its system, Python, Debian packages and Python distributions as JSON.

Runs inside the base, which has nothing but Python and dpkg; docker/sbom.py reads what it prints.
"""

import json
import platform
import subprocess
from importlib.metadata import distributions

FORMAT = "${db:Status-Abbrev}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\n"

listed = subprocess.run(["dpkg-query", "--show", "--showformat", FORMAT], check=True, capture_output=True, text=True)
rows = [line.split("\t") for line in listed.stdout.splitlines()]
release = platform.freedesktop_os_release()
print(  # noqa: T201 - what docker/sbom.py reads
    json.dumps(
        {
            "system": {
                "name": release["ID"],
                "version": release["VERSION_ID"],
                "codename": release["VERSION_CODENAME"],
            },
            "python": platform.python_version(),
            "packages": sorted(row[1:] for row in rows if row[0].startswith("ii")),
            "distributions": sorted({(found.name, found.version) for found in distributions()}),
        }
    )
)

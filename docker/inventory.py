"""Print the contents of a base image as JSON: system, Python, Debian packages and Python distributions.

Runs inside the base image, which has only Python and dpkg; docker/sbom.py reads the output.
"""

import json
import platform
import subprocess
from importlib.metadata import distributions

FORMAT = "${db:Status-Abbrev}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\n"

listed = subprocess.run(["dpkg-query", "--show", "--showformat", FORMAT], check=True, capture_output=True, text=True)
rows = [line.split("\t") for line in listed.stdout.splitlines()]
release = platform.freedesktop_os_release()
print(  # noqa: T201 - docker/sbom.py reads it
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

"""Jobs to their end, and exports onto this machine. Part of `Client`."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from muster.api_methods import ApiMethods
from muster.errors import ApiError
from muster.following import Follower, follow

if TYPE_CHECKING:
    from muster.api_types import ExportFile, ExportJobDetail, ImportJobDetail

MANIFEST: Final = "manifest.json"
FETCHES: Final = 4
"""How often to fetch a file that does not arrive; each time by a fresh URL, valid for five minutes."""
FETCHED_AGAIN: Final = frozenset({"DOWNLOAD_CUT_OFF", "DOWNLOAD_REFUSED", "DOWNLOAD_UNREACHABLE"})


class Waiting(ApiMethods):
    """See `Client`."""

    def wait(self, job: str, *, timeout_s: float | None = None) -> "ImportJobDetail | ExportJobDetail":
        """A job of any kind, once its state is one of `FINAL_STATES`: look at `state`, whatever it is.

        Waits through short outages. Raises `TimeoutError` after `timeout_s` (the job continues), and as
        `muster.following.follow`.
        """
        *_, last = follow(self, job, timeout_s=timeout_s)
        return last

    async def wait_async(self, job: str, *, timeout_s: float | None = None) -> "ImportJobDetail | ExportJobDetail":
        """As `wait`, for programs on asyncio: requests run in a thread, and pauses are free. One wait at a time."""
        import asyncio  # noqa: PLC0415  # takes as long to load as the rest of the package

        follower = Follower(self, job, timeout_s=timeout_s)
        while True:
            found = await asyncio.to_thread(follower.poll)
            if found is not None and follower.ended:
                return found
            await asyncio.sleep(follower.pause_s())

    def download(self, tenant: str, export: str, folder: Path) -> Path:
        """Fetch the files of an export to `download` into a new or empty folder; returns the path of the manifest.

        Each file is compared with its SHA-256, and the manifest is written last. Raises `FileExistsError`, OSError, and
        `ApiError` DOWNLOAD_DIFFERS.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FileExistsError(f"{folder} is not empty")
        for file in self.export_files(tenant, export)["items"]:
            self._fetch_file(tenant, export, file, folder)
        from muster.fetching import fetch  # noqa: PLC0415  # as in `Client`

        manifest = folder / MANIFEST
        manifest.write_bytes(b"".join(fetch(self.export_files(tenant, export)["manifest"])))
        return manifest

    def _fetch_file(self, tenant: str, export: str, file: "ExportFile", folder: Path) -> None:
        from muster.fetching import fetch  # noqa: PLC0415  # as in `Client`

        path = inside(folder, file["key"])
        path.parent.mkdir(parents=True, exist_ok=True)
        for last in range(1, FETCHES + 1):
            listed = self.export_files(tenant, export)["items"]
            url = next(one["url"] for one in listed if one["key"] == file["key"])
            hashed = hashlib.sha256()
            try:
                with path.open("wb") as target:
                    for block in fetch(url):
                        hashed.update(block)
                        target.write(block)
            except ApiError as exc:
                if exc.code not in FETCHED_AGAIN or last == FETCHES:
                    raise
                continue
            if hashed.hexdigest() != file["sha256"]:
                raise _differs(file["key"], f"its SHA-256 is {hashed.hexdigest()}, not {file['sha256']}")
            return


def verify(manifest: Path) -> dict[str, Any]:
    """Compare the files of an export with their manifest, which is returned: all are there, with size and SHA-256.

    Proves that the files are those that Muster wrote. `muster verify` also recomputes rows and digests from their
    content. Raises `ApiError` EXPORT_DIFFERS, OSError.
    """
    import json  # noqa: PLC0415  # as in `Client`

    found: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
    for file in found["files"]:
        path = inside(manifest.parent, file["key"])
        if not path.is_file():
            raise _export_differs(file["key"], "it is missing")
        if (size := path.stat().st_size) != file["bytes"]:
            raise _export_differs(file["key"], f"it has {size} bytes, not {file['bytes']}")
        with path.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        if sha256 != file["sha256"]:
            raise _export_differs(file["key"], f"its SHA-256 is {sha256}, not {file['sha256']}")
    if (rows := sum(file["rows"] for file in found["files"])) != found["rows"]:
        raise _export_differs(manifest.name, f"its files have {rows} rows, and it says {found['rows']}")
    return found


def inside(folder: Path, key: str) -> Path:
    """A path below a folder. Raises `ApiError` EXPORT_DIFFERS for a key that leads out of it."""
    path = folder / key
    if not key or ".." in Path(key).parts or Path(key).is_absolute():
        raise _export_differs(key, "its name leads out of the folder")
    return path


def _differs(key: str, why: str) -> ApiError:
    return ApiError("DOWNLOAD_DIFFERS", f"{key}: {why}; export it again", kind="fatal", values={"file": key})


def _export_differs(key: str, why: str) -> ApiError:
    return ApiError("EXPORT_DIFFERS", f"{key}: {why}; do not use these files", kind="fatal", values={"file": key})

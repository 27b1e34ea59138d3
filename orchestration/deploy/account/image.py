"""The image: that it exists, that it is one image and no list, and its architecture."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from orchestration.deploy.account.asking import AbsentError, AccountFinding, Clients, asking, ok, wrong
from orchestration.deploy.forms import IMAGE
from orchestration.deploy.settings import DeploySettings

DOCKER: Final = "application/vnd.docker.distribution.manifest.v2+json"
OCI: Final = "application/vnd.oci.image.manifest.v1+json"
LISTS: Final = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
ARCHITECTURES: Final = {"amd64": "x86_64", "arm64": "arm64"}
"""Architecture of an image's configuration -> as Lambda and ECS call it."""
PUSH: Final = "push it as docs/containers.md says, and enter the digest that docker push prints"


def check_image(settings: DeploySettings, clients: Clients, fetch: Callable[[str], bytes]) -> Iterator[AccountFinding]:
    """Both images. `fetch`: reads a presigned URL."""
    ecr = clients("ecr")
    for where, image in (("image", settings.image), ("setup_image", settings.setup_image)):
        if image:
            yield from _image(settings, where, image, ecr, fetch)


def _image(
    settings: DeploySettings, where: str, image: str, ecr: Any, fetch: Callable[[str], bytes]
) -> Iterator[AccountFinding]:
    form = IMAGE.fullmatch(image)
    assert form is not None  # noqa: S101  # the settings are checked
    place = {"registryId": form["account"], "repositoryName": form["repository"]}
    digest = image.partition("@")[2]
    try:
        with asking("RepositoryNotFoundException"):
            found = ecr.batch_get_image(
                **place, imageIds=[{"imageDigest": digest}], acceptedMediaTypes=[DOCKER, OCI, *LISTS]
            )["images"]
    except AbsentError:
        yield wrong(where, f"there is no repository {form['repository']} in the registry {form['account']}", PUSH)
        return
    if not found:
        yield wrong(where, f"{digest} is not in the repository {form['repository']}", PUSH)
        return
    manifest = json.loads(found[0]["imageManifest"])
    media = found[0].get("imageManifestMediaType") or manifest.get("mediaType", "")
    if media in LISTS:
        yield wrong(
            where,
            "is a list of images, which Lambda refuses",
            "build it with BUILDX_NO_DEFAULT_ATTESTATIONS=1 and one --platform, and push that",
        )
        return
    with asking():
        url = ecr.get_download_url_for_layer(**place, layerDigest=manifest["config"]["digest"])["downloadUrl"]
    given = json.loads(fetch(url)).get("architecture", "")
    if ARCHITECTURES.get(given) != settings.architecture:
        yield wrong(
            where,
            f"is for {given or 'an unknown architecture'}, but architecture is {settings.architecture}",
            "change the setting, or build for it",
        )
    else:
        yield ok(where, f"is one image for {settings.architecture}")

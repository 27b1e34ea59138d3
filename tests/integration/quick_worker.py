"""`python -m tests.integration.quick_worker`: a quick materialiser, which may be killed once."""

from typing import Any, Final

from orchestration.entrypoints import worker
from orchestration.platform.ending import end
from streams.staging import S3StagingStore
from tests.integration.quick import quick, reached

INTENT_STORED: Final = "the first intent is stored"


def main() -> int:
    """Exit code of the worker."""
    configure, put_new = worker.worker_config, S3StagingStore.put_new

    def puts(self: S3StagingStore, bucket: str, key: str, body: bytes) -> bool:
        put = put_new(self, bucket, key, body)
        if key.startswith("intents/"):
            reached(INTENT_STORED)
        return put

    def config(*given: Any) -> Any:
        return quick(configure(*given), "unacknowledged_s")

    vars(worker)["worker_config"] = config
    S3StagingStore.put_new = puts  # type: ignore[method-assign]
    return worker.main()


if __name__ == "__main__":
    end(main())

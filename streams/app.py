"""The materialiser as a Faust app: one agent per import topic.

The two topics (`muster.imports`, `muster.imports.small`) have an agent and a queue each, so that small imports proceed
while big ones wait for memory.
"""

import time

from streams.config import WorkerConfig
from streams.faust_app import FaustApp
from streams.materialiser import Materialiser
from streams.merges import remove_leftovers
from streams.staging import staging_store


class Worker:
    """One materialiser: a Faust app and the components behind it."""

    def __init__(self, config: WorkerConfig) -> None:
        self.store = staging_store(config.store)
        imports = (config.import_topic, config.small_import_topic)
        self.faust = FaustApp(
            config, (*imports, config.progress_topic, config.dead_letter_topic), stopping=self.store.stop
        )
        remove_leftovers(config.temp)
        self.materialiser = Materialiser(
            config, self.store, publish=self._publish, fail=self.faust.fail, now_us=lambda: time.time_ns() // 1000
        )
        self.faust.consume(imports, self.materialiser.accept, self.materialiser)
        self.faust.app.task(self.materialiser.tick)
        self.samples = self.materialiser.samples

    async def _publish(self, topic: str, key: bytes, value: bytes) -> None:
        # Two awaits: the first hands the message over, the second waits for the broker's acknowledgement.
        await (await self.faust.send(topic, key, value))

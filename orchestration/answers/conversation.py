"""Messages of a reader: questions, answers, a question that is given up, and the end of the service."""

import logging
import os
import queue
import socket
import traceback
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from orchestration import answers
from orchestration.answers.interruption import Interrupted
from orchestration.answers.reading import Reading
from orchestration.composition.context import Context
from orchestration.platform.settings import Settings
from orchestration.readers import questions
from orchestration.readers.frames import Frame, encode
from orchestration.readers.questions import QUESTIONS
from schemas.errors import FatalError, MusterError, UserError
from schemas.records import from_record

MODULES: Final = {
    questions.CountUsers: "counts",
    questions.PreviewEdit: "counts",
    questions.ForecastSegment: "counts",
    questions.ListNames: "names",
    questions.LookUpUser: "users",
    questions.ExplainUser: "explanations",
    questions.FindVersionFiles: "files",
    questions.FindRejectsFile: "files",
    questions.FindEvents: "files",
    questions.FindProfiles: "files",
    questions.FindMembers: "files",
    questions.ReadRejects: "rejects",
    questions.ReadFiles: "rejects",
    questions.CompareVersions: "versions",
    questions.WriteFile: "versions",
    questions.CheckSegment: "segments",
    questions.MeasureSegment: "segments",
    questions.InspectObject: "objects",
    questions.TryImport: "objects",
    questions.CheckFeedTopic: "kafka",
    questions.ListDeadLetters: "kafka",
    questions.ReadDeadLetter: "kafka",
    questions.SelectDeadLetters: "kafka",
    questions.ReplayDeadLetters: "kafka",
    questions.ListWorkers: "kafka",
    questions.ReadLag: "kafka",
}
"""The module of `answers` whose `ANSWERS` has the function for each question."""
USUAL: Final = ("counts", "files", "names", "users")
"""Modules that are loaded before the first question."""
_log = logging.getLogger(__name__)


class Conversation:
    """One thread listens, another answers."""

    def __init__(self, control: socket.socket, settings: Settings) -> None:
        self._control = control
        self._questions: queue.Queue[Frame] = queue.Queue()
        self._reading = Reading(context=Context(settings))

    def listen(self, frames: Iterator[Frame]) -> None:
        """Pass on what the service says; end the process when the service has ended."""
        for frame in frames:
            if "stop" in frame:
                self._reading.interruption.stop(frame["stop"])
            else:
                self._questions.put(frame)
        os._exit(0)

    def answer_all(self, *, load: bool) -> None:
        """Answer one question after the other. `load`: first load what most of them need."""
        if load:
            self._reading.load()
            for module in USUAL:
                import_module(f"{answers.__name__}.{module}")
        self._send({"ready": True})
        while True:
            self._answer(self._questions.get())

    def _answer(self, frame: Frame) -> None:
        interruption = self._reading.interruption
        with interruption.question(frame["number"]):
            try:
                answer = {"answer": answer_of(self._reading, frame["question"], frame["given"])}
            except Interrupted:
                answer = {"error": None}
            except MusterError as exc:
                answer = {"error": exc.as_record()}
            except MemoryError:
                answer = {"error": _too_big().as_record()}
            except Exception as exc:  # noqa: BLE001  # one bug must not end the reader
                if not interruption.stopped:
                    _log.exception("%s failed", frame["question"])
                error = FatalError("INTERNAL", f"a bug in a reader: {type(exc).__name__}")
                answer = {"error": error.as_record(), "trace": _trace(exc)}
        self._send(answer)

    def _send(self, frame: Frame) -> None:
        try:
            self._control.sendall(encode(frame))
        except BrokenPipeError:
            os._exit(0)


def answer_of(reading: Reading, name: str, given: Mapping[str, Any]) -> Any:
    """The answer to a question as plain JSON data."""
    kind = QUESTIONS[name]
    module = import_module(f"{answers.__name__}.{MODULES[kind]}")
    return module.ANSWERS[kind](reading, from_record(kind, given))


def _trace(error: BaseException) -> str:
    """Where an error was raised and passed on, innermost last. Without messages, which may name users."""
    frames = traceback.extract_tb(error.__traceback__)
    return " > ".join(f"{'/'.join(Path(one.filename).parts[-3:])}:{one.lineno} {one.name}" for one in frames)


def _too_big() -> UserError:
    return UserError("QUESTION_TOO_BIG", "the answer needs more memory than it may take")

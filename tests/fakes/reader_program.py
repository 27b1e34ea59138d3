"""A fork server of readers that speak the protocol and load nothing: `python -m tests.fakes.reader_program CONTROL_FD`.

What one does with a question is its rule: `echo`, `die`, `sleep` until it is stopped, `hang` whatever comes.
"""

import os
import queue
import signal
import socket
import threading

from connectors.fork_server.server import ChildBehaviour, main
from orchestration.readers.frames import encode, frames_of


def serve(control_fd: int) -> int:
    control = socket.socket(fileno=control_fd)
    frames, questions, stopped = frames_of(control), queue.Queue(), threading.Event()  # type: ignore[var-annotated]
    next(frames)

    def listen() -> None:
        for frame in frames:
            if "stop" in frame:
                stopped.set()
            else:
                questions.put(frame)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    control.sendall(encode({"ready": True}))
    while True:
        frame = questions.get()
        rule = frame["given"]["rule"]
        if rule == "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        if rule == "hang":
            threading.Event().wait()
        if rule == "sleep":
            stopped.wait()
            stopped.clear()
        control.sendall(encode({"answer": {"pid": os.getpid(), "number": frame["number"]}}))


if __name__ == "__main__":
    main(lambda: ChildBehaviour(run=serve))

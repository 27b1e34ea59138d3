"""`python -m orchestration.readers CONTROL_FD PARENT_PID`: the process of a reader."""

import os
import sys

from orchestration.readers.program import main

if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
    # DuckDB and Kafka have threads that would keep the interpreter from its end.
    os._exit(0)

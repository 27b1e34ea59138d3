import shutil
import subprocess
import sys
from pathlib import Path

from schemas.kernels import compiling

IMPORT = "from kernels.compiling import kernel\n"
INNER = "\n\n@kernel\ndef inner(x):\n    return x + {added}\n"
OUTER = "from kernels.inner import inner\n\n\n@kernel\ndef outer(x):\n    return inner(x)\n"
CALL = "from kernels.outer import outer; print(outer(1), sum(outer.stats.cache_hits.values()))"


def test_a_kernel_that_calls_a_changed_one_in_another_file_is_compiled_again(tmp_path: Path) -> None:
    package = tmp_path / "kernels"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(compiling.__file__, package / "compiling.py")
    (package / "outer.py").write_text(IMPORT + OUTER, encoding="ascii")
    said = []
    for added in (1, 1, 2):
        (package / "inner.py").write_text(IMPORT + INNER.format(added=added), encoding="ascii")
        command = [sys.executable, "-B", "-c", CALL]  # Python's own cache knows times by the second
        said.append(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split())
    assert said == [["2", "0"], ["2", "1"], ["3", "0"]]

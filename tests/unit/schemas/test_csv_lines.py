import csv
import io
from typing import Any

from schemas.csv_lines import csv_lines


def test_lines_end_with_lf_and_cells_with_line_breaks_are_quoted() -> None:
    rows: list[list[Any]] = [["plain", 1, None], ["a\rb", "a\nb", "a\r\nb"], ["a,b", 'a"b', "ends\r\n"]]
    lines = list(csv_lines(rows))
    assert lines == ["plain,1,\n", '"a\rb","a\nb","a\r\nb"\n', '"a,b","a""b","ends\r\n"\n']
    assert list(csv.reader(io.StringIO("".join(lines), newline=""))) == [["plain", "1", ""], *rows[1:]]

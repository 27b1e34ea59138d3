"""Findings about text that Muster does not read, each with the command that makes a file it reads."""

from pathlib import PurePosixPath
from typing import Final

from connectors.sources.compression import Compression
from connectors.sources.findings import Finding, quoted
from connectors.sources.text_form import ALIGNED, SPACES, TextForm
from schemas.import_formats import COMPRESSED_SUFFIXES, ImportFormat

ENCODINGS: Final = {
    "CP932": "Shift_JIS (CP932)",
    "CP1252": "Windows-1252 (Latin-1)",
    "UTF-16LE": "UTF-16 without a byte order mark",
    "UTF-16BE": "UTF-16 without a byte order mark",
}
SEPARATOR_WORDS: Final = {
    ";": "semicolons",
    "\t": r"tabs (\t)",
    "|": "bars (|)",
    " ": "spaces",
    ALIGNED: "runs of spaces",
}
UNPACK: Final[dict[Compression, str]] = {"none": "", "gzip": "gzip -dc", "zstd": "zstd -dc"}
WRITER: Final = 'import csv; csv.writer(open(1, "w", encoding="utf-8", newline="")).writerows'


def text_findings(form: TextForm, called: str) -> list[Finding]:
    """Findings about encoding and separator. `called`: what the user calls the file."""
    findings = []
    command = _conversion(form, called)
    foreign = form.separator != ","
    if form.encoding != "UTF-8":
        name = ENCODINGS.get(form.encoding, form.encoding)
        example = f", such as {form.example!r}" if form.example else ""
        findings.append(
            Finding(
                code="encoding",
                message=f"the text is {name}{example}; only UTF-8 is read. Convert the file and inspect the result",
                suggestion=None if foreign else command,
                blocking=True,
                detail={"encoding": name, "example": form.example},
            )
            if name
            else Finding(
                code="encoding",
                message="text that is not UTF-8, in an encoding that is not clear: find out which one the program "
                "that wrote the file uses, and convert the file from it",
                detail={"encoding": "", "example": ""},
            )
        )
    if foreign:
        word = SEPARATOR_WORDS[form.separator]
        one = ". If each line is one id instead, name it with --id-column" if form.separator in SPACES else ""
        findings.append(
            Finding(
                code="separator",
                message=f"{form.columns} columns are separated by {word}; only commas are read. Convert the file and "
                f"inspect the result{one}",
                suggestion=command,
                blocking=True,
                detail={"separator": form.separator, "columns": form.columns},
            )
        )
    return findings


def _conversion(form: TextForm, called: str) -> str:
    """Shell command that writes the file as comma-separated UTF-8 beside it; it stops at an ambiguous quote."""
    encoding = "utf-8-sig" if form.encoding == "UTF-8" else form.encoding or "latin-1"
    if form.separator == ",":
        step = f"iconv -f {form.encoding} -t UTF-8"
    elif form.separator == ALIGNED:
        step = f"python3 -c '{WRITER}(map(str.split, open(0, encoding=\"{encoding}\")))'"
    else:
        separator = form.separator.replace("\t", r"\t")
        lines = f'open(0, encoding="{encoding}", newline="")'
        step = f"python3 -c '{WRITER}(csv.reader({lines}, delimiter=\"{separator}\", strict=True))'"
    source, target = quoted(called), quoted(_target(called, form.format))
    if unpack := UNPACK[form.compression]:
        return f"{unpack} < {source} | {step} > {target}"
    return f"{step} < {source} > {target}"


def _target(called: str, format_: ImportFormat) -> str:
    path = PurePosixPath(called)
    if path.suffix.lower() in COMPRESSED_SUFFIXES:
        path = path.with_suffix("")
    return str(path.with_name(f"{path.stem}.converted.{format_}"))

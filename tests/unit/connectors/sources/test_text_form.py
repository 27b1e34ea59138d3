"""The encoding and separator of a text: claimed on evidence alone, since a wrong guess would garble a file."""

import io

import pytest

from connectors.sources.compression import CountedSource
from connectors.sources.text_form import HEAD_BYTES, TextForm, TextSample

EURO = "user_id,price\na,5 €\nb,“quoted”\nc,naïve café\n"


def form_of(content: bytes, block: int = 1 << 20) -> TextForm:
    sample = TextSample(CountedSource(io.BytesIO(content)))
    while sample.readinto(memoryview(bytearray(block))):
        pass
    return sample.form("csv", "none")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"user_id",
        b"user_id,tags\na,x;y\nb,z;w\n",
        b"User ID\nAB 12\nAB 13\n",
        b"user_id\na b\nc\n",
        b"a b,c d\n1 2,3 4\n",
        b'user_id,note\na,"x\ty"\n',
        b"user_id;name,first\na,b\nc,d\n",
        "user_id,name\na,東京\n".encode(),
        "user_id,name\na,東京\nb,K\xf6ln\n".encode() + b"c,K\xf6ln\n",
    ],
)
def test_plain_text_causes_no_finding(content: bytes) -> None:
    form = form_of(content)
    assert (form.encoding, form.separator) == ("UTF-8", ",")


@pytest.mark.parametrize(
    ("text", "encoding", "name"),
    [
        ("user_id,name\na,Köln\n", "latin-1", "CP1252"),
        ("user_id,name\na,André\nb,Zoé\nc,Élise\n", "latin-1", "CP1252"),
        (EURO, "cp1252", "CP1252"),
        ("user_id,name\na,東京\n", "cp932", "CP932"),
        ("user_id,name\na,株式会社ソニー\nb,ﾔﾏﾀﾞ\n", "cp932", "CP932"),
        ("user_id,name\na,山田太郎\nb,ひらがな\n", "euc-jp", "EUC-JP"),
        ("user_id,name\na,Иванов\nb,Петров\n", "cp1251", ""),
        ("user_id,name\na,Иванов\nb,Петров\n", "koi8-r", ""),
        ("user_id,name\na,αβγδε\n", "iso8859-7", ""),
        ("user_id,name\na,ابجد\n", "cp1256", ""),
        ("user_id,name\na,北京\nb,上海市\n", "gb2312", ""),
        ("user_id,name\na,서울\nb,부산\n", "euc-kr", ""),
        ("user_id,name\na,台北\nb,高雄市\n", "big5", ""),
    ],
)
def test_encoding_is_suggested_only_with_evidence(text: str, encoding: str, name: str) -> None:
    assert form_of(text.encode(encoding)).encoding == name


def test_foreign_text_is_found_anywhere_in_any_blocks() -> None:
    content = b"user_id,city\n" + b"a,Rome\n" * HEAD_BYTES + "b,大阪\n".encode("cp932") * 50
    for block in (1 << 20, 100_001):
        assert form_of(content, block).encoding == "CP932"


def test_separator_is_accepted_only_if_nearly_all_rows_agree() -> None:
    rows = b"user_id;age\n" + b"a;1\n" * 8
    assert form_of(rows + b"b\n" * 2).separator == ","
    assert form_of(rows + b"a;1\n" * 8 + b"b\n").separator == ";"
    assert form_of(b'"user_id";"age"\n"a";"1,5"\n').separator == ";"

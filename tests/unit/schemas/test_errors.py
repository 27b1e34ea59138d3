import pickle

import pytest

from schemas.errors import FatalError, MusterError, RetriableError, UserError

CLASSES = [UserError, RetriableError, FatalError]


@pytest.mark.parametrize("error_class", CLASSES)
def test_an_error_survives_a_process_boundary(error_class: type[MusterError]) -> None:
    error = error_class("SOURCE_GONE", "there is no s3://inbox/a", key="a", tries=3, lines=[1, 2])
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is error_class
    assert (back.code, back.message, back.detail) == ("SOURCE_GONE", "there is no s3://inbox/a", error.detail)
    assert str(back) == "SOURCE_GONE: there is no s3://inbox/a"


@pytest.mark.parametrize(("error_class", "kind"), [*zip(CLASSES, ["user", "retriable", "fatal"], strict=True)])
def test_error_round_trips_through_its_record(error_class: type[MusterError], kind: str) -> None:
    record = error_class("BAD_SPEC", "why", columns=["a", "b"]).as_record()
    assert record == {"kind": kind, "code": "BAD_SPEC", "message": "why", "detail": {"columns": ["a", "b"]}}
    back = MusterError.from_record(record)
    assert type(back) is error_class
    assert back.as_record() == record


@pytest.mark.parametrize("record", [{}, {"kind": "odd"}, {"kind": None, "detail": "text"}])
def test_a_record_of_an_unknown_kind_is_fatal(record: dict[str, object]) -> None:
    back = MusterError.from_record(record)
    assert type(back) is FatalError
    assert (back.code, back.detail) == ("UNKNOWN", {})


def test_error_kinds_do_not_inherit_from_each_other() -> None:
    with pytest.raises(MusterError):
        raise UserError("X", "y")
    assert not issubclass(UserError, RetriableError | FatalError)

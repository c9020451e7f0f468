from ccproxyd.control.errors import ControlError


def test_an_error_survives_the_socket() -> None:
    error = ControlError("Busy", "a reload is under way", 409)
    read = ControlError.from_json(error.to_json(), 409)
    assert (read.type, read.message, read.code) == ("Busy", "a reload is under way", 409)


def test_an_answer_that_is_not_ours_keeps_its_status() -> None:
    for value in (None, [], {}, {"error": "text"}):
        error = ControlError.from_json(value, 502)
        assert (error.type, error.code) == ("Unknown", 502)
        assert "502" in str(error)


def test_the_http_status_is_believed() -> None:
    error = ControlError.from_json({"error": {"type": "X", "message": "m", "code": "x"}}, 404)
    assert error.code == 404

from ccproxyd.telemetry.usage import Usage


def test_a_prompt_is_all_that_went_in() -> None:
    usage = Usage(input_tokens=30, output_tokens=5, cache_read_tokens=70, cache_write_tokens=20)
    assert usage.prompt_tokens == 100


def test_what_is_not_said_counts_as_nothing() -> None:
    assert Usage(model="m").prompt_tokens == 0


def test_there_is_something_to_price_once_tokens_are_named() -> None:
    assert Usage(input_tokens=0).counts_tokens
    assert Usage(output_tokens=0).counts_tokens
    assert not Usage(model="m", cache_read_tokens=3).counts_tokens

"""What LiteLLM reckons the price of, where it would find none."""

from types import SimpleNamespace

import httpx
import pytest
from openai import OpenAIError

from ccproxyd.demo.answers import Answer, message_frames
from tests.support.provider import MockProvider

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]

GPT, TEXT = "openai/m", "text-completion-openai/m"


def address(provider):
    return {"api_base": f"{provider.url}/v1", "api_key": "none", "max_retries": 0}


@pytest.fixture
def billed():
    """What LiteLLM books of streams that are left."""
    return []


@pytest.fixture
def priced(spending, monkeypatch, billed):
    async def bill(request_data, response):
        billed.append(response)
        return True

    proxy, message = (
        spending.common_request_processing,
        spending.assembling.AnthropicPassthroughLoggingHandler,
    )
    response, build = spending.responding.BaseResponsesAPIStreamingIterator, message.__dict__
    for owner, name, value in (
        (response, "_handle_failure", response._handle_failure),
        (message, "_assemble_streaming_response", build["_assemble_streaming_response"]),
        (spending.main, "_async_streaming", spending.main._async_streaming),
        (proxy, "_bill_partial_streamed_spend_on_disconnect", bill),
    ):
        monkeypatch.setattr(owner, name, value)
    spending.price_what_had_come()


@pytest.mark.usefixtures("priced")
@pytest.mark.parametrize("directive", ["short=7", "error=7", "cut=7;gap=0.01"])
async def test_a_response_that_breaks_tells_what_had_come_of_it(litellm, spending, directive):
    async with MockProvider() as provider:
        where = address(provider)
        said = f"hello @@events=9;{directive}@@"
        stream = await litellm.aresponses(model="openai/gpt-4o", input=said, stream=True, **where)
        with pytest.raises((OpenAIError, httpx.ReadError)):
            await last_of(stream)
    logged = stream.logging_obj.model_call_details
    assert logged[spending.PARTIAL].completion_tokens > 0
    assert logged["response_cost"] > 0


@pytest.mark.usefixtures("priced")
async def test_one_that_has_said_nothing_tells_nothing(litellm, spending):
    async with MockProvider() as provider:
        where = address(provider)
        said = "hello @@events=9;short=3@@"
        stream = await litellm.aresponses(model="openai/gpt-4o", input=said, stream=True, **where)
        with pytest.raises((OpenAIError, httpx.ReadError)):
            await last_of(stream)
    assert spending.PARTIAL not in stream.logging_obj.model_call_details


async def last_of(stream):
    return [event async for event in stream][-1]


@pytest.mark.usefixtures("priced")
@pytest.mark.parametrize("of", [str, str.encode])
@pytest.mark.parametrize("end", ["", "event: error\n"])
def test_a_message_with_an_error_in_it_is_put_together_up_to_there(spending, of, end):
    said = Answer(model="claude-opus-4-8", pieces=("one", " two"), input_tokens=3)
    begun = [frame.decode() for frame in message_frames(said)][:5]
    error = end + 'data: {"type":"error","error":{"type":"overloaded_error","message":"no"}}\n\n'
    lines = [line for line in "".join([*begun, error]).split("\n") if line]
    built = spending.assembling.AnthropicPassthroughLoggingHandler._assemble_streaming_response(
        all_chunks=list(map(of, lines)), litellm_logging_obj=None, model=said.model, speed=None
    )
    assert built.choices[0].message.content == "one two"


@pytest.mark.usefixtures("priced")
@pytest.mark.parametrize("model", [GPT, TEXT])
async def test_a_text_completion_that_is_left_is_booked_by_what_it_has_said(
    litellm, spending, billed, model
):
    logged = SimpleNamespace(model_call_details={"messages": ["asked"]})
    async with MockProvider() as provider:
        stream = await litellm.atext_completion(
            model=model, prompt="@@events=9@@", stream=True, **address(provider)
        )
        await anext(stream)
        bill = spending.common_request_processing._bill_partial_streamed_spend_on_disconnect
        data = {"litellm_logging_obj": logged}
        assert await bill(data, SimpleNamespace(inner=stream))
        assert await bill(data, stream)
        assert await bill(data, logged)
    first, second, other = billed
    assert first is second
    assert (len(first.chunks), first.messages, first.model) == (1, ["asked"], model)
    assert other is logged

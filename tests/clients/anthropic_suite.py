"""Anthropic's own Python package against an exchange: messages, plain and streamed, and every class of error.

    SETUP='{"base": ..., ...}' python anthropic_suite.py

Each answer is also held against the package's own types, without leniency. Needs the package `anthropic`.
"""

import json
import os
from decimal import Decimal

import anthropic
from anthropic import Anthropic
from anthropic.types import Message, ModelInfo, RawMessageStreamEvent
from pydantic import TypeAdapter

SETUP = json.loads(os.environ["SETUP"])
MODEL = SETUP["model"]
MESSAGES = [{"role": "user", "content": "count these five words now"}]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOL = {"name": "say", "description": "Says it.", "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}}}


def client_of(key):
    return Anthropic(base_url=SETUP["base"], api_key=key, max_retries=0)


client = client_of(SETUP["key"])


def strict(kind, value):
    """The value is of this type, field by field, as it came."""
    TypeAdapter(kind).validate_json(json.dumps(value.to_dict(mode="json")), strict=True)
    return value


def create(client=client, **change):
    return client.messages.create(**{"model": MODEL, "messages": MESSAGES, "max_tokens": 10, **change})


def check_messages():
    plain = strict(Message, create(system="be very brief"))
    assert (plain.stop_reason, len(plain.content[0].text.split())) == ("max_tokens", 10), plain
    assert (plain.usage.input_tokens, plain.usage.output_tokens) == (8, 10), plain.usage
    assert Decimal(plain.usage.cost) > 0, plain.usage
    odd = {"mock_tokens": 3, "temperature": 0.5, "top_k": 5}
    whole = create(extra_body=odd, stop_sequences=["END"], metadata={"user_id": "u"})
    assert (whole.stop_reason, len(whole.content[0].text.split())) == ("end_turn", 3), whole

    told = [strict(RawMessageStreamEvent, event) for event in create(stream=True)]
    assert [event.type for event in told[:3]] == ["message_start", "content_block_start", "content_block_delta"], told[:3]
    assert [event.type for event in told[-3:]] == ["content_block_stop", "message_delta", "message_stop"], told[-3:]
    text = "".join(event.delta.text for event in told if event.type == "content_block_delta")
    assert text == create().content[0].text, text
    assert told[-2].usage.output_tokens == 10 and Decimal(told[-2].usage.cost) > 0, told[-2]
    with client.messages.stream(model=MODEL, messages=MESSAGES, max_tokens=10) as stream:
        assert "".join(stream.text_stream) == text
        final = stream.get_final_message()
        assert (final.stop_reason, final.usage.input_tokens, final.usage.output_tokens) == ("max_tokens", 5, 10), final

    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    seen = create(messages=[{"role": "user", "content": [
        {"type": "image", "source": source}, {"type": "text", "text": "what is this?"}]}])
    assert seen.usage.input_tokens > 5
    shape = {"type": "json_schema", "schema": {"type": "object", "properties": {"text": {"type": "string"}}}}
    shaped = create(output_config={"format": shape})
    assert isinstance(json.loads(shaped.content[0].text), dict), shaped


def check_tools():
    called = strict(Message, create(tools=[TOOL], tool_choice={"type": "tool", "name": "say"}))
    assert called.stop_reason == "tool_use", called
    use = called.content[0]
    assert (use.type, use.name) == ("tool_use", "say") and "text" in use.input, use
    with client.messages.stream(
            model=MODEL, messages=MESSAGES, max_tokens=10, tools=[TOOL], tool_choice={"type": "any"}) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use" and final.content[0].input == use.input, final
    follow_up = [
        *MESSAGES,
        {"role": "assistant", "content": called.to_dict()["content"]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "said"}]},
    ]
    assert create(messages=follow_up, tools=[TOOL]).usage.input_tokens == 6


def check_models():
    listed = list(client.models.list())
    assert MODEL in [model.id for model in listed], listed
    for model in listed:
        strict(ModelInfo, model)
    assert client.models.retrieve(MODEL).display_name == MODEL


def refused(kind, status, type, call):
    try:
        call()
    except kind as error:
        assert (error.status_code, error.type) == (status, type), (error, error.body)
        assert error.body["type"] == "error" and error.body["error"]["message"], error.body
    else:
        raise AssertionError(f"{status} was expected")


def check_errors():
    for streamed in (False, True):
        def by(key, **change):
            return lambda: create(client_of(key), stream=streamed, **change)

        ours = SETUP["key"]
        refused(anthropic.AuthenticationError, 401, "authentication_error", by("sk-wrong"))
        refused(anthropic.PermissionDeniedError, 403, "permission_error", by(SETUP["reader"]))
        refused(anthropic.APIStatusError, 402, "billing_error", by(SETUP["poor"]))
        refused(anthropic.NotFoundError, 404, "not_found_error", by(ours, model="gpt-99"))
        refused(anthropic.BadRequestError, 400, "invalid_request_error", by(ours, max_tokens=0))
        refused(anthropic.BadRequestError, 400, "invalid_request_error", by(ours, messages=[]))
        server_tool = [{"type": "web_search_20250305", "name": "web_search"}]
        refused(anthropic.BadRequestError, 400, "invalid_request_error", by(ours, tools=server_tool))
        refused(anthropic.InternalServerError, 503, "overloaded_error", by(ours, model="unsold"))
        refused(anthropic.InternalServerError, 502, "api_error", by(ours, model="broken"))
    refused(anthropic.NotFoundError, 404, "not_found_error",
            lambda: client.messages.count_tokens(model=MODEL, messages=MESSAGES))
    limited = client_of(SETUP["limited"])
    refused(anthropic.RateLimitError, 429, "rate_limit_error", lambda: [create(limited) for _ in range(5)])


def check_a_stream_that_breaks_off():
    try:
        told = list(create(model="dying", stream=True, max_tokens=50))
        raise AssertionError(f"it should break off: {told[-1]}")
    except anthropic.APIStatusError as error:
        assert error.type == "api_error" and error.body["error"]["code"] == "provider_failed", error.body


for check in (check_messages, check_tools, check_models, check_errors, check_a_stream_that_breaks_off):
    check()
print("as expected")

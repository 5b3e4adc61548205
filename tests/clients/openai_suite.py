"""OpenAI's own Python package against an exchange: every call, plain and streamed, and every class of error.

    SETUP='{"base": ..., ...}' python openai_suite.py

Each answer is also held against the package's own types, without leniency. Needs the package `openai`.
"""

import json
import os
from decimal import Decimal

import openai
from openai import OpenAI
from openai.types import Completion, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

SETUP = json.loads(os.environ["SETUP"])
MODEL = SETUP["model"]
MESSAGES = [{"role": "user", "content": "count these five words now"}]
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PARAMETERS = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"], "additionalProperties": False}
FUNCTION = {"name": "say", "description": "Says it.", "parameters": PARAMETERS, "strict": True}

client = OpenAI(base_url=SETUP["base"] + "/v1", api_key=SETUP["key"], max_retries=0)


def strict(kind, value):
    """The value is of this type, field by field, as it came."""
    TypeAdapter(kind).validate_json(json.dumps(value.to_dict(mode="json")), strict=True)
    return value


def costs(usage):
    assert Decimal(usage.cost) > 0, usage
    return usage.cost


def words(text):
    return len(text.split())


def chat(**change):
    return client.chat.completions.create(**{"model": MODEL, "messages": MESSAGES, "max_tokens": 10, **change})


def chat_stream(**change):
    return [strict(ChatCompletionChunk, chunk) for chunk in chat(stream=True, **change)]


def deltas(chunks, choice=0):
    return "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices if c.index == choice)


def check_chat():
    plain = strict(ChatCompletion, chat())
    assert plain.choices[0].finish_reason == "length", plain
    text = plain.choices[0].message.content
    assert words(text) == 10, plain
    assert (plain.usage.prompt_tokens, plain.usage.completion_tokens) == (5, 10), plain
    cost = costs(plain.usage)

    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES, max_tokens=10)
    assert raw.headers["x-gollem-cost"] == cost, raw.headers

    chunks = chat_stream(stream_options={"include_usage": True})
    assert deltas(chunks) == text, chunks
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 10, chunks[-1]
    assert chunks[-1].usage.cost == cost, chunks[-1]
    assert all(chunk.usage is None for chunk in chunks[:-1]), chunks
    bare = chat_stream(max_tokens=3)
    assert all(chunk.choices and chunk.usage is None for chunk in bare), bare

    several = strict(ChatCompletion, chat(n=3))
    assert [choice.index for choice in several.choices] == [0, 1, 2], several
    assert several.usage.completion_tokens == 30, several.usage
    assert Decimal(several.usage.cost) > Decimal(cost), several.usage
    streamed = chat_stream(n=2, stream_options={"include_usage": True})
    assert [deltas(streamed, choice) for choice in (0, 1)] == [c.message.content for c in several.choices[:2]]

    probable = strict(ChatCompletion, chat(logprobs=True, top_logprobs=0))
    tokens = [token.token for token in probable.choices[0].logprobs.content]
    assert "".join(tokens) == text, tokens
    chunks = chat_stream(logprobs=True)
    assert "".join(t.token for c in chunks for k in c.choices if k.logprobs for t in k.logprobs.content) == text

    seen = chat(messages=[{"role": "user", "content": [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
    ]}])
    assert seen.usage.prompt_tokens > 5, "an image has tokens, too"

    shaped = chat(response_format={"type": "json_object"})
    assert isinstance(json.loads(shaped.choices[0].message.content), dict), shaped


def check_chat_tools():
    tools = [{"type": "function", "function": FUNCTION}]
    choice = {"type": "function", "function": {"name": "say"}}
    called = strict(ChatCompletion, chat(tools=tools, tool_choice=choice))
    assert called.choices[0].finish_reason == "tool_calls", called
    call = called.choices[0].message.tool_calls[0]
    assert call.function.name == "say" and "text" in json.loads(call.function.arguments), call
    chunks = chat_stream(tools=tools, tool_choice="required")
    parts = [part for chunk in chunks for c in chunk.choices for part in c.delta.tool_calls or []]
    assert parts[0].function.name == "say", parts
    assert json.loads("".join(part.function.arguments or "" for part in parts)) == json.loads(call.function.arguments)
    follow_up = [*MESSAGES, called.choices[0].message.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": "said"}]
    assert chat(messages=follow_up, tools=tools).usage.prompt_tokens == 6


def check_completions():
    def complete(**change):
        return client.completions.create(**{"model": MODEL, "prompt": "once upon a time", "max_tokens": 7, **change})

    plain = strict(Completion, complete())
    assert words(plain.choices[0].text) == 7 and plain.usage.prompt_tokens == 4, plain
    cost = costs(plain.usage)
    # The package has no type of its own for a chunk, which ends for no reason until it ends.
    chunks = list(complete(stream=True, stream_options={"include_usage": True}))
    assert "".join(c.text for chunk in chunks for c in chunk.choices) == plain.choices[0].text
    assert chunks[-1].usage.cost == cost, chunks[-1]
    several = complete(prompt=["one", "two words"], n=2)
    assert len(several.choices) == 4 and several.usage.completion_tokens == 28, several
    assert complete(prompt=[1, 2, 3]).usage.prompt_tokens == 3


def respond(**change):
    return client.responses.create(**{"model": MODEL, "input": "count these five words now", "max_output_tokens": 10, **change})


def events(**change):
    told = [strict(ResponseStreamEvent, event) for event in respond(stream=True, **change)]
    assert [event.sequence_number for event in told] == list(range(len(told)))
    return told


def check_responses():
    plain = strict(Response, respond(instructions="be very brief", metadata={"a": "b"}))
    assert plain.status == "incomplete" and plain.incomplete_details.reason == "max_output_tokens", plain
    assert words(plain.output_text) == 10 and plain.store is False, plain
    assert (plain.usage.input_tokens, plain.usage.output_tokens) == (8, 10), plain.usage
    assert plain.instructions == "be very brief" and plain.metadata == {"a": "b"}, plain
    costs(plain.usage)
    whole = respond(extra_body={"mock_tokens": 3})
    assert whole.status == "completed" and words(whole.output_text) == 3, whole

    told = events()
    assert [event.type for event in told[:4]] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"]
    assert "".join(event.delta for event in told if event.type == "response.output_text.delta") == plain.output_text
    last = told[-1]
    assert last.type == "response.incomplete" and last.response.output_text == plain.output_text, last
    assert last.response.usage.cost == respond().usage.cost, last.response.usage
    with client.responses.stream(model=MODEL, input="hi", extra_body={"mock_tokens": 4}) as stream:
        kinds = [event.type for event in stream]
        assert words(stream.get_final_response().output_text) == 4, kinds

    probable = respond(include=["message.output_text.logprobs"])
    assert "".join(token.token for token in probable.output[0].content[0].logprobs) == plain.output_text
    seen = respond(input=[{"role": "user", "content": [
        {"type": "input_text", "text": "what is this?"},
        {"type": "input_image", "image_url": PIXEL, "detail": "low"},
    ]}])
    assert seen.usage.input_tokens > 5
    shaped = respond(text={"format": {"type": "json_schema", "name": "said", "schema": PARAMETERS, "strict": True}})
    assert isinstance(json.loads(shaped.output_text), dict), shaped


def check_response_tools():
    tools = [{"type": "function", **FUNCTION}]
    called = strict(Response, respond(tools=tools, tool_choice={"type": "function", "name": "say"}))
    call = called.output[0]
    assert (call.type, call.name) == ("function_call", "say") and "text" in json.loads(call.arguments), call
    told = events(tools=tools, tool_choice="required")
    assert told[-1].type == "response.completed", told[-1]
    deltas = "".join(e.delta for e in told if e.type == "response.function_call_arguments.delta")
    assert deltas == told[-1].response.output[0].arguments == call.arguments, deltas
    follow_up = [*MESSAGES, call.to_dict(), {"type": "function_call_output", "call_id": call.call_id, "output": "said"}]
    assert respond(input=follow_up, tools=tools).usage.input_tokens == 6


def check_models():
    listed = client.models.list()
    assert {model.id for model in listed.data} >= {MODEL, "unsold"}, listed
    for model in listed:
        strict(Model, model)
    one = client.models.retrieve(MODEL)
    assert one.id == MODEL and one.object == "model" and one.created > 1_700_000_000, one
    assert one.open and one.providers >= 1 and Decimal(one.usd_per_million_output) > 0, one
    stats = client.get(f"/models/{MODEL}/stats", cast_to=object)
    assert stats["completed"] > 0 and stats["output_tokens"] > 0 and stats["first_token_ms"]["calls"] > 0, stats
    fits = client.get("/models/recommend?input_tokens=10&output_tokens=10", cast_to=object)
    assert MODEL in [model["model"] for model in fits["models"]], fits
    assert {"model": "unsold", "code": "no_asks", "reason": "nobody offers it now"} in fits["excluded"], fits


def check_limits():
    dear = chat(extra_headers={"x-max-price": "0.01", "x-max-latency": "1000", "x-min-throughput": "1"})
    assert dear.choices, dear
    assert chat(extra_body={"provider": {"sort": "price", "allow_fallbacks": True}}).choices


def refused(kind, status, code, param, call):
    try:
        call()
    except kind as error:
        assert (error.status_code, error.code, error.param) == (status, code, param), error
        assert error.message, error
    else:
        raise AssertionError(f"{status} was expected")


def check_errors():
    def each(call):
        """The same refusal by every API: `call` makes it, given what creates."""
        for create in (chat, respond, lambda **change: client.completions.create(**{"model": MODEL, "prompt": "hi", **change})):
            call(create)

    def with_key(key):
        global client
        ours, client = client, client.with_options(api_key=key)
        return ours

    def by(key, *expected):
        global client
        ours = with_key(key)
        each(lambda create: refused(*expected, create))
        client = ours

    by("sk-wrong", openai.AuthenticationError, 401, "invalid_api_key", None)
    by(SETUP["reader"], openai.PermissionDeniedError, 403, "insufficient_scope", None)
    by(SETUP["poor"], openai.APIStatusError, 402, "insufficient_credits", None)
    each(lambda create: refused(openai.NotFoundError, 404, "model_not_found", "model", lambda: create(model="gpt-99")))
    each(lambda create: refused(openai.InternalServerError, 503, "no_ask", None, lambda: create(model="unsold")))
    cheap = {"x-max-price": "0.0000000001"}
    each(lambda create: refused(openai.InternalServerError, 503, "no_ask_at_price", None, lambda: create(extra_headers=cheap)))
    each(lambda create: refused(openai.InternalServerError, 502, "provider_failed", None, lambda: create(model="broken")))
    each(lambda create: refused(openai.BadRequestError, 400, "invalid_value", "stream", lambda: create(extra_body={"stream": "yes"})))
    refused(openai.BadRequestError, 400, "invalid_value", "max_tokens", lambda: chat(max_tokens=0))
    refused(openai.BadRequestError, 400, "invalid_value", "messages", lambda: chat(messages=[]))
    refused(openai.BadRequestError, 400, "invalid_value", "n", lambda: chat(n=9))
    refused(openai.BadRequestError, 400, "unsupported_parameter", "previous_response_id",
            lambda: respond(previous_response_id="resp_1"))
    refused(openai.BadRequestError, 400, "unsupported_parameter", "store", lambda: respond(store=True))
    refused(openai.BadRequestError, 400, "unsupported_parameter", "tools[0]", lambda: respond(tools=[{"type": "web_search"}]))
    refused(openai.NotFoundError, 404, "model_not_found", "model", lambda: client.models.retrieve("gpt-99"))
    refused(openai.NotFoundError, 404, "route_not_found", None, lambda: client.responses.retrieve("resp_1"))
    ours = with_key(SETUP["limited"])
    try:
        for _ in range(5):
            chat()
        raise AssertionError("429 was expected")
    except openai.RateLimitError as error:
        assert error.status_code == 429 and error.response.headers["retry-after"], error
    globals()["client"] = ours


def check_streams_that_break_off():
    try:
        chunks = list(chat(model="dying", stream=True, max_tokens=50))
        raise AssertionError(f"it should break off: {chunks[-1]}")
    except openai.APIError as error:
        assert error.code == "provider_failed", error
    told = events(model="dying", max_output_tokens=50)
    assert [event.type for event in told[-2:]] == ["error", "response.failed"], told[-1]
    assert told[-2].code == "provider_failed" and told[-1].response.output_text, told[-1]


for check in (check_chat, check_chat_tools, check_completions, check_responses, check_response_tools, check_models, check_limits,
              check_errors, check_streams_that_break_off):
    check()
print("as expected")

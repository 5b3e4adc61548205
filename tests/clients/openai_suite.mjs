// OpenAI's own Node package against an exchange: every call, plain and streamed, and every class of error.
//
//     SETUP='{"base": ..., ...}' node openai_suite.mjs FOLDER
//
// FOLDER is where the package `openai` is installed.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const require = createRequire(resolve(process.argv[2], "package.json"));
const OpenAI = require("openai");

const SETUP = JSON.parse(process.env.SETUP);
const model = SETUP.model;
const messages = [{ role: "user", content: "count these five words now" }];
const pixel =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const parameters = { type: "object", properties: { text: { type: "string" } }, required: ["text"], additionalProperties: false };
const said = { name: "say", description: "Says it.", parameters, strict: true };

const clientOf = (apiKey) => new OpenAI({ baseURL: `${SETUP.base}/v1`, apiKey, maxRetries: 0 });
const client = clientOf(SETUP.key);
const words = (text) => text.trim().split(/\s+/).length;
const chat = (change = {}, options = {}, by = client) =>
  by.chat.completions.create({ model, messages, max_tokens: 10, ...change }, options);
const complete = (change = {}, options = {}, by = client) =>
  by.completions.create({ model, prompt: "once upon a time", max_tokens: 7, ...change }, options);
const respond = (change = {}, options = {}, by = client) =>
  by.responses.create({ model, input: "count these five words now", max_output_tokens: 10, ...change }, options);

async function all(stream) {
  const items = [];
  for await (const item of await stream) items.push(item);
  return items;
}

async function checkChat() {
  const plain = await chat();
  const text = plain.choices[0].message.content;
  assert.equal(words(text), 10);
  assert.deepEqual([plain.usage.prompt_tokens, plain.usage.completion_tokens], [5, 10]);
  assert.ok(Number(plain.usage.cost) > 0);
  const chunks = await all(chat({ stream: true, stream_options: { include_usage: true } }));
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""), text);
  assert.equal(chunks.at(-1).usage.cost, plain.usage.cost);
  assert.deepEqual((await chat({ n: 3 })).choices.map((choice) => choice.index), [0, 1, 2]);
  const probable = await chat({ logprobs: true });
  assert.equal(probable.choices[0].logprobs.content.map((token) => token.token).join(""), text);
  const content = [{ type: "text", text: "what is this?" }, { type: "image_url", image_url: { url: pixel } }];
  assert.ok((await chat({ messages: [{ role: "user", content }] })).usage.prompt_tokens > 5);
  JSON.parse((await chat({ response_format: { type: "json_object" } })).choices[0].message.content);
  const tools = [{ type: "function", function: said }];
  const called = await chat({ tools, tool_choice: { type: "function", function: { name: "say" } } });
  assert.equal(called.choices[0].finish_reason, "tool_calls");
  const written = JSON.parse(called.choices[0].message.tool_calls[0].function.arguments);
  const runner = client.chat.completions.stream({ model, messages, max_tokens: 10, tools, tool_choice: "required" });
  const streamed = (await runner.finalChatCompletion()).choices[0].message.tool_calls[0];
  assert.deepEqual([streamed.function.name, JSON.parse(streamed.function.arguments)], ["say", written]);
}

async function checkCompletions() {
  const plain = await complete();
  assert.equal(words(plain.choices[0].text), 7);
  const chunks = await all(complete({ stream: true, stream_options: { include_usage: true } }));
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.text ?? "").join(""), plain.choices[0].text);
  assert.equal(chunks.at(-1).usage.cost, plain.usage.cost);
}

async function checkResponses() {
  const plain = await respond({ instructions: "be very brief" });
  assert.deepEqual([plain.status, words(plain.output_text), plain.store], ["incomplete", 10, false]);
  const told = await all(respond({ stream: true }));
  assert.deepEqual(told.map((event) => event.sequence_number), told.map((_, place) => place));
  assert.deepEqual([told[0].type, told.at(-1).type], ["response.created", "response.incomplete"]);
  const deltas = told.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta);
  assert.equal(deltas.join(""), plain.output_text);
  assert.ok(Number(told.at(-1).response.usage.cost) > 0);
  const final = await client.responses.stream({ model, input: "hi", max_output_tokens: 4 }).finalResponse();
  assert.equal(words(final.output[0].content[0].text), 4);
  const tools = [{ type: "function", ...said }];
  const called = (await respond({ tools, tool_choice: "required" })).output[0];
  assert.deepEqual([called.type, called.name], ["function_call", "say"]);
  const helped = await client.responses.stream({ model, input: "hi", max_output_tokens: 10, tools, tool_choice: "required" }).finalResponse();
  assert.equal(helped.output[0].arguments, called.arguments);
  const output = { type: "function_call_output", call_id: called.call_id, output: "said" };
  assert.equal((await respond({ input: [...messages, called, output], tools })).usage.input_tokens, 6);
}

async function checkModels() {
  const listed = await all(client.models.list());
  assert.ok(listed.some((one) => one.id === model && one.object === "model"));
  const one = await client.models.retrieve(model);
  assert.ok(one.created > 1_700_000_000 && one.open);
}

async function refused(kind, status, code, call) {
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof kind, `${error}`);
    assert.deepEqual([error.status, error.code], [status, code]);
    return true;
  });
}

async function checkErrors() {
  for (const call of [chat, complete, respond]) {
    for (const stream of [false, true]) {
      const by = (key, change = {}, options = {}) => async () => await call({ stream, ...change }, options, clientOf(key));
      await refused(OpenAI.AuthenticationError, 401, "invalid_api_key", by("sk-wrong"));
      await refused(OpenAI.PermissionDeniedError, 403, "insufficient_scope", by(SETUP.reader));
      await refused(OpenAI.APIError, 402, "insufficient_credits", by(SETUP.poor));
      await refused(OpenAI.NotFoundError, 404, "model_not_found", by(SETUP.key, { model: "gpt-99" }));
      await refused(OpenAI.BadRequestError, 400, "invalid_value", by(SETUP.key, { n: 0 }));
      await refused(OpenAI.InternalServerError, 503, "no_ask", by(SETUP.key, { model: "unsold" }));
      // Once by each API: a provider that fails more often in a row is not asked any more.
      if (!stream) await refused(OpenAI.InternalServerError, 502, "provider_failed", by(SETUP.key, { model: "broken" }));
      const headers = { "x-max-price": "0.0000000001" };
      await refused(OpenAI.InternalServerError, 503, "no_ask_at_price", by(SETUP.key, {}, { headers }));
    }
  }
  await refused(OpenAI.BadRequestError, 400, "unsupported_parameter", () => respond({ previous_response_id: "resp_1" }));
  await refused(OpenAI.NotFoundError, 404, "model_not_found", () => client.models.retrieve("gpt-99"));
  await assert.rejects(async () => {
    for (let call = 0; call < 5; call += 1) await chat({}, {}, clientOf(SETUP.limited));
  }, OpenAI.RateLimitError);
  await assert.rejects(all(chat({ model: "dying", stream: true, max_tokens: 50 })), (error) => error.code === "provider_failed");
  const broken = await all(respond({ model: "dying", stream: true, max_output_tokens: 50 }));
  assert.deepEqual(broken.slice(-2).map((event) => event.type), ["error", "response.failed"]);
}

for (const check of [checkChat, checkCompletions, checkResponses, checkModels, checkErrors]) await check();
console.log("as expected");

// What Anthropic's Node SDK makes of a Holdfast: node anthropic.mjs SDKS URL MODEL QUESTION
// prints one JSON object, by what was tried. SDKS is the folder that they are installed in.
import { createRequire } from "node:module";

const [sdks, baseURL, model, question] = process.argv.slice(2);
const Anthropic = createRequire(sdks + "/")("@anthropic-ai/sdk");
const client = new Anthropic({ baseURL, apiKey: "none", maxRetries: 0, timeout: 60_000 });
const messages = [{ role: "user", content: question }];
const max_tokens = 200;
const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ name: "weather", input_schema: city }];
const calling = [{ role: "user", content: '#fake call weather {"city": "Köln 🌍"}' }];

const textOf = (message) =>
  message.content.filter((block) => block.type === "text").map((block) => block.text).join("");

async function refused(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    return { kind: error.constructor.name, status: error.status, body: error.error };
  }
}

const tried = {
  async message() {
    const message = await client.messages.create({ model, max_tokens, messages });
    return { text: textOf(message), reason: message.stop_reason, usage: message.usage };
  },
  async stream() {
    const stream = client.messages.stream({ model, max_tokens, messages });
    let text = "";
    stream.on("text", (piece) => (text += piece));
    const message = await stream.finalMessage();
    return { text, whole: textOf(message), usage: message.usage };
  },
  async tools() {
    const first = await client.messages
      .stream({ model, max_tokens, messages: calling, tools })
      .finalMessage();
    const calls = first.content.filter((block) => block.type === "tool_use");
    const answers = calls.map((call) => ({
      type: "tool_result", tool_use_id: call.id, content: "sunny",
    }));
    const second = await client.messages.create({
      model, max_tokens, tools,
      messages: [
        ...calling,
        { role: "assistant", content: first.content },
        { role: "user", content: answers },
      ],
    });
    return {
      reason: first.stop_reason,
      calls: calls.map((call) => [call.name, call.input]),
      text: textOf(second),
    };
  },
  async count() {
    return await client.messages.countTokens({ model, messages });
  },
  async errors() {
    const unknown = { model: "no-such-model", max_tokens, messages };
    return {
      unknown: await refused(client.messages.create(unknown)),
      stream: await refused(client.messages.stream(unknown).finalMessage()),
      invalid: await refused(client.messages.create({ model, max_tokens: 0, messages })),
    };
  },
  async models() {
    const names = [];
    for await (const one of client.models.list()) names.push(one.id);
    return { listed: names.includes(model) };
  },
};

const local = !model.includes("/"); // the demo calls no tools that it was not taught
const told = {};
for (const [name, attempt] of Object.entries(tried)) {
  if (!(local && name === "tools")) told[name] = await attempt();
}
console.log(JSON.stringify(told));

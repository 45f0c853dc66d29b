// What openai's Node SDK makes of a Holdfast: node openai.mjs SDKS URL MODEL QUESTION
// prints one JSON object, by what was tried. SDKS is the folder that they are installed in.
import { createRequire } from "node:module";

const [sdks, baseURL, model, question] = process.argv.slice(2);
const OpenAI = createRequire(sdks + "/")("openai");
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0, timeout: 60_000 });
const messages = [{ role: "user", content: question }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const calling = [{ role: "user", content: '#fake call weather {"city": "Köln 🌍"}' }];
const tools = [{ type: "function", function: { name: "weather", parameters } }];

async function refused(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    const { status, code, param, message } = error;
    return { kind: error.constructor.name, status, code, param, message };
  }
}

const tried = {
  async chat() {
    const { data, response } = await client.chat.completions
      .create({ model, messages })
      .withResponse();
    const [choice] = data.choices;
    return {
      text: choice.message.content,
      reason: choice.finish_reason,
      usage: data.usage,
      route: response.headers.get("x-holdfast-route"),
    };
  },
  async stream() {
    const stream = await client.chat.completions.create({
      model, messages, stream: true, stream_options: { include_usage: true },
    });
    let text = "", usage = null;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    return { text, usage };
  },
  async tools() {
    const first = await client.chat.completions
      .stream({ model, messages: calling, tools })
      .finalChatCompletion();
    const said = first.choices[0].message;
    const answers = said.tool_calls.map((call) => ({
      role: "tool", tool_call_id: call.id, content: "sunny",
    }));
    const second = await client.chat.completions.create({
      model, messages: [...calling, said, ...answers], tools,
    });
    return {
      reason: first.choices[0].finish_reason,
      calls: said.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
      text: second.choices[0].message.content,
    };
  },
  async responses() {
    const first = await client.responses.create({ model, input: question });
    const stream = client.responses.stream({
      model, input: question, previous_response_id: first.id,
    });
    const kinds = [];
    for await (const event of stream) kinds.push(event.type);
    const last = await stream.finalResponse();
    return {
      text: first.output_text,
      first: kinds[0],
      last: kinds.at(-1),
      streamed: last.output_text,
      previous: last.previous_response_id === first.id,
    };
  },
  async stored() {
    const { id, output_text } = await client.responses.create({ model, input: question });
    const again = await client.responses.retrieve(id);
    const asked = [];
    for await (const item of client.responses.inputItems.list(id)) asked.push(item.content[0].text);
    await client.responses.delete(id);
    const gone = await refused(client.responses.retrieve(id));
    return { same: again.output_text === output_text, asked, gone: gone.status };
  },
  async responses_tools() {
    const stream = client.responses.stream({
      model, input: calling, tools: [{ type: "function", name: "weather", parameters, strict: false }],
    });
    const { output } = await stream.finalResponse();
    const calls = output.filter((item) => item.type === "function_call");
    return { calls: calls.map((call) => [call.name, JSON.parse(call.arguments)]) };
  },
  async errors() {
    return {
      unknown: await refused(client.chat.completions.create({ model: "no-such-model", messages })),
      invalid: await refused(client.chat.completions.create({ model, messages, temperature: 9 })),
      stream: await refused(
        client.chat.completions.create({ model: "no-such-model", messages, stream: true }),
      ),
      responses: await refused(client.responses.create({ model, input: [] })),
    };
  },
  async models() {
    const names = [];
    for await (const one of client.models.list()) names.push(one.id);
    return { listed: names.includes(model), one: (await client.models.retrieve(model)).id };
  },
};

const local = !model.includes("/"); // the demo calls no tools that it was not taught
const told = {};
for (const [name, attempt] of Object.entries(tried)) {
  if (!(local && name.endsWith("tools"))) told[name] = await attempt();
}
console.log(JSON.stringify(told));

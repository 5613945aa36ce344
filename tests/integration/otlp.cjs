// Holds what stands on standard input, requests as JSON in an array, against OpenTelemetry's definition: every member is known
// there, of the right type, and stays as it is. Prints what is wrong.
"use strict";
const path = require("path");
const root = require(path.join(process.argv[2], "node_modules/@opentelemetry/otlp-transformer/build/src/generated/root"));
const Request = root.opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest;
const IDS = ["traceId", "spanId", "parentSpanId"];
const wrong = [];

// OTLP's JSON has ids in hexadecimal, where protobuf's has base64.
function bytes(value, key) {
  if (IDS.includes(key)) {
    if (!/^([0-9a-f]{2})+$/.test(value)) wrong.push(`${key} is ${value}`);
    return Buffer.from(value, "hex");
  }
  if (Array.isArray(value)) return value.map((one) => bytes(one));
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, bytes(member, name)]));
  return value;
}

let text = "";
process.stdin.on("data", (part) => (text += part));
process.stdin.on("end", () => {
  for (const body of JSON.parse(text)) {
    const given = bytes(JSON.parse(body));
    const said = Request.verify({ ...given, resourceSpans: given.resourceSpans.map((one) => ({ ...one, scopeSpans: one.scopeSpans.map((scope) => ({ ...scope, spans: scope.spans.map((span) => ({ ...span, startTimeUnixNano: 1, endTimeUnixNano: 1 })) })) })) });
    if (said) wrong.push(said);
    const back = Request.toObject(Request.decode(Request.encode(Request.fromObject(given)).finish()), { longs: String });
    const plain = (object) => JSON.stringify(object, (key, value) => (value && value.type === "Buffer" ? Buffer.from(value.data).toString("hex") : value && typeof value === "object" && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).sort()) : value));
    if (plain(back) !== plain(given)) wrong.push(`differs: ${plain(given)} and ${plain(back)}`);
  }
  console.log(JSON.stringify(wrong));
});

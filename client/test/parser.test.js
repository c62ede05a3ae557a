import assert from "node:assert/strict";
import { test } from "node:test";
import { parser } from "../src/parser.js";

/** Read chunks, and return everything that the parser calls back with. */
function read(...chunks) {
  const found = [];
  const feed = parser({
    onEvent: ({ type, text, id }) => found.push([type, text, id]),
    onId: (id) => found.push(["id", id]),
    onRetry: (milliseconds) => found.push(["retry", milliseconds]),
  });
  chunks.forEach(feed);
  return found;
}

const a = ["message", "a", undefined];
const b = ["message", "b", undefined];

test("an event whose last CR ends a chunk does not wait for the next chunk", () => {
  assert.deepEqual(read("data: a\r\r"), [a]);
  assert.deepEqual(read("data: a\r\n\r"), [a]);
});

test("an LF that follows a CR in the next chunk is no line", () => {
  assert.deepEqual(read("data: a\r", "\n", "\ndata: b\n\n"), [a, b]);
  assert.deepEqual(read("data: a\r", "\ndata: b\r\n\r\n"), [
    ["message", "a\nb", undefined],
  ]);
  assert.deepEqual(read("data: a\r", "", "\n\n"), [a]);
  assert.deepEqual(read("data: a\n", "\n"), [a]);
});

test("an id without data is told", () => {
  assert.deepEqual(read("id: 7\n\ndata: a\n\n"), [["id", "7"], a]);
});

test("an empty id is an id", () => {
  assert.deepEqual(read("id: 7\ndata: a\n\nid\ndata: b\n\n"), [
    ["message", "a", "7"],
    ["message", "b", ""],
  ]);
});

test("an id with a NUL is ignored", () => {
  assert.deepEqual(read("id: 7\0\ndata: a\n\n"), [a]);
});

test("a type is that of one event, also of one without data", () => {
  assert.deepEqual(read("event: x\n\ndata: a\n\n"), [a]);
  assert.deepEqual(read("event: x\nevent:\ndata: a\n\n"), [a]);
});

test("a delay counts at once, and only digits are one", () => {
  assert.deepEqual(read("retry: 50\nretry: +5\nretry: 5.0\nretry\nretry:  7\n"), [
    ["retry", 50],
  ]);
});

test("channels are those of one event", () => {
  const channels = [];
  const onEvent = ({ channel }) => channels.push(channel);
  const feed = parser({ onEvent, onId() {}, onRetry() {} });
  feed("channel: lost\n\nchannel: a: b\ndata: 1\n\ndata: 2\n\nchannel\ndata: 3\n\n");
  feed("channel: c\ndata: 4\nchannel: d\n\n");
  assert.deepEqual(channels, ["a: b", undefined, "", "c\nd"]);
});

test("names of fields are exact", () => {
  assert.deepEqual(read("Data: x\n data: x\ndata : x\ndatax: x\n: x\ndata:a\n\n"), [a]);
});

test("other ends of lines are a part of the text", () => {
  const text = "a\u2028\u2029\x0b\x0c\x85b";
  assert.deepEqual(read(`data: ${text}\n\n`), [["message", text, undefined]]);
});

test("a long line in many chunks is joined once", () => {
  const chunks = Array(2000).fill("x".repeat(10_000));
  const [[, text]] = read("data:", ...chunks, "\n\n");
  assert.equal(text.length, 20_000_000);
});

test("an event of many lines, or of one, may not grow without end", () => {
  const line = `data: ${"x".repeat(2 ** 20)}\n`;
  assert.throws(() => read(...Array(33).fill(line)), /too long/);
  assert.throws(() => read(...Array(33).fill("x".repeat(2 ** 20))), /too long/);
});

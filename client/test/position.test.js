import assert from "node:assert/strict";
import { test } from "node:test";
import { Order } from "../src/position.js";

test("within an epoch the offset decides, as a number", () => {
  const order = new Order();
  assert.equal(order.reaches("e-9", "e-10"), true);
  assert.equal(order.reaches("e-10", "e-9"), false);
  assert.equal(order.reaches("e-0", "e-1"), true);
});

test("an id reaches itself, also one that is not a hub's", () => {
  for (const id of ["e-3", "", "foreign", "été-1"]) {
    assert.equal(new Order().reaches(id, id), true);
  }
});

test("offsets beyond what a number holds are told apart", () => {
  const order = new Order();
  assert.equal(order.reaches("e-9007199254740993", "e-9007199254740992"), false);
  assert.equal(order.reaches("e-9007199254740992", "e-9007199254740993"), true);
  assert.equal(order.reaches("e-999999999999999999", "e-999999999999999998"), false);
});

test("ids of epochs of which nothing is known cannot be compared", () => {
  const order = new Order();
  assert.equal(order.reaches("a-1", "b-2"), undefined);
  order.learn("b-1", "b-2");
  assert.equal(order.reaches("a-1", "b-2"), undefined);
});

test("foreign ids and none at all cannot be compared", () => {
  const order = new Order();
  order.learn("foreign", "e-1");
  order.learn("", "e-2");
  for (const id of ["foreign", "", "E-1", "e-", "-1", "e-1 ", "e-1-2"]) {
    assert.equal(order.reaches(id, "e-1"), undefined, id);
    assert.equal(order.reaches("e-1", id), undefined, id);
  }
});

test("epochs are in the order in which they followed one another", () => {
  const order = new Order();
  order.learn("a-7", "b-0");
  assert.equal(order.reaches("a-900", "b-0"), true);
  assert.equal(order.reaches("b-0", "a-900"), false);
});

const STEPS = [
  ["a-5", "b-0"],
  ["b-9", "c-0"],
  ["c-4", "d-1"],
];

for (const at of [
  [0, 1, 2],
  [2, 1, 0],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
]) {
  test(`epochs that are learnt in the order ${at} can be compared`, () => {
    const order = new Order();
    for (const index of at) order.learn(...STEPS[index]);
    for (const [before, id] of STEPS) {
      assert.equal(order.reaches(before, id), true);
      assert.equal(order.reaches(id, before), false);
    }
  });
}

test("what is learnt once is not turned round", () => {
  const order = new Order();
  order.learn("a-1", "b-1");
  order.learn("b-1", "a-2");
  assert.equal(order.reaches("a-2", "b-1"), true);
});

test("epochs of two sequences cannot be compared before something joins them", () => {
  const order = new Order();
  order.learn("c-4", "d-1");
  order.learn("a-5", "b-0");
  assert.equal(order.reaches("a-1", "d-1"), undefined);
  assert.equal(order.reaches("d-1", "a-1"), undefined);
});

test("an event of an epoch says nothing of others", () => {
  const order = new Order();
  order.learn("b-1", "b-2");
  order.learn("a-1", "a-2");
  assert.equal(order.reaches("b-2", "a-1"), undefined);
});

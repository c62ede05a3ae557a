// The tabs of one site, which share their stream, and the events that each has received.

import { Connection } from "../../src/connection.js";
import { StreamError } from "../../src/errors.js";
import { SharedConnection } from "../../src/shared.js";
import { Browser } from "./browser.js";
import { settle } from "./clock.js";
import { Hub } from "./hub.js";

const PAGE = "https://example.org/events";

/** A tab with its connection, the events that it received, and its states. */
class Member {
  got = [];
  states = [];

  constructor(tab, { url = PAGE, lastEventId = "", ...options }) {
    this.tab = tab;
    this.channels = new URL(url).searchParams.getAll("channel");
    this.cursor = lastEventId;
    const listener = {
      onEvent: (event) => this.got.push(event),
      onState: (state, error) => {
        this.states.push(error ? `${state} ${error.reason}` : state);
        this.onState?.(this.connection);
      },
    };
    this.connection = tab.run(
      () =>
        new SharedConnection(
          new URL(url),
          options,
          listener,
          { lastEventId },
          { Connection, StreamError },
        ),
    );
  }

  get role() {
    return this.connection.sharing.role;
  }

  get state() {
    return this.states.at(-1);
  }

  /** The texts of the app's events, with "reset" for each reset. */
  get texts() {
    const events = this.got.filter(({ type }) => type === "message" || type === "reset");
    return events.map(({ type, text }) => (type === "reset" ? type : text));
  }

  async run(callback) {
    this.tab.run(() => callback(this.connection));
    await settle();
  }
}

export class Site {
  browser = new Browser();
  hub = new Hub(this.browser);
  members = [];

  /** Open a tab and start its stream, without delivering anything. */
  async join(options = {}) {
    const member = new Member(this.browser.open(), options);
    this.members.push(member);
    await member.run((connection) => connection.start());
    return member;
  }

  /** Open a tab, and deliver everything. */
  async open(options) {
    const member = await this.join(options);
    await this.browser.deliverAll();
    return member;
  }

  async publish(count = 1) {
    for (; count; count--) this.hub.publish();
    await this.browser.deliverAll();
  }

  /** Close a tab, as a browser does: its stream stops first. */
  async leave(member) {
    await member.run((connection) => connection.stop());
    await this.browser.crash(member.tab);
  }

  /** Let time pass, and deliver everything that this causes. */
  async pass(seconds) {
    for (; seconds > 0; seconds--) {
      await this.browser.clock.advance(Math.min(seconds, 1));
      await this.browser.deliverAll();
    }
  }
}

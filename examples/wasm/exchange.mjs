// Two participants in wasm and one native, behind a pipe, on a link that loses, repeats, delays and
// reorders by seed, in virtual time. Ends when all three logs are the same; exit status 1 if they
// are not after an hour.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

import { SdsNode } from "./target/pkg/sds_wasm.js";

const CHANNEL = "news";
const EPOCH = 1_767_225_600_000; // 2026-01-01
const MESSAGES = 20; // of each
const LOSS = 0.3;
const REPEAT = 0.1;
const DELAY = 400; // ms, at most
const END = 3_600_000; // ms

// A participant takes a time and an input, and gives the messages it sends. After that `deadline`,
// `length` and `digest` are up to date.

class Wasm {
  constructor(name, seed) {
    this.name = name;
    this.node = new SdsNode(name, seed);
    this.node.open({ mono: 0, wall: EPOCH }, CHANNEL);
  }

  async handle(mono, input) {
    const now = { mono, wall: EPOCH + mono };
    if (input.id) {
      this.node.publish(now, CHANNEL, input.id, new TextEncoder().encode(input.text));
    } else if (input.bytes) {
      this.node.datagram(now, input.bytes);
    } else {
      this.node.tick(now);
    }
    const sent = [];
    for (let effect; (effect = this.node.pollEffect()); ) {
      if (effect.kind === "send") {
        sent.push(effect.bytes);
      } else if (effect.kind === "deliver" && effect.gap) {
        throw new Error(`${this.name}: a gap before ${effect.messageId}`);
      }
    }
    const { entries, digest } = this.node.log(CHANNEL);
    Object.assign(this, { deadline: this.node.nextDeadline, length: entries.length, digest });
    return sent;
  }

  end() {
    this.node.free();
  }
}

class Native {
  constructor(name, program) {
    this.name = name;
    this.child = spawn(program, [name, CHANNEL], { stdio: ["pipe", "pipe", "inherit"] });
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  async handle(mono, input) {
    const now = `${mono} ${EPOCH + mono}`;
    if (input.id) {
      this.child.stdin.write(`publish ${now} ${input.id} ${input.text}\n`);
    } else if (input.bytes) {
      this.child.stdin.write(`datagram ${now} ${Buffer.from(input.bytes).toString("hex")}\n`);
    } else {
      this.child.stdin.write(`tick ${now}\n`);
    }
    const sent = [];
    for (;;) {
      const { value, done } = await this.lines.next();
      if (done) {
        throw new Error(`${this.name} ended`);
      }
      const [what, first, length, digest] = value.split(" ");
      if (what === "done") {
        const deadline = first === "-" ? undefined : Number(first);
        Object.assign(this, { deadline, length: Number(length), digest });
        return sent;
      }
      sent.push(new Uint8Array(Buffer.from(first, "hex")));
    }
  }

  async end() {
    this.child.stdin.end();
    const [status] = await once(this.child, "exit");
    if (status !== 0) {
      throw new Error(`${this.name} ended with status ${status}`);
    }
  }
}

// Park and Miller's generator.
let drawn = 42;
const chance = () => (drawn = (drawn * 48271) % 2147483647) / 2147483647;

const members = [
  new Wasm("wasm-1", 1n),
  new Wasm("wasm-2", 2n),
  new Native("native", process.argv[2]),
];
const events = []; // { at, member, input }
for (let round = 0; round < MESSAGES; round++) {
  for (const member of members) {
    const id = `${member.name}-${round}`;
    events.push({ at: round * 500 + chance() * 400, member, input: { id, text: `text of ${id}` } });
  }
}

let now = 0;
let datagrams = 0;
let lost = 0;

const broadcast = (from, bytes) => {
  for (const member of members.filter((member) => member !== from)) {
    const copies = chance() < REPEAT ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      datagrams++;
      if (chance() < LOSS) {
        lost++;
      } else {
        events.push({ at: now + 1 + chance() * DELAY, member, input: { bytes } });
      }
    }
  }
};

const converged = () =>
  members.every(
    ({ length, digest }) => length === MESSAGES * members.length && digest === members[0].digest,
  );

while (!converged() && now < END) {
  const ticks = members
    .filter(({ deadline }) => deadline !== undefined)
    .map((member) => ({ at: member.deadline, member, input: {} }));
  const next = [...events, ...ticks].reduce((a, b) => (b.at < a.at ? b : a));
  const index = events.indexOf(next);
  if (index >= 0) {
    events.splice(index, 1);
  }
  now = Math.max(now, Math.ceil(next.at));
  for (const bytes of await next.member.handle(now, next.input)) {
    broadcast(next.member, bytes);
  }
}

const ended = converged();
for (const { name, length, digest } of members) {
  console.log(`${name}: ${length} messages, digest ${digest}`);
}
console.log(`${datagrams} datagrams, ${lost} lost, ${Math.round(now / 1000)} virtual seconds`);
for (const member of members) {
  await member.end();
}
console.log(ended ? "converged" : "did not converge");
process.exitCode = ended ? 0 : 1;

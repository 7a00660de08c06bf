// Runs participants of @waku/sds for a program that speaks JSON lines over a pipe.
//
// Each line of standard input is a request, `{op, who, now, …}`; each is answered by one line of
// standard output: `{sent, told, …}` or `{error}`. `sent` are encoded messages in hexadecimal,
// `told` what the library reported. `now`, milliseconds since 1970, is all the time there is, and
// what the library draws by chance comes from a fixed sequence: equal requests, equal answers.

import { createInterface } from "node:readline";

import { MessageChannel, Message, isContentMessage, isEphemeralMessage } from "@waku/sds";

let now = 0;
Date.now = () => now;
let drawn = 1;
Math.random = () => (drawn = (drawn * 48271) % 2147483647) / 2147483647;

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const bytes = (text) => new Uint8Array(Buffer.from(text, "hex"));
const ids = (entries) => entries.map((entry) => entry.messageId);

// What the library reports, in the words of the program that asks.
const EVENTS = {
  "sds:in:message-delivered": (id) => ["delivered", id],
  "sds:in:message-missing": (entries) => ["missing", ...ids(entries)],
  "sds:out:message-acknowledged": (id) => ["acked", id],
  "sds:out:message-possibly-acknowledged": ({ messageId }) => ["possibly-acked", messageId],
  "sds:error-task": ({ error }) => ["error", String(error)],
};

const participants = new Map();
let sent = [];
let told = [];

const send = async (message) => {
  sent.push(hex(message.encode()));
  return { success: true };
};

const publish = async ({ channel }, content) => {
  channel.pushOutgoingMessage(content, send);
  await channel.processTasks();
};

const repairer = (me, repairConfig) => new MessageChannel("timing", me, { repairConfig }).repairManager;

const OPERATIONS = {
  join({ who, name, channel: id, options }) {
    const channel = new MessageChannel(id, name, options);
    for (const [event, words] of Object.entries(EVENTS)) {
      channel.addEventListener(event, ({ detail }) => told.push(words(detail)));
    }
    participants.set(who, { channel });
  },

  publish: ({ content }, me) => publish(me, bytes(content)),

  async ephemeral({ content }, { channel }) {
    await channel.pushOutgoingEphemeralMessage(bytes(content), send);
    await channel.processTasks();
  },

  async receive({ message: datagram }, { channel }) {
    const message = Message.decode(bytes(datagram));
    if (!message) {
      return; // What the library cannot decode, its user cannot pass on.
    }
    channel.pushIncomingMessage(message);
    await channel.processTasks();
    // The library tells nobody of an ephemeral message, so what it decoded has to do.
    if (isEphemeralMessage(message)) {
      told.push(["ephemeral", hex(message.content)]);
    } else if (!isContentMessage(message)) {
      told.push(["sync", message.messageId]);
    }
  },

  sync: (_, { channel }) => channel.pushOutgoingSyncMessage(send),

  async sweep(_, { channel }) {
    channel.sweepIncomingBuffer();
    await channel.sweepRepairIncomingBuffer(send);
  },

  // The library leaves it to its user to send again what nobody acknowledged.
  async resend(_, me) {
    const { unacknowledged, possiblyAcknowledged } = me.channel.sweepOutgoingBuffer();
    for (const { content } of [...unacknowledged, ...possiblyAcknowledged]) {
      await publish(me, content);
    }
  },

  state(_, { channel }) {
    const log = channel.localHistory.slice(0);
    return {
      log: log.map(({ lamportTimestamp, messageId }) => [String(lamportTimestamp), messageId]),
      unacked: ids(channel.outgoingBuffer),
    };
  },

  // Delays from now, and whether `me` answers, for each [me, sender, message id].
  timing({ repairConfig, triples }) {
    const table = triples.map(([me, sender, id]) => {
      const manager = repairer(me, repairConfig);
      return [
        manager.calculateTReq(id) - now,
        manager.calculateTResp(sender, id) - now,
        manager.isInResponseGroup(sender, id),
      ];
    });
    return { table };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  sent = [];
  told = [];
  let answer;
  try {
    const request = JSON.parse(line);
    now = request.now ?? now;
    const result = await OPERATIONS[request.op](request, participants.get(request.who));
    answer = { sent, told, ...(typeof result === "object" ? result : {}) };
  } catch (error) {
    answer = { error: String(error?.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

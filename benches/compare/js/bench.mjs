// Receives the messages of a stream file with @waku/sds, or publishes their content, and prints the
// seconds that took: `node bench.mjs receive|send FILE`. Once before it counts, so that the code is
// compiled.

import { readFileSync } from "node:fs";

import { MessageChannel, Message } from "@waku/sds";

const [what, path] = process.argv.slice(2);
const file = readFileSync(path);
const messages = [];
for (let at = 0; at < file.length; ) {
  const end = at + 4 + file.readUInt32LE(at);
  messages.push(new Uint8Array(file.subarray(at + 4, end)));
  at = end;
}

// As many history entries as the stream has, of which the library's default is 200.
const options = { causalHistorySize: Message.decode(messages.at(-1)).causalHistory.length };
const channelId = Message.decode(messages[0]).channelId;

const WORK = {
  async receive(channel) {
    for (const bytes of messages) {
      channel.pushIncomingMessage(Message.decode(bytes));
      await channel.processTasks();
    }
    channel.sweepIncomingBuffer();
  },

  async send(channel) {
    const send = async (message) => {
      message.encode();
      return { success: true };
    };
    for (const content of contents) {
      channel.pushOutgoingMessage(content, send);
      await channel.processTasks();
    }
  },
};
const contents = messages.map((bytes) => Message.decode(bytes).content);

let seconds;
for (const _ of ["warm", "measured"]) {
  const channel = new MessageChannel(channelId, "reader-1", options);
  const start = process.hrtime.bigint();
  await WORK[what](channel);
  seconds = Number(process.hrtime.bigint() - start) / 1e9;
  if (channel.localHistory.length !== messages.length) {
    throw new Error(`${channel.localHistory.length} of ${messages.length} messages were logged`);
  }
}
console.log(seconds);

// The public API. README, "From a program", has examples; a test runs them.
export { type ErrorCode, type Problem, ReplicaError } from './errors.ts';
export { type Log, silentLog } from './log.ts';
export { type DialOptions, dial } from './net/dial.ts';
export { Listener, type ListenerOptions } from './net/listener.ts';
export { memoryPair } from './net/memory-pair.ts';
export { Receiver } from './receiver/receiver.ts';
export { type ReceiverOptions, receiverDefaults } from './receiver/receiver-options.ts';
export type { SenderEvent } from './sender/events.ts';
export { type Cycle, Sender } from './sender/sender.ts';
export { type SenderOptions, senderDefaults } from './sender/sender-options.ts';
export { createKey, formatPairing, type Key, parsePairing } from './store/key-file.ts';

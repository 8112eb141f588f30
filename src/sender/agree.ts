// The start of a session: both sides say who they are, and the sender makes its confirmed layer
// what the receiver holds. Equal digests take one round trip; otherwise the listings of those
// directories that differ are taken over.
import { type ErrorCode, ReplicaError } from '../errors.ts';
import { getListingIdsMax, payloadSizeMax } from '../limits.ts';
import type { Connection } from '../net/connection.ts';
import type { AttributeRules } from '../snapshot/attribute-rules.ts';
import type { NodeId } from '../snapshot/entry.ts';
import {
  type Failure,
  type Hello,
  hearsRefusals,
  keepsXattrs,
  knowsXattrs,
  type Lost,
  type Message,
  MessageType,
  protocolMagic,
  protocolMajor,
  protocolMinor,
  seesLinksAndRoot,
  setsOwners,
  type Welcome,
} from '../wire/messages.ts';
import type { WorkerCalls } from './calls.ts';
import type { ScanMethods } from './scan-worker.ts';

export type Messages = AsyncGenerator<Message>;

export interface Identity {
  readonly sourceId: Buffer;
  readonly instanceId: Buffer;
  readonly label: string;
  readonly takeOver: boolean;
  /** A verifier only looks. */
  readonly role?: 'sender' | 'verifier';
  readonly replica?: string | undefined;
  readonly attributes?: AttributeRules | undefined;
}

type Of<T extends Message['type']> = Extract<Message, { type: T }>;

/** Throws ERR_PROTOCOL, or what the receiver's refusal means. */
export async function greet(
  connection: Connection,
  messages: Messages,
  identity: Identity,
): Promise<Welcome> {
  const { owner = false, group = false, xattrs = false } = identity.attributes ?? {};
  const hello: Hello = {
    type: MessageType.Hello,
    magic: protocolMagic,
    major: protocolMajor,
    minor: protocolMinor,
    features:
      connection.features |
      knowsXattrs |
      (xattrs ? keepsXattrs : 0n) |
      (identity.role === 'verifier' ? seesLinksAndRoot : hearsRefusals),
    role: identity.role ?? 'sender',
    sourceId: identity.sourceId,
    instanceId: identity.instanceId,
    label: identity.label,
    takeOver: identity.takeOver,
    replica: identity.replica,
  };
  await connection.send(hello);
  connection.flush();
  const peer = await expect(messages, MessageType.Hello);
  if (peer.major !== protocolMajor) {
    const message = `the receiver speaks protocol ${peer.major}, this replica ${protocolMajor}`;
    throw new ReplicaError('ERR_PROTOCOL', message);
  }
  if (peer.role !== 'receiver') throw new ReplicaError('ERR_PROTOCOL', 'the peer is no receiver');
  if (hello.role === 'sender' && (owner || group) && (peer.features & setsOwners) === 0n) {
    const flag = owner ? '--owner' : '--group';
    const message = `${flag}: the receiver cannot set owners: run it as root, or leave ${flag} out`;
    throw new ReplicaError('ERR_USAGE', message);
  }
  if (xattrs && (peer.features & knowsXattrs) === 0n) {
    const text = '--xattrs: the receiver is of a version that knows no extended attributes';
    throw new ReplicaError('ERR_USAGE', `${text}: update it, or leave --xattrs out`);
  }
  connection.setPayloadLimit(payloadSizeMax);
  const welcome = await expect(messages, MessageType.Welcome);
  if (welcome.watermark > watermarkMax) {
    throw new ReplicaError('ERR_PROTOCOL', `no commits can follow ${welcome.watermark}`);
  }
  return welcome;
}

/** As many again may follow. */
const watermarkMax = 2n ** 63n - 1n;

/** The talk in which the confirmed layer becomes what the receiver holds. */
export class Agreement {
  readonly #connection: Connection;
  readonly #messages: Messages;
  readonly #scanner: WorkerCalls<ScanMethods>;
  /** Drift that the receiver found meanwhile. */
  readonly #lost: Lost[] = [];
  #lostCount = 0;

  constructor(connection: Connection, messages: Messages, scanner: WorkerCalls<ScanMethods>) {
    this.#connection = connection;
    this.#messages = messages;
    this.#scanner = scanner;
  }

  /** Is there anything to talk about? */
  isSame({ epoch, digest, nextId, secret }: Welcome): Promise<boolean> {
    return this.#scanner.call('connect', { epoch, digest, nextId, secret });
  }

  /** Throws ERR_PROTOCOL when the receiver tells of more than the Welcome said it has. */
  async reach({ digest, entryCount }: Welcome): Promise<void> {
    for (let attempt = 0; attempt < 2; attempt++) {
      await this.#adopt(await this.#differing(entryCount), entryCount);
      const isSame = await this.#scanner.call('finishAdopt', digest);
      for (const { entries } of this.#lost) await this.#scanner.call('lost', entries);
      if (isSame || this.#lost.length > 0) return;
      await this.#scanner.call('clear', undefined);
    }
    throw new ReplicaError('ERR_SOCKET', "the receiver's listings do not add up to its digest");
  }

  /** Directories whose names are not those of the confirmed layer. */
  async #differing(entryCount: bigint): Promise<NodeId[]> {
    const ids: NodeId[] = [];
    // An empty page counts too, or they might come for ever.
    let count = 0;
    await this.#connection.send({ type: MessageType.ListDigests });
    this.#connection.flush();
    for (let last = false; !last; ) {
      const page = await this.#expect(MessageType.DirectoryDigests, entryCount);
      const { directories } = page;
      last = page.last;
      count += last ? directories.length : Math.max(directories.length, 1);
      // The root is no entry.
      if (count > entryCount + 1n) throw tooMany('directories');
      ids.push(...(await this.#scanner.call('compareDigests', { directories, last })));
    }
    return ids;
  }

  async #adopt(ids: readonly NodeId[], entryCount: bigint): Promise<void> {
    let count = 0;
    for (let from = 0; from < ids.length; from += getListingIdsMax) {
      const asked = ids.slice(from, from + getListingIdsMax);
      const isAsked = new Set(asked);
      await this.#scanner.call('beginAdopt', asked);
      await this.#connection.send({ type: MessageType.GetListing, ids: asked });
      this.#connection.flush();
      for (let last = false; !last; ) {
        const page = await this.#expect(MessageType.Listing, entryCount);
        last = page.last;
        count += last ? page.entries.length : Math.max(page.entries.length, 1);
        if (count > entryCount) throw tooMany('entries');
        if (!page.entries.every(({ parent }) => isAsked.has(parent))) {
          throw new ReplicaError('ERR_PROTOCOL', 'a listing of a directory nobody asked for');
        }
        await this.#scanner.call('adopt', page.entries);
      }
    }
  }

  /** What is lost meanwhile is put aside. */
  #expect<T extends Message['type']>(type: T, entryCount: bigint): Promise<Of<T>> {
    return expect(this.#messages, type, lost => {
      this.#lostCount += lost.entries.length;
      if (this.#lostCount > entryCount) throw tooMany('entries lost');
      this.#lost.push(lost);
    });
  }
}

function tooMany(what: string): ReplicaError {
  return new ReplicaError('ERR_PROTOCOL', `the receiver tells of more ${what} than it has`);
}

/** The next message, which must be of `type`; `onLost` takes what was lost meanwhile. */
async function expect<T extends Message['type']>(
  messages: Messages,
  type: T,
  onLost?: (message: Lost) => void,
): Promise<Of<T>> {
  for (;;) {
    const next = await messages.next();
    if (next.done === true) {
      throw new ReplicaError('ERR_SOCKET', 'the receiver closed the connection');
    }
    const message: Message = next.value;
    if (message.type === type) return message as Extract<Message, { type: T }>;
    if (message.type === MessageType.Failure) throw failureOf(message);
    if (message.type === MessageType.Lost && onLost) onLost(message);
    else throw new ReplicaError('ERR_PROTOCOL', `message ${message.type} came, ${type} was due`);
  }
}

/** What a receiver's last words mean here. */
export function failureOf(failure: Failure): ReplicaError {
  const codes: Record<Failure['code'], ErrorCode> = {
    version: 'ERR_PROTOCOL',
    protocol: 'ERR_PROTOCOL',
    foreign: 'ERR_FOREIGN',
    fenced: 'ERR_FENCED',
    busy: 'ERR_SOCKET',
    io: 'ERR_IO',
    shutdown: 'ERR_SOCKET',
    bug: 'ERR_PROTOCOL',
    unable: 'ERR_USAGE',
  };
  return new ReplicaError(codes[failure.code], `receiver: ${failure.message}`);
}

// What travels: one interface a message. codec.ts lays them out in bytes, PROTOCOL.md documents
// every field and limit, session-state.ts says which may come when.
import type { Entry, NodeId, PlacedEntry } from '../snapshot/entry.ts';
import type { Name } from '../snapshot/name.ts';

export const MessageType = {
  Hello: 1,
  Welcome: 2,
  Failure: 3,
  Ping: 4,
  Pong: 5,
  Credit: 6,
  ListDigests: 10,
  DirectoryDigests: 11,
  GetListing: 12,
  Listing: 13,
  Offer: 20,
  Need: 21,
  GetGrains: 22,
  Grains: 23,
  Operations: 30,
  CommitEnd: 31,
  Durable: 32,
  Rejected: 33,
  Lost: 34,
  InSync: 35,
  StageOpen: 40,
  StageData: 41,
  StageAbort: 42,
  StageRefused: 43,
  Verify: 50,
  Checked: 51,
  Mistrust: 52,
  Forgotten: 53,
} as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/** Bit of Hello's features, beside those of packed frames: this receiver can set owners. */
export const setsOwners = 8n;
/** The same: this receiver answers GetGrains. */
export const givesGrains = 16n;
/** Either side: extended attributes of entries are understood. */
export const knowsXattrs = 32n;
/** A sender's entries have extended attributes; a verifier compares them. */
export const keepsXattrs = 64n;
/** Another: this verifier can be told of hard links that are none, and of the root itself. */
export const seesLinksAndRoot = 128n;
/** A sender that understands StageRefused. */
export const hearsRefusals = 256n;

/** First frame of both sides. Roles do not depend on who dialled. */
export interface Hello {
  readonly type: typeof MessageType.Hello;
  readonly magic: number; // 0x52504c43 'RPLC'
  readonly major: number; // u16; a different one is refused in clear words
  readonly minor: number; // u16
  readonly features: bigint; // u64 bit set; unknown bits are ignored
  /** A verifier speaks for a source like a sender, but only looks: it fences nobody. */
  readonly role: 'sender' | 'receiver' | 'verifier';
  /** Sender, verifier: which tree (16 bytes, stable over lost state). Receiver: zeroes. */
  readonly sourceId: Buffer;
  /** Random for each process start (16 bytes); a newer one of the same source fences the older. */
  readonly instanceId: Buffer;
  /** Printable name of the source ('host:/path', utf8, at most 1 KiB), for messages to people. */
  readonly label: string;
  /** Bit 0 takeOver: accept this source in place of another one. */
  readonly takeOver: boolean;
  /** Which of a receiver's replicas is meant; undefined: the one without a name. Not empty. */
  readonly replica?: string | undefined;
}

/** Receiver's answer to a sender it accepts. */
export interface Welcome {
  readonly type: typeof MessageType.Welcome;
  /** Random, made with the receiver's state (16 bytes); new when that was lost or rebuilt. */
  readonly epoch: Buffer;
  /** Number of the newest durable commit. */
  readonly watermark: bigint;
  /** XOR of entryDigest over every entry the receiver holds (16 bytes). */
  readonly digest: Buffer;
  /** Entries held. */
  readonly entryCount: bigint;
  /** The smallest node id never used. */
  readonly nextId: NodeId;
  /** Secret of the replica (32 bytes): keys block ids and entry digests. */
  readonly secret: Buffer;
}

/** Ends the connection. `message` is printable and at most 1 KiB. */
export interface Failure {
  readonly type: typeof MessageType.Failure;
  readonly code:
    | 'version'
    | 'protocol'
    | 'foreign'
    | 'fenced'
    | 'busy'
    | 'io'
    | 'shutdown'
    | 'bug'
    | 'unable';
  readonly message: string;
}

export interface Ping {
  readonly type: typeof MessageType.Ping;
  readonly token: bigint;
}
export interface Pong {
  readonly type: typeof MessageType.Pong;
  readonly token: bigint;
}

/** Receiver: payload bytes handled since the connection began (cumulative, all frames but pings). */
export interface Credit {
  readonly type: typeof MessageType.Credit;
  readonly handledBytes: bigint;
}

/** Sender asks for every directory's digest. */
export interface ListDigests {
  readonly type: typeof MessageType.ListDigests;
}
/** At most 4,096 an message; `last` ends the answer. digest = XOR of entryDigest over its names. */
export interface DirectoryDigests {
  readonly type: typeof MessageType.DirectoryDigests;
  readonly last: boolean;
  readonly directories: readonly { readonly id: NodeId; readonly digest: Buffer }[];
}
/** Sender asks for the entries of these directories (at most 1,024). */
export interface GetListing {
  readonly type: typeof MessageType.GetListing;
  readonly ids: readonly NodeId[];
}
/** Entries in name order within a directory, directories as asked; at most 4,096 a message. */
export interface Listing {
  readonly type: typeof MessageType.Listing;
  /** True on the message that ends the answer to one GetListing. */
  readonly last: boolean;
  readonly entries: readonly PlacedEntry[];
}

/** Sender: does the receiver have these blocks? ids is a concatenation of 16-byte block ids. */
export interface Offer {
  readonly type: typeof MessageType.Offer;
  readonly batch: number; // u32, counts up
  readonly ids: Buffer; // at most 8,192 ids
}
/** Bit i (LSB first) set: send block i of that Offer. Answers come in the order of the offers. */
export interface Need {
  readonly type: typeof MessageType.Need;
  readonly batch: number;
  readonly bitmap: Buffer;
}

/** Bytes of a version: from `offset` on, `size` of them. */
export interface ByteRange {
  readonly offset: number;
  readonly size: number;
}
/** Sender asks for grains of what the receiver has: 32-bit hashes of `grainSize` bytes each. */
export interface GetGrains {
  readonly type: typeof MessageType.GetGrains;
  readonly batch: number; // u32, counts up
  /** Of the polynomial that the hashes are made with (blocks/grains-plain.ts). */
  readonly factor: bigint; // u64
  readonly grainSize: number; // u16
  /** At most 4,096 ranges in all, of at most 65,536 grains. */
  readonly files: readonly AskedFile[];
}
/** Ranges of one version, which is durable; not empty. */
export interface AskedFile {
  readonly id: NodeId;
  readonly version: number;
  readonly ranges: readonly ByteRange[];
}
/** Answers come in the order of the questions. */
export interface Grains {
  readonly type: typeof MessageType.Grains;
  readonly batch: number;
  /** For each range asked for, in order: u32 BE a grain. Empty: the version is not here. */
  readonly ranges: readonly Buffer[];
}

/** How the next bytes of a new file version are made. Offsets run on: pieces are contiguous. */
export type Piece =
  /** `count` blocks from block `from` on of the base version (the node's `baseVersion`). */
  | { readonly kind: 'copy'; readonly from: number; readonly count: number }
  /** A block the receiver said it has, or that an earlier piece of this connection carried. */
  | { readonly kind: 'block'; readonly id: Buffer; readonly size: number }
  /** A block's bytes. The id is a claim: it enters the index, and is checked when reused. */
  | { readonly kind: 'data'; readonly id: Buffer; readonly bytes: Buffer }
  /** One block of zero bytes, at most blockSizeMax; becomes a hole. Its id is the id of zeroes. */
  | { readonly kind: 'zero'; readonly id: Buffer; readonly size: number }
  /** A block made of ranges of the base version and new bytes (blocks/block-patch.ts). */
  | { readonly kind: 'patch'; readonly id: Buffer; readonly size: number; readonly patch: Buffer };

/** Where a file operation's content comes from. */
export type Content =
  /** Pieces follow here (small files, many to a frame). Empty file: no pieces. */
  | { readonly kind: 'inline'; readonly baseVersion: number; readonly pieces: readonly Piece[] }
  /** Content was completed in this stage by StageOpen and StageData. */
  | { readonly kind: 'stage'; readonly stage: number };

export type Operation =
  /** A directory that is new, or that takes over the name. */
  | {
      readonly kind: 'directory';
      readonly parent: NodeId;
      readonly name: Name;
      readonly entry: Entry;
    }
  | { readonly kind: 'link'; readonly parent: NodeId; readonly name: Name; readonly entry: Entry }
  /** New file, or new content of the file `entry.id`. */
  | {
      readonly kind: 'file';
      readonly parent: NodeId;
      readonly name: Name;
      readonly entry: Entry;
      readonly content: Content;
    }
  /** One more name for the existing file `entry.id`. */
  | {
      readonly kind: 'hardlink';
      readonly parent: NodeId;
      readonly name: Name;
      readonly entry: Entry;
    }
  /** Node `entry.id` leaves (fromParent, fromName) for (parent, name); whatever was there goes. */
  | {
      readonly kind: 'rename';
      readonly fromParent: NodeId;
      readonly fromName: Name;
      readonly parent: NodeId;
      readonly name: Name;
      readonly entry: Entry;
    }
  /**
   * The name goes; a directory with everything below. Applies only while the name still leads to
   * `id`: a node that took the name over, or moved away, in the same commit stays.
   */
  | { readonly kind: 'remove'; readonly parent: NodeId; readonly name: Name; readonly id: NodeId }
  /** Mode, times, stamp of an entry that exists. Parent 0 and name '' mean the root itself. */
  | {
      readonly kind: 'attributes';
      readonly parent: NodeId | 0;
      readonly name: Name | '';
      readonly entry: Entry;
    };

/** Operations of the commit `commit`, in order; several messages may carry one commit. */
export interface Operations {
  readonly type: typeof MessageType.Operations;
  readonly commit: bigint; // watermark + 1 for the first of a connection, then counting up
  readonly operations: readonly Operation[];
}
export interface CommitEnd {
  readonly type: typeof MessageType.CommitEnd;
  readonly commit: bigint;
  readonly operationCount: number;
}
/** Every commit up to this one is durable. */
export interface Durable {
  readonly type: typeof MessageType.Durable;
  readonly commit: bigint;
}
/** Comes before the Durable of its commit: operation `index` of it was not applied. */
export interface Rejected {
  readonly type: typeof MessageType.Rejected;
  readonly commit: bigint;
  readonly index: number;
  /**
   * gone: node, parent or name is not as the operation expects: the sender forgets the entry.
   * base: the base version is not there: the sender sends blocks, without copies.
   * blocks: some blocks are not there, and the next Need says which.
   * refused: this file system or this receiver cannot hold it; `message` says why.
   */
  readonly reason: 'gone' | 'base' | 'blocks' | 'refused' | 'xattrs';
  readonly message: string;
}
/** Drift: the receiver no longer holds these names as recorded and has forgotten them. */
export interface Lost {
  readonly type: typeof MessageType.Lost;
  readonly entries: readonly {
    readonly parent: NodeId;
    readonly name: Name;
    readonly id: NodeId;
  }[];
}

/** Everything the sender found is durable: stages that were cut short before are of no use. */
export interface InSync {
  readonly type: typeof MessageType.InSync;
}

/** Content of one large file, beside the commits; stages are numbered by the sender. */
export interface StageOpen {
  readonly type: typeof MessageType.StageOpen;
  readonly stage: number; // u32
  readonly id: NodeId;
  readonly size: number;
  readonly baseVersion: number; // 0: no base
}
export interface StageData {
  readonly type: typeof MessageType.StageData;
  readonly stage: number;
  readonly pieces: readonly Piece[];
}
export interface StageAbort {
  readonly type: typeof MessageType.StageAbort;
  readonly stage: number;
}

/** Receiver: no more of this stage; its operation would be Rejected `refused`, with this text. */
export interface StageRefused {
  readonly type: typeof MessageType.StageRefused;
  readonly stage: number;
  readonly message: string;
}

/** Verifier: compare these directories with what is recorded of them; at most 256. */
export interface Verify {
  readonly type: typeof MessageType.Verify;
  /** Read the files; otherwise only names and attributes are compared. */
  readonly content: boolean;
  readonly ids: readonly NodeId[];
}
/** What the destination has at a recorded name, beside what is recorded. The first that differs. */
export type Finding =
  | 'same'
  | 'missing'
  | 'type'
  | 'content'
  | 'mode'
  | 'time'
  | 'unreadable'
  | 'owner'
  | 'xattrs'
  /** The names of a file are not one file there. */
  | 'hard link';
/** The node and its content are there, at most with other attributes. */
export function isAttribute(finding: string): finding is (typeof attributes)[number] {
  return attributes.some(one => one === finding);
}
const attributes = ['mode', 'owner', 'xattrs', 'time'] as const;
/** One recorded name; a file of more than checkedBlocksMax blocks takes several, in order. */
export interface CheckedEntry extends Omit<PlacedEntry, 'name'> {
  /** '': the root, which is its own parent here. */
  readonly name: Name | '';
  readonly finding: Finding;
  /** Of a file: its blocks from number `from` on, packed as in a BlockList. */
  readonly from: number;
  readonly blocks: Buffer;
}
/** Answers to Verify, directories as asked, entries in byte order of their names. */
export interface Checked {
  readonly type: typeof MessageType.Checked;
  /** True on the message that ends the answer to one Verify. */
  readonly last: boolean;
  readonly entries: readonly CheckedEntry[];
  /** Names found that are not recorded. */
  readonly extras: readonly { readonly parent: NodeId; readonly name: Name }[];
}
/** Verifier: these names are not what the source has. They are put right, or kept and forgotten. */
export interface Mistrust {
  readonly type: typeof MessageType.Mistrust;
  readonly entries: readonly MistrustedName[];
}
export interface MistrustedName {
  readonly parent: NodeId;
  readonly name: Name;
  /** 0: nothing is recorded of it. */
  readonly id: NodeId | 0;
  /** The source has something else than what is recorded, whatever the destination has. */
  readonly isOther: boolean;
}
/** The answer to a Mistrust. */
export interface Forgotten {
  readonly type: typeof MessageType.Forgotten;
  /** Names that the source has to send again. */
  readonly count: number;
  /** A sender is connected, which was told. */
  readonly hasSender: boolean;
}

export type Message =
  | Hello
  | Welcome
  | Failure
  | Ping
  | Pong
  | Credit
  | ListDigests
  | DirectoryDigests
  | GetListing
  | Listing
  | Offer
  | Need
  | GetGrains
  | Grains
  | Operations
  | CommitEnd
  | Durable
  | Rejected
  | Lost
  | InSync
  | StageOpen
  | StageData
  | StageAbort
  | StageRefused
  | Verify
  | Checked
  | Mistrust
  | Forgotten;

/** 'RPLC'. */
export const protocolMagic = 0x52504c43;
export const protocolMajor = 1;
export const protocolMinor = 0;

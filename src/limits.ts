// Every bound of the protocol and the process, with its reason. Sizes in bytes, times in ms.

/** A frame's payload before the peer said who it is. A Hello is below 1.2 KiB. */
export const helloPayloadSizeMax = 4 * 1024;
/** A frame's payload afterwards: 256 KiB writes already saturate TLS; 1 MiB bounds one allocation. */
export const payloadSizeMax = 1024 * 1024;
/** Operations a commit: 256 small files make one `sync -f` worth its while. */
export const commitOperationsMax = 256;
export const commitBytesMax = 64 * 1024 * 1024;
/**
 * Node ids that peers may skip, and how many of them come back in a second of the receiver's run: more
 * than can be applied. A peer that skips all it may needs 34 years for the 2^47 of a replica.
 */
export const idsSkippedMax = 2 ** 32;
export const idsPerSecondMax = 2 ** 17;
/** Entries in one Listing, digests in one DirectoryDigests. */
export const listingEntriesMax = 4096;
export const getListingIdsMax = 1024;
export const offerIdsMax = 8192;
/** Block boundaries: why these, see Decisions in ARCHITECTURE.md. */
export const blockSizeMin = 8 * 1024;
export const blockSizeTarget = 8 * 1024;
export const blockSizeMax = 64 * 1024;
/**
 * Blocks below blockSizeMin that a file may have: the last one is such, a few more do no harm. Each
 * takes 18 bytes of memory, however few bytes it has.
 */
export const smallBlocksMax = 1024;
/**
 * Blocks of zeroes in the files that one sender has under way: they take memory (18 bytes) and
 * neither wire nor disk. 1 TiB of holes.
 */
export const holeBlocksMax = 16 * 1024 * 1024;
export const blockIdSize = 16;
/**
 * Smaller blocks have no entry in the index and are not asked for: an entry takes some 40 bytes and
 * dirties a page, question and reference some 40 bytes of wire. Most of them are tiny files.
 */
export const indexedBlockSizeMin = 256;
/** Index entries that led nowhere, until the next commit looks at them again: 64 MiB of blocks. */
export const badHintsMax = 1024;
/** Files from this size on travel in the large lane and commit alone. */
export const largeFileSize = 4 * 1024 * 1024;
/** 2^53-1: what a JavaScript number counts exactly. */
export const fileSizeMax = Number.MAX_SAFE_INTEGER;
export const linkTargetSizeMax = 4095;
/**
 * Extended attributes of one entry, names and values: btrfs holds about as much of one value, ext4
 * usually 4 KiB of all; a Listing of 4,096 entries with some stays one of half a frame.
 */
export const xattrsSizeMax = 16 * 1024;
/** Of those that a receiver could not set, a sender remembers so many: some 10 MB. */
export const refusedXattrsMax = 100_000;
/** Messages for people inside frames. */
export const textSizeMax = 1024;
/** Bytes sent and not yet credited: bounds the receiver's memory and the socket's queue. */
export const windowBytesMax = 8 * 1024 * 1024;
/**
 * The large lane may keep this much of the link's time queued beyond the round trip: what a small
 * save waits behind it. A window of the rate alone collapses where the round trip is longer.
 */
export const largeLaneQueueMs = 50;
export const largeLaneWindowMin = 256 * 1024;
/** Accept to TLS done, and TLS done to Hello: absolute. */
export const handshakeMs = 10_000;
/** Silence after which a ping goes out, and after which the link counts as dead. */
export const pingAfterMs = 5_000;
export const deadAfterMs = 20_000;
/**
 * One frame must complete within this once its header came, and within what its bytes take at the
 * slowest rate of a link that is of use: half a MiB of a comparison takes a GPRS modem minutes.
 */
export const frameMs = 30_000;
export const slowestBytesPerSecond = 1024;
/** Reconnect: exponential with full jitter between these, forever. */
export const reconnectMinMs = 200;
export const reconnectMaxMs = 15_000;
/** Unauthenticated connections at a time, in all and from one address. */
export const strangersMax = 64;
export const strangersPerAddressMax = 16;
/** Levels of directories; deeper entries are reported and skipped. */
export const depthMax = 1000;
/** Frames are gathered into writes of up to this: a 256 KiB data frame and its piece headers fit. */
export const writeSizeMax = 320 * 1024;
/** Bytes handed to a socket and not yet taken by the system, beyond which senders wait. */
export const writeQueueBytesMax = 1024 * 1024;
/** A receiver credits handled bytes in these steps, and what is left when it has been idle. */
export const creditStepBytes = 128 * 1024;
export const creditIdleMs = 10;
/** How long a closing side waits for the peer to take its last frame and close too. */
export const closeLingerMs = 2_000;
/**
 * TLS records one key may encrypt with AES (RFC 8446 section 5.5: 2^24.5; node has no key update).
 * From the first number on (64 GiB) the next connection is one whose key does not wear out, at the
 * second one (256 GiB) this one breaks.
 */
export const tlsRecordsWorn = 2 ** 22;
export const tlsRecordsMax = 2 ** 24;
/** Stages a sender may have open: a commit of medium files has at most 17, and one large file. */
export const openStagesMax = 32;
/** Files up to this size travel inside their operation: several must fit in a frame. */
export const inlineFileSize = 256 * 1024;
/** Two looks at a file must be this far apart before its times are believed: FAT counts 2 s. */
export const trustAfterMs = 2000;
/** Names that are not tried again for a while, remembered: about 20 MB. Beyond them the oldest is tried at once. */
export const pausedNamesMax = 100_000;
/** Changes found and not yet durable: bounds the sender's memory; the scan finds the rest again. */
export const queuedChangesMax = 6_000;
/** Live connections of one key: a sender has one, and half-open ones die within deadAfterMs. */
export const connectionsPerKeyMax = 16;
/** A refused stranger is reported at most once in this time: the log cannot be flooded. */
export const strangerReportMs = 10_000;
/** Commits staged and not yet durable: one being written, the others the next group. */
export const queuedCommitsMax = 8;
export const queuedCommitBytesMax = 256 * 1024 * 1024;
/** Operations made durable together: bounds descriptors, records in memory and one transaction. */
export const groupOperationsMax = 2048;
/** Blocks of staged content that later pieces may refer to before the index has them: 16 MiB. */
export const pendingBlocksMax = 65_536;
/** Blocks that lie side by side are read together up to this: system calls become noise. */
export const blockRunSizeMax = 1024 * 1024;
/** Work between two turns of the event loop, of either what is less: content put together, steps applied. */
export const stagingSliceBytes = 8 * 1024 * 1024;
export const stagingSliceMs = 20;
/**
 * Stages that were cut short and may be gone on with, no more than what is free besides: their
 * block lists take up to 34 bytes a block of memory, 140 MiB in all.
 */
export const unfinishedBytesMax = 64 * 1024 ** 3;
export const unfinishedCountMax = 32;
export const unfinishedAgeMs = 24 * 60 * 60 * 1000;
/** Staged files that are flushed one by one; with more, flushing the file system is cheaper. */
export const singleFlushesMax = 8;
/** Pieces in one frame: bounds what decoding it makes. */
export const piecesPerFrameMax = 2048;
/** New directories of one commit that are completed before they are placed: each holds a descriptor. */
export const stagedFoldersMax = 32;
/** Frames packed together: what one packed frame may become when it is unpacked. */
export const packedSizeMax = 512 * 1024;
/** Below this the few bytes saved are not worth a turn of the compressor. */
export const packedSizeMin = 64;
/** Threads of --scan-jobs: each has memory of its own. */
export const scanJobsMax = 64;

/**
 * A file that nobody touched lately is looked at this often, as far as --cpu-limit goes; in small
 * trees more often, at next to no cost.
 */
export const sweepPeriodMs = 5000;
/** A directory that changed is listed in each tick for this long... */
export const hotMs = 120_000;
/** ...unless so many others changed after it: then its turn comes with the sweep. */
export const hotFoldersMax = 4096;
/**
 * The sender's memory for hashes of what it read lately, by which changed blocks are sent as
 * patches: of about 1 GiB of files up to 16 MiB, 4 GiB of larger ones. A push that ends writes as
 * much to disk, unless less than `grainsSavedShare` of it is new.
 */
export const grainBytesMax = 64 * 1024 * 1024;
export const grainsSavedShare = 1 / 16;
/**
 * Ranges of base versions in one GetGrains, and grains in its answer: 256 KiB. A receiver reads at
 * most `grainSizeMax` bytes for each: 64 MiB a question.
 */
export const askedRangesMax = 4096;
export const askedGrainsMax = 65_536;
export const grainSizeMin = 64;
export const grainSizeMax = 1024;
/**
 * Bytes a receiver reads for the grains of one sender between two commits; what is asked beyond is
 * answered as if it were not there. A minute's work, and as much as the largest edit has use for.
 */
export const grainReadBytesMax = 64 * 1024 ** 3;
/** Gaps below this in all are refined however fast the link is: less is not worth a calculation. */
export const refinedUnaskedBytesMin = 1024 * 1024;
/** Directories in one Verify: bounds what a verifier holds of both trees at a time. */
export const verifyIdsMax = 256;
/** Blocks of one file in one Checked: a quarter of a frame. */
export const checkedBlocksMax = 14_000;
/** Verifiers at a time: each reads the whole replica. */
export const verifiersMax = 2;
/** Programs that ask a running one at a time, what they may ask with, and how long that may take. */
export const controlClientsMax = 64;
export const controlRequestSizeMax = 64 * 1024;
export const controlRequestMs = 10_000;
/** A push that says nothing for this long hangs, or was stopped; a flush may take as long as it likes. */
export const controlAnswerMs = 10_000;
/** `list` of 20,000 changes with long names. */
export const controlAnswerSizeMax = 64 * 1024 * 1024;
/**
 * What a receiver remembers of its commits for `replica log`: two files of this size, of some
 * 100,000 operations; and one commit in it, at most 256 operations with long paths.
 */
export const commitLogFileSizeMax = 8 * 1024 * 1024;
export const commitLogLineSizeMax = 64 * 1024;
/** Names of which a sender remembers since when they are in sync: some 10 MB. */
export const syncTimesMax = 50_000;
/** Files that wait for --settle at a time: 20 MB. With more, the oldest wait until they are old. */
export const settlingMax = 100_000;

// Question 1: do the sender's two layers (observed, confirmed) come back to the truth whatever
// the connection, the processes and the source do meanwhile?
// Question 2: what does a small save wait behind a large file, and what memory does it cost, as a
// function of the large lane's window?
//
// Everything is in memory and seeded; nothing from src/.
//   node dist/bench/experiments/layers.js [--seeds 5000] [--first 1] [--steps 120] [--break NAME]
//     [--moves split|grouped|sorted]
// --break shows that the laws can fail: keep-observed, pair-by-name, ignore-rejected, hold-displaced.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    seeds: { type: 'string', default: '5000' },
    first: { type: 'string', default: '1' },
    steps: { type: 'string', default: '120' },
    break: { type: 'string', default: '' },
    /** Renames of a tick: anywhere, in one commit, or in one commit with parents first. */
    moves: { type: 'string', default: 'sorted' },
    part: { type: 'string', default: 'laws,link' },
  },
});

// --- Trees of nodes, and the one function by which all three copies change. ---

interface Entry {
  readonly id: number;
  readonly kind: 'file' | 'directory';
  /** Identity at the source; never used twice, as inode with birthtime is not. */
  readonly ino: number;
  /** Content version; 0 for directories. */
  readonly content: number;
}
interface Placed {
  readonly parent: number;
  readonly name: string;
  readonly entry: Entry;
}
type Operation =
  | { readonly kind: 'put'; readonly parent: number; readonly name: string; readonly entry: Entry }
  | { readonly kind: 'move'; readonly id: number; readonly parent: number; readonly name: string }
  | { readonly kind: 'remove'; readonly id: number };

const rootId = 1;
/** Parent of what a commit displaced and has not placed again. */
const limbo = -1;

class Tree {
  /** By node id. The root is not in it. */
  readonly nodes: Map<number, Placed>;

  constructor(nodes: ReadonlyMap<number, Placed> = new Map()) {
    this.nodes = new Map(nodes);
  }

  at(parent: number, name: string): Placed | undefined {
    for (const placed of this.nodes.values()) {
      if (placed.parent === parent && placed.name === name) return placed;
    }
    return undefined;
  }

  list(parent: number): Placed[] {
    return [...this.nodes.values()].filter(placed => placed.parent === parent);
  }

  isDirectory(id: number): boolean {
    return id === rootId || this.nodes.get(id)?.entry.kind === 'directory';
  }

  /** True if `id` is `above` or lies somewhere below it. */
  isWithin(id: number, above: number): boolean {
    for (let at: number | undefined = id; at !== undefined; at = this.nodes.get(at)?.parent) {
      if (at === above) return true;
    }
    return false;
  }

  /** Removes a node and everything below. */
  drop(id: number): void {
    for (const child of this.list(id)) this.drop(child.entry.id);
    this.nodes.delete(id);
  }

  /** Applies one commit without `refused`. Gives the indices of all that was not done. */
  commit(operations: readonly Operation[], refused: readonly number[] = []): number[] {
    const rejected: number[] = [];
    for (const [i, operation] of operations.entries()) {
      if (refused.includes(i) || !this.#apply(operation)) rejected.push(i);
    }
    for (const { entry } of this.list(limbo)) this.drop(entry.id);
    return rejected;
  }

  digest(): string {
    const sum = Buffer.alloc(16);
    for (const { parent, name, entry } of this.nodes.values()) {
      const text = `${parent} ${name} ${entry.id} ${entry.kind} ${entry.ino} ${entry.content}`;
      const digest = createHash('md5').update(text).digest();
      for (let i = 0; i < 16; i++) sum[i] = (sum[i] ?? 0) ^ (digest[i] ?? 0);
    }
    return sum.toString('hex');
  }

  /** Paths with kind and content: what a person sees. */
  picture(parent = rootId, prefix = ''): string[] {
    return this.list(parent)
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .flatMap(({ name, entry }) => [
        `${prefix}${name} ${entry.kind} ${entry.content}`,
        ...this.picture(entry.id, `${prefix}${name}/`),
      ]);
  }

  #apply(operation: Operation): boolean {
    if (operation.kind === 'remove') {
      const placed = this.nodes.get(operation.id);
      if (placed === undefined) return false;
      this.#displace(placed);
      return true;
    }
    const { parent, name } = operation;
    const id = operation.kind === 'put' ? operation.entry.id : operation.id;
    const entry = operation.kind === 'put' ? operation.entry : this.nodes.get(id)?.entry;
    if (entry === undefined || !this.isDirectory(parent) || this.isWithin(parent, id)) return false;
    const there = this.at(parent, name);
    if (there !== undefined && there.entry.id !== id) this.#displace(there);
    this.nodes.set(id, { parent, name, entry });
    return true;
  }

  #displace({ entry }: Placed): void {
    this.nodes.set(entry.id, { parent: limbo, name: `${entry.id}`, entry });
  }
}

// --- The source, which changes at random. ---

class Source {
  readonly tree = new Tree();
  readonly #random: () => number;
  #nextIno = 1000;

  constructor(random: () => number) {
    this.#random = random;
  }

  mutate(): void {
    const { tree } = this;
    const all = [...tree.nodes.values()];
    const folders = [rootId, ...all.filter(p => p.entry.kind === 'directory').map(p => p.entry.id)];
    const parent = this.#pick(folders);
    const name = this.#pick(['a', 'b', 'c', 'd']);
    const some = all.length > 0 ? this.#pick(all) : undefined;
    const what = this.#random();
    if (some === undefined || what < 0.35) {
      const ino = this.#nextIno++;
      const kind = this.#random() < 0.35 ? 'directory' : 'file';
      const content = kind === 'file' ? this.#nextIno : 0;
      const there = tree.at(parent, name);
      // Save in place or by rename; directories are removed first.
      if (there?.entry.kind === 'directory' && this.#random() < 0.7) return;
      if (there !== undefined) tree.drop(there.entry.id);
      tree.nodes.set(ino, { parent, name, entry: { id: ino, kind, ino, content } });
    } else if (what < 0.5) {
      if (some.entry.kind !== 'file') return;
      const entry = { ...some.entry, content: this.#nextIno++ };
      tree.nodes.set(entry.id, { ...some, entry });
    } else if (what < 0.8) {
      if (tree.isWithin(parent, some.entry.id)) return;
      const there = tree.at(parent, name);
      if (there !== undefined && tree.isWithin(some.parent, there.entry.id)) return;
      if (there !== undefined) tree.drop(there.entry.id);
      tree.nodes.set(some.entry.id, { parent, name, entry: some.entry });
    } else if (what < 0.9) {
      // Swap two nodes, of any kind, neither within the other.
      const other = this.#pick(all);
      if (tree.isWithin(other.entry.id, some.entry.id)) return;
      if (tree.isWithin(some.entry.id, other.entry.id)) return;
      tree.nodes.set(some.entry.id, { ...other, entry: some.entry });
      tree.nodes.set(other.entry.id, { ...some, entry: other.entry });
    } else tree.drop(some.entry.id);
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#random() * list.length)] ?? assert.fail();
  }
}

// --- Receiver: applies commits in order; durable a little later. ---

interface Commit {
  readonly number: number;
  readonly operations: readonly Operation[];
}
type Answer =
  | {
      readonly kind: 'durable';
      readonly number: number;
      readonly digest: string;
      readonly rejected: readonly number[];
    }
  | { readonly kind: 'lost'; readonly ids: readonly number[]; readonly digest: string };

class Receiver {
  tree = new Tree();
  watermark = 0;
  refusedCount = 0;
  #volatile: { readonly commit: Commit }[] = [];

  accept(commit: Commit): void {
    this.#volatile.push({ commit });
  }

  /** Makes the oldest accepted commit durable. */
  flush(random: () => number): Answer | undefined {
    const next = this.#volatile.shift();
    if (next === undefined) return undefined;
    // Now and then the file system refuses: only the receiver can know.
    const refused = [...next.commit.operations.keys()].filter(() => random() < 0.02);
    this.refusedCount += refused.length;
    const rejected = this.tree.commit(next.commit.operations, refused);
    this.watermark = next.commit.number;
    return { kind: 'durable', number: this.watermark, digest: this.tree.digest(), rejected };
  }

  /** A stranger removed something; the receiver noticed, and forgets it and what is below. */
  forget(id: number): Answer {
    this.tree.drop(id);
    return { kind: 'lost', ids: [id], digest: this.tree.digest() };
  }

  /** The connection or the process ended: what was not durable never happened. */
  drop(): void {
    this.#volatile = [];
  }
}

// --- Sender. ---

const isLarge = (entry: Entry) => entry.content % 5 === 0 && entry.kind === 'file';

class Sender {
  confirmed = new Tree();
  /** `confirmed` with all of `queue` applied: the law. */
  observed = new Tree();
  queue: Commit[] = [];
  sentCount = 0;
  lastNumber = 0;
  nextId = 2;
  isHolding = false;
  rejectedCount = 0;
  /** Content on its way in the large lane, or staged there: left === 0. By content. */
  readonly large = new Map<number, number>();

  /** A tick: lists some directories, in some order, and queues what differs from `observed`. */
  tick(source: Source, random: () => number, share: number): void {
    const vanished: Placed[] = [];
    const appeared: Placed[] = [];
    const updates: Operation[] = [];
    const folders = [rootId, ...this.observed.nodes.keys()]
      .filter(id => this.observed.isDirectory(id) && random() < share)
      .sort(() => random() - 0.5);
    for (const id of folders) {
      const at = this.#find(source, id);
      if (at === undefined) continue;
      const now = new Map(source.tree.list(at).map(placed => [placed.name, placed.entry]));
      for (const old of this.observed.list(id)) {
        const entry = now.get(old.name);
        const isSame = options.break === 'pair-by-name' || entry?.ino === old.entry.ino;
        if (entry === undefined || !isSame || entry.kind !== old.entry.kind) {
          vanished.push(old);
          continue;
        }
        now.delete(old.name);
        if (entry.content !== old.entry.content && this.#isReady(entry)) {
          updates.push({ ...old, kind: 'put', entry: { ...entry, id: old.entry.id } });
        }
      }
      for (const [name, entry] of now) appeared.push({ parent: id, name, entry });
      // The source does not stand still while it is scanned.
      if (share < 1 && random() < 0.3) source.mutate();
    }
    this.#queue(vanished, appeared, updates, random);
  }

  /** Answers come in order. */
  handle(answer: Answer): void {
    if (answer.kind === 'durable') {
      const commit = this.queue.shift() ?? assert.fail('durable without a commit');
      assert.equal(commit.number, answer.number);
      this.sentCount--;
      const rejected = this.confirmed.commit(commit.operations, answer.rejected);
      assert.deepEqual(rejected, answer.rejected, 'both sides reject alike');
      this.rejectedCount += rejected.length;
      if (rejected.length > 0 && options.break !== 'ignore-rejected') this.refold();
    } else {
      for (const id of answer.ids) this.confirmed.drop(id);
      this.refold();
    }
    assert.equal(this.confirmed.digest(), answer.digest, 'confirmed = receiver, at each answer');
  }

  /** A new connection: what the receiver has is the truth; what was queued is found again. */
  welcome(receiver: Receiver): 'same' | 'adopted' {
    // Commits that became durable although their answer was lost.
    while (this.sentCount > 0 && (this.queue[0]?.number ?? Infinity) <= receiver.watermark) {
      this.confirmed.commit(this.queue.shift()?.operations ?? []);
      this.sentCount--;
    }
    const isSame = this.confirmed.digest() === receiver.tree.digest();
    if (!isSame) this.confirmed = new Tree(receiver.tree.nodes);
    this.queue = [];
    this.sentCount = 0;
    this.lastNumber = receiver.watermark;
    this.nextId = Math.max(this.nextId, 1 + Math.max(1, ...receiver.tree.nodes.keys()));
    if (options.break !== 'keep-observed') this.refold();
    return isSame ? 'same' : 'adopted';
  }

  refold(): void {
    this.observed = this.fold();
  }

  fold(): Tree {
    const tree = new Tree(this.confirmed.nodes);
    for (const { operations } of this.queue) tree.commit(operations);
    return tree;
  }

  /** The source's directory for an observed one: every step of the path must be the same node. */
  #find(source: Source, id: number): number | undefined {
    if (id === rootId) return rootId;
    const placed = this.observed.nodes.get(id) ?? assert.fail();
    const above = this.#find(source, placed.parent);
    if (above === undefined) return undefined;
    const there = source.tree.at(above, placed.name);
    return there?.entry.ino === placed.entry.ino ? there.entry.id : undefined;
  }

  /** Small content goes inline; large content must be staged first, and is absent until then. */
  #isReady(entry: Entry): boolean {
    if (!isLarge(entry) || options.break === 'early-large') return true;
    if (!this.large.has(entry.content)) this.large.set(entry.content, 3);
    return this.large.get(entry.content) === 0;
  }

  #queue(
    vanished: readonly Placed[],
    appeared: readonly Placed[],
    updates: readonly Operation[],
    random: () => number,
  ): void {
    const byIno = new Map(vanished.map(placed => [placed.entry.ino, placed]));
    const gone = new Set(vanished);
    const moves: Operation[] = [];
    const folders: Operation[] = [];
    const files: Operation[] = [];
    for (const { parent, name, entry } of appeared) {
      const there = this.observed.at(parent, name);
      // To put something in place of a directory deletes all below it: a delete like any other.
      const isDirectory = there !== undefined && this.observed.isDirectory(there.entry.id);
      if (this.isHolding && isDirectory && options.break !== 'hold-displaced') continue;
      const from = byIno.get(entry.ino);
      if (from !== undefined && gone.has(from) && from.entry.kind === entry.kind) {
        // The old content moves; new content, if any, is found by the next tick.
        moves.push({ kind: 'move', id: from.entry.id, parent, name });
        gone.delete(from);
      } else if (entry.kind === 'directory') {
        folders.push({ kind: 'put', parent, name, entry: { ...entry, id: this.nextId++ } });
      } else if (this.#isReady(entry)) {
        files.push({ kind: 'put', parent, name, entry: { ...entry, id: this.nextId++ } });
      }
    }
    // What the name's new owner displaces needs no operation of its own.
    const placed = [...moves, ...folders, ...files].flatMap(operation =>
      operation.kind === 'remove' ? [] : [`${operation.parent} ${operation.name}`],
    );
    const displaced = new Set(placed);
    const removes = [...gone]
      .filter(({ parent, name }) => !this.isHolding && !displaced.has(`${parent} ${name}`))
      .map(({ entry }): Operation => ({ kind: 'remove', id: entry.id }));
    const before = new Map(this.observed.nodes);
    const depth = (operation: Operation): number =>
      operation.kind === 'remove' ? 0 : this.#depth(operation.parent);
    const ordered =
      options.moves === 'sorted'
        ? moves.sort((a, b) => depth(a) - depth(b))
        : shuffle(moves, random);
    if (options.moves !== 'split' && ordered.length > 0) this.#push(ordered.splice(0));
    const operations = [...ordered, ...folders, ...updates, ...files, ...removes];
    while (operations.length > 0) this.#push(operations.splice(0, 1 + Math.floor(random() * 8)));
    if (!this.isHolding || options.moves === 'split') return;
    const taken = new Set(appeared.map(({ parent, name }) => `${parent} ${name}`));
    for (const [id, { parent, name, entry }] of before) {
      const isReplaced = entry.kind === 'file' && taken.has(`${parent} ${name}`);
      assert.ok(
        this.observed.nodes.has(id) || isReplaced,
        'nothing is deleted while deletes are held',
      );
    }
  }

  #push(operations: readonly Operation[]): void {
    const commit = { number: ++this.lastNumber, operations };
    this.queue.push(commit);
    this.observed.commit(operations);
  }

  #depth(id: number): number {
    return id === rootId ? 0 : 1 + this.#depth(this.observed.nodes.get(id)?.parent ?? rootId);
  }
}

function shuffle<T>(list: readonly T[], random: () => number): T[] {
  return list
    .map(item => ({ item, key: random() }))
    .sort((a, b) => a.key - b.key)
    .map(x => x.item);
}

// --- One run. ---

interface Counts {
  commits: number;
  operations: number;
  refused: number;
  rejected: number;
  cuts: number;
  adopted: number;
  restarts: number;
  crashes: number;
  rollbacks: number;
  lost: number;
  held: number;
  staged: number;
  overlapMax: number;
}

function runSeed(seed: number, steps: number, counts: Counts): void {
  const random = seeded(seed);
  const source = new Source(random);
  const receiver = new Receiver();
  const sender = new Sender();
  let toReceiver: Commit[] = [];
  let toSender: Answer[] = [];
  /** What the sender's disk holds of `confirmed`; may lag. */
  let kept = new Tree();
  let isQuiet = false;
  let old = { tree: new Tree(), watermark: 0 };

  const cut = () => {
    toReceiver = [];
    toSender = [];
    receiver.drop();
    counts.cuts++;
    if (random() < 0.5) sender.large.clear();
    if (sender.welcome(receiver) === 'adopted') counts.adopted++;
  };
  const send = () => {
    const commit = sender.queue[sender.sentCount];
    if (commit === undefined) return;
    sender.sentCount++;
    counts.commits++;
    counts.operations += commit.operations.length;
    toReceiver.push(commit);
  };
  const receive = () => {
    const commit = toReceiver.shift();
    if (commit !== undefined) receiver.accept(commit);
  };
  const flush = () => {
    const answer = receiver.flush(isQuiet ? () => 1 : random);
    if (answer !== undefined) toSender.push(answer);
  };
  const answer = () => {
    const next = toSender.shift();
    if (next === undefined) return;
    sender.handle(next);
    if (random() < 0.5) kept = new Tree(sender.confirmed.nodes);
  };
  const upload = () => {
    for (const [content, left] of sender.large) {
      if (left === 0) continue;
      sender.large.set(content, left - 1);
      if (left === 1) counts.staged++;
      return;
    }
  };

  for (let step = 0; step < steps; step++) {
    const what = random();
    if (what < 0.3) for (let n = random() * 4; n > 0; n--) source.mutate();
    else if (what < 0.5) sender.tick(source, random, 0.2 + random() * 0.6);
    else if (what < 0.6) send();
    else if (what < 0.7) receive();
    else if (what < 0.78) flush();
    else if (what < 0.87) answer();
    else if (what < 0.92) upload();
    else if (what < 0.94) {
      sender.isHolding = !sender.isHolding;
      counts.held++;
    } else if (what < 0.96) cut();
    else if (what < 0.97) {
      // The sender's process dies: only what its disk holds of `confirmed` is left.
      sender.confirmed = new Tree(kept.nodes);
      sender.observed = new Tree(kept.nodes);
      sender.queue = [];
      sender.sentCount = 0;
      sender.large.clear();
      counts.restarts++;
      cut();
    } else if (what < 0.98) {
      counts.crashes++;
      cut();
    } else if (what < 0.985) {
      // The receiver comes back from an older backup.
      receiver.tree = new Tree(old.tree.nodes);
      receiver.watermark = old.watermark;
      counts.rollbacks++;
      cut();
    } else if (receiver.tree.nodes.size > 0) {
      const ids = [...receiver.tree.nodes.keys()];
      toSender.push(receiver.forget(ids[Math.floor(random() * ids.length)] ?? assert.fail()));
      counts.lost++;
    }
    if (random() < 0.02)
      old = { tree: new Tree(receiver.tree.nodes), watermark: receiver.watermark };
    counts.overlapMax = Math.max(counts.overlapMax, sender.sentCount);
    const isLaw = sender.observed.digest() === sender.fold().digest();
    assert.ok(isLaw, `seed ${seed} step ${step}: observed = confirmed + queue`);
  }

  // Quiet: the source rests, the connection holds, deletes are released.
  sender.isHolding = false;
  isQuiet = true;
  let rounds = 0;
  for (let idle = 0; idle < 3; rounds++) {
    assert.ok(rounds < 100, `seed ${seed}: does not come to rest`);
    sender.tick(source, random, 1);
    for (let n = 0; n < 20; n++) upload();
    const isIdle = sender.queue.length === 0 && toReceiver.length === 0 && toSender.length === 0;
    idle = isIdle ? idle + 1 : 0;
    while (sender.queue.length > 0 || toSender.length > 0) {
      send();
      receive();
      flush();
      answer();
    }
  }
  counts.rejected += sender.rejectedCount - receiver.refusedCount;
  counts.refused += receiver.refusedCount;
  const where = `seed ${seed}`;
  assert.deepEqual(receiver.tree.picture(), source.tree.picture(), `${where}: receiver = source`);
  assert.equal(sender.confirmed.digest(), receiver.tree.digest(), `${where}: confirmed = receiver`);
  assert.equal(
    sender.observed.digest(),
    sender.confirmed.digest(),
    `${where}: observed = confirmed`,
  );
  // A restart from nothing finds nothing to do.
  sender.confirmed = new Tree();
  sender.welcome(receiver);
  sender.tick(source, random, 1);
  assert.equal(sender.queue.length, 0, `${where}: nothing to do after a restart`);
}

function runLaws(): void {
  const counts: Counts = {
    commits: 0,
    operations: 0,
    refused: 0,
    rejected: 0,
    cuts: 0,
    adopted: 0,
    restarts: 0,
    crashes: 0,
    rollbacks: 0,
    lost: 0,
    held: 0,
    staged: 0,
    overlapMax: 0,
  };
  const first = Number(options.first);
  const seeds = Number(options.seeds);
  const failures = new Map<string, number>();
  for (let seed = first; seed < first + seeds; seed++) {
    try {
      runSeed(seed, Number(options.steps), counts);
    } catch (error) {
      const text = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
      const key = text.replace(/seed \d+( step \d+)?: /, '');
      if (!failures.has(key)) console.log(`first failure of its kind: seed ${seed}`, error);
      failures.set(key, (failures.get(key) ?? 0) + 1);
    }
  }
  console.log(
    `\nlaws: seeds ${first} to ${first + seeds - 1}, ${options.steps} steps each; renames ${options.moves}; broken on purpose: ${options.break || 'nothing'}\n`,
  );
  console.log(`| ${Object.keys(counts).join(' | ')} |`);
  console.log(`|${'--:|'.repeat(Object.keys(counts).length)}`);
  console.log(`| ${Object.values(counts).join(' | ')} |\n`);
  console.log('| law broken | seeds |\n|---|--:|');
  if (failures.size === 0) console.log('| none | 0 |');
  for (const [text, count] of failures) console.log(`| ${text} | ${count} |`);
}

// --- The link. ---

interface Link {
  readonly bytesPerSecond: number;
  readonly oneWayMs: number;
  /** The receiver's disk: what a flush costs at least, and per byte written since the last. */
  readonly flushMs: number;
  readonly diskBytesPerSecond: number;
}
interface LinkResult {
  readonly latencies: number[];
  readonly inFlightMax: number;
  readonly seconds: number;
  /** Of the link's rate, used by the large lane. */
  readonly share: number;
}

type Window =
  | { readonly kind: 'none' }
  | { readonly kind: 'fixed'; readonly size: number }
  /** So much time of the measured credit rate. */
  | { readonly kind: 'rate'; readonly ms: number }
  /** The same, on top of the shortest round trip seen. */
  | { readonly kind: 'rate and round trip'; readonly ms: number };
const windowMin = 256 * 1024;

/**
 * Discrete events: one FIFO pipe, a receiver that handles frames one after the other and credits
 * them, ten saves a second of 1 to 40 KiB, each a commit of its own, sent as soon as they happen.
 * `countsAll`: small frames in flight use up the large lane's window too.
 */
function runLink(link: Link, window: Window, countsAll: boolean): LinkResult {
  const random = seeded(7);
  const piece = 64 * 1024;
  const largeSize = window.kind === 'none' ? 0 : 2 ** 30;
  const events = new Heap();
  const latencies: number[] = [];
  let pipeFreeAt = 0;
  let receiverFreeAt = 0;
  let inFlight = 0;
  let largeInFlight = 0;
  let inFlightMax = 0;
  let largeSent = 0;
  let largeDone = 0;
  let dirty = 0;
  let rate = 0;
  let roundTripMs = Number.POSITIVE_INFINITY;
  let creditedSince = 0;
  let measuredAt = 0;
  let now = 0;
  let endAt = 0;
  const isOver = () => largeDone >= largeSize || now > giveUpMs;

  const limit = () => {
    if (window.kind === 'none') return 0;
    if (window.kind === 'fixed') return window.size;
    const extra = window.kind === 'rate' || rate === 0 ? 0 : roundTripMs;
    return Math.max(windowMin, (rate * (window.ms + extra)) / 1000);
  };
  const transmit = (size: number, isLarge: boolean, done: () => void) => {
    const sentAt = now;
    inFlight += size;
    if (isLarge) largeInFlight += size;
    inFlightMax = Math.max(inFlightMax, inFlight);
    pipeFreeAt = Math.max(pipeFreeAt, now) + (size / link.bytesPerSecond) * 1000;
    events.push(pipeFreeAt + link.oneWayMs, () => {
      receiverFreeAt = Math.max(receiverFreeAt, now);
      done();
      // Credit goes back when the frame was handled.
      events.push(receiverFreeAt + link.oneWayMs, () => {
        inFlight -= size;
        if (isLarge) largeInFlight -= size;
        roundTripMs = Math.min(roundTripMs, now - sentAt);
        creditedSince += size;
        if (now - measuredAt >= 100) {
          const measured = (creditedSince / (now - measuredAt)) * 1000;
          rate = rate === 0 ? measured : rate * 0.7 + measured * 0.3;
          measuredAt = now;
          creditedSince = 0;
        }
        pump();
      });
    });
  };
  const pump = () => {
    while (largeSent < largeSize && !isOver()) {
      if ((countsAll ? inFlight : largeInFlight) + piece > limit()) return;
      largeSent += piece;
      transmit(piece, true, () => {
        dirty += piece;
        receiverFreeAt += (piece / 1e9) * 1000;
        largeDone += piece;
        endAt = now;
      });
    }
  };
  const save = () => {
    const size = 1024 + Math.floor(random() * 39 * 1024);
    const at = now;
    transmit(size, false, () => {
      // `sync -f` flushes the large file's pages too. The flush runs beside the handling.
      const flushed = now + link.flushMs + ((dirty + size) / link.diskBytesPerSecond) * 1000;
      dirty = 0;
      events.push(flushed + link.oneWayMs, () => latencies.push(now - at));
    });
    const isMore = window.kind === 'none' ? latencies.length < 1000 : !isOver();
    if (isMore) events.push(now + 50 + random() * 100, save);
  };
  events.push(0, pump);
  events.push(0, save);
  for (let next = events.pop(); next !== undefined; next = events.pop()) {
    now = next.at;
    next.run();
  }
  return {
    latencies,
    inFlightMax,
    seconds: endAt / 1000,
    share: (largeDone / endAt / link.bytesPerSecond) * 1000,
  };
}

/** Simulated; a lane this slow has starved. */
const giveUpMs = 4e6;

class Heap {
  readonly #items: { readonly at: number; readonly order: number; readonly run: () => void }[] = [];
  #order = 0;

  push(at: number, run: () => void): void {
    const item = { at, order: this.#order++, run };
    let low = 0;
    let high = this.#items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.#items[middle] ?? assert.fail();
      if (other.at < at || (other.at === at && other.order < item.order)) high = middle;
      else low = middle + 1;
    }
    this.#items.splice(low, 0, item);
  }

  pop() {
    return this.#items.pop();
  }
}

function runLinks(): void {
  const base = { flushMs: 15, diskBytesPerSecond: 200e6 };
  const links: readonly (readonly [string, Link])[] = [
    ['5 MB/s, 20 ms round trip', { ...base, bytesPerSecond: 5e6, oneWayMs: 10 }],
    ['5 MB/s, 200 ms round trip', { ...base, bytesPerSecond: 5e6, oneWayMs: 100 }],
    ['5 MB/s, 600 ms round trip', { ...base, bytesPerSecond: 5e6, oneWayMs: 300 }],
    ['100 MB/s, 20 ms round trip', { ...base, bytesPerSecond: 100e6, oneWayMs: 10 }],
    ['1 MB/s, 50 ms round trip', { ...base, bytesPerSecond: 1e6, oneWayMs: 25 }],
  ];
  const sizes = [64, 256, 1024, 4096, 16384];
  const windows: readonly (readonly [string, Window, boolean])[] = [
    ['no large file', { kind: 'none' }, false],
    ...sizes.map(
      kib => [`${kib} KiB`, { kind: 'fixed' as const, size: kib * 1024 }, false] as const,
    ),
    ['64 KiB of all lanes', { kind: 'fixed', size: 64 * 1024 }, true],
    ['256 KiB of all lanes', { kind: 'fixed', size: 256 * 1024 }, true],
    ['250 ms of rate', { kind: 'rate', ms: 250 }, false],
    ['100 ms of rate', { kind: 'rate', ms: 100 }, false],
    ['round trip + 50 ms of rate', { kind: 'rate and round trip', ms: 50 }, false],
    ['round trip + 250 ms of rate', { kind: 'rate and round trip', ms: 250 }, false],
  ];
  for (const [name, link] of links) {
    console.log(`\nlink: ${name}; 1 GiB in the large lane, ten saves of 1 to 40 KiB a second\n`);
    console.log(
      '| window | median ms | p99 ms | max ms | in flight max KiB | large lane of link |',
    );
    console.log('|---|--:|--:|--:|--:|--:|');
    for (const [label, window, countsAll] of windows) {
      const { latencies, inFlightMax, seconds, share } = runLink(link, window, countsAll);
      latencies.sort((a, b) => a - b);
      const at = (q: number) => (latencies[Math.floor((latencies.length - 1) * q)] ?? 0).toFixed(0);
      const use = seconds > 0 ? `${(share * 100).toFixed(0)}%` : '';
      const kib = (inFlightMax / 1024).toFixed(0);
      console.log(`| ${label} | ${at(0.5)} | ${at(0.99)} | ${at(1)} | ${kib} | ${use} |`);
    }
  }
}

/** Mulberry32. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

if (options.part.includes('laws')) runLaws();
if (options.part.includes('link')) runLinks();

// The power of a receiver's machine fails: its destination and state lie on an ext4 image, the image
// on a file system with reflinks. A clone of the image, taken while everything runs, is what the
// disk holds at that instant: what the system had not yet handed to the disk is lost.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { memoryPair } from '../../src/net/memory-pair.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import { Sender } from '../../src/sender/sender.ts';
import { copyState } from './copy-state.ts';
import { Fuse } from './crashing-directory.ts';
import { randomProgram } from './model-program.ts';
import { command, mountPoint, mountReflinks, type Undoing } from './mounts.ts';
import { pushOnce, senderOptions } from './push-once.ts';
import { randomInteger, seededRandom } from './random.ts';
import { collectingLog, receiverDefaults } from './receivers.ts';
import { applyOperation, Versions } from './source-steps.ts';
import { compareReadTrees, compareTrees, readTree, type TreeEntry } from './tree.ts';

export interface PowerLossOptions {
  readonly seed: number;
  /** Clones of the image that are looked at. */
  readonly images: number;
  readonly undoing: Undoing;
  readonly say?: (text: string) => void;
}

export interface PowerLossOutcome {
  readonly problems: readonly string[];
  readonly atAcknowledgements: number;
  readonly atRandom: number;
  /** Images in which a commit was half done. */
  readonly halfDone: number;
}

type Tree = ReadonlyMap<string, TreeEntry>;

interface Clone {
  readonly image: string;
  /** Of the sender at that instant; undefined: it lost everything. */
  readonly state: string;
  readonly when: string;
}

const neverMs = 3_600_000;
const operationsPerRound = 8;
const clonesPerRound = 3;
const labels = ['flush', 'intents', 'attributes', 'applied', 'records', 'written'];

/** Throws only for what is no fault of the receiver. */
export async function powerLossStory(
  options: PowerLossOptions,
): Promise<PowerLossOutcome | { readonly skip: string }> {
  const reflinks = mountReflinks(options.undoing);
  if ('skip' in reflinks) return reflinks;
  const story = new Story(options, reflinks.folder);
  await story.open();
  try {
    while (story.count < options.images && story.problems.length === 0) await story.round();
  } finally {
    await story.close();
  }
  return story;
}

class Story implements PowerLossOutcome {
  readonly problems: string[] = [];
  atAcknowledgements = 0;
  atRandom = 0;
  halfDone = 0;
  readonly #options: PowerLossOptions;
  readonly #folder: string;
  readonly #random: () => number;
  readonly #image: string;
  readonly #disk: string;
  readonly #cloneDisk: string;
  readonly #source: string;
  readonly #fuse = new Fuse();
  readonly #versions = new Versions();
  readonly #stop = new AbortController();
  #receiver: Receiver | undefined;
  #sender: Sender | undefined;
  #running: Promise<void> = Promise.resolve();
  #due: { readonly at: number | string }[] = [];
  #clones: Clone[] = [];
  #cloneCount = 0;
  #rounds = 0;
  #last: Tree = new Map();

  constructor(options: PowerLossOptions, folder: string) {
    this.#options = options;
    this.#folder = folder;
    this.#random = seededRandom(options.seed);
    this.#image = join(folder, 'disk.ext4');
    this.#disk = mountPoint(options.undoing);
    this.#cloneDisk = mountPoint(options.undoing);
    this.#source = join(folder, 'source');
    this.#fuse.before = () => this.#strike(this.#fuse.count);
  }

  get count(): number {
    return this.atAcknowledgements + this.atRandom;
  }

  async open(): Promise<void> {
    fs.writeFileSync(this.#image, '');
    fs.truncateSync(this.#image, 64 * 1024 * 1024);
    command('mkfs.ext4', '-q', '-F', this.#image);
    command('mount', '-o', 'loop', this.#image, this.#disk);
    fs.mkdirSync(this.#source);
    fs.mkdirSync(this.#target(this.#disk));
    this.#receiver = await Receiver.open({
      ...receiverDefaults,
      root: this.#target(this.#disk),
      openRoot: path => this.#fuse.openRoot(path),
      onStep: label => this.#strike(label),
    });
    const receiver = this.#receiver;
    const base = { folder: this.#folder, source: this.#source, receiver };
    const sender = await Sender.open(
      senderOptions(base, {
        once: false,
        intervalMs: neverMs,
        signal: this.#stop.signal,
        connect: async () => {
          const [near, far] = memoryPair();
          void receiver.serve(far);
          return near;
        },
      }),
    );
    this.#sender = sender;
    this.#running = (async () => {
      for await (const _event of sender.run());
    })();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#sender?.close();
    await this.#receiver?.close();
  }

  /** Some operations, and the power fails while they are replicated and right after. */
  async round(): Promise<void> {
    const seed = this.#options.seed * 100_000 + this.#rounds++;
    const { steps } = randomProgram(seed, seededRandom(seed));
    let left = operationsPerRound;
    for (const step of steps) {
      // Faults and looks of the program are not for here; what it keeps is.
      if (!('path' in step) || left-- <= 0) continue;
      applyOperation(this.#source, step, this.#versions);
    }
    const now = this.#fuse.count;
    for (let i = 1; i < clonesPerRound; i++) {
      const isStep = this.#random() < 0.4;
      const label = labels[randomInteger(this.#random, labels.length)] ?? 'intents';
      this.#due.push({ at: isStep ? label : now + 1 + randomInteger(this.#random, 20) });
    }
    const flushed = await this.#sender?.flush();
    this.#due = [];
    this.#clone('acknowledged');
    const told = JSON.stringify(flushed);
    for (const difference of compareTrees(this.#source, this.#target(this.#disk))) {
      this.problems.push(`round ${this.#rounds}, told ${told}, before any loss: ${difference}`);
    }
    const next = readTree(this.#source);
    for (const clone of this.#clones) await this.#check(clone, next);
    this.#clones = [];
    this.#last = next;
  }

  #target(disk: string): string {
    return join(disk, 'target');
  }

  #strike(at: number | string): void {
    if (!this.#due.some(one => one.at === at)) return;
    this.#due = this.#due.filter(one => one.at !== at);
    this.#clone(typeof at === 'number' ? 'before a change' : at);
  }

  #clone(when: string): void {
    const image = join(this.#folder, `clone-${this.#cloneCount}.ext4`);
    const state = join(this.#folder, `state-${this.#cloneCount++}`);
    command('cp', '--reflink=always', this.#image, image);
    copyState(join(this.#folder, 'sender-state'), state);
    this.#clones.push({ image, state, when });
  }

  async #check(clone: Clone, next: Tree): Promise<void> {
    const isAcknowledged = clone.when === 'acknowledged';
    if (isAcknowledged) this.atAcknowledgements++;
    else this.atRandom++;
    command('mount', '-o', 'loop', clone.image, this.#cloneDisk);
    const { log, lines } = collectingLog();
    const root = this.#target(this.#cloneDisk);
    const fail = (text: string): void => {
      this.problems.push(`round ${this.#rounds}, ${clone.when}: ${text}`);
    };
    try {
      this.#readAll(root, fail);
      // Its holder is this very process, which did not lose its power.
      fs.rmSync(join(root, '.replica', 'receive.lock'), { force: true });
      const receiver = await Receiver.open({ ...receiverDefaults, root, log });
      const found = readTree(root);
      const differences = compareReadTrees(next, found);
      if (isAcknowledged) for (const one of differences) fail(`lost: ${one}`);
      for (const [path, entry] of this.#last) {
        // What this round did not touch is there all the time. The root changes with its names.
        const isTouched = compareReadTrees(one(path, entry), one(path, next.get(path))).length > 0;
        if (isTouched || entry.kind === 'directory') continue;
        for (const lost of compareReadTrees(one(path, entry), one(path, found.get(path)))) {
          if (!lost.includes('hardLinks')) fail(`was durable: ${lost}`);
        }
      }
      const push = { folder: this.#folder, source: this.#source, receiver };
      // Every other time the sender's machine is the same one.
      const stateFolder = this.count % 2 === 0 ? clone.state : `${clone.state}-new`;
      const { outcome } = await pushOnce(push, { stateFolder });
      if (!outcome.inSync) fail('not in sync afterwards');
      await receiver.close();
      for (const one of compareTrees(this.#source, root)) fail(`afterwards: ${one}`);
      for (const line of lines.filter(line => /drift|^error/.test(line))) fail(line);
      if (lines.some(line => line.includes('half done'))) this.halfDone++;
      fs.rmSync(stateFolder, { recursive: true });
    } finally {
      spawnSync('umount', [this.#cloneDisk]);
      fs.rmSync(clone.image);
      fs.rmSync(clone.state, { recursive: true, force: true });
    }
    this.#options.say?.(`${this.count}: ${clone.when}, ${this.problems.length} problems`);
  }

  /** No visible file is torn, before anything is repaired. */
  #readAll(folder: string, fail: (text: string) => void): void {
    for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.name === '.replica') continue;
      if (entry.isDirectory()) this.#readAll(path, fail);
      if (entry.isFile() && !this.#versions.has(fs.readFileSync(path))) fail(`'${path}' is torn`);
    }
  }
}

function one(path: string, entry: TreeEntry | undefined): Tree {
  return new Map(entry === undefined ? [] : [[path, entry]]);
}

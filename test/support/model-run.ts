// One model program, run: the real sender and the real receiver in this process, looks of the sender
// by hand, faults where the program has them. The model is what the source is and what it ever was.
import fs from 'node:fs';
import { join } from 'node:path';
import { ReplicaError } from '../../src/errors.ts';
import { Connection } from '../../src/net/connection.ts';
import { memoryDuplexPair } from '../../src/net/memory-duplex.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import type { SenderEvent } from '../../src/sender/events.ts';
import { Sender } from '../../src/sender/sender.ts';
import { copyState } from './copy-state.ts';
import { Fuse } from './crashing-directory.ts';
import { isPrivileged } from './folders.ts';
import { auditIndex } from './index-audit.ts';
import {
  apartPath,
  type Fault,
  keepPath,
  knownNames,
  type Program,
  type Settle,
  type Step,
} from './model-program.ts';
import { pushOnce, senderOptions } from './push-once.ts';
import { collectingLog, receiverDefaults } from './receivers.ts';
import { applyOperation, Versions } from './source-steps.ts';
import { compareReadTrees, readTree, type TreeEntry } from './tree.ts';

export interface RunOutcome {
  /** Why the program failed; empty if it did not. */
  readonly problems: readonly string[];
  /** What was done, by kind. */
  readonly done: ReadonlyMap<string, number>;
  /** Files a reader of the destination opened. */
  readonly readCount: number;
}

/** Nothing in a program takes this long but a thing that never ends. */
const stuckAfterMs = 25_000;
const neverMs = 3_600_000;
/** Of changes, how many go by between two looks of the reader at everything. */
const readEvery = 3;
/** Commits of a flush while the destination refuses something, beyond which it goes round in circles. */
const flushCommitsMax = 60;
/** Looks that nobody asks for while what is refused is paused, and the commits they may make. */
const idleLooks = 4;
const idleCommitsMax = 4;
/** A look may take so long; then the next one begins. */
const lookMs = 20;
/** The pause of what was refused once or twice, and then some; longer ones are explained. */
const waitsMs = 25_000;

/** Runs a program in an empty folder; what is not equal after `stuckMs` never will be. */
export async function runProgram(
  folder: string,
  program: Program,
  stuckMs = stuckAfterMs,
): Promise<RunOutcome> {
  const run = new Run(folder, program, stuckMs);
  try {
    await run.open();
    for (const step of program.steps) {
      await run.step(step);
      if (run.problems.length > 0) break;
    }
    if (run.problems.length === 0) await run.end();
  } catch (error) {
    run.problems.push(error instanceof Error ? String(error.stack) : String(error));
  } finally {
    await run.close();
  }
  return run;
}

interface Sending {
  readonly sender: Sender;
  readonly stop: AbortController;
  readonly running: Promise<void>;
  readonly folder: string;
}

class Run implements RunOutcome {
  readonly problems: string[] = [];
  readonly done = new Map<string, number>();
  readCount = 0;
  readonly #folder: string;
  readonly #stuckMs: number;
  readonly #options: NonNullable<Program['options']>;
  readonly #source: string;
  readonly #target: string;
  readonly #fuse = new Fuse();
  readonly #versions = new Versions();
  readonly #keepVersions = new Versions();
  readonly #log = collectingLog();
  #receiver: Receiver | undefined;
  #sending: Sending | undefined;
  #senders = 0;
  /** Ends the connection as a broken network does. */
  #cut = (): void => {};
  /** What strikes at a change of the destination. */
  #due: { at: number; strike: () => void }[] = [];
  #crashLabel: string | undefined;
  #faults: Promise<void> = Promise.resolve();
  #isPaused = false;
  #hasDrift = false;
  #wasEqual = false;
  /** Nothing was done to either tree since they were equal. */
  #isEqual = false;
  #operations = 0;
  #commits = 0;
  #commitCount = 0;
  #hasUnreadable = false;
  #hadEntry = false;
  #wake: () => void = () => {};

  constructor(folder: string, { options = {} }: Program, stuckMs: number) {
    this.#folder = folder;
    this.#stuckMs = stuckMs;
    this.#options = options;
    this.#source = join(folder, 'source');
    this.#target = join(folder, 'target');
    this.#fuse.before = () => this.#strike();
    this.#fuse.after = () => this.#look();
  }

  async open(): Promise<void> {
    fs.mkdirSync(this.#source);
    fs.mkdirSync(this.#target);
    this.#apply({ kind: 'save', path: keepPath, size: 500, seed: 1 });
    await this.#openReceiver();
    await this.#openSender(join(this.#folder, 'state-0'));
  }

  async step(step: Step): Promise<void> {
    this.#count(step.kind);
    switch (step.kind) {
      case 'tick':
        return this.#tick(step.changes);
      case 'settle':
        return this.#settle(step);
      case 'look':
        for (let i = 0; i < step.ticks; i++) await this.#lookOnce();
        return;
      case 'decide':
        return this.#decide(step.verdict);
      case 'rules':
        return this.#rules(step.folder, step.text);
      case 'once':
        return this.#then(() => this.#once());
      case 'crash receiver':
      case 'crash sender':
      case 'cut':
      case 'restart sender':
      case 'restart receiver':
      case 'pause':
      case 'resume':
      case 'full':
      case 'drift':
      case 'refuse':
      case 'immutable':
      case 'unreadable':
        return this.#fault(step);
      default:
        if (!this.#apply(step)) this.#count('did not fit');
    }
  }

  /** A second pass over equal trees does nothing and moves no time. */
  async end(): Promise<void> {
    await this.#settle({ kind: 'settle' });
    const before = times(this.#target);
    const operations = this.#commits;
    await this.#flush();
    if (this.#commits > operations) this.problems.push('a second pass did operations');
    if (times(this.#target) !== before) this.problems.push('a second pass moved times');
  }

  async close(): Promise<void> {
    await this.#faults;
    await this.#stopSender();
    await this.#receiver?.close();
    this.#receiver = undefined;
    for (const line of this.#log.lines) {
      const isDrift = /drift|changed at the destination/.test(line) && !this.#hasDrift;
      if (isDrift || (/^error/.test(line) && !line.includes('Error: crash'))) {
        this.problems.push(line);
      }
    }
    if (this.problems.length > 0) return;
    this.problems.push(...(await auditIndex(this.#target)).faults);
    for (const folder of ['staging', 'limbo']) {
      const names = fs.readdirSync(join(this.#target, '.replica', folder));
      if (names.length > 0) this.problems.push(`${folder} has ${names.join(', ')}`);
    }
  }

  // -- steps --------------------------------------------------------------------------------------

  #apply(operation: Extract<Step, { path: string }>): boolean {
    const isKept = operation.path === keepPath;
    const fits = applyOperation(this.#source, operation, this.#versions);
    this.#operations++;
    this.#isEqual = false;
    if (isKept) this.#keepVersions.add(fs.readFileSync(join(this.#source, keepPath)));
    return fits;
  }

  async #tick(changes: number): Promise<void> {
    const sender = this.#sending?.sender;
    if (sender === undefined || this.#isPaused) return;
    const from = this.#fuse.count;
    let isOver = false;
    const end = (): void => {
      isOver = true;
      this.#wake();
    };
    // Half of them as a tick of its own, half as a flush that nobody waits for to the end.
    if (changes % 2 === 0) {
      sender.pause();
      sender.resume();
    }
    sender.flush().then(end, end);
    const late = setTimeout(end, this.#stuckMs);
    while (!isOver && this.#fuse.count < from + changes) {
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
    }
    clearTimeout(late);
  }

  /** A tick that is no flush. */
  async #lookOnce(): Promise<void> {
    const sender = this.#sending?.sender;
    if (sender === undefined || this.#isPaused) return;
    sender.pause();
    sender.resume();
    await new Promise(resolve => setTimeout(resolve, lookMs));
  }

  async #decide(verdict: 'approve' | 'reject' | 'undo'): Promise<void> {
    // A sender that is just ending answers nothing.
    await this.#sending?.sender.decide(verdict).catch(() => {});
  }

  #rules(folder: string, text: string): void {
    const path = join(this.#source, folder, '.replicaignore');
    const bytes = Buffer.from(text);
    this.#versions.add(bytes);
    this.#isEqual = false;
    if (fs.existsSync(join(this.#source, folder))) fs.writeFileSync(path, bytes);
    else this.#count('did not fit');
  }

  /** Whatever is refused or broken, it ends; where it says that all is equal, it is. */
  async #once(): Promise<void> {
    const folder = this.#sending?.folder;
    if (folder === undefined) return;
    await this.#stopSender();
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), this.#stuckMs);
    const base = { folder: this.#folder, source: this.#source, receiver: undefined as never };
    const { outcome } = await pushOnce(base, {
      stateFolder: folder,
      signal: stop.signal,
      acceptDeletes: true,
      connect: async () => this.#connect(),
    });
    clearTimeout(timer);
    if (stop.signal.aborted) this.problems.push('a pass (--once) does not end');
    const { hasEntry } = this.#fuse.refusals;
    const isTold = outcome.inSync && !this.#hasDrift && !this.#hasRules() && !hasEntry;
    if (isTold) {
      const differences = compareReadTrees(readTree(this.#source), readTree(this.#target));
      if (differences.length > 0) this.problems.push('a pass says in sync:', ...differences);
    }
    await this.#openSender(folder);
  }

  #hasRules(): boolean {
    return [...readTree(this.#source).keys()].some(path => path.endsWith('.replicaignore'));
  }

  async #settle({ waits = false }: Settle): Promise<void> {
    // Nothing new strikes from here on, and what struck is waited for.
    this.#due = [];
    this.#crashLabel = undefined;
    await this.#faults;
    this.#fuse.fullCount = 0;
    if (this.#isPaused) this.#sending?.sender.resume();
    this.#isPaused = false;
    if (this.#fuse.refusals.isActive || this.#hasUnreadable) await this.#settleRefused(waits);
    if (this.problems.length > 0) return;
    for (const path of [...readTree(this.#source).keys()]) {
      if (path.endsWith('.replicaignore')) fs.rmSync(join(this.#source, path));
    }
    if (this.#options.maxDelete !== undefined) await this.#decide('undo');
    const deadlineMs = performance.now() + this.#stuckMs;
    let differences: string[] = [];
    for (;;) {
      const isWhole = await this.#flush();
      await this.#faults;
      if (this.problems.length > 0) return;
      differences = compareReadTrees(readTree(this.#source), readTree(this.#target));
      if (differences.length === 0) break;
      // Attributes of a directory that were refused are set by the receiver's own look.
      if (isWhole && !this.#hasDrift && !this.#hadEntry) {
        this.problems.push('not equal after a flush:', ...differences.slice(0, 20));
        return;
      }
      if (performance.now() > deadlineMs) {
        this.problems.push('not equal:', ...differences.slice(0, 20), ...this.#log.lines.slice(-8));
        return;
      }
      // What was changed at the destination is found by the receiver's next look at it.
      await new Promise(resolve => setTimeout(resolve, 20));
    }
    this.#isEqual = true;
    this.#wasEqual = true;
  }

  /** True if it said that nothing was left out. */
  async #flush(): Promise<boolean> {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), this.#stuckMs);
    try {
      const flushed = await this.#sending?.sender.flush(stop.signal);
      if (flushed === undefined) return false;
      if (flushed.held > 0 && this.#options.maxDelete === undefined) {
        this.problems.push('deletes are held');
      }
      if (flushed.held > 0) await this.#decide('approve');
      return flushed.problems === 0 && flushed.held === 0;
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      this.problems.push(`flush: ${text}`, ...this.#log.lines.slice(-8));
      return false;
    } finally {
      clearTimeout(timer);
    }
  }

  /** With what is refused now: nothing else is hurt, and it is told. Then it is lifted. */
  async #settleRefused(waits: boolean): Promise<void> {
    const isRefused = this.#fuse.refusals.isActive;
    let before = this.#commitCount;
    const isWhole = await this.#flush();
    await this.#faults;
    if (this.problems.length > 0) return;
    const commits = this.#commitCount - before;
    if (commits > flushCommitsMax) this.problems.push(`a flush made ${commits} commits`);
    const source = readTree(this.#source);
    const target = readTree(this.#target);
    const isHeld = this.#options.maxDelete !== undefined;
    const hurt = compareReadTrees(apartOf(source), apartOf(target)).filter(line => {
      // What is held to be deleted is no harm, and moves the time of its folder.
      return !(isHeld && / only in the second|"apart" mtimeUs/.test(line));
    });
    if (hurt.length > 0) this.problems.push('hurt by what was refused elsewhere:', ...hurt);
    const differences = compareReadTrees(source, target).filter(line => {
      // Of directories that cannot be changed the receiver leaves mode and times as they are.
      return !(this.#fuse.refusals.hasEntry && / (mode|mtimeUs): /.test(line));
    });
    // Rejected deletes are none that a flush waits for.
    const isExcused = this.#hasDrift || this.#hasRules() || isHeld || !isPrivileged;
    if (isWhole && differences.length > 0 && !isExcused) {
      this.problems.push('refused, and not told:', ...differences);
    }
    before = this.#commitCount;
    for (let i = 0; i < idleLooks; i++) await this.#lookOnce();
    await this.#faults;
    const idle = this.#commitCount - before;
    if (idle > idleCommitsMax) this.problems.push(`${idle} commits of ${idleLooks} idle looks`);
    this.#hadEntry ||= this.#fuse.refusals.hasEntry;
    this.#fuse.refusals.lift();
    if (this.#hasUnreadable) this.#makeReadable(this.#source);
    this.#hasUnreadable = false;
    if (waits && isRefused && !this.#hasRules() && !this.#options.maxDelete)
      await this.#waitEqual();
  }

  /** By itself, once the pauses are over. */
  async #waitEqual(): Promise<void> {
    const deadlineMs = performance.now() + waitsMs;
    for (;;) {
      for (let i = 0; i < 10; i++) await this.#lookOnce();
      const differences = compareReadTrees(readTree(this.#source), readTree(this.#target));
      if (differences.length === 0) this.#count('became equal by itself');
      if (differences.length === 0) return;
      if (performance.now() < deadlineMs) continue;
      const states: string[] = [];
      for (const line of differences) {
        const path = String(JSON.parse(line.slice(0, line.indexOf('" ') + 1)));
        const explained = await this.#sending?.sender.explain(path);
        states.push(explained?.detail ?? '');
      }
      if (states.some(detail => detail.includes('tried again in'))) this.#count('waits');
      else this.problems.push('lifted, and never made equal:', ...differences, ...states);
      return;
    }
  }

  // -- faults -------------------------------------------------------------------------------------

  async #fault(fault: Fault): Promise<void> {
    switch (fault.kind) {
      case 'pause':
        this.#isPaused = true;
        this.#sending?.sender.pause();
        return;
      case 'resume':
        this.#isPaused = false;
        this.#sending?.sender.resume();
        return;
      case 'full':
        this.#fuse.fullCount = fault.changes;
        this.#fuse.fullCode = fault.code;
        return;
      case 'drift':
        if (fault.operation.path === keepPath) return;
        if (!applyOperation(this.#target, fault.operation, this.#versions)) return;
        this.#hasDrift = true;
        this.#isEqual = false;
        return;
      case 'refuse': {
        const { call, name, code } = fault;
        if (call !== undefined) this.#fuse.refusals.add({ kind: 'call', call, name, code });
        else if (name !== undefined) this.#fuse.refusals.add({ kind: 'name', name, code });
        return;
      }
      case 'immutable': {
        const stats = statsOf(join(this.#target, fault.at));
        if (stats === undefined) this.#count('did not fit');
        else this.#fuse.refusals.add({ kind: 'entry', stats });
        return;
      }
      case 'unreadable':
        return this.#makeUnreadable(join(this.#source, fault.at));
      case 'restart sender':
        return this.#then(async () => {
          await this.#stopSender();
          await this.#openSender(join(this.#folder, `state-${this.#senders - 1}`));
        });
      case 'restart receiver':
        return this.#then(async () => {
          const receiver = this.#receiver;
          // From here on it is this task that brings the next one, whatever strikes meanwhile.
          this.#receiver = undefined;
          await receiver?.close();
          await this.#openReceiver();
        });
      case 'cut':
        return this.#strikeAfter(fault.after, () => this.#cut());
      case 'crash sender':
        return this.#strikeAfter(fault.after, () => void this.#then(this.#crashSender()));
      case 'crash receiver':
        if (fault.label !== undefined) this.#crashLabel = fault.label;
        else return this.#strikeAfter(fault.after, () => this.#crashReceiver());
    }
  }

  #makeUnreadable(path: string): void {
    const stats = statsOf(path);
    if (stats === undefined || stats.isSymbolicLink()) this.#count('did not fit');
    else {
      fs.chmodSync(path, 0);
      this.#isEqual = false;
      this.#hasUnreadable = true;
    }
  }

  /** Wherever it was renamed to. */
  #makeReadable(path: string): void {
    const stats = fs.lstatSync(path);
    if (!stats.isSymbolicLink() && (stats.mode & 0o777) === 0) fs.chmodSync(path, 0o755);
    if (!stats.isDirectory()) return;
    for (const name of fs.readdirSync(path)) this.#makeReadable(join(path, name));
  }

  #then(act: () => Promise<void>): Promise<void> {
    this.#faults = this.#faults.then(act).catch((error: unknown) => {
      this.problems.push(error instanceof Error ? String(error.stack) : String(error));
    });
    return this.#faults;
  }

  async #strikeAfter(changes: number, strike: () => void): Promise<void> {
    if (changes > 0) this.#due.push({ at: this.#fuse.count + changes, strike });
    else {
      strike();
      await this.#faults;
    }
  }

  /** Before a change of the destination. */
  #strike(): void {
    const due = this.#due.filter(one => one.at <= this.#fuse.count);
    this.#due = this.#due.filter(one => one.at > this.#fuse.count);
    for (const one of due) one.strike();
    this.#wake();
  }

  /** As SIGKILL: nothing more is changed or said, and what was open is found as it is. */
  #crashReceiver(): void {
    const receiver = this.#receiver;
    if (receiver === undefined) return;
    this.#receiver = undefined;
    this.#fuse.left = 0;
    this.#cut();
    void this.#then(async () => {
      await receiver.close().catch(() => {});
      this.#fuse.replace();
      fs.rmSync(join(this.#target, '.replica', 'receive.lock'), { force: true });
      await this.#openReceiver();
    });
  }

  /** What is on disk at this instant is all that the next sender has. */
  #crashSender(): () => Promise<void> {
    const old = this.#sending;
    if (old === undefined) return async () => {};
    this.#cut();
    const next = join(this.#folder, `state-${this.#senders}`);
    copyState(old.folder, next);
    return async () => {
      await this.#stopSender();
      await this.#openSender(next);
    };
  }

  // -- the two programs ---------------------------------------------------------------------------

  async #openReceiver(): Promise<void> {
    const pauses = { sliceMs: 2, firstSliceMs: 1, sweepMs: 15, cleanMs: neverMs };
    for (;;) {
      try {
        this.#receiver = await Receiver.open({
          ...receiverDefaults,
          root: this.#target,
          log: this.#log.log,
          pauses,
          openRoot: path => this.#fuse.openRoot(path),
          onStep: label => this.#atStep(label),
        });
        break;
      } catch (error) {
        // A disk that is full as it starts, or a crash while it recovers: it is started again.
        if (error instanceof ReplicaError && error.code === 'ERR_IO') continue;
        if (!this.#fuse.isBlown) throw error;
        this.#fuse.replace();
        fs.rmSync(join(this.#target, '.replica', 'receive.lock'), { force: true });
      }
    }
    if (!this.#isEqual) return;
    const differences = compareReadTrees(readTree(this.#source), readTree(this.#target));
    if (differences.length > 0) this.problems.push('acknowledged, and lost:', ...differences);
  }

  #atStep(label: string): void {
    const isDue = label === this.#crashLabel && this.#receiver !== undefined;
    if (isDue) {
      this.#crashLabel = undefined;
      this.#crashReceiver();
    }
    if (isDue || this.#fuse.isBlown || this.#fuse.left === 0) this.#fuse.blow();
  }

  async #openSender(folder: string): Promise<void> {
    const stop = new AbortController();
    const base = { folder: this.#folder, source: this.#source, receiver: undefined as never };
    const sender = await Sender.open(
      senderOptions(base, {
        once: false,
        ...(this.#options.cpuShare !== undefined && { cpuShare: this.#options.cpuShare }),
        ...(this.#options.maxDelete !== undefined && {
          maxDelete: { kind: 'count' as const, value: this.#options.maxDelete },
        }),
        intervalMs: neverMs,
        stateFolder: folder,
        signal: stop.signal,
        connect: async () => this.#connect(),
      }),
    );
    this.#senders++;
    const running = (async () => {
      for await (const event of sender.run()) this.#note(event);
    })().catch((error: unknown) => {
      this.problems.push(error instanceof Error ? String(error.stack) : String(error));
    });
    this.#sending = { sender, stop, running, folder };
    if (this.#isPaused) sender.pause();
  }

  async #stopSender(): Promise<void> {
    const sending = this.#sending;
    this.#sending = undefined;
    sending?.stop.abort();
    await sending?.running;
    await sending?.sender.close();
  }

  #connect(): Connection {
    const receiver = this.#receiver;
    if (receiver === undefined) throw new ReplicaError('ERR_SOCKET', 'nobody listens');
    const [near, far] = memoryDuplexPair();
    this.#cut = () => {
      near.destroy();
      far.destroy();
    };
    const options = { checksum: false, peer: 'this process' };
    void receiver.serve(Connection.over(far, options));
    return Connection.over(near, options);
  }

  #note(event: SenderEvent): void {
    if (event.kind === 'commit') {
      this.#commits += event.operations;
      this.#commitCount++;
    }
    if (event.kind === 'end' && event.outcome.error !== undefined) {
      this.problems.push(`the sender ended: ${event.outcome.error.message}`);
    }
  }

  // -- the reader ---------------------------------------------------------------------------------

  /** What any program may see after any change of the destination. */
  #look(): void {
    if (this.problems.length > 0) return;
    if (this.#wasEqual) {
      const stats = fs.lstatSync(join(this.#target, keepPath), { throwIfNoEntry: false });
      if (stats?.isFile() !== true) this.problems.push(`'${keepPath}' is missing`);
      else if (!this.#keepVersions.has(fs.readFileSync(join(this.#target, keepPath)))) {
        this.problems.push(`'${keepPath}' is torn`);
      }
    }
    if (this.#fuse.count % readEvery === 0) this.#readAll('');
  }

  #readAll(path: string): void {
    for (const entry of fs.readdirSync(join(this.#target, path), { withFileTypes: true })) {
      if (path === '' && entry.name === '.replica') continue;
      const at = join(path, entry.name);
      if (!knownNames.has(entry.name)) this.problems.push(`foreign name '${at}'`);
      if (entry.isDirectory()) this.#readAll(at);
      if (!entry.isFile()) continue;
      this.readCount++;
      if (!this.#versions.has(fs.readFileSync(join(this.#target, at)))) {
        this.problems.push(`'${at}' has content that the source never had`);
      }
    }
  }

  #count(what: string): void {
    this.done.set(what, (this.done.get(what) ?? 0) + 1);
  }
}

/** undefined where there is nothing, a file in the path included. */
function statsOf(path: string): fs.BigIntStats | undefined {
  try {
    return fs.lstatSync(path, { bigint: true });
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) return undefined;
    throw error;
  }
}

/** What no fault concerns: written to by operations, and renamed among itself only. */
function apartOf(tree: ReadonlyMap<string, TreeEntry>): ReadonlyMap<string, TreeEntry> {
  const isApart = (path: string): boolean =>
    path === keepPath || path === apartPath || path.startsWith(`${apartPath}/`);
  return new Map([...tree].filter(([path]) => isApart(path)));
}

/** When anything about each entry last changed. */
function times(root: string): string {
  const lines: string[] = [];
  for (const path of [...readTree(root).keys()].filter(path => path !== '')) {
    const stats = fs.lstatSync(Buffer.from(`${root}/${path}`, 'latin1'), { bigint: true });
    lines.push(`${path} ${stats.ctimeNs} ${stats.mtimeNs}`);
  }
  return lines.join('\n');
}

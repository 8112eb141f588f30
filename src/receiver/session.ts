// One connection of an accepted sender, from Welcome to its end.

import assert from 'node:assert/strict';
import { ReplicaError } from '../errors.ts';
import { blockIdSize, commitBytesMax, commitOperationsMax, stagedFoldersMax } from '../limits.ts';
import type { Connection } from '../net/connection.ts';
import type { NodeId } from '../snapshot/entry.ts';
import { type Name, printable } from '../snapshot/name.ts';
import type { Place } from '../store/receiver-records.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import type { StagedFile } from '../tree/staged-file.ts';
import {
  type CommitEnd,
  type Hello,
  hearsRefusals,
  type Lost,
  type Message,
  MessageType,
  type Offer,
  type Operation,
  type Operations,
  type Rejected,
} from '../wire/messages.ts';
import { Answers } from './answers.ts';
import type { Applied } from './apply.ts';
import { checkOperation } from './check-operation.ts';
import type { Committer } from './commit.ts';
import { failureOf, sessionError } from './failure.ts';
import type { Flush } from './flush.ts';
import type { Folders } from './folders.ts';
import { GrainAnswers } from './grain-answers.ts';
import type { IdAllowance } from './id-allowance.ts';
import { sendDigests, sendListing } from './listings.ts';
import type { LocalAttributes } from './local-attributes.ts';
import type { Quota } from './quota.ts';
import { fatalMessage, Rejection, refusal } from './rejection.ts';
import { SessionQuota } from './session-quota.ts';
import { StageIntake } from './stage-intake.ts';
import { type Staged, type StagedFolder, type StagedOf, Staging } from './staging.ts';
import type { StagedNode, Step } from './steps.ts';
import type { UnfinishedStages } from './unfinished.ts';

export interface SessionOptions {
  readonly connection: Connection;
  readonly hello: Hello;
  readonly store: ReplicaStore;
  readonly folders: Folders;
  readonly committer: Committer;
  readonly flush: Flush;
  readonly unfinished: UnfinishedStages;
  readonly attributes: LocalAttributes;
  readonly quota: Quota;
  readonly ids: IdAllowance;
}

/** A commit whose operations are coming in. */
interface Arriving {
  readonly commit: bigint;
  readonly steps: Step[];
  readonly rejections: Omit<Rejected, 'type' | 'commit'>[];
  readonly files: StagedFile[];
  readonly staged: StagedOf[];
  /** Everything of it in the staging folder. */
  readonly nodes: StagedNode[];
  /** New directories that are completed before they are placed, by node. */
  readonly folders: Map<NodeId, StagedFolder>;
  readonly done: Promise<void>;
  readonly resolve: () => void;
  isComplete: boolean;
  operationCount: number;
  bytes: number;
  /** Taken from the quota. */
  reserved: number;
  /** Names that files leave. */
  readonly left: Place[];
}

export class Session {
  readonly #options: SessionOptions;
  readonly #staging: Staging;
  #arriving: Arriving | undefined;
  readonly #quota: SessionQuota;
  readonly #stages: StageIntake;
  #nextCommit: bigint;
  readonly #answers: Answers;
  readonly #grains: GrainAnswers;
  #lastSend: Promise<void> = Promise.resolve();
  #isOver = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#staging = new Staging({
      ...options,
      keepOpen: () => options.flush.keepsOpen(this.#arriving?.files.length ?? 0),
    });
    this.#answers = new Answers(error => void options.connection.close(failureOf(error)));
    this.#grains = new GrainAnswers(options);
    const isOpen = (stage: number): boolean => this.#staging.hasStage(stage);
    this.#quota = new SessionQuota({ ...options, isOpen });
    this.#stages = new StageIntake(this.#staging, this.#quota);
    this.#nextCommit = options.store.head.watermark + 1n;
  }

  /** Until the peer closes. Throws what ends the session otherwise. */
  async run(messages: AsyncIterable<Message>): Promise<void> {
    try {
      for await (const message of messages) {
        await this.#handle(message);
        await this.#lastSend;
      }
      if (this.#options.committer.failure) throw this.#options.committer.failure;
    } finally {
      this.#isOver = true;
      this.#discard();
      await this.#grains.close();
    }
  }

  /** Names that are not as recorded were found and forgotten. */
  sendLost(entries: Lost['entries']): void {
    if (entries.length > 0) this.#send({ type: MessageType.Lost, entries });
  }

  async #handle(message: Message): Promise<void> {
    switch (message.type) {
      case MessageType.Operations:
        return this.#operations(message);
      case MessageType.CommitEnd:
        return this.#commitEnd(message);
      case MessageType.Offer:
        this.#offer(message);
        return;
      case MessageType.StageOpen:
        this.#tellRefused(message.stage, await this.#stages.open(message));
        return;
      case MessageType.StageData:
        this.#tellRefused(message.stage, await this.#stages.add(message));
        return;
      case MessageType.StageAbort:
        this.#stages.abort(message);
        return;
      case MessageType.InSync:
        this.#options.unfinished.forgetIdle();
        return;
      case MessageType.ListDigests:
        this.#answer(() => sendDigests(this.#options));
        return;
      case MessageType.GetListing:
        this.#answer(() => sendListing(this.#options, message.ids));
        return;
      case MessageType.GetGrains:
        this.#answers.add(() => this.#grains.answer(message));
        return;
      case MessageType.Failure:
        return;
      default:
        throw new ReplicaError('ERR_PROTOCOL', `message of type ${message.type} of a sender`);
    }
  }

  // Commits

  async #operations({ commit, operations }: Operations): Promise<void> {
    this.#arriving ??= await this.#begin();
    const arriving = this.#arriving;
    if (commit !== arriving.commit) {
      throw new ReplicaError('ERR_PROTOCOL', `commit ${commit}, expected ${arriving.commit}`);
    }
    const { folders, hello, ids, store } = this.#options;
    const idEnd = ids.endAt(store.head.nextId, performance.now());
    for (const operation of operations) {
      const index = arriving.operationCount++;
      if (index >= commitOperationsMax) {
        throw new ReplicaError('ERR_PROTOCOL', `more than ${commitOperationsMax} operations`);
      }
      checkOperation(operation, { folders, features: hello.features, idEnd });
      const step = await this.#stage(arriving, operation, index);
      if (step) arriving.steps.push(step);
    }
  }

  async #begin(): Promise<Arriving> {
    await this.#options.committer.room();
    let resolve = () => {};
    const done = new Promise<void>(settle => {
      resolve = settle;
    });
    return {
      commit: this.#nextCommit,
      steps: [],
      rejections: [],
      files: [],
      staged: [],
      nodes: [],
      folders: new Map(),
      done,
      resolve,
      isComplete: false,
      operationCount: 0,
      bytes: 0,
      reserved: 0,
      left: [],
    };
  }

  async #commitEnd({ commit, operationCount }: CommitEnd): Promise<void> {
    this.#arriving ??= await this.#begin();
    const arriving = this.#arriving;
    if (commit !== arriving.commit || operationCount !== arriving.operationCount) {
      const text = `end of commit ${commit} with ${operationCount} operations`;
      throw new ReplicaError('ERR_PROTOCOL', `${text}, expected ${arriving.commit}`);
    }
    arriving.isComplete = true;
    this.#arriving = undefined;
    this.#nextCommit++;
    this.#options.committer.dropHints(this.#staging.takeBadHints());
    this.#options.committer.add({
      commit,
      steps: arriving.steps,
      files: arriving.files,
      stagedCount: arriving.nodes.length,
      folders: [...arriving.folders.values()].map(folder => folder.directory),
      stagedBytes: arriving.bytes,
      onSettled: applied => this.#settled(arriving, applied),
    });
  }

  #settled(arriving: Arriving, applied: Applied | undefined): void {
    // After a failure the next recovery finds what is staged.
    if (applied) this.#staging.settle(arriving.staged);
    releaseFolders(arriving);
    this.#options.quota.release(arriving.reserved);
    this.#quota.settle(arriving.left);
    arriving.resolve();
    if (this.#isOver) return;
    if (!applied) {
      const { committer, connection } = this.#options;
      void connection.close(failureOf(committer.failure));
      return;
    }
    const { commit } = arriving;
    this.sendLost(applied.lost);
    for (const rejection of [...arriving.rejections, ...applied.rejections]) {
      this.#send({ type: MessageType.Rejected, commit, ...rejection });
    }
    this.#grains.renew();
    this.#send({ type: MessageType.Durable, commit });
  }

  /** Staged content of a commit that will never be complete. */
  #discard(): void {
    const arriving = this.#arriving;
    this.#staging.close();
    this.#quota.close();
    if (!arriving) return;
    this.#options.quota.release(arriving.reserved);
    for (const file of arriving.files) file.close();
    this.#staging.setAside(arriving.staged);
    const { staging } = this.#options.folders;
    for (const { name } of arriving.nodes) staging.removeTree(name);
    releaseFolders(arriving);
    arriving.resolve();
  }

  async #stage(arriving: Arriving, operation: Operation, index: number): Promise<Step | undefined> {
    try {
      switch (operation.kind) {
        case 'file':
          return await this.#stageFile(arriving, operation, index);
        case 'directory': {
          const staged = this.#staging.stageDirectory(operation.entry);
          arriving.nodes.push(staged);
          this.#openFolder(arriving, operation.entry.id, staged);
          return { ...operation, index, staged };
        }
        case 'link': {
          const staged = this.#staging.stageLink(operation.entry);
          arriving.nodes.push(staged);
          return { ...operation, index, staged };
        }
        case 'hardlink':
          arriving.reserved += this.#quota.reserve(operation);
          return { ...operation, index };
        case 'rename': {
          const { fromParent: parent, fromName: name } = operation;
          arriving.left.push(this.#quota.leave({ parent, name }));
          return { ...operation, index };
        }
        default:
          return { ...operation, index };
      }
    } catch (error) {
      const { reason, message } = this.#rejectionOf(error, printable(operation.name));
      arriving.rejections.push({ index, reason, message });
      return undefined;
    } finally {
      // Attributes without a name are the root's.
      arriving.folders.get(operation.parent as NodeId)?.names.add(operation.name as Name);
    }
  }

  /** So that the directory's files need no rename of their own. */
  #openFolder(arriving: Arriving, id: NodeId, staged: StagedNode): void {
    const isKnown = this.#options.store.directory(id) !== undefined || arriving.folders.has(id);
    if (isKnown || arriving.folders.size >= stagedFoldersMax) return;
    arriving.folders.set(id, this.#staging.openFolder(staged));
  }

  async #stageFile(
    arriving: Arriving,
    operation: Operation & { kind: 'file' },
    index: number,
  ): Promise<Step> {
    const { parent, name, entry } = operation;
    try {
      arriving.reserved += this.#quota.reserve(operation);
    } catch (error) {
      const { content } = operation;
      if (content.kind === 'stage' && !this.#quota.end(content.stage)) {
        this.#staging.abortStage(content.stage);
      }
      throw error;
    }
    const folder = arriving.folders.get(parent);
    const isFree = folder !== undefined && !folder.names.has(name);
    const within = isFree ? { directory: folder.directory, name } : undefined;
    const { content, file } = await this.#content(arriving, operation, within);
    arriving.staged.push({ id: entry.id, content });
    arriving.nodes.push(content);
    if (file) arriving.files.push(file);
    arriving.bytes += entry.size;
    if (arriving.bytes > commitBytesMax && arriving.staged.length > 1) {
      throw new ReplicaError('ERR_PROTOCOL', `a commit of more than ${commitBytesMax} bytes`);
    }
    return { kind: 'file', index, parent, name, entry, staged: content };
  }

  async #content(
    commit: Arriving,
    { entry, content }: Operation & { kind: 'file' },
    within: { readonly directory: ConfinedDirectory; readonly name: Name } | undefined,
  ): Promise<Staged> {
    if (content.kind === 'stage') return this.#staging.finishStage(content.stage, entry, commit);
    return this.#staging.stageInline(entry, content, { commit, within });
  }

  #rejectionOf(error: unknown, path: string): Rejection {
    if (error instanceof Rejection) return error;
    const rejection = fatalMessage(error) ? undefined : refusal(error, path);
    if (!rejection) throw sessionError(error);
    return rejection;
  }

  /** The sender need not send the rest of what its operation would be rejected for. */
  #tellRefused(stage: number, fault: Rejection | undefined): void {
    if (!fault || (this.#options.hello.features & hearsRefusals) === 0n) return;
    this.#send({ type: MessageType.StageRefused, stage, message: fault.message });
  }

  // Questions

  #offer({ batch, ids }: Offer): void {
    const count = ids.length / blockIdSize;
    const bitmap = Buffer.alloc(Math.ceil(count / 8));
    for (let i = 0; i < count; i++) {
      const id = ids.subarray(i * blockIdSize, (i + 1) * blockIdSize);
      if (this.#staging.expect(id)) continue;
      bitmap[i >> 3] = (bitmap[i >> 3] ?? 0) | (1 << (i & 7));
    }
    this.#send({ type: MessageType.Need, batch, bitmap });
  }

  /** About what is recorded, when nothing is being applied. */
  #answer(act: () => Promise<void>): void {
    this.#answers.add(async () => {
      await this.#options.committer.idle();
      await act();
    });
  }

  /** Without waiting: run() waits before it takes the next message. */
  #send(message: Message): void {
    assert(message.type !== MessageType.Failure);
    this.#lastSend = this.#options.connection.send(message);
    this.#lastSend.catch(() => {});
  }
}

function releaseFolders({ folders }: Arriving): void {
  for (const { directory } of folders.values()) directory.release();
  folders.clear();
}

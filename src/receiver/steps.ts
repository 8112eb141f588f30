// An operation whose content is staged, as it is applied, and its form in an intent.
import assert from 'node:assert/strict';
import { BlockList } from '../blocks/block-list.ts';
import type { Entry, NodeId } from '../snapshot/entry.ts';
import {
  encodedEntrySize,
  readEntryOrRoot,
  readName,
  readNodeId,
} from '../snapshot/entry-codec.ts';
import { FieldReader } from '../snapshot/field-reader.ts';
import { FieldWriter } from '../snapshot/field-writer.ts';
import { isName, type Name } from '../snapshot/name.ts';

/** Blocks `from` to `from + count - 1` of a list. */
export interface Run {
  readonly from: number;
  readonly count: number;
}

/** `block` is the next one of a list: the last run grows, or another begins. */
export function addToRuns(runs: Run[], block: number): void {
  const last = runs.at(-1);
  if (last && last.from + last.count === block) {
    runs[runs.length - 1] = { from: last.from, count: last.count + 1 };
  } else {
    runs.push({ from: block, count: 1 });
  }
}

/**
 * A new node, complete in the staging folder until it is renamed into place. Its inode number is
 * how it is known again after a crash.
 */
export interface StagedNode {
  readonly name: Name;
  readonly ino: bigint;
}

/** A complete file version. */
export interface StagedContent extends StagedNode {
  /**
   * It lies in the staged directory that an earlier step of the commit places, under its final
   * name: it arrives with the directory, without a rename of its own.
   */
  readonly isWithin: boolean;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly list: BlockList;
  /** Blocks the index may not know yet. */
  readonly fresh: readonly Run[];
}

interface Placed {
  readonly index: number;
  readonly parent: NodeId;
  readonly name: Name;
  readonly entry: Entry;
}

/** `index` counts the operations of the commit. */
export type Step =
  | (Placed & { readonly kind: 'directory'; readonly staged: StagedNode })
  | (Placed & { readonly kind: 'link'; readonly staged: StagedNode })
  | (Placed & { readonly kind: 'hardlink' })
  | (Placed & { readonly kind: 'file'; readonly staged: StagedContent })
  | (Placed & { readonly kind: 'rename'; readonly fromParent: NodeId; readonly fromName: Name })
  | (Omit<Placed, 'parent' | 'name'> & {
      readonly kind: 'attributes';
      readonly parent: NodeId | 0;
      readonly name: Name | '';
    })
  | {
      readonly kind: 'remove';
      readonly index: number;
      readonly parent: NodeId;
      readonly name: Name;
      readonly id: NodeId;
    };

export type StepOf<K extends Step['kind']> = Step & { readonly kind: K };

const codes = {
  directory: 1,
  link: 2,
  file: 3,
  hardlink: 4,
  rename: 5,
  remove: 6,
  attributes: 7,
} as const;

/** `u32 count`, then each: `u8 kind | u32 index | u48 parent` and what its kind needs. */
export function encodeSteps(steps: readonly Step[]): Buffer {
  let size = 4;
  for (const step of steps) size += stepSize(step);
  const bytes = Buffer.allocUnsafe(size);
  const writer = new FieldWriter(bytes);
  writer.u32(steps.length);
  for (const step of steps) writeStep(writer, step);
  assert.equal(writer.offset, size);
  return bytes;
}

export function decodeSteps(bytes: Buffer): Step[] {
  const reader = new FieldReader(bytes);
  const steps: Step[] = [];
  for (let i = reader.u32('step count'); i > 0; i--) steps.push(readStep(reader));
  reader.end();
  return steps;
}

function stepSize(step: Step): number {
  const head = 1 + 4 + 6;
  switch (step.kind) {
    case 'hardlink':
    case 'attributes':
      return head + encodedEntrySize(step.name, step.entry);
    case 'directory':
    case 'link':
      return head + encodedEntrySize(step.name, step.entry) + nodeSize(step.staged);
    case 'file':
      return head + encodedEntrySize(step.name, step.entry) + contentSize(step.staged);
    case 'rename':
      return head + encodedEntrySize(step.name, step.entry) + 7 + step.fromName.length;
    case 'remove':
      return head + 7 + step.name.length;
  }
}

function nodeSize({ name }: StagedNode): number {
  return 1 + name.length + 8;
}

function contentSize(staged: StagedContent): number {
  return nodeSize(staged) + 1 + 8 + 8 + 4 + staged.list.packed.length + 4 + staged.fresh.length * 8;
}

function writeStep(writer: FieldWriter, step: Step): void {
  writer.u8(codes[step.kind]);
  writer.u32(step.index);
  writer.u48(step.parent);
  if (step.kind === 'remove') {
    writeName(writer, step.name);
    writer.u48(step.id);
    return;
  }
  writer.entry(step.name, step.entry);
  if (step.kind === 'directory' || step.kind === 'link') writeNode(writer, step.staged);
  if (step.kind === 'file') writeContent(writer, step.staged);
  if (step.kind === 'rename') {
    writer.u48(step.fromParent);
    writeName(writer, step.fromName);
  }
}

function writeName(writer: FieldWriter, name: Name): void {
  writer.u8(name.length);
  writer.latin1(name);
}

function writeNode(writer: FieldWriter, { name, ino }: StagedNode): void {
  writeName(writer, name);
  writer.u64(ino);
}

function writeContent(writer: FieldWriter, staged: StagedContent): void {
  writeNode(writer, staged);
  writer.flag(staged.isWithin);
  writer.u64(BigInt.asUintN(64, staged.mtimeNs));
  writer.u64(BigInt.asUintN(64, staged.ctimeNs));
  writer.u32(staged.list.packed.length);
  writer.bytes(staged.list.packed, staged.list.packed.length);
  writer.u32(staged.fresh.length);
  for (const { from, count } of staged.fresh) {
    writer.u32(from);
    writer.u32(count);
  }
}

function readStep(reader: FieldReader): Step {
  const kind = reader.u8('step kind', 1, 7);
  const index = reader.u32('index');
  if (kind === codes.attributes) {
    const parent = reader.u48('parent', 0, Number.MAX_SAFE_INTEGER) as NodeId | 0;
    return { kind: 'attributes', index, parent, ...readEntryOrRoot(reader) };
  }
  const parent = readNodeId(reader, 'parent');
  if (kind === codes.remove) {
    const name = readName(reader);
    return { kind: 'remove', index, parent, name, id: readNodeId(reader, 'id') };
  }
  const { name, entry } = readEntryOrRoot(reader);
  if (!isName(name)) return reader.fail('name', 'is empty');
  const placed = { index, parent, name, entry };
  switch (kind) {
    case codes.directory:
      return { kind: 'directory', ...placed, staged: readNode(reader) };
    case codes.link:
      return { kind: 'link', ...placed, staged: readNode(reader) };
    case codes.hardlink:
      return { kind: 'hardlink', ...placed };
    case codes.file:
      return { kind: 'file', ...placed, staged: readContent(reader) };
    default: {
      const fromParent = readNodeId(reader, 'from parent');
      return { kind: 'rename', ...placed, fromParent, fromName: readName(reader) };
    }
  }
}

function readNode(reader: FieldReader): StagedNode {
  return { name: readName(reader), ino: reader.u64('ino') };
}

function readContent(reader: FieldReader): StagedContent {
  const node = readNode(reader);
  const isWithin = reader.flag('within');
  const mtimeNs = reader.i64('mtime');
  const ctimeNs = reader.i64('ctime');
  const list = BlockList.from(reader.bytes('block list', reader.u32('block list size')));
  const fresh: Run[] = [];
  for (let i = reader.u32('run count'); i > 0; i--) {
    fresh.push({ from: reader.u32('run from'), count: reader.u32('run count') });
  }
  return { ...node, isWithin, mtimeNs, ctimeNs, list, fresh };
}

// A thread that looks at the source for SourceThreads: one task at a time, each call counted before
// it is made, so that one that hangs is known by what it hangs on.
import assert from 'node:assert/strict';
import type { MessagePort } from 'node:worker_threads';
import { systemCode } from '../errors.ts';
import type { AttributeRules } from '../snapshot/attribute-rules.ts';
import { SeenWriter } from '../snapshot/listing.ts';
import { SourceFile } from './source-file.ts';
import {
  below,
  listNames,
  lookAt,
  readSourceLink,
  readSourceText,
  statSource,
} from './source-listing.ts';
import {
  type Answer,
  callCell,
  type FilePlace,
  itemCell,
  type SourceTask,
  type TaskResult,
  type TaskResults,
  type ThreadData,
} from './source-task.ts';
import { readSourceXattrs } from './source-xattrs.ts';
import { UserXattrs } from './user-xattrs.ts';

const writer = new SeenWriter();
/** Bytes of one call: one that takes long hangs, however much it reads. */
const partSize = 128 * 1024;

type OnCall = (item: number, path: string) => void;

function perform(task: SourceTask, { root, attributes, xattrs }: Tree, onCall: OnCall): TaskResult {
  switch (task.kind) {
    case 'names':
      onCall(0, task.path);
      return listNames(root, task.path);
    case 'entries': {
      writer.reset();
      let item = 0;
      const { path, device, items: names } = task;
      const options = {
        device,
        writer,
        attributes,
        onCall: () => {
          onCall(item, below(path, names[item] ?? ''));
          item++;
        },
      };
      const found = lookAt(root, { path, names }, options);
      return { ...found, bytes: Uint8Array.from(found.bytes) };
    }
    case 'stats':
      return task.items.map((path, item) => {
        onCall(item, path);
        return statOf(root, path, attributes);
      });
    case 'contents':
      return task.items.map((place, item) =>
        contentOf(root, place, () => onCall(item, place.path)),
      );
    case 'link':
      onCall(0, task.path);
      return readSourceLink(root, task.path);
    case 'text':
      onCall(0, task.path);
      return readSourceText(root, task.path);
    case 'xattrs':
      onCall(0, task.path);
      assert(xattrs, 'extended attributes are not kept');
      return readSourceXattrs(root, task, xattrs);
  }
}

function statOf(
  root: string,
  path: string,
  attributes: AttributeRules,
): TaskResults['stats'][number] {
  try {
    return statSource(root, path, attributes);
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    return { code };
  }
}

function contentOf(
  root: string,
  { path, expected }: FilePlace,
  onCall: () => void,
): TaskResults['contents'][number] {
  let file: SourceFile | undefined;
  try {
    onCall();
    file = SourceFile.open(root, path, expected);
    const bytes = new Uint8Array(expected.size);
    let size = 0;
    while (!file.isRead) {
      onCall();
      const part = bytes.subarray(size, size + partSize);
      const count = file.read(part);
      size += count;
      if (count < part.length) break;
    }
    onCall();
    return { bytes: bytes.subarray(0, size), isAsExpected: file.isAsExpected() };
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    return { code };
  } finally {
    file?.close();
  }
}

/** Memory that is moved, not copied. */
function transferOf(task: SourceTask, answer: Answer): ArrayBuffer[] {
  if (task.kind !== 'contents' || !('result' in answer)) return [];
  const contents = answer.result as TaskResults['contents']; // What this kind has.
  return contents.flatMap(one => ('bytes' in one ? [one.bytes.buffer] : []));
}

function answerTo(
  task: SourceTask,
  { cells, ...tree }: Tree & Pick<ThreadData, 'cells'>,
  before: (path: string) => void,
): Answer {
  try {
    const result = perform(task, tree, (item, path) => {
      Atomics.store(cells, itemCell, item);
      Atomics.add(cells, callCell, 1);
      before(path);
    });
    return { result };
  } catch (error) {
    const code = systemCode(error);
    if (code !== undefined) return { refusal: { code } };
    return { bug: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

/** Answers tasks that come through its port; `before` each call, for tests. */
export async function serveSource(
  data: PortData,
  before: (path: string) => void = () => {},
): Promise<void> {
  const { port, signal } = data;
  const xattrs = data.attributes.xattrs === true ? await UserXattrs.load() : undefined;
  port.on('message', (task: SourceTask) => {
    const answer = answerTo(task, { ...data, xattrs }, before);
    port.postMessage(answer, transferOf(task, answer));
    Atomics.add(signal, 0, 1);
    Atomics.notify(signal, 0);
  });
}

export type PortData = ThreadData & { readonly port: MessagePort };

type Tree = Pick<ThreadData, 'root' | 'attributes'> & { readonly xattrs: UserXattrs | undefined };

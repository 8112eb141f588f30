// Second looks: content that is the same becomes trusted, other content is to be sent.
import type { WorkerCalls } from './calls.ts';
import type { FileChange } from './change.ts';
import type { FileContent } from './content.ts';
import { isSameList } from './item.ts';
import type { ScanMethods } from './scan-worker.ts';

export class SecondLooks {
  readonly #scanner: WorkerCalls<ScanMethods>;

  constructor(scanner: WorkerCalls<ScanMethods>) {
    this.#scanner = scanner;
  }

  async report(
    looked: readonly { change: FileChange; content: FileContent | undefined }[],
  ): Promise<void> {
    const results = looked.map(({ change, content }) => {
      const { entry, parent, name } = change;
      const isRead = content?.head.status === 'read';
      return {
        id: entry.id,
        parent,
        name,
        isSame: isRead ? isSameList(change, content) : undefined,
      };
    });
    await this.#scanner.call('looked', results);
  }
}

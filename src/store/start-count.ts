// Starts that were never completed. A flipped bit in a database can end the program by a signal as
// soon as a record is looked at, at every start: there is no error that could be caught. So each start
// leaves a byte, which goes when it is complete; with too many of them the state counts as damaged.
import fs from 'node:fs';
import { join } from 'node:path';
import { systemCode } from '../errors.ts';

/** One may be killed while it starts, by chance twice. */
const startsMax = 3;
const fileName = 'starts';

/** A start begins: why the state in `folder` is not to be opened, if so. */
export function beginStart(folder: string): string | undefined {
  try {
    const path = join(folder, fileName);
    fs.appendFileSync(path, '.', { mode: 0o600 });
    const before = fs.statSync(path).size - 1;
    return before >= startsMax ? `${before} starts in a row ended early` : undefined;
  } catch (error) {
    // There is none yet, or its disk is full or read-only, which is found out in its own way.
    if (systemCode(error) === undefined) throw error;
    return undefined;
  }
}

/** The state was opened and worked with. */
export function endStart(folder: string): void {
  try {
    fs.rmSync(join(folder, fileName), { force: true });
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
  }
}

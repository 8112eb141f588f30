import type { Log } from '../log.ts';

/** Closing waits this long for a file system call that hangs; main.ts then ends by force. */
const closeMsMax = 2000;

/** Closes something, but does not wait forever: a hung file system must not keep the process. */
export async function closeInTime(close: () => Promise<void>, log: Log): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>(resolve => {
    timer = setTimeout(resolve, closeMsMax, 'late');
  });
  try {
    const result = await Promise.race([close(), late]);
    if (result === 'late') log.warn({}, 'a file system call hangs; going without it');
  } finally {
    clearTimeout(timer);
  }
}

// Which source the records of a destination belong to, read beside whoever has them open.
import { readValue } from './database.ts';
import { decodeSource, metaKey } from './replica-store.ts';

/** undefined where nothing usable is recorded in that state folder. */
export async function recordedSource(
  folder: string,
): Promise<ReturnType<typeof decodeSource> | undefined> {
  const bytes = await readValue(folder, { table: 'meta', key: metaKey.source });
  return bytes && decodeSource(bytes);
}

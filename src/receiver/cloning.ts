// Where the file system has reflinks, a new version begins as a clone of its base: what is copied to
// where it was takes neither time nor space.
import { StagedFile } from '../tree/staged-file.ts';
import type { StagedPlace } from './block-finder.ts';

export class Cloning {
  /** Believed until the file system refuses. */
  #isPossible = true;

  /** Replaces the new, still empty file at `place` by a clone of `fd`, or by one like it. */
  begin(file: StagedFile, { directory, name }: StagedPlace, fd: number): StagedFile {
    if (!this.#isPossible) return file;
    file.close();
    directory.unlink(name);
    const clone = StagedFile.clone(directory, name, fd);
    this.#isPossible = clone !== undefined;
    return clone ?? StagedFile.create(directory, name);
  }
}

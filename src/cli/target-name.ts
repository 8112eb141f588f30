import { resolve } from 'node:path';
import { realPathOf } from '../store/real-path.ts';
import { hostName, sshName, type Target } from './target.ts';

/** The same for the same target, however it is written: it names a push's state folder. */
export function targetName(target: Target, cwd: string): string {
  switch (target.kind) {
    case 'host':
      return hostName(target);
    case 'ssh':
      return sshName(target);
    case 'path':
      return `file:${realPathOf(resolve(cwd, target.path))}`;
  }
}

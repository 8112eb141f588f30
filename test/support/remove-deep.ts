// Removes <name> from <folder>; run with few descriptors allowed, by remove-tree.test.ts.
import { toName } from '../../src/snapshot/name.ts';
import { ConfinedDirectory } from '../../src/tree/confined-directory.ts';

const [folder = '', name = ''] = process.argv.slice(2);
ConfinedDirectory.openRoot(folder).removeTree(toName(name));

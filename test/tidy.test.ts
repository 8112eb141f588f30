// The layers (ARCHITECTURE.md). This table is the rule; change it in a commit of its own, with
// the reason.
import fs from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import t from 'tap';

interface Layer {
  /** Folders of src it may import from, itself and the files in src aside. */
  readonly folders: readonly string[];
  /** Packages and node: modules it may import; undefined: any but those of `only`. */
  readonly packages?: readonly string[];
}

const pure = ['node:assert/strict'];

const layers: ReadonlyMap<string, Layer> = new Map([
  // Pure: same arguments, same result.
  ['snapshot', { folders: [], packages: [...pure, 'node:crypto', 'ignore'] }],
  ['blocks', { folders: [], packages: [...pure, 'node:crypto', 'xxhash-addon'] }],
  ['wire', { folders: ['snapshot', 'blocks'], packages: [...pure, 'xxhash-addon'] }],
  // Adapters: one kind of I/O each, none knows another.
  ['tree', { folders: ['snapshot', 'blocks'] }],
  ['store', { folders: ['snapshot', 'blocks'] }],
  ['net', { folders: ['wire'] }],
  // The socket on which a running program is asked.
  ['control', { folders: [] }],
  // Programs. Sender and receiver never import each other.
  ['sender', { folders: ['snapshot', 'blocks', 'wire', 'tree', 'store', 'net'] }],
  ['receiver', { folders: ['snapshot', 'blocks', 'wire', 'tree', 'store', 'net'] }],
  [
    'cli',
    {
      folders: [
        ...['snapshot', 'blocks', 'wire', 'tree', 'store', 'net', 'control'],
        ...['sender', 'receiver'],
      ],
    },
  ],
  // The files in src itself: bounds and errors know nothing; index.ts is the public API.
  ['', { folders: ['sender', 'receiver', 'net', 'store', 'snapshot'], packages: [] }],
]);

/** What only these folders may import. */
const only: ReadonlyMap<string, readonly string[]> = new Map([
  ['clipanion', ['cli']],
  ['typanion', ['cli']],
  ['pino', ['cli']],
  ['pino-pretty', ['cli']],
  ['lmdb', ['store']],
  ['ignore', ['snapshot']],
  ['xxhash-addon', ['blocks', 'wire']],
  // Sender and receiver: see descriptorMethods.
  ['node:fs', ['tree', 'store', 'control', 'cli', 'sender', 'receiver']],
  ['node:fs/promises', ['tree', 'store', 'cli']],
  ['node:child_process', ['tree', 'cli']],
  ['node:net', ['net', 'control', 'cli']],
  ['node:tls', ['net']],
  ['node:worker_threads', ['tree', 'store', 'sender', 'receiver', 'cli']],
]);

/** `file imports module`: departures from the table, each with its reason. */
const exceptions: ReadonlySet<string> = new Set([
  // Loads its own compiled kernel, once.
  'blocks/kernels.ts imports node:fs',
  // About the thread it runs in, whichever program's that is.
  'heap-rest.ts imports node:perf_hooks',
  'heap-rest.ts imports node:v8',
]);

/**
 * What sender and receiver may call of node:fs: nothing that takes a path. Only tree/ touches
 * the trees, only store/ the state.
 */
const descriptorMethods: ReadonlySet<string> = new Set(
  ['close', 'fstat', 'fsync', 'fdatasync', 'read', 'write']
    .flatMap(name => [name, `${name}Sync`])
    .concat(['BigIntStats', 'Stats']),
);

/** `file uses method`: departures, each with its reason. */
const pathUses: ReadonlySet<string> = new Set([
  // When the process that holds the lock began: /proc/<pid>/stat.
  'receiver/lock.ts uses readFileSync',
  // Moves an unusable snapshot aside.
  'sender/scan-worker.ts uses renameSync',
]);

const linesMax = 420;

// Split, so that this file does not find itself.
const forbiddenWords = ['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK', '@ts-' + 'ignore'];

const root = findRoot(import.meta.dirname);
const source = join(root, 'src');

function findRoot(from: string): string {
  return fs.existsSync(join(from, 'package.json')) ? from : findRoot(dirname(from));
}

function listFiles(folder: string): string[] {
  if (!fs.existsSync(folder)) return [];
  return fs
    .readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map(name => join(folder, name))
    .filter(path => path.endsWith('.ts') && !path.includes('/fixtures/'));
}

/** Our code of the layers; the AssemblyScript kernel has a language of its own. */
const sourceFiles = listFiles(source)
  .map(path => relative(source, path))
  .filter(path => !path.startsWith('blocks/assembly/'))
  .sort();

interface Import {
  readonly file: string;
  readonly layer: string;
  readonly module: string;
}

function folderOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : '';
}

const importPatterns = [
  /^(?:import|export)\b[^;']*?\bfrom '([^'\n]+)'/gm,
  /\bimport '([^'\n]+)'/g,
  /\bimport\('([^'\n]+)'\)/g,
  /\bnew URL\('([^'\n]+)'/g,
];

/** Every static, dynamic and worker import in `text`. */
function importsOf(file: string, text: string): Import[] {
  return importPatterns
    .flatMap(pattern => [...text.matchAll(pattern)])
    .map(match => ({ file, layer: folderOf(file), module: match[1] ?? '' }));
}

/** Why the import breaks a rule, or undefined. */
function judge({ file, layer, module }: Import): string | undefined {
  const text = `${file} imports ${module}`;
  if (exceptions.has(text)) return undefined;
  const rules = layers.get(layer);
  if (!rules) return `${file} is in a folder without a layer`;
  if (module.startsWith('.')) {
    const target = relative(source, resolve(source, dirname(file), module));
    if (target.startsWith('..')) return file === 'cli/version.ts' ? undefined : text;
    if (target === 'index.ts') return text;
    const folder = folderOf(target);
    const allowed = folder === '' || folder === layer || rules.folders.includes(folder);
    return allowed ? undefined : text;
  }
  if (only.get(module)?.includes(layer) === false) return text;
  if (rules.packages && !rules.packages.includes(module)) return text;
  return undefined;
}

function read(file: string): string {
  return fs.readFileSync(join(source, file), 'utf8');
}

t.test('imports follow the layers', async t => {
  const imports = sourceFiles.flatMap(file => importsOf(file, read(file)));
  t.ok(imports.length > 100, 'imports are found at all');
  t.same(imports.map(judge).filter(Boolean), []);
});

t.test('a forbidden import is noticed', async t => {
  const forbidden: readonly (readonly [string, string])[] = [
    ['snapshot/diff.ts', `import fs from 'node:fs';`],
    ['snapshot/diff.ts', `export { a } from '../wire/codec.ts';`],
    ['blocks/patch.ts', `import { open } from 'lmdb';`],
    ['tree/staged-file.ts', `import type { Database } from '../store/database.ts';`],
    ['store/database.ts', `import { ConfinedDirectory } from '../tree/confined-directory.ts';`],
    ['sender/sender.ts', `import { Receiver } from '../receiver/receiver.ts';`],
    ['receiver/receiver.ts', `import { Sender } from '../sender/sender.ts';`],
    ['receiver/receiver.ts', `new Worker(new URL('../sender/read-worker.ts', import.meta.url))`],
    ['receiver/receiver.ts', `import fs from 'node:fs/promises';`],
    ['net/listener.ts', `import fs from 'node:fs';`],
    ['sender/sender.ts', `import pino from 'pino';`],
    ['cli/push.ts', `import { Sender } from '../index.ts';`],
    ['limits.ts', `import fs from 'node:fs';`],
    ['helpers/all.ts', `import fs from 'node:fs';`],
  ];
  for (const [file, text] of forbidden) {
    t.ok(importsOf(file, text).map(judge).some(Boolean), `${file}: ${text}`);
  }
  const allowed = importsOf('sender/sender.ts', `import { a } from '../tree/source-file.ts';`);
  t.same(allowed.map(judge), [undefined]);
});

/** The members of node:fs that `text` uses, however it imports them. */
function fileSystemUses(file: string, text: string): string[] {
  const members = [...text.matchAll(/\bfs\.(?:promises\.)?(\w+)/g)].map(match => match[1] ?? '');
  const named = [...text.matchAll(/^import (?:type )?\{([^}]*)\} from 'node:fs'/gm)]
    .flatMap(match => (match[1] ?? '').split(','))
    .map(name => name.replace(/\btype\b|\bas\b.*/g, '').trim());
  return [...members, ...named]
    .filter(name => name !== '' && !descriptorMethods.has(name))
    .map(name => `${file} uses ${name}`);
}

t.test('sender and receiver touch files by open descriptors only', async t => {
  const programs = sourceFiles.filter(file => /^(sender|receiver)\//.test(file));
  const uses = programs.flatMap(file => fileSystemUses(file, read(file)));
  t.same(
    uses.filter(use => !pathUses.has(use)),
    [],
  );
  t.same(
    [...pathUses].filter(use => !uses.includes(use)),
    [],
    'no exception is left over',
  );
  const sample = `import { type Stats, readFileSync as r } from 'node:fs';
    fs.closeSync(3); fs.rmSync(path); fs.promises.rm(path);`;
  t.same(fileSystemUses('x', sample), ['x uses rmSync', 'x uses rm', 'x uses readFileSync']);
});

t.test('only cli/ uses the process', async t => {
  const users = sourceFiles.filter(file => /\bprocess\.\w/.test(read(file)));
  t.same(
    users.filter(file => !file.startsWith('cli/')),
    [],
  );
});

t.test(`no file is over ${linesMax} lines`, async t => {
  for (const file of sourceFiles) {
    const lineCount = read(file).split('\n').length - 1;
    t.ok(lineCount <= linesMax, `${file} has ${lineCount} of at most ${linesMax} lines`);
  }
});

t.test('no word that marks unfinished work', async t => {
  const files = ['src', 'test', 'bench'].flatMap(folder => listFiles(join(root, folder)));
  // AssemblyScript's decorators are errors to TypeScript.
  for (const path of files.filter(path => !path.includes('/assembly/'))) {
    const text = fs.readFileSync(path, 'utf8');
    const found = forbiddenWords.filter(word => new RegExp(`(?<!\\w)${word}\\b`).test(text));
    t.same(found, [], relative(root, path));
  }
});

t.test('every module is named after what it holds, and by kebab-case', async t => {
  for (const file of sourceFiles) {
    t.match(file, /^([a-z]+\/)?[a-z][a-z0-9-]*\.ts$/);
    t.notMatch(file, /(util|utils|helper|helpers|common|misc)\.ts$/);
  }
});

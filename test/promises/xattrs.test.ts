// --xattrs: extended attributes of the user namespace are kept, through the command line.
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { makeDiskFolder, makeFolder } from '../support/folders.ts';
import { inTurn } from '../support/in-turn.ts';
import { LivePair } from '../support/live-pair.ts';
import { LocalPasses, ways } from '../support/local-pass.ts';
import { pick, randomBytes, randomInteger, seededRandom } from '../support/random.ts';
import { createTree, directory, file, hardLink, link } from '../support/tree.ts';
import { until } from '../support/until.ts';
import { removeXattr, setXattr, treeXattrs, withoutXattrs, xattrsAt } from '../support/xattrs.ts';

/** In place of t.test. */
const each = inTurn(ways);

const skip = { skip: withoutXattrs(makeDiskFolder(t)) };

function startTree(source: string): void {
  createTree(source, {
    tagged: 'x',
    folder: directory({ inside: 'y', deep: { er: 'z' } }),
    'read only': file('r', { mode: 0o444 }),
    'a link': link('tagged'),
    second: hardLink('tagged'),
    plain: 'p',
  });
  setXattr(source, 'top', '01');
  setXattr(join(source, 'tagged'), 'binary', '00ff0a');
  setXattr(join(source, 'tagged'), 'empty', '');
  setXattr(join(source, 'folder'), 'of a folder', '02');
  setXattr(join(source, 'folder/deep/er'), 'caf\u00e9', '03');
  fs.chmodSync(join(source, 'read only'), 0o644);
  setXattr(join(source, 'read only'), 'r', '04');
  fs.chmodSync(join(source, 'read only'), 0o444);
}

function isEqual({
  source,
  target,
}: {
  readonly source: string;
  readonly target: string;
}): boolean {
  return JSON.stringify(treeXattrs(source)) === JSON.stringify(treeXattrs(target));
}

for (const args of [[], ['--scan-jobs', '3']]) {
  t.test(`files and directories have what the source has ${args}`, skip, async t => {
    const passes = new LocalPasses(makeDiskFolder(t));
    startTree(passes.source);
    const flags = ['--xattrs', ...args];
    const there = () => treeXattrs(passes.target);
    t.equal((await passes.pass(...flags)).code, 0);
    t.strictSame(passes.differences(), []);
    t.strictSame(there(), treeXattrs(passes.source));
    t.equal(Object.keys(there()).length, 6, 'they are there');
    t.equal((await passes.pass(...flags)).operations, 0, 'once more');

    const { ctimeNs } = fs.statSync(passes.at('plain'), { bigint: true });
    removeXattr(passes.at('folder'), 'of a folder');
    setXattr(passes.at('second'), 'binary', '01');
    setXattr(passes.at('folder/inside'), 'new', '05');
    setXattr(passes.source, 'top', '06');
    const dry = await passes.pass('-n', ...flags);
    const listed = dry.lines.filter(line => /^(attributes|modify) /.test(line)).sort();
    t.match(listed, [/ \.$/, / folder$/, / folder\/inside/, / (second|tagged)/]);
    t.notSame(there(), treeXattrs(passes.source), 'nothing was done');
    const changed = await passes.pass(...flags);
    t.equal(changed.bytesSent, 0, 'attributes alone send no content');
    t.strictSame(there(), treeXattrs(passes.source));
    t.equal(fs.statSync(passes.at('plain'), { bigint: true }).ctimeNs, ctimeNs, 'only read');

    fs.renameSync(passes.at('folder'), passes.at('moved'));
    fs.appendFileSync(passes.at('moved/deep/er'), ' and more');
    setXattr(passes.at('moved/deep'), 'late', '07');
    t.equal((await passes.pass(...flags)).code, 0);
    t.strictSame(passes.differences(), []);
    t.strictSame(there(), treeXattrs(passes.source));
  });
}

each(
  'while it runs: changes arrive, and what is altered there is put back',
  skip,
  async (t, way) => {
    const transport = way === 'ssh' ? 'ssh' : 'tcp';
    const pair = new LivePair({ folder: makeDiskFolder(t), pushArgs: ['-X'], transport });
    t.teardown(() => pair.kill());
    startTree(pair.source);
    await pair.start();
    await pair.equal();
    await until(() => isEqual(pair));
    setXattr(join(pair.source, 'plain'), 'now', '01');
    setXattr(join(pair.source, 'folder'), 'now', '02');
    await until(() => isEqual(pair));
    fs.writeFileSync(join(pair.source, 'made'), 'new');
    setXattr(join(pair.source, 'made'), 'now', '03');
    await until(() => isEqual(pair) && pair.differences().length === 0);

    setXattr(join(pair.target, 'tagged'), 'theirs', '04');
    removeXattr(join(pair.target, 'folder'), 'now');
    // The receiver looks when it starts.
    await pair.stop();
    await pair.start();
    await until(() => isEqual(pair));
    t.strictSame(fs.readdirSync(join(pair.target, '.replica/kept')), []);
    const isNews = (line: string) => /"level":"(warn|error)"/.test(line) && !/as root/.test(line);
    t.strictSame(pair.lines().filter(isNews), []);
  },
);

each('later on, and off again', skip, async (t, way) => {
  const passes = new LocalPasses(makeDiskFolder(t), way);
  startTree(passes.source);
  const there = () => treeXattrs(passes.target);
  t.equal((await passes.pass()).code, 0);
  t.strictSame(there(), {}, 'none without the flag');
  setXattr(join(passes.target, 'plain'), 'theirs', '01');
  const on = await passes.pass('-X');
  t.equal(on.bytesSent, 0, 'no content is sent again');
  t.strictSame(there(), treeXattrs(passes.source), 'and what the source lacks goes');
  const before = there();
  t.equal((await passes.pass()).code, 0);
  t.strictSame(there(), before, 'those that are there are left alone');
  setXattr(passes.at('tagged'), 'later', '02');
  t.equal((await passes.pass()).code, 0);
  t.strictSame(there(), before);
  t.equal((await passes.pass('-X')).code, 0);
  t.strictSame(there(), treeXattrs(passes.source));
});

const shared = '/dev/shm';

each('more than can be kept: named each time, and the content is there', skip, async (t, way) => {
  if (!fs.existsSync(shared) || withoutXattrs(shared) !== false) {
    t.pass('no file system at hand that has more', { skip: true });
    return;
  }
  const passes = new LocalPasses(makeFolder(t, shared), way);
  createTree(passes.source, { large: 'content', folder: { inside: 'x' }, other: 'o' });
  const values = ['a', 'b'].map(name => [name, '41'.repeat(9000)] as const);
  for (const path of ['large', 'folder']) {
    for (const [name, hex] of values) setXattr(passes.at(path), name, hex);
  }
  setXattr(passes.at('other'), 'o', '01');
  for (const round of [1, 2]) {
    const { code, lines, operations } = await passes.pass('--xattrs');
    t.equal(code, 23, `round ${round}`);
    if (round > 1) t.equal(operations, 0, 'nothing is sent again');
    const named = lines.filter(line => line.includes('more than 16 KiB of extended attributes'));
    t.match(named.sort(), [/"path":"folder"/, /"path":"large"/], `round ${round}`);
    t.strictSame(passes.differences(), []);
    t.strictSame(treeXattrs(passes.target), { other: { o: '01' } });
  }
  fs.appendFileSync(passes.at('large'), ' and more');
  t.equal((await passes.pass('--xattrs')).code, 23);
  t.strictSame(passes.differences(), [], 'what else changes goes on');
  for (const path of ['large', 'folder']) removeXattr(passes.at(path), 'a');
  t.equal((await passes.pass('--xattrs')).code, 0);
  t.strictSame(treeXattrs(passes.target), treeXattrs(passes.source));
});

t.test(
  'what the other file system does not hold: the content is there, all the same',
  skip,
  async t => {
    if (!fs.existsSync(shared) || withoutXattrs(shared) !== false) {
      t.pass('no file system at hand that has more', { skip: true });
      return;
    }
    const folder = makeFolder(t, shared);
    const pair = new LivePair({ folder: makeDiskFolder(t), source: folder, pushArgs: ['-X'] });
    t.teardown(() => pair.kill());
    createTree(folder, { large: 'content', folder: { inside: { deep: 'x' } }, other: 'o' });
    fs.linkSync(join(folder, 'large'), join(folder, 'second'));
    setXattr(join(folder, 'large'), 'h', '41'.repeat(9000));
    setXattr(join(folder, 'folder'), 'h', '42'.repeat(9000));
    setXattr(folder, 'h', '43'.repeat(9000));
    for (const path of ['other', 'folder/inside']) setXattr(join(folder, path), 'o', '01');
    await pair.startReceive();
    const kept = { 'folder/inside': { o: '01' }, other: { o: '01' } };
    for (const round of [1, 2]) {
      const { code, lines } = await pair.once();
      if (code === 0) {
        t.pass('the other one holds them as well', { skip: true });
        return;
      }
      t.equal(code, 23, `round ${round}`);
      const paths = ['""', '"folder"', '"large"', '"second"'];
      for (const path of paths) {
        const text = `"path":${path},"code":"EREFUSED"`;
        t.ok(
          lines.some(line => line.includes(text)),
          `${path}, round ${round}`,
        );
      }
      t.strictSame(pair.differences(), []);
      t.strictSame(treeXattrs(pair.target), kept);
    }
    // A name and other attributes at once.
    fs.renameSync(join(folder, 'other'), join(folder, 'moved'));
    setXattr(join(folder, 'moved'), 'h', '44'.repeat(9000));
    for (const round of [1, 2]) {
      const { code, lines } = await pair.once();
      t.equal(code, 23);
      const isNamed = lines.some(line => line.includes('"path":"moved","code":"EREFUSED"'));
      t.ok(isNamed, `under another name, round ${round}`);
    }
    t.strictSame(pair.differences(), []);
    for (const path of ['large', 'folder', 'moved', '']) setXattr(join(folder, path), 'h', '01');
    t.equal((await pair.once()).code, 0);
    t.strictSame(treeXattrs(pair.target), treeXattrs(folder));
  },
);

each('verify compares them where it is asked to, and repairs', skip, async (t, way) => {
  const passes = new LocalPasses(makeDiskFolder(t), way);
  startTree(passes.source);
  t.equal((await passes.pass('-X')).code, 0);
  const verify = (...flags: readonly string[]) =>
    passes.home.run(['verify', passes.source, passes.target, ...flags]);
  t.equal((await verify('-X').exit).code, 0);
  setXattr(passes.at('folder/inside'), 'new', '01');
  setXattr(join(passes.target, 'folder'), 'theirs', '02');
  const program = verify('-X');
  t.equal((await program.exit).code, 23);
  const found = program.lines.filter(line => line.startsWith('xattrs '));
  t.match(found.sort(), [/^xattrs +folder\/$/, /^xattrs +folder\/inside$/]);
  t.equal((await verify('-X', '--repair').exit).code, 0);
  t.strictSame(treeXattrs(passes.target), treeXattrs(passes.source));
  setXattr(passes.at('folder/inside'), 'new', '03');
  t.equal((await verify().exit).code, 0, 'the source is compared only if they are kept');
});

each('state that is lost, and a folder that is adopted', skip, async (t, way) => {
  const passes = new LocalPasses(makeDiskFolder(t), way);
  startTree(passes.source);
  fs.mkdirSync(passes.target);
  fs.cpSync(passes.source, passes.target, { recursive: true, verbatimSymlinks: true });
  setXattr(join(passes.target, 'plain'), 'theirs', '01');
  t.equal((await passes.pass('-X', '--adopt')).code, 0);
  t.strictSame(treeXattrs(passes.target), treeXattrs(passes.source));
  fs.rmSync(join(passes.target, '.replica/state'), { recursive: true });
  setXattr(join(passes.target, 'folder'), 'theirs', '01');
  removeXattr(join(passes.target, 'tagged'), 'binary');
  t.equal((await passes.pass('-X')).code, 0);
  t.strictSame(treeXattrs(passes.target), treeXattrs(passes.source));
});

/** A process that finds everything but the package. */
const hook =
  'export const resolve=(name,context,next)=>name==="fs-xattr"?Promise.reject(new Error("no")):next(name,context)';
const registration = `import{register}from"node:module";register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hook)}`)})`;
const withoutPackage = ['--import', `data:text/javascript,${encodeURIComponent(registration)}`];

t.test('without the package the one who lacks it says so, and nothing is sent', skip, async t => {
  const pair = new LivePair({ folder: makeDiskFolder(t) });
  t.teardown(() => pair.kill());
  createTree(pair.source, { a: 'a' });
  const { home, source, target } = pair;
  const reason = 'the package fs-xattr is missing or was not built';
  for (const command of ['push', 'verify']) {
    const local = home.run(
      [command, source, target, '-X', '--once'].slice(0, command === 'push' ? 5 : 4),
      withoutPackage,
    );
    t.equal((await local.exit).code, 1, command);
    t.match(
      local.lines.filter(line => line.includes(reason)),
      [/npm rebuild fs-xattr/],
      command,
    );
    t.notMatch(local.lines.join('\n'), /^ +at /m, 'no stack');
  }
  const receive = ['receive', target, '--host', '127.0.0.1', '--port', '0'];
  const receiver = home.run(receive, withoutPackage);
  t.teardown(() => receiver.stop('SIGKILL'));
  const line = await receiver.line(/^listening on /);
  const address = `127.0.0.1:${line.slice(line.lastIndexOf(':') + 1)}`;
  const refused = await home.pushOnce(source, address, ['-X']);
  t.equal(refused.code, 1);
  t.match(
    refused.lines.filter(text => text.includes(reason)),
    [/receiver: .*npm rebuild fs-xattr/],
  );
  t.strictSame(fs.readdirSync(target), ['.replica']);
  t.equal((await home.pushOnce(source, address)).code, 0, 'without the flag all is well');
});

/** Changes something of the tree, and now and then only attributes. */
function change(source: string, random: () => number): void {
  const paths = fs.readdirSync(source, { recursive: true, encoding: 'utf8' });
  const path = paths.length === 0 ? '' : pick(random, paths);
  const full = join(source, path);
  const fresh = join(fs.statSync(full).isDirectory() ? full : dirname(full), `n${random()}`);
  const hex = randomBytes(random, randomInteger(random, 30)).toString('hex');
  switch (randomInteger(random, 8)) {
    case 0:
      fs.writeFileSync(fresh, hex);
      break;
    case 1:
      fs.mkdirSync(fresh);
      break;
    case 2:
      if (!fresh.startsWith(`${full}/`) && path !== '') fs.renameSync(full, fresh);
      break;
    case 3:
      if (fs.statSync(full).isFile()) fs.linkSync(full, fresh);
      break;
    case 4:
      if (fs.statSync(full).isFile()) fs.appendFileSync(full, hex);
      break;
    case 5: {
      const [name] = Object.keys(xattrsAt(full));
      if (name !== undefined) removeXattr(full, name);
      break;
    }
    default:
      setXattr(full, pick(random, ['a', 'b', 'c']), hex);
  }
}

each('random changes, pass after pass', skip, async (t, way) => {
  for (let seed = 1; seed <= 2; seed++) {
    const random = seededRandom(seed);
    const passes = new LocalPasses(makeDiskFolder(t), way);
    for (let pass = 0; pass < 4; pass++) {
      for (let i = 0; i < 40; i++) change(passes.source, random);
      t.equal((await passes.pass('-X')).code, 0, `seed ${seed}, pass ${pass}`);
      t.strictSame(passes.differences(), [], `seed ${seed}, pass ${pass}`);
      const isSame = t.strictSame(treeXattrs(passes.target), treeXattrs(passes.source));
      if (!isSame) return t.comment(`seed ${seed}, pass ${pass}`);
    }
  }
});

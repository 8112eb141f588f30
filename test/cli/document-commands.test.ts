// The completions and the man page must say what --help says, for every command there is.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { exitCodeMeanings } from '../../src/cli/exit-code.ts';
import { formatManPage } from '../../src/cli/man-page.ts';
import { runInProcess } from '../support/run-cli.ts';

async function output(t: Test, ...argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await runInProcess(argv, { home: t.testdir() });
  t.equal(stderr, '');
  t.equal(code, 0, argv.join(' '));
  return stdout;
}

function has(program: string): boolean {
  return spawnSync(program, ['--version']).status === 0;
}

function run(program: string, args: readonly string[], input = ''): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', input });
  if (status !== 0) throw new Error(`${program}: ${status} ${stderr}`);
  return stdout;
}

/** Commands and their flags, as --help tells them. */
async function helpOfAll(t: Test): Promise<ReadonlyMap<string, readonly string[]>> {
  const overview = await output(t, '--help');
  const flags = new Map<string, readonly string[]>();
  for (const [, words = ''] of overview.matchAll(/^ {2}replica ((?:[a-z]+ ?)+)/gm)) {
    const help = await output(t, ...words.trim().split(' '), '--help');
    const labels = [...help.matchAll(/^ {2}(-[^\s,]+(?:, --\S+)?)/gm)].map(one => one[1] ?? '');
    flags.set(
      words.trim(),
      labels.flatMap(label => label.split(', ')),
    );
  }
  t.ok(flags.size >= 12);
  return flags;
}

/** What bash offers after each line. */
function bashOffers(script: string, lines: readonly string[], cwd: string): readonly string[][] {
  const tries = lines.map(
    line => `COMP_WORDS=(${line}); [[ '${line}' != *' ' ]] || COMP_WORDS+=('')
      COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _replica; (IFS='|'; echo "\${COMPREPLY[*]}")`,
  );
  const text = run('bash', ['--norc', '-c', `cd '${cwd}'; ${script}\n${tries.join('\n')}`]);
  return text
    .split('\n')
    .slice(0, -1)
    .map(line => line.split('|').filter(Boolean));
}

t.test('bash completes every flag of every command, its values, and folders', async t => {
  const script = await output(t, 'completion', 'bash');
  const help = await helpOfAll(t);
  const cwd = t.testdir({ 'a folder': {}, afile: '' });
  const commands = [...help.keys()];
  const offers = bashOffers(
    script,
    commands.map(command => `replica ${command} -`),
    cwd,
  );
  for (const [i, command] of commands.entries()) {
    const inner = command.startsWith('service ') ? (help.get(command.slice(8)) ?? []) : [];
    const expected = [...new Set([...(help.get(command) ?? []), ...inner])].sort();
    t.same(offers[i]?.toSorted(), expected, command);
  }
  const rows: [string, string[]][] = [
    ['replica pu', ['push']],
    ['replica key ', ['list', 'new', 'revoke', 'show']],
    ['replica ke', ['key']],
    ['replica push a b --fsync ', ['batch', 'off']],
    ['replica push --interval ', []],
    ['replica push --exclude-from af', ['afile']],
    ['replica push --state a', ['a folder']],
    ['replica receive --adopt a', ['a folder']],
    ['replica completion ', ['bash', 'fish', 'zsh']],
    ['replica push key ', ['a folder']],
  ];
  const found = bashOffers(
    script,
    rows.map(([line]) => line),
    cwd,
  );
  for (const [i, [line, expected]] of rows.entries()) {
    t.same(found[i]?.toSorted(), expected, line);
  }
});

t.test('fish and zsh are told every flag of every command', async t => {
  const help = await helpOfAll(t);
  const fish = await output(t, 'completion', 'fish');
  const zsh = await output(t, 'completion', 'zsh');
  for (const [command, flags] of help) {
    const name = `_replica_${command.replace(' ', '_')}()`;
    const body = zsh.slice(zsh.indexOf(`\n${name}`)).split('\n}\n')[0] ?? '';
    t.ok(zsh.includes(`\n${name}`), name);
    for (const flag of flags) {
      const option = flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`;
      const line = new RegExp(`^complete .*'__replica_at ${command}'.* ${option} .*-d '`, 'm');
      t.ok(line.test(fish), `fish: ${command} ${flag}`);
      t.ok(body.includes(`'*${flag}[`), `zsh: ${command} ${flag}`);
    }
  }
  if (has('zsh')) t.equal(run('zsh', ['-n'], zsh), '');
  if (!has('fish')) return;
  const offers = (line: string): string =>
    run('fish', ['--no-config', '-c', `${fish}\ncomplete -C '${line}'`]);
  t.match(offers('replica key '), /^list\t.*\nnew\t.*\nrevoke\t.*\nshow\t.*\n$/);
  t.match(offers('replica push a b --fsync '), /^batch\t.*\noff\t.*\n$/);
});

t.test('what is quoted in a help text is quoted for each shell', async t => {
  const line = /complete .* -l label .*/;
  t.match(
    (await output(t, 'completion', 'fish')).match(line)?.[0],
    / -d 'What \\'key list\\' shows/,
  );
  const zsh = await output(t, 'completion', 'zsh');
  t.ok(zsh.includes("'*--label[What '\\''key list'\\'' shows beside it]:TEXT: '"));
  t.ok(zsh.includes(":batch|off:(batch off)'"), 'values of a flag');
  t.ok(zsh.includes(":[HOST\\:]PORT: '"), 'a colon would end the word');
});

t.test('an unknown shell is one line', async t => {
  const result = await runInProcess(['completion', 'ksh'], { home: t.testdir() });
  t.strictSame(result, {
    code: 1,
    stdout: '',
    stderr: "replica: completion: 'ksh' is none of bash, zsh, fish\n",
  });
});

/** groff_man(7), and what needs no macro set. */
const macros = /^\.(?:TH|nh|ad|SH|SS|TP|PP|EX|EE|br|B|I)(?: |$)/;

t.test('the man page has every command, flag and exit code, and no warning', async t => {
  const page = await output(t, 'man');
  for (const line of page.split('\n')) {
    if (line.startsWith('.')) t.match(line, macros);
    t.notMatch(line, /^'|[^\x00-\x7f]/, 'neither a request nor a character that needs a coding');
  }
  const sections = page.split('\n.SS ');
  for (const [command, flags] of await helpOfAll(t)) {
    const section = sections.find(one => one.startsWith(`replica ${command}\n`)) ?? '';
    t.match(section, /\n\.EX\n {4}.*replica /, `${command} has an example`);
    const labels = section.split('\n.TP\n').slice(1);
    const told = labels.flatMap(label => [
      ...(label.split('\n')[0] ?? '').matchAll(/\\fB(.*?)\\fR/g),
    ]);
    const names = told.map(one => (one[1] ?? '').replaceAll('\\-', '-'));
    t.same(names, flags, command);
  }
  for (const [code] of exitCodeMeanings) t.ok(page.includes(`\n.TP\n.B ${code}\n`), `${code}`);
  for (const title of ['NAME', 'SYNOPSIS', 'COMMANDS', 'ENVIRONMENT', 'FILES']) {
    t.ok(page.includes(`\n.SH ${title}\n`), title);
  }
  const file = join(t.testdir(), 'replica.1');
  writeFileSync(file, page);
  if (!has('groff')) return;
  const { status, stdout, stderr } = spawnSync('groff', ['-man', '-ww', '-Tutf8', '-P-c', file], {
    encoding: 'utf8',
  });
  t.equal(status, 0);
  t.equal(stderr, '', 'no warning');
  // What stands in the roff with escapes is read as it was meant.
  const plain = stdout.replace(/.\x08/g, '').replace(/\s+/g, ' ');
  for (const text of [
    '{"push": {"max-delete": "10%"}}',
    '~/.config/replica/config.json',
    "'key list'",
  ]) {
    t.ok(plain.includes(text), text);
  }
});

t.test('roff takes nothing in a text for a request or an escape', async t => {
  const text = ".a 'b' \\fB ~^` -x \u2026";
  const command = { words: ['x'], usage: 'replica x', positionals: [], flags: [], examples: [] };
  const catalog = [{ ...command, description: text, notes: [text, "'q"] }];
  const page = formatManPage({ catalog, exitCodes: [], version: '1' });
  t.notMatch(page, /^'|[^\x00-\x7f]/m);
  t.ok(page.includes('\\-x'), 'a hyphen that can be searched for and copied');
  if (!has('groff')) return;
  const shown = run('groff', ['-man', '-ww', '-Tutf8', '-P-c'], page).replace(/.\x08/g, '');
  t.ok(shown.includes(`${text}.\n`), 'the description');
  t.ok(shown.includes(`${text}\n`), 'a note');
  t.ok(shown.includes("'q\n"));
});

// A home folder with trees in it, and the built command run there.
import { utimesSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { CliProcess, type CliResult, runSpawned } from './run-cli.ts';

/** A home with a source of two files, whose times are whole microseconds. */
export function place(t: Test): string {
  const home = t.testdir({
    src: { 'a.txt': 'first', sub: { 'b.txt': 'second' } },
    other: { 'c.txt': 'third' },
    file: '',
  });
  for (const name of ['src/a.txt', 'src/sub/b.txt', 'src/sub', 'src', 'other/c.txt', 'other']) {
    utimesSync(join(home, name), 1_600_000_000, 1_600_000_000);
  }
  return home;
}

export function run(home: string, ...argv: string[]): Promise<CliResult> {
  return runSpawned(argv, { home });
}

/** Starts a command that runs until the test ends. */
export function start(t: Test, home: string, ...argv: string[]): CliProcess {
  const process = new CliProcess(argv, { home });
  t.teardown(() => process.stop());
  return process;
}

export async function receiving(
  t: Test,
  home: string,
  target = 'dst',
  ...flags: string[]
): Promise<string> {
  const place = ['--host', '127.0.0.1', '--port', '0'];
  const receiver = start(t, home, 'receive', target, ...place, ...flags);
  return await receiver.listening();
}

/** Exactly one line on stderr that is not a log line, and nothing on stdout. */
export function refused(t: Test, result: CliResult, code: number, message: RegExp | string): void {
  t.equal(result.code, code, 'exit code');
  t.equal(result.stdout, '');
  const lines = result.stderr.split('\n').filter(line => line !== '' && !line.startsWith('{'));
  t.equal(lines.length, 1, result.stderr);
  t.match(lines[0], message);
  t.notMatch(result.stderr, /\n\s+at /, 'no stack trace');
}

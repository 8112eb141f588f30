// `replica add`: remembers a folder and its flags for `replica up`.
import { resolve } from 'node:path';
import { Command } from 'clipanion';
import { ReplicaError } from '../errors.ts';
import { realPathOf } from '../store/real-path.ts';
import { checkApart, checkSource } from './checks.ts';
import { readCompression } from './compression-settings.ts';
import { appendFolder, type Raw } from './config-file.ts';
import { readDestinationSettings } from './destination-settings.ts';
import { ExitCode } from './exit-code.ts';
import { folderHint } from './folder-hint.ts';
import { flagFields } from './given-flags.ts';
import { KeyRing } from './keys.ts';
import { plainLine } from './plain-line.ts';
import { PushCommand } from './push-command.ts';
import { readPushSettings } from './push-settings.ts';
import type { Surroundings } from './replica-command.ts';
import { refuseFlagsOfFolders } from './route.ts';
import { usage } from './settings.ts';
import { hostName, parseTarget, sshName, type Target } from './target.ts';

/** Flags that are for one run, not for good. */
const passing: ReadonlySet<string> = new Set(['--once', '--dry-run', '--accept-deletes', '--path']);
/** Of the command `add` itself. */
const own: ReadonlySet<string> = new Set(['--env-file', '--verbose', '--quiet', '--log-format']);

export class AddCommand extends PushCommand {
  static override paths = [['add']];
  static override usage = Command.Usage({
    description: "Remember that <src> goes to <target>, with these flags, for 'replica up'",
    examples: [
      ['Two folders, then all of them', '$0 add ~/project backup.example.org'],
      ['With settings of its own', "$0 add ~/photos /mnt/disk/photos --exclude '*.tmp'"],
      ['Start', '$0 up'],
    ],
  });
  static override notes = [
    "The folder is appended to 'folders' in ~/.config/replica/config.json, which is replaced as a whole and stays private. Edit it there; 'replica remove' forgets it. Its flags also count for push, verify and doctor of the same <src> and <target>.",
    'It takes the flags of push, except those for a single run: --once, --dry-run, --accept-deletes and --path.',
  ];
  static override refusedFlags = passing;

  /** What is there already does not count. */
  protected override pair(): undefined {
    return undefined;
  }

  /** It is for the push to come. */
  protected override logFileFlag(): undefined {
    return undefined;
  }

  protected override async perform({ settings, folders, log }: Surroundings): Promise<ExitCode> {
    const { cwd, home, stdout } = this.context;
    const values = this.#givenValues(cwd);
    const source = checkSource(resolve(cwd, this.source));
    const parsed = parseTarget(this.target);
    readPushSettings(settings, this, cwd);
    readCompression(settings, this);
    let target: string;
    if (parsed.kind === 'path') {
      target = realPathOf(resolve(cwd, parsed.path));
      checkApart(source, target);
      readDestinationSettings(settings, this);
    } else if (parsed.kind === 'ssh') {
      target = sshName(parsed);
      readDestinationSettings(settings, this);
    } else {
      target = hostName(parsed);
      refuseFlagsOfFolders(this);
    }
    const { configFile } = folders;
    const { allFlags, names } = this.commands;
    const options = { configFile, allFlags, sections: names, home };
    appendFolder({ source, target, values }, options);
    const line = `added ${source} to ${target}; 'replica up' replicates it`;
    stdout.write(`${plainLine(line)}\n`);
    if (parsed.kind === 'host' && !this.insecure) this.#remindOfKey(parsed, settings, log);
    return ExitCode.Done;
  }

  /** By flag, without dashes. Files by their whole path, as `up` may run elsewhere. */
  #givenValues(cwd: string): Record<string, Raw> {
    const entry = this.commands.catalog.find(({ words }) => words[0] === 'push');
    const fields = new Map<string, unknown>(Object.entries(this));
    const values: Record<string, Raw> = {};
    for (const [field, name] of flagFields(AddCommand)) {
      const value = fields.get(field);
      if (value === undefined || own.has(name)) continue;
      if (passing.has(name)) throw usage(name, 'is for one run; give it to push');
      const kind = entry?.flags.find(({ names }) => names.includes(name))?.value;
      const isFile = kind === 'F' || kind === 'DIR';
      if (name === '-z') values.compress ??= 'on';
      else if (typeof value === 'boolean') values[name.slice(2)] = value;
      else if (typeof value === 'string') {
        values[name.slice(2)] = isFile ? resolve(cwd, value) : value;
      } else if (Array.isArray(value)) {
        values[name.slice(2)] = value.map(one =>
          isFile ? resolve(cwd, String(one)) : String(one),
        );
      }
    }
    return values;
  }

  /** It may be paired later; nobody should find out at night. */
  #remindOfKey(
    target: Target & { readonly kind: 'host' },
    settings: Surroundings['settings'],
    log: Surroundings['log'],
  ): void {
    const { cwd } = this.context;
    const { host, port } = target;
    const keyFile = settings.text('key-file', this.keyFile);
    try {
      new KeyRing(this.context).forPush({
        keyFile: keyFile && { ...keyFile, value: resolve(cwd, keyFile.value) },
        environmentKey: settings.variable('REPLICA_KEY'),
        host,
        port,
      });
    } catch (error) {
      if (!(error instanceof ReplicaError)) throw error;
      log.warn({ code: error.code }, `${error.message}${folderHint(target, cwd)}`);
    }
  }
}

// `replica service …`: prints systemd units. Nothing is installed or started.
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname, isAbsolute, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'clipanion';
import { checkSource } from './checks.ts';
import { readDestination } from './destinations.ts';
import { ExitCode } from './exit-code.ts';
import { plainLine } from './plain-line.ts';
import { ReplicaCommand, type Surroundings } from './replica-command.ts';
import { usage } from './settings.ts';
import { formatUnit, unitWord } from './systemd.ts';
import { parseTarget } from './target.ts';
import { type UserFolders, userFolders } from './user-folders.ts';

const notes = [
  'Nothing is installed: the unit goes to standard output, with the commands that install it in its first lines. It runs as you, or as --run-as, with everything but its own folders read-only. With --user it is one for systemctl --user, which can protect less.',
  'Flags of the program itself come last, and their files by absolute path. Secrets are not among them: pair first, as the user that the service runs as.',
];

abstract class ServiceCommand extends ReplicaCommand {
  isUserUnit = Option.Boolean('--user', { description: 'A unit for systemctl --user' });
  runAs = Option.String('--run-as', {
    description: '<USER> Who the service runs as (default: you)',
  });

  /** Which unit; its parts are made from the program's arguments, which are checked already. */
  protected print(service: {
    readonly program: readonly string[];
    readonly own: readonly string[];
    readonly mounts: readonly string[];
    readonly writable: (folders: UserFolders) => readonly string[];
    readonly subject: string;
    readonly needsNetwork: boolean;
  }): ExitCode {
    const { program, own } = service;
    const [word = ''] = program;
    const values = this.#checkFlags(word, own);
    // Throws for what the program would not understand.
    this.commands.check([...program, ...own]);
    const account = this.#account();
    const folders = userFolders(account);
    const state = values.get('--state');
    const logFile = values.get('--log-file');
    const writable = [
      ...service.writable({ ...folders, state: state ?? folders.state }),
      ...(logFile === undefined ? [] : [dirname(logFile)]),
    ];
    const name = ['replica', word, ...unitWord(service.subject)].join('-');
    const isUser = this.isUserUnit === true;
    this.context.stdout.write(
      formatUnit({
        name,
        description: plainLine(`replica ${word} ${service.subject}`),
        // Without the dashes Node itself answers for an --env-file that is not there.
        command: [process.execPath, '--', mainFile, ...program, ...own],
        mounts: service.mounts,
        writable,
        needsNetwork: service.needsNetwork,
        setsSpecialBits: own.includes('--special-bits'),
        user: isUser ? undefined : account.name,
        remarks: remarks(name, { isUser, name: account.name, writable }),
      }),
    );
    return ExitCode.Done;
  }

  /** Values of the flags that have one. A service starts elsewhere: its files need a whole path. */
  #checkFlags(word: string, own: readonly string[]): ReadonlyMap<string, string> {
    const flags = this.commands.catalog.find(({ words }) => words.join(' ') === word)?.flags ?? [];
    const values = new Map<string, string>();
    for (const [i, argument] of own.entries()) {
      const [name = '', inline] = argument.split(/=(.*)/s);
      const flag = flags.find(one => one.names.includes(name));
      if (name === '--once' || name === '--dry-run' || name === '-n') {
        throw usage(name, 'a service runs until it is stopped');
      }
      const value = inline ?? own[i + 1];
      if (flag?.value === undefined || value === undefined) continue;
      if ((flag.value === 'F' || flag.value === 'DIR') && !isAbsolute(value)) {
        throw usage(name, `'${value}' must be a whole path, as a service starts elsewhere`);
      }
      values.set(name, value);
    }
    return values;
  }

  /** The user of the service and their home folder. */
  #account(): { readonly name: string; readonly home: string; readonly env: Environment } {
    const { home, env } = this.context;
    const { runAs } = this;
    const { username } = userInfo();
    if (runAs !== undefined && this.isUserUnit) {
      throw usage('--run-as', 'contradicts --user: such a unit runs as the user who installs it');
    }
    if (runAs === undefined || runAs === username) return { name: username, home, env };
    const line = readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .find(one => one.startsWith(`${runAs}:`));
    const theirHome = line?.split(':')[5];
    if (theirHome === undefined) {
      throw usage('--run-as', `there is no user '${runAs}' in /etc/passwd; run this as that user`);
    }
    // What is set in our environment is ours.
    return { name: runAs, home: theirHome, env: {} };
  }
}

type Environment = Readonly<Record<string, string | undefined>>;

const mainFile = fileURLToPath(new URL('./main.js', import.meta.url));

interface RemarkOptions {
  readonly isUser: boolean;
  readonly name: string;
  readonly writable: readonly string[];
}

/** How to install it, as the first thing that is read. */
function remarks(unit: string, { isUser, name, writable }: RemarkOptions): readonly string[] {
  const file = isUser
    ? `~/.config/systemd/user/${unit}.service`
    : `/etc/systemd/system/${unit}.service`;
  const control = isUser ? 'systemctl --user' : 'systemctl';
  const folders = writable.map(path => plainLine(JSON.stringify(path))).join(' ');
  const line = (what: string, command: string): string => `${what.padEnd(19)} ${command}`;
  return [
    file,
    '',
    ...(isUser ? [] : [line(`As ${name}, once:`, `mkdir -p -m 700 ${folders}`)]),
    line(isUser ? 'Then:' : 'Then, as root:', `${control} daemon-reload`),
    line('', `${control} enable --now ${unit}`),
    line('What it says:', `journalctl ${isUser ? '--user-unit' : '-u'} ${unit} -f`),
    ...(isUser ? [line('Also after logout:', 'loginctl enable-linger')] : []),
    ...(name === 'root' && !isUser
      ? ['It runs as root; a user of its own is safer: --run-as']
      : []),
    '',
  ];
}

export class ServicePushCommand extends ServiceCommand {
  static override paths = [['service', 'push']];
  static override usage = Command.Usage({
    description: "Print a hardened systemd unit that runs 'replica push <src> <target>'",
    examples: [
      [
        'Install one',
        '$0 service push ~/project backup.example.org --interval 2s |\n' +
          '        sudo tee /etc/systemd/system/replica-push-project.service',
      ],
    ],
  });
  static override notes = notes;

  source = Option.String({ name: 'src' });
  target = Option.String({ name: 'target' });
  own = Option.Proxy({ name: 'flags' });

  protected override async perform(): Promise<ExitCode> {
    const { cwd } = this.context;
    const source = checkSource(resolve(cwd, this.source));
    const target = parseTarget(this.target);
    const isLocal = target.kind === 'path';
    const place = isLocal ? resolve(cwd, target.path) : this.target;
    return this.print({
      program: ['push', source, place],
      own: this.own,
      mounts: isLocal ? [source, place] : [source],
      writable: ({ state }) => (isLocal ? [state, place] : [state]),
      subject: `${source} ${place}`,
      needsNetwork: !isLocal,
    });
  }
}

export class ServiceReceiveCommand extends ServiceCommand {
  static override paths = [['service', 'receive']];
  static override usage = Command.Usage({
    description: "Print a hardened systemd unit that runs 'replica receive <dst>'",
    examples: [
      [
        'Install one for a user of its own',
        '$0 service receive --run-as backup /srv/copy |\n' +
          '        sudo tee /etc/systemd/system/replica-receive-copy.service',
      ],
    ],
  });
  static override notes = notes;

  destination = Option.String({ name: 'dst' });
  own = Option.Proxy({ name: 'flags' });

  protected override async perform(): Promise<ExitCode> {
    const { cwd } = this.context;
    const end = this.own.findIndex(word => word.startsWith('-'));
    const more = end < 0 ? this.own : this.own.slice(0, end);
    const destinations = [this.destination, ...more].map(text => readDestination(text, cwd));
    const roots = destinations.map(({ root }) => root);
    const words = destinations.map(({ name, root }) => (name === '' ? root : `${name}=${root}`));
    return this.print({
      program: ['receive', ...words],
      own: this.own.slice(more.length),
      mounts: roots,
      // The first start makes a key there.
      writable: ({ config }) => [...roots, config],
      subject: roots.join(' '),
      needsNetwork: true,
    });
  }
}

export class ServiceUpCommand extends ServiceCommand {
  static override paths = [['service', 'up']];
  static override usage = Command.Usage({
    description:
      "Print a hardened systemd unit that runs 'replica up', all folders of the config file",
    examples: [['Install it', '$0 service up | sudo tee /etc/systemd/system/replica-up.service']],
  });
  static override notes = notes;

  own = Option.Proxy({ name: 'flags' });

  protected override async perform({ settings, folders }: Surroundings): Promise<ExitCode> {
    if (settings.folders.length === 0) {
      throw usage(folders.configFile, "it has no folders; 'replica add <src> <target>' adds one");
    }
    const targets = settings.folders.map(({ target }) => parseTarget(target));
    const local = targets.flatMap(one => (one.kind === 'path' ? [one.path] : []));
    return this.print({
      program: ['up'],
      own: this.own,
      mounts: [...settings.folders.map(({ source }) => source), ...local],
      writable: ({ state }) => [state, ...local],
      subject: '',
      needsNetwork: local.length < targets.length,
    });
  }
}

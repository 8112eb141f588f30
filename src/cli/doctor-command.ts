// `replica doctor`: measures what replication depends on, and says what to do.
import { lookup } from 'node:dns/promises';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, Option } from 'clipanion';
import { realPathOf } from '../store/real-path.ts';
import type { TreePair } from './config-file.ts';
import { examineDestination, examineMachine } from './doctor-machine.ts';
import { examineReplica } from './doctor-replica.ts';
import { examineSource } from './doctor-source.ts';
import { examineTarget } from './doctor-target.ts';
import { ExitCode } from './exit-code.ts';
import { type Finding, findingFields, findingsExitCode, formatFinding, warn } from './finding.ts';
import { folderHint } from './folder-hint.ts';
import { KeyRing } from './keys.ts';
import { ReplicaCommand, type Surroundings } from './replica-command.ts';
import { parseTarget, sshName } from './target.ts';

export class DoctorCommand extends ReplicaCommand {
  static override paths = [['doctor']];
  static override usage = Command.Usage({
    description: 'Check this machine, a source and the way to a target, and say what to do',
    examples: [
      ['This machine only', '$0 doctor'],
      ['Before the first push', '$0 doctor ~/project backup.example.org'],
      ['How a network mount behaves', '$0 doctor --write-test /mnt/nfs/project'],
    ],
  });
  static override notes = [
    "A line for each finding: ok, warn (works, but) or bad (a push would fail), what it means, and what to do. The exit code is 0, or that of the first bad one. The source is only read. Of a receiver on another machine it is not asked whether it takes this source: that would end a push that is running. With --write-test a folder is made in <src>/.replica, which is never replicated, and one in a local target's, and removed at once.",
  ];

  source = Option.String({ name: 'src', required: false });
  target = Option.String({ name: 'target', required: false });
  writeTest = Option.Boolean('--write-test', {
    description: 'Measure what cannot be known without writing: times of folders, reflinks',
  });
  json = Option.Boolean('--json', { description: 'A JSON line for each finding' });
  timeout = Option.String('--timeout', {
    description: '<TIME> Wait this long for a receiver (default 10s)',
  });
  adopt = Option.Boolean('--adopt', { description: 'As for push' });
  takeOver = Option.Boolean('--take-over', { description: 'As for push' });
  keyFile = Option.String('--key-file', { description: "<F> The receiver's key" });
  state = Option.String('--state', { description: '<DIR> As for push' });
  insecure = Option.Boolean('--insecure', { description: 'As for push' });

  protected override pair(): TreePair | undefined {
    const { source, target } = this;
    return source === undefined || target === undefined ? undefined : { source, target };
  }

  protected override async perform(surroundings: Surroundings): Promise<ExitCode> {
    const findings: Finding[] = [];
    for await (const finding of this.#examine(surroundings)) {
      findings.push(finding);
      const line = this.json ? JSON.stringify(findingFields(finding)) : formatFinding(finding);
      this.context.stdout.write(`${line}\n`);
      if (this.context.signal.aborted) return ExitCode.Interrupted;
    }
    return findingsExitCode(findings);
  }

  async *#examine({ settings, folders }: Surroundings): AsyncGenerator<Finding> {
    const { cwd, signal } = this.context;
    const writes = settings.switch('write-test', this.writeTest);
    const state = resolve(cwd, settings.text('state', this.state)?.value ?? folders.state);
    const bounds = { fallback: '10s', min: 100, max: 600_000 };
    const timeoutMs = settings.duration('timeout', this.timeout, bounds);
    const insecure = settings.switch('insecure', this.insecure);
    const keyFile = settings.text('key-file', this.keyFile);
    const target = this.target === undefined ? undefined : parseTarget(this.target);
    const source = this.source === undefined ? undefined : resolve(cwd, this.source);
    yield* examineMachine(state, Date.now());
    if (source !== undefined) yield* examineSource(source, { writes, nowMs: Date.now });
    if (target?.kind === 'path') {
      const root = resolve(cwd, target.path);
      const isUsable = yield* examineDestination(root, { source, writes });
      if (!isUsable) return;
      yield await examineReplica(realPathOf(root), {
        source: source !== undefined && existsSync(source) ? source : undefined,
        hostname: this.context.hostname,
        adopt: settings.switch('adopt', this.adopt),
        takeOver: settings.switch('take-over', this.takeOver),
      });
    }
    if (target?.kind === 'ssh') {
      const message = `${sshName(target)} was not looked at`;
      yield warn(
        'network',
        message,
        "'ssh' there and 'replica --version' should work without a password",
      );
    }
    if (target?.kind !== 'host') return;
    const { host, port } = target;
    const findKey = () =>
      new KeyRing(this.context).forPush({
        keyFile: keyFile && { ...keyFile, value: resolve(cwd, keyFile.value) },
        environmentKey: settings.variable('REPLICA_KEY'),
        host,
        port,
      });
    const { dial } = this.programs;
    const findAddresses = async (name: string): Promise<readonly string[]> =>
      (await lookup(name, { all: true })).map(({ address }) => address);
    const hint = folderHint(target, cwd);
    const way = { host, port, hint, dial, findAddresses, timeoutMs, signal };
    yield* examineTarget({ ...way, findKey: insecure ? undefined : findKey });
  }
}

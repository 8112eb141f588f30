// `replica key …`: the keys that this user's receiver accepts.
import { Command, Option } from 'clipanion';
import { ReplicaError } from '../errors.ts';
import { formatPairing } from '../store/key-file.ts';
import { ExitCode } from './exit-code.ts';
import { KeyRing } from './keys.ts';
import { plainLine } from './plain-line.ts';
import { ReplicaCommand, type Surroundings } from './replica-command.ts';

export class KeyShowCommand extends ReplicaCommand {
  static override paths = [['key', 'show']];
  static override usage = Command.Usage({
    description: "Print this receiver's newest pairing string, for 'replica pair' on the source",
    examples: [['The line to paste', '$0 key show']],
  });

  protected override async perform(): Promise<ExitCode> {
    const ring = new KeyRing(this.context);
    const key = ring.own().at(-1);
    if (key === undefined) {
      throw new ReplicaError(
        'ERR_AUTH',
        `every key of ${ring.ownFile} was revoked; 'replica key new' makes one`,
      );
    }
    this.context.stdout.write(`${formatPairing(key)}\n`);
    return ExitCode.Done;
  }
}

export class KeyNewCommand extends ReplicaCommand {
  static override paths = [['key', 'new']];
  static override usage = Command.Usage({
    description:
      'Make one more key and print its pairing string; a running receiver accepts it at once',
    examples: [['A key of its own for each sender', '$0 key new --label laptop']],
  });

  label = Option.String('--label', { description: "<TEXT> What 'key list' shows beside it" });

  protected override async perform({ settings }: Surroundings): Promise<ExitCode> {
    const label = settings.text('label', this.label)?.value;
    const key = new KeyRing(this.context).addOwn(label);
    this.context.stdout.write(`${formatPairing(key)}\n`);
    return ExitCode.Done;
  }
}

export class KeyListCommand extends ReplicaCommand {
  static override paths = [['key', 'list']];
  static override usage = Command.Usage({
    description: 'List the keys this receiver accepts, oldest first: id, date, label (no secrets)',
    examples: [['Who may write', '$0 key list']],
  });

  protected override async perform(): Promise<ExitCode> {
    for (const key of new KeyRing(this.context).own()) {
      const line = `${key.id}  ${key.created ?? '-'}  ${key.label ?? ''}`;
      this.context.stdout.write(`${plainLine(line)}\n`);
    }
    return ExitCode.Done;
  }
}

export class KeyRevokeCommand extends ReplicaCommand {
  static override paths = [['key', 'revoke']];
  static override usage = Command.Usage({
    description:
      'No longer accept the key <id>, from the next connection on (write an id like -x as: -- -x)',
    examples: [['Lock one sender out', '$0 key revoke gXb3jE0Yt5m2qT1rVhZkAw']],
  });

  keyId = Option.String({ name: 'id' });

  protected override async perform(): Promise<ExitCode> {
    const left = new KeyRing(this.context).revokeOwn(this.keyId);
    this.context.stdout.write(`revoked ${this.keyId}, ${left} left\n`);
    return ExitCode.Done;
  }
}

// The commands that ask a running push: which one is meant, and how it is asked.
import { resolve } from 'node:path';
import { Option } from 'clipanion';
import { callControl } from '../control/control-client.ts';
import { ReplicaError } from '../errors.ts';
import { controlAnswerMs } from '../limits.ts';
import { plainLine } from './plain-line.ts';
import { ReplicaCommand, type Surroundings } from './replica-command.ts';
import {
  controlProtocol,
  findPushes,
  onlyOne,
  type PushChoice,
  type RunningPush,
} from './running-pushes.ts';

export abstract class ControlCommand extends ReplicaCommand {
  state = Option.String('--state', { description: '<DIR> As for the push' });
  json = Option.Boolean('--json', { description: 'Print JSON' });

  protected async running(
    { settings, folders, log }: Surroundings,
    choice: PushChoice,
  ): Promise<readonly RunningPush[]> {
    const { cwd, signal } = this.context;
    const stateBase = resolve(cwd, settings.text('state', this.state)?.value ?? folders.state);
    return await findPushes(stateBase, choice, { cwd, signal, log });
  }

  protected async choose(surroundings: Surroundings, choice: PushChoice): Promise<RunningPush> {
    return onlyOne(await this.running(surroundings, choice), choice);
  }

  /**
   * The answer of a push. Throws ERR_SOCKET when it ended meanwhile, ERR_USAGE when it is of another
   * version, and without a `signal` of its own ERR_TIMEOUT when it does not answer.
   */
  protected async ask(
    { folder, protocol, pid }: RunningPush,
    command: string,
    { argument, signal }: { argument?: unknown; signal?: AbortSignal } = {},
  ): Promise<unknown> {
    if (protocol !== controlProtocol) {
      const message = `the push (pid ${pid}) is of another version of replica: start it again`;
      throw new ReplicaError('ERR_USAGE', message);
    }
    const timeoutMs = signal === undefined ? controlAnswerMs : undefined;
    const until = signal ?? this.context.signal;
    const answer = await callControl({ folder, command, argument, signal: until, timeoutMs });
    if (answer !== undefined) return answer.result;
    throw new ReplicaError('ERR_SOCKET', 'the push ended');
  }

  /** `fields` with --json, otherwise the text. */
  protected print(fields: unknown, text: string): void {
    const line = this.json ? JSON.stringify(fields) : plainLine(text);
    this.context.stdout.write(`${line}\n`);
  }
}

/** Those that are about one push. */
export abstract class OnePushCommand extends ControlCommand {
  source = Option.String({ name: 'src', required: false });
  target = Option.String({ name: 'target', required: false });

  protected async one(surroundings: Surroundings): Promise<RunningPush> {
    return await this.choose(surroundings, this);
  }
}

/** '<src> and <target> may be left out where only one push fits.' */
export const choiceNote =
  'Without <src> and <target>: the push that is running, if there is only one.';

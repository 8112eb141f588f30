// `replica pair`: keeps the pairing string of one receiver for later pushes.
import type { Readable, Writable } from 'node:stream';
import { Command, Option } from 'clipanion';
import { ReplicaError } from '../errors.ts';
import { formatAddress } from '../net/address.ts';
import { ExitCode } from './exit-code.ts';
import { KeyRing, parseKey } from './keys.ts';
import { ReplicaCommand } from './replica-command.ts';
import { parseHostPort } from './target.ts';

/** A pairing string has below 100 characters; more than this is something else. */
const lineSizeMax = 4096;

export class PairCommand extends ReplicaCommand {
  static override paths = [['pair']];
  static override usage = Command.Usage({
    description:
      "Store a receiver's pairing string (asked for on a terminal, else read from standard input)",
    examples: [
      ['Paste the key of a receiver', '$0 pair backup.example.org'],
      [
        'Without a terminal',
        'ssh backup.example.org replica key show | $0 pair backup.example.org',
      ],
    ],
  });

  receiver = Option.String({ name: 'host[:port]' });

  protected override async perform(): Promise<ExitCode> {
    const { host, port } = parseHostPort(this.receiver);
    const place = formatAddress(host, port);
    const { stdin, stderr, signal } = this.context;
    const question = `pairing string of ${place} (not shown): `;
    const stop = (): void => void stdin.destroy();
    if (signal.aborted) throw givenUp();
    signal.addEventListener('abort', stop, { once: true });
    let line: string;
    try {
      line = isTerminal(stdin) ? await askHidden(stdin, stderr, question) : await readLine(stdin);
    } catch (error) {
      throw signal.aborted ? givenUp() : error;
    } finally {
      signal.removeEventListener('abort', stop);
    }
    const key = parseKey(line, isTerminal(stdin) ? 'what you pasted' : 'standard input');
    new KeyRing(this.context).keepPaired(host, port, key);
    this.context.stdout.write(`paired with ${place}, key ${key.id}\n`);
    return ExitCode.Done;
  }
}

interface Terminal extends Readable {
  setRawMode(isRaw: boolean): unknown;
}

function isTerminal(stream: Readable): stream is Terminal {
  return 'isTTY' in stream && stream.isTTY === true && 'setRawMode' in stream;
}

/** The first line of a stream that is no terminal. */
async function readLine(stdin: Readable): Promise<string> {
  let text = '';
  for await (const chunk of stdin) {
    text += String(chunk);
    if (text.includes('\n') || text.length > lineSizeMax) break;
  }
  return text.split('\n')[0] ?? '';
}

/** Asks without echo. Control-C and an empty end of input give up. */
async function askHidden(stdin: Terminal, stderr: Writable, question: string): Promise<string> {
  stderr.write(question);
  stdin.setRawMode(true);
  let text = '';
  try {
    for await (const chunk of stdin) {
      for (const char of String(chunk)) {
        if (char === '\r' || char === '\n' || char === '\x04') return text;
        if (char === '\x03') throw givenUp();
        if (char === '\x7f' || char === '\b') text = text.slice(0, -1);
        else if (text.length < lineSizeMax) text += char;
      }
    }
    return text;
  } finally {
    stdin.setRawMode(false);
    stderr.write('\n');
  }
}

function givenUp(): ReplicaError {
  return new ReplicaError('ERR_USAGE', 'given up: nothing was stored');
}

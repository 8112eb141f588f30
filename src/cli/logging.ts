// Where log lines go: people on a terminal, or with --log-format pretty, read pino-pretty, programs
// read JSON lines, and --log-file gets JSON lines as well. Everything is written at once and in this
// process, so that the last words before a crash are there.
import { closeSync, openSync, writeSync } from 'node:fs';
import { Writable } from 'node:stream';
import { pino } from 'pino';
import { ReplicaError, systemCode } from '../errors.ts';
import type { Log } from '../log.ts';
import { plainLine } from './plain-line.ts';

/** auto: sentences on a terminal, JSON lines elsewhere. The first is the default. */
export const logFormats = ['auto', 'pretty', 'json'] as const;
export type LogFormat = (typeof logFormats)[number];

export interface LogOptions {
  readonly stderr: Writable;
  readonly isTerminal: boolean;
  readonly colors: boolean;
  /** 0: info; 1 and more: debug. */
  readonly verbosity: number;
  /** Warnings and errors only; the log file gets the rest still. Default: no. */
  readonly isQuiet?: boolean;
  /** Default: auto. */
  readonly format?: LogFormat;
  readonly logFile: string | undefined;
  /** Called before a line goes to a terminal. */
  readonly onTerminalLine?: () => void;
}

export interface OpenLog {
  readonly log: Log;
  /** What ended the command, for the log file; stderr gets its line from cli.ts. */
  noteFailure(error: unknown): void;
  /** Opens the log file anew, after a log rotation moved it; stays with it where that fails. */
  reopen(): void;
  close(): void;
}

/** Throws ERR_PATH when the log file cannot be opened. */
export async function openLog(options: LogOptions): Promise<OpenLog> {
  const file = options.logFile === undefined ? undefined : new LogFile(options.logFile);
  const level = options.verbosity > 0 ? 'debug' : 'info';
  const { format: wanted = 'auto', isQuiet = false, isTerminal } = options;
  const isPretty = wanted === 'auto' ? isTerminal : wanted === 'pretty';
  const streams: {
    level: 'debug' | 'info' | 'warn';
    stream: { write(line: string): unknown };
  }[] = [
    {
      level: isQuiet ? 'warn' : level,
      stream: isPretty ? await prettyStream(options) : plainStream(options.stderr),
    },
  ];
  if (file !== undefined) streams.push({ level, stream: file });
  const format = {
    level,
    base: { pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { error: pino.stdSerializers.err },
  };
  const log = pino(format, pino.multistream(streams));
  return {
    log,
    noteFailure: error => {
      if (file !== undefined) pino(format, file).error({ error }, 'the command failed');
    },
    reopen: () => {
      try {
        file?.reopen();
      } catch (error) {
        if (!(error instanceof ReplicaError)) throw error;
        log.warn({ code: error.code }, `${error.message}: it goes on in the file of before`);
      }
    },
    close: () => file?.close(),
  };
}

async function prettyStream(options: LogOptions): Promise<{ write(line: string): unknown }> {
  const { default: pretty } = await import('pino-pretty');
  return pretty({
    colorize: options.colors,
    // A file that lines are gathered in is read on another day.
    translateTime: options.isTerminal ? 'SYS:HH:MM:ss' : 'SYS:yyyy-mm-dd HH:MM:ss',
    // Messages are whole sentences; their fields are for programs.
    hideObject: true,
    messageFormat: (fields, key) => plainLine(String(fields[key] ?? '')),
    ignore: 'pid,hostname',
    destination: new TerminalLines(options),
    sync: true,
  });
}

/** Each line in turn, what stands below them taken away first. */
class TerminalLines extends Writable {
  readonly #options: LogOptions;

  constructor(options: LogOptions) {
    super({ decodeStrings: false });
    this.#options = options;
  }

  override _write(line: string | Buffer, _encoding: string, done: () => void): void {
    this.#options.onTerminalLine?.();
    this.#options.stderr.write(line);
    done();
  }
}

function plainStream(stderr: Writable): { write(line: string): unknown } {
  return { write: line => stderr.write(line) };
}

class LogFile {
  readonly #path: string;
  #fd: number;
  /** The last line has no end: the disk became full within it. */
  #isTorn = false;

  constructor(path: string) {
    this.#path = path;
    this.#fd = this.#open();
  }

  /** A full disk must not end replication: the line is lost, stderr has it. */
  write(line: string): void {
    try {
      const bytes = Buffer.from(this.#isTorn ? `\n${line}` : line);
      this.#isTorn = writeSync(this.#fd, bytes) < bytes.length;
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
    }
  }

  reopen(): void {
    const previous = this.#fd;
    this.#fd = this.#open();
    this.#isTorn = false;
    closeSync(previous);
  }

  close(): void {
    closeSync(this.#fd);
  }

  #open(): number {
    try {
      return openSync(this.#path, 'a', 0o600);
    } catch (error) {
      const code = systemCode(error) ?? 'unknown error';
      throw new ReplicaError('ERR_PATH', `cannot open the log file ${this.#path} (${code})`, {
        cause: error,
      });
    }
  }
}

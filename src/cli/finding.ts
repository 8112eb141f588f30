// What `replica doctor` finds, and how it is printed. Pure.
import { ExitCode } from './exit-code.ts';
import { plainLine } from './plain-line.ts';

export interface Finding {
  /** One word or two: 'state', 'free space'. */
  readonly check: string;
  readonly level: 'ok' | 'warn' | 'bad';
  /** What was found and what it means. */
  readonly message: string;
  /** What to do about it. */
  readonly advice?: string;
  /** How a program would end because of it. */
  readonly exitCode?: ExitCode;
}

export function ok(check: string, message: string): Finding {
  return { check, level: 'ok', message };
}

export function warn(check: string, message: string, advice: string): Finding {
  return { check, level: 'warn', message, advice };
}

export function bad(
  check: string,
  message: string,
  options: { readonly advice?: string; readonly exitCode: ExitCode },
): Finding {
  return { check, level: 'bad', message, ...options };
}

export function formatFinding({ check, level, message, advice }: Finding): string {
  const text = advice === undefined ? message : `${message}; ${advice}`;
  return plainLine(`${level.padEnd(4)}  ${check.padEnd(12)}  ${text}`);
}

/** For programs: one line of JSON. */
export function findingFields({ level, check, message, advice }: Finding): object {
  return { level, check, message: plainLine(message), ...(advice && { advice }) };
}

/** That of the first thing that is bad. */
export function findingsExitCode(findings: readonly Finding[]): ExitCode {
  return findings.find(one => one.level === 'bad')?.exitCode ?? ExitCode.Done;
}

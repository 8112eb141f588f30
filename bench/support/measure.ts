// Runs a function often enough to say what it costs; one JSON line per result.
import { cpus } from 'node:os';

/** Median and p95 of `runs` runs after two to warm up, printed with `fields`. */
export function measure(
  fields: { readonly name: string } & Record<string, string | number>,
  options: { readonly bytes: number; readonly runs: number },
  run: () => unknown,
): void {
  run();
  run();
  const times: number[] = [];
  for (let i = 0; i < options.runs; i++) {
    const start = process.hrtime.bigint();
    run();
    times.push(Number(process.hrtime.bigint() - start) / 1e6);
  }
  print(fields, options.bytes, times);
}

/** The same of what has to be waited for. */
export async function measureAsync(
  fields: { readonly name: string } & Record<string, string | number>,
  options: { readonly bytes: number; readonly runs: number },
  run: () => Promise<unknown>,
): Promise<void> {
  await run();
  await run();
  const times: number[] = [];
  for (let i = 0; i < options.runs; i++) {
    const start = process.hrtime.bigint();
    await run();
    times.push(Number(process.hrtime.bigint() - start) / 1e6);
  }
  print(fields, options.bytes, times);
}

function print(
  fields: Readonly<Record<string, string | number>>,
  bytes: number,
  times: number[],
): void {
  times.sort((a, b) => a - b);
  const medianMs = times[Math.floor(times.length / 2)] ?? 0;
  const p95Ms = times[Math.floor(times.length * 0.95)] ?? 0;
  const line = {
    ...fields,
    megabytesPerSecond: Math.round(bytes / 1000 / medianMs),
    medianMs: Number(medianMs.toPrecision(4)),
    p95Ms: Number(p95Ms.toPrecision(4)),
    node: process.version,
    cpu: cpus()[0]?.model ?? 'unknown',
  };
  console.log(JSON.stringify(line));
}

// Where a flag's value comes from: flag > environment > --env-file > the config
// file's folder, its command, its top > default.
// This module layers the values and remembers their origin, so that an error can name it.
import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { ReplicaError, systemCode } from '../errors.ts';
import {
  type Config,
  type ConfigFolder,
  type ConfigOptions,
  pairKey,
  type Raw,
  readConfig,
  type TreePair,
} from './config-file.ts';
import { formatDuration, parseDuration } from './duration.ts';
import { type Setting, usage } from './setting.ts';
import { parsePort } from './target.ts';

export { type Setting, usage } from './setting.ts';

/** Names of flags without dashes. */
export type Flags = ReadonlySet<string>;

interface Layer {
  /** How the layer calls flag `name`. */
  readonly origin: (flag: string) => string;
  readonly values: ReadonlyMap<string, Raw>;
}

export interface SettingsOptions extends ConfigOptions {
  /** Command word: the config file's section. */
  readonly command: string;
  /** Flags of this command, without dashes. */
  readonly flags: Flags;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly envFile?: string | undefined;
  /** What the command is about, if it is about two trees: the config file may have settings for them. */
  readonly pair?: (TreePair & { readonly cwd: string }) | undefined;
}

/** Environment variables of ours that are no flags. */
const otherVariables: ReadonlySet<string> = new Set(['REPLICA_KEY', 'REPLICA_ENV_FILE']);

export class Settings {
  /** The folders of the config file. */
  readonly folders: readonly ConfigFolder[];
  readonly #layers: readonly Layer[];
  readonly #flags: Flags;
  readonly #fileEnv: Readonly<Record<string, string | undefined>>;
  readonly #env: Readonly<Record<string, string | undefined>>;

  private constructor(options: SettingsOptions, fileEnv: Record<string, string | undefined>) {
    this.#flags = options.flags;
    this.#env = options.env;
    this.#fileEnv = fileEnv;
    const config = readConfig(options);
    const fileName = options.envFile ?? '';
    this.#layers = [
      { origin: variableOf, values: fromVariables(options.env, options.allFlags) },
      {
        origin: flag => `${variableOf(flag)} in ${fileName}`,
        values: fromVariables(fileEnv, options.allFlags),
      },
      ...configLayers(config, options),
    ];
    this.folders = config.folders;
  }

  /** Reads the env file and the config file. Throws ERR_USAGE for what cannot be understood. */
  static load(options: SettingsOptions): Settings {
    return new Settings(options, options.envFile === undefined ? {} : readEnvFile(options));
  }

  /** An environment variable that is no flag (REPLICA_KEY), from the environment or the env file. */
  variable(name: string): Setting<string> | undefined {
    const value = this.#env[name];
    if (value !== undefined && value !== '') return { value, origin: name };
    const fileValue = this.#fileEnv[name];
    if (fileValue === undefined || fileValue === '') return undefined;
    return { value: fileValue, origin: `${name} in the env file` };
  }

  text(flag: string, given: string | undefined): Setting<string> | undefined {
    if (given !== undefined) return { value: given, origin: `--${flag}` };
    const found = this.#find(flag);
    if (found === undefined) return undefined;
    if (typeof found.value === 'string') return { value: found.value, origin: found.origin };
    if (typeof found.value === 'number') return { value: `${found.value}`, origin: found.origin };
    throw usage(found.origin, 'expected a text or a number');
  }

  switch(flag: string, given: boolean | undefined): boolean {
    if (given !== undefined) return given;
    const found = this.#find(flag);
    if (found === undefined) return false;
    if (typeof found.value === 'boolean') return found.value;
    const text = String(found.value).toLowerCase();
    if (['1', 'true', 'yes', 'on'].includes(text)) return true;
    if (['0', 'false', 'no', 'off', ''].includes(text)) return false;
    throw usage(found.origin, `expected true or false, not '${text}'`);
  }

  /** Values of a repeatable flag; in a variable they are separated by line breaks. */
  list(flag: string, given: readonly string[] | undefined): readonly string[] {
    if (given !== undefined) return given;
    const found = this.#find(flag);
    if (found === undefined) return [];
    if (typeof found.value === 'string') return found.value.split('\n').filter(line => line !== '');
    if (typeof found.value === 'object') return found.value;
    throw usage(found.origin, 'expected a list of texts');
  }

  count(flag: string, given: number | undefined): number {
    if (given !== undefined) return given;
    const found = this.#find(flag);
    if (found === undefined) return 0;
    if (typeof found.value === 'boolean') return found.value ? 1 : 0;
    if (/^\d$/.test(String(found.value))) return Number(found.value);
    throw usage(found.origin, 'expected a number from 0 to 9');
  }

  /** Milliseconds from `min` to `max`. */
  duration(
    flag: string,
    given: string | undefined,
    bounds: { readonly fallback: string; readonly min: number; readonly max: number },
  ): number {
    const setting = this.text(flag, given) ?? { value: bounds.fallback, origin: `--${flag}` };
    const ms = parseDuration(setting.value);
    if (ms === undefined) {
      throw usage(setting.origin, `'${setting.value}' is not a duration such as 500, 2s or 24h`);
    }
    if (ms < bounds.min || ms > bounds.max) {
      throw usage(
        setting.origin,
        `${setting.value} is not from ${formatDuration(bounds.min)} to ${formatDuration(bounds.max)}`,
      );
    }
    return ms;
  }

  port(flag: string, given: string | undefined, fallback: number): number {
    const setting = this.text(flag, given);
    if (setting === undefined) return fallback;
    const port = parsePort(setting.value);
    if (port === undefined) {
      throw usage(setting.origin, `'${setting.value}' is not a port from 0 to 65535`);
    }
    return port;
  }

  /** One of `choices`; the first is the default. */
  choice<T extends string>(
    flag: string,
    given: string | undefined,
    choices: readonly [T, ...T[]],
  ): T {
    const setting = this.text(flag, given);
    if (setting === undefined) return choices[0];
    const choice = choices.find(one => one === setting.value);
    if (choice !== undefined) return choice;
    throw usage(setting.origin, `'${setting.value}' is not one of ${choices.join(', ')}`);
  }

  #find(flag: string): Setting<Raw> | undefined {
    if (!this.#flags.has(flag)) throw new Error(`flag --${flag} is not declared`);
    for (const layer of this.#layers) {
      const value = layer.values.get(flag);
      if (value !== undefined) return { value, origin: layer.origin(flag) };
    }
    return undefined;
  }
}

function variableOf(flag: string): string {
  return `REPLICA_${flag.toUpperCase().replaceAll('-', '_')}`;
}

function fromVariables(
  env: Readonly<Record<string, string | undefined>>,
  flags: Flags,
): ReadonlyMap<string, Raw> {
  const values = new Map<string, Raw>();
  for (const flag of flags) {
    const value = env[variableOf(flag)];
    // An empty variable is one that is not set: that is how compose files leave one out.
    if (value !== undefined && value !== '') values.set(flag, value);
  }
  return values;
}

function readEnvFile(options: SettingsOptions): Record<string, string | undefined> {
  const path = options.envFile ?? '';
  const values = parseEnv(readText(path));
  const known = new Set([...options.allFlags].map(variableOf));
  for (const name of Object.keys(values)) {
    if (name.startsWith('REPLICA_') && !known.has(name) && !otherVariables.has(name)) {
      throw usage(path, `there is no setting ${name}`);
    }
  }
  return values;
}

/** The folder's own settings first, then the command's section, then the top level. */
function configLayers(config: Config, options: SettingsOptions): Layer[] {
  const { command, configFile, pair } = options;
  const folder = pair && findFolder(config.folders, pair);
  return [
    ...(folder
      ? [
          {
            origin: (flag: string) => `${folder.place}.${flag} in ${configFile}`,
            values: folder.values,
          },
        ]
      : []),
    {
      origin: flag => `${command}.${flag} in ${configFile}`,
      values: config.sections.get(command) ?? new Map(),
    },
    { origin: flag => `${flag} in ${configFile}`, values: config.top },
  ];
}

function findFolder(
  folders: readonly ConfigFolder[],
  pair: TreePair & { readonly cwd: string },
): ConfigFolder | undefined {
  if (folders.length === 0) return undefined;
  try {
    const key = pairKey(pair, pair.cwd);
    return folders.find(one => pairKey(one, '/') === key);
  } catch (error) {
    // A target that makes no sense is for the command to refuse.
    if (error instanceof ReplicaError || systemCode(error) !== undefined) return undefined;
    throw error;
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = systemCode(error) ?? 'unknown error';
    throw usage('--env-file', `cannot read ${path} (${code})`);
  }
}

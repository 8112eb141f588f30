// One --metrics for all folders of `replica up`: each push is a process of its own, and needs a port.
import { formatAddress } from '../net/address.ts';
import type { ConfigFolder } from './config-file.ts';
import { parseMetricsAddress } from './metrics-server.ts';
import { type Setting, usage } from './settings.ts';

/**
 * Addresses of those that have none of their own, in order: the first gets the port that is set, each
 * next one the next port that no folder has for its own. Port 0 is one for all: any that is free.
 */
export function sharedMetrics(
  folders: readonly {
    readonly folder: ConfigFolder;
    readonly setting: Setting<string> | undefined;
  }[],
): ReadonlyMap<ConfigFolder, string> {
  const isOwn = ({ folder, setting }: (typeof folders)[number]): boolean =>
    setting?.origin.startsWith(`${folder.place}.`) === true;
  const taken = new Set(
    folders
      .filter(isOwn)
      .flatMap(({ setting }) => (setting ? [parseMetricsAddress(setting).port] : [])),
  );
  const addresses = new Map<ConfigFolder, string>();
  let next: number | undefined;
  for (const one of folders) {
    const { folder, setting } = one;
    if (setting === undefined || isOwn(one)) continue;
    const { host, port } = parseMetricsAddress(setting);
    next ??= port;
    while (taken.has(next)) next++;
    if (next > 65_535) {
      throw usage(
        setting.origin,
        `there is no port above ${port} for each folder: choose a lower one`,
      );
    }
    addresses.set(folder, formatAddress(host, next));
    if (port !== 0) next++;
  }
  return addresses;
}

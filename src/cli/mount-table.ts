// Which file system a path lies on, by /proc/self/mountinfo (proc(5)), and what that means for
// somebody who polls.
import { readFileSync } from 'node:fs';
import { isInside } from './checks.ts';
import { type Finding, ok, warn } from './finding.ts';

export interface Mount {
  readonly point: string;
  /** 'ext4', 'nfs4', 'fuse.sshfs'. */
  readonly type: string;
  /** Of the mount and of the file system together: 'acregmax' to '60'; '' for a switch. */
  readonly options: ReadonlyMap<string, string>;
}

/** The mount that holds a real path; undefined where there is no /proc. */
export function mountOf(realPath: string): Mount | undefined {
  let text: string;
  try {
    text = readFileSync('/proc/self/mountinfo', 'utf8');
  } catch {
    return undefined;
  }
  return findMount(parseMountInfo(text), realPath);
}

/** The last of those that hold it, as later mounts cover earlier ones. */
export function findMount(mounts: readonly Mount[], realPath: string): Mount | undefined {
  const holders = mounts.filter(({ point }) => point === realPath || isInside(realPath, point));
  const longest = Math.max(...holders.map(({ point }) => point.length));
  return holders.findLast(({ point }) => point.length === longest);
}

export function parseMountInfo(text: string): readonly Mount[] {
  return text.split('\n').flatMap(line => {
    const [left = '', right] = line.split(' - ');
    const fields = left.split(' ');
    const [type, , superOptions = ''] = right?.split(' ') ?? [];
    const point = fields[4];
    if (type === undefined || point === undefined) return [];
    const words = `${fields[5] ?? ''},${superOptions}`.split(',');
    const options = new Map(
      words.filter(Boolean).map(word => {
        const [name = '', value = ''] = word.split(/=(.*)/s);
        return [name, value] as const;
      }),
    );
    return [{ point: unescapeOctal(point), type, options }];
  });
}

function unescapeOctal(text: string): string {
  return text.replace(/\\(\d{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

/** How late changes made elsewhere are seen, as far as the mount says. */
export function judgeVisibility({ type, options }: Mount): Finding {
  const check = 'visibility';
  if (type.startsWith('nfs')) return judgeNfs(type, options);
  if (type === '9p') {
    const cache = options.get('cache') ?? 'none';
    if (cache === 'none' || cache === '0')
      return ok(check, '9p without a cache: changes are seen at once');
    const text = `9p with cache=${cache}: what the host changes may not be seen for long, or never`;
    return warn(check, text, 'mount with cache=none');
  }
  if (type === 'cifs' || type === 'smb3') {
    const seconds = options.get('actimeo') ?? options.get('acregmax') ?? '1';
    const text = `${type}: changes made on other machines are seen up to ${seconds} s late`;
    return Number(seconds) > 1 ? warn(check, text, 'mount with actimeo=1') : ok(check, text);
  }
  if (type.startsWith('fuse') || type === 'virtiofs') {
    const text = `${type}: its cache decides how soon changes made elsewhere are seen`;
    return warn(check, text, 'look for its attribute and entry timeouts, often 1 s');
  }
  if (type === 'overlay') {
    const text = 'overlay: what is changed in a layer below, not through it, may never be seen';
    return warn(check, text, 'replicate a volume or bind mount instead');
  }
  return ok(check, `${type}: changes are seen by the next look`);
}

/** Defaults of nfs(5), which mountinfo leaves out. */
function judgeNfs(type: string, options: Mount['options']): Finding {
  const check = 'visibility';
  if (options.has('noac')) return ok(check, `${type} with noac: changes are seen by the next look`);
  const files = Number(options.get('acregmax') ?? 60);
  const names = Number(options.get('acdirmax') ?? 60);
  const text = `${type}: edits made on other machines are seen up to ${files} s late, new names ${names} s`;
  if (files <= 1 && names <= 1) return ok(check, text);
  return warn(check, text, 'mount with actimeo=1 to have it sooner');
}

// systemd units: their text, and the quoting of systemd.service(5) and systemd.syntax(7). Pure.

export interface ServiceUnit {
  /** Without '.service'. */
  readonly name: string;
  readonly description: string;
  /** Program and arguments. */
  readonly command: readonly string[];
  /** Folders that must be mounted before it starts. */
  readonly mounts: readonly string[];
  /** All it may write to; everything else is read-only. */
  readonly writable: readonly string[];
  /** Waits for the network. */
  readonly needsNetwork: boolean;
  readonly setsSpecialBits: boolean;
  /** Who it runs as; undefined for a unit of `systemctl --user`, which is its own user. */
  readonly user: string | undefined;
  /** Comments above it. */
  readonly remarks: readonly string[];
}

/** Restarting does not mend these: a wrong setting, no key. */
const lastingExitCodes = '1 5';

export function formatUnit(unit: ServiceUnit): string {
  const { needsNetwork, user, mounts } = unit;
  const isSystem = user !== undefined;
  return [
    ...unit.remarks.map(line => (line === '' ? '#' : `# ${line}`)),
    '[Unit]',
    `Description=${escapeSpecifiers(unit.description)}`,
    ...(needsNetwork && isSystem
      ? ['Wants=network-online.target', 'After=network-online.target']
      : []),
    ...(mounts.length > 0 ? [`RequiresMountsFor=${mounts.map(quotePath).join(' ')}`] : []),
    '# It is tried again for ever: a server may be away for days.',
    'StartLimitIntervalSec=0',
    '',
    '[Service]',
    'Type=exec',
    ...(isSystem ? [`User=${user}`] : []),
    `ExecStart=${unit.command.map(quoteArgument).join(' ')}`,
    'Restart=on-failure',
    'RestartSec=10',
    `RestartPreventExitStatus=${lastingExitCodes}`,
    '# SIGTERM finishes the commit under way, within 20 seconds.',
    'KillMode=mixed',
    'TimeoutStopSec=30',
    'UMask=0077',
    '',
    ...hardening(unit),
    ...(isSystem ? fileSystem(user, unit) : []),
    '',
    '[Install]',
    `WantedBy=${isSystem ? 'multi-user.target' : 'default.target'}`,
    '',
  ].join('\n');
}

/** What a program that reads and writes files and talks TCP can do without. */
function hardening({ setsSpecialBits, user }: ServiceUnit): readonly string[] {
  return [
    'NoNewPrivileges=yes',
    'LockPersonality=yes',
    'RestrictRealtime=yes',
    'RestrictNamespaces=yes',
    ...(setsSpecialBits ? [] : ['RestrictSUIDSGID=yes']),
    'RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK',
    'SystemCallArchitectures=native',
    'SystemCallFilter=@system-service',
    'SystemCallErrorNumber=EPERM',
    '# Not MemoryDenyWriteExecute: the JavaScript engine compiles while it runs.',
    ...(user === undefined
      ? []
      : [
          `CapabilityBoundingSet=${user === 'root' ? rootCapabilities : ''}`,
          'PrivateDevices=yes',
          'ProtectClock=yes',
          'ProtectControlGroups=yes',
          'ProtectHostname=yes',
          'ProtectKernelLogs=yes',
          'ProtectKernelModules=yes',
          'ProtectKernelTunables=yes',
        ]),
  ];
}

/** To read every file, and to set modes and times of any. */
const rootCapabilities = 'CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER';

function fileSystem(user: string, { mounts, writable }: ServiceUnit): readonly string[] {
  // A /tmp of its own would hide these.
  const isTemporary = [...mounts, ...writable].some(path => /^\/(?:var\/)?tmp\//.test(path));
  return [
    'ProtectSystem=strict',
    // Root's own files need no hiding from root.
    ...(user === 'root' ? [] : ['ProtectHome=read-only']),
    ...(isTemporary ? [] : ['PrivateTmp=yes']),
    ...(writable.length > 0 ? [`ReadWritePaths=${writable.map(quotePath).join(' ')}`] : []),
  ];
}

/** A word of ExecStart=: neither the specifiers nor the variables of systemd mean anything in it. */
function quoteArgument(text: string): string {
  const plain = escapeSpecifiers(text).replaceAll('$', () => '$$');
  return quote(plain);
}

function quotePath(path: string): string {
  return quote(escapeSpecifiers(path));
}

function quote(text: string): string {
  if (/^[\w@%+=:,./$-]+$/.test(text)) return text;
  const escaped = text
    .replace(/["\\]/g, char => `\\${char}`)
    .replace(/[\x00-\x1f\x7f]/g, char => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return `"${escaped}"`;
}

function escapeSpecifiers(text: string): string {
  return text.replaceAll('%', '%%');
}

/** A unit name's part: 'home-me-project' of '/home/me/project'; none of ''. */
export function unitWord(text: string): readonly string[] {
  const word = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(-40)
    .replace(/^-|-$/g, '');
  return word === '' ? [] : [word];
}

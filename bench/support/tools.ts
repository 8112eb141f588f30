// All tools that benches compare, replica first, and which of them are here.
import { replica } from './replica-tool.ts';
import { rsync } from './rsync-tool.ts';
import { syncthing } from './syncthing.ts';
import type { Tool } from './tool.ts';
import { unison } from './unison.ts';

const all: readonly Tool[] = [replica, rsync, unison, syncthing];

/**
 * The installed ones of those that `names` lists with commas, with their versions. Others are
 * skipped by name.
 */
export function installedTools(names: string): {
  readonly tools: readonly Tool[];
  readonly versions: Readonly<Record<string, string>>;
} {
  const wanted = names.toLowerCase().split(',');
  const unknown = wanted.filter(name => !all.some(tool => tool.name.toLowerCase() === name));
  if (unknown.length > 0) {
    console.error(`no tool is called ${unknown.join(', ')}; there are ${toolNames}`);
    process.exit(1);
  }
  const tools: Tool[] = [];
  const versions: Record<string, string> = {};
  for (const tool of all.filter(tool => wanted.includes(tool.name.toLowerCase()))) {
    const version = tool.version();
    versions[tool.name] = version ?? 'not installed';
    if (version === undefined) console.error(`skipped: ${tool.name} is not installed`);
    else tools.push(tool);
  }
  return { tools, versions };
}

export const toolNames = 'replica,rsync,unison,syncthing';

// A real tree in the form of ModelReceiver.tree().
import fs from 'node:fs';

export function readModelTree(root: string): Map<string, string> {
  const found = new Map<string, string>();
  const visit = (folder: Buffer, path: string): void => {
    for (const name of fs.readdirSync(folder, { encoding: 'buffer' })) {
      const full = Buffer.concat([folder, Buffer.from('/'), name]);
      const text = name.toString('latin1');
      const at = path === '' ? text : `${path}/${text}`;
      const stats = fs.lstatSync(full, { bigint: true });
      const isLink = stats.isSymbolicLink();
      const kind = isLink ? 'link' : stats.isDirectory() ? 'directory' : 'file';
      const mode = isLink ? 0o777 : Number(stats.mode & 0o7777n);
      const size = stats.isDirectory() ? 0 : Number(stats.size);
      const target = isLink ? fs.readlinkSync(full, 'buffer').toString('latin1') : '';
      found.set(at, `${kind} ${mode.toString(8)} ${size} ${stats.mtimeNs} ${target}`);
      if (stats.isDirectory()) visit(full, at);
    }
  };
  visit(Buffer.from(root), '');
  return found;
}

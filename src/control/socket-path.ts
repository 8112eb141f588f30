/** In the state folder of a running program. */
export const socketName = 'control.sock';

/** What fits in sockaddr_un on every system (unix(7): 108 with the final NUL; 104 elsewhere). */
const pathSizeMax = 103;

/** A path to `name` in the folder that a socket address can hold; long ones go through `folderFd`. */
export function socketPath(folder: string, folderFd: number, name: string): string {
  const path = `${folder}/${name}`;
  return Buffer.byteLength(path) <= pathSizeMax ? path : `/proc/self/fd/${folderFd}/${name}`;
}

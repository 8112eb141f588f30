// Answers questions and requests about a running program on a Unix socket in its state folder, which
// only its user may enter. One request and one answer a connection, each a line of JSON:
// {"command", "argument"?} and {"result"} or {"error": {"code", "message"}}.
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  openSync,
  renameSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import net from 'node:net';
import { ReplicaError, systemCode } from '../errors.ts';
import { controlClientsMax, controlRequestMs, controlRequestSizeMax } from '../limits.ts';
import { socketName, socketPath } from './socket-path.ts';

/** What may be asked: an argument as JSON has it in, plain data out. Aborted when the asker goes. */
export type ControlHandlers = {
  readonly [command: string]: (argument: unknown, signal: AbortSignal) => unknown;
};

export class ControlServer {
  readonly #server: net.Server;
  readonly #sockets: Set<net.Socket>;
  readonly #place: { readonly folderFd: number; readonly path: string; readonly ino: bigint };

  private constructor(
    server: net.Server,
    sockets: Set<net.Socket>,
    place: { folderFd: number; path: string; ino: bigint },
  ) {
    this.#server = server;
    this.#sockets = sockets;
    this.#place = place;
  }

  /**
   * Listens in `folder`, which only its owner may enter. Takes the place of another program's socket:
   * the newest answers. Throws system errors of the file system.
   */
  static async open(folder: string, handlers: ControlHandlers): Promise<ControlServer> {
    const sockets = new Set<net.Socket>();
    const server = net.createServer(socket => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', () => socket.destroy());
      void serve(socket, handlers);
    });
    server.maxConnections = controlClientsMax;
    const folderFd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      // A server that closes removes its socket by the name it was bound to, whoever has that now.
      const own = socketPath(folder, folderFd, `.${socketName}.${randomBytes(4).toString('hex')}`);
      const path = socketPath(folder, folderFd, socketName);
      removeIfThere(own);
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(own, resolve);
      });
      chmodSync(own, 0o600);
      const { ino } = statSync(own, { bigint: true });
      renameSync(own, path);
      // It keeps no process alive: it ends with the program it answers for.
      server.unref();
      return new ControlServer(server, sockets, { folderFd, path, ino });
    } catch (error) {
      server.close();
      closeSync(folderFd);
      throw error;
    }
  }

  /** Whoever waits for an answer gets none. */
  async close(): Promise<void> {
    const { folderFd, path, ino } = this.#place;
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>(resolve => this.#server.close(() => resolve()));
    if (statSync(path, { bigint: true, throwIfNoEntry: false })?.ino === ino) removeIfThere(path);
    closeSync(folderFd);
  }
}

async function serve(socket: net.Socket, handlers: ControlHandlers): Promise<void> {
  const gone = new AbortController();
  socket.on('close', () => gone.abort());
  socket.setTimeout(controlRequestMs, () => socket.destroy());
  const line = await readLine(socket);
  if (line === undefined) {
    socket.destroy();
    return;
  }
  socket.setTimeout(0);
  // Its end says that the asker went.
  socket.resume();
  const answer = await answerTo(line, handlers, gone.signal);
  if (!socket.destroyed) socket.end(`${JSON.stringify(answer)}\n`);
}

/** The first line; undefined when it is too long or does not come. */
function readLine(socket: net.Socket): Promise<string | undefined> {
  return new Promise(resolve => {
    let text = '';
    socket.setEncoding('utf8');
    const onData = (chunk: string): void => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end < 0 && text.length <= controlRequestSizeMax) return;
      socket.off('data', onData);
      resolve(end < 0 ? undefined : text.slice(0, end));
    };
    socket.on('data', onData);
    socket.on('close', () => resolve(undefined));
    socket.on('end', () => resolve(undefined));
  });
}

async function answerTo(
  line: string,
  handlers: ControlHandlers,
  signal: AbortSignal,
): Promise<object> {
  try {
    const { command, argument } = parseRequest(line);
    const handler = Object.hasOwn(handlers, command) ? handlers[command] : undefined;
    if (handler === undefined) {
      throw new ReplicaError('ERR_USAGE', `this replica knows no request '${command}'`);
    }
    return { result: (await handler(argument, signal)) ?? null };
  } catch (error) {
    const code = error instanceof ReplicaError ? error.code : undefined;
    const message = error instanceof Error ? error.message : String(error);
    return { error: { code: code ?? systemCode(error) ?? 'BUG', message } };
  }
}

function parseRequest(line: string): { command: string; argument: unknown } {
  let request: unknown;
  try {
    request = JSON.parse(line);
  } catch {
    throw new ReplicaError('ERR_USAGE', 'the request is not JSON');
  }
  if (typeof request !== 'object' || request === null || !('command' in request)) {
    throw new ReplicaError('ERR_USAGE', 'the request names no command');
  }
  const argument = 'argument' in request ? request.argument : undefined;
  return { command: String(request.command), argument };
}

function removeIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

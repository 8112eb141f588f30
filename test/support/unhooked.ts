// The test runner wraps child_process: whatever env says, NODE_OPTIONS of a child loads the runner's
// hooks into it and each of its threads, which triples the time a process takes to start and is not
// what users run. env(1) takes the variable off again and becomes the command.

/** `command` with its arguments, as it is without the test runner. */
export function unhooked(command: string, args: readonly string[]): [string, string[]] {
  return ['env', ['-u', 'NODE_OPTIONS', command, ...args]];
}

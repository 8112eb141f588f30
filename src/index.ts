export { type ErrorCode, type Problem, ReplicaError } from './errors.ts';
export type { Log } from './log.ts';

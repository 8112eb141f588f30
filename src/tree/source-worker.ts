// What a thread of SourceThreads runs.
import { workerData } from 'node:worker_threads';
import { type PortData, serveSource } from './source-thread.ts';

await serveSource(workerData as PortData); // As SourceThreads gives it.

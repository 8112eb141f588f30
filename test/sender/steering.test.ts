import t from 'tap';
import { Steering } from '../../src/sender/steering.ts';

const found = { entries: 1, problems: 0, held: 0 };

t.test('a flush that is asked for while others are seen to waits for the next look', async t => {
  const steering = new Steering();
  const first = steering.flush();
  const seenTo = steering.flushes();
  // Whatever the look under way has passed already, this one wants to be looked at.
  const second = steering.flush();
  t.equal(seenTo.length, 1);
  for (const flush of seenTo) flush.done(found);
  t.strictSame(await first, found);
  const left = steering.flushes();
  t.equal(left.length, 1, 'it is left');
  for (const flush of left) flush.done({ ...found, entries: 2 });
  t.strictSame(await second, { ...found, entries: 2 });
  t.strictSame(steering.flushes(), []);
});

t.test('a pause ends what is asked, and so does the end', async t => {
  const steering = new Steering();
  const first = steering.flush();
  steering.pause();
  await t.rejects(first, { code: 'ERR_USAGE' });
  await t.rejects(steering.flush(), { code: 'ERR_USAGE' });
  steering.resume();
  const second = steering.flush();
  const stop = new AbortController();
  const third = steering.flush(stop.signal);
  stop.abort();
  await t.rejects(third, { code: 'ERR_TIMEOUT' });
  t.equal(steering.flushes().length, 1, 'who gave up is not waited for');
  steering.close(Object.assign(new Error('the end'), { code: 'ERR_SOCKET' }) as never);
  await t.rejects(second, { code: 'ERR_SOCKET' });
  await t.rejects(steering.flush(), { code: 'ERR_SOCKET' });
});

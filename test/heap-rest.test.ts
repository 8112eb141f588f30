import t from 'tap';
import { HeapRest } from '../src/heap-rest.ts';

const mib = 1024 * 1024;

t.test('memory is tidied up once a thread that was busy is at rest', async t => {
  let size = 10 * mib;
  let share = 0.9;
  let count = 0;
  const rest = new HeapRest({
    collect: () => {
      count++;
      size = 6 * mib;
    },
    heapSize: () => size,
    workShare: () => share,
  });
  t.teardown(() => rest.close());
  const check = (): number => {
    rest.check();
    return count;
  };
  t.equal(check(), 0, 'busy');
  share = 0.1;
  t.equal(check(), 1);
  t.equal(check(), 1, 'there is nothing to tidy up');
  size = 9 * mib;
  t.equal(check(), 1, 'hardly anything');
  size = 11 * mib;
  t.equal(check(), 2);
});

t.test('the heap and the work are those of the thread', async t => {
  let count = 0;
  const rest = new HeapRest({ collect: () => count++ });
  t.teardown(() => rest.close());
  rest.check();
  rest.check();
  t.ok(count <= 1, 'the heap did not grow meanwhile');
});

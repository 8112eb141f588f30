import t from 'tap';
import { Layers } from '../../src/sender/layers.ts';

t.test('the newest under way counts; one that is carried out ends those before it', async t => {
  const underWay = new Set([1, 2, 3]);
  const layers = new Layers<string, number>(token => underWay.has(token));
  const end = (outcome: 'confirm' | 'revert', token: number): void => {
    underWay.delete(token);
    layers[outcome]('f', token);
  };
  for (const token of underWay) layers.put('f', token, token * 10);
  t.equal(layers.get('f'), 30);
  end('confirm', 2);
  t.equal(layers.get('f'), 30, 'covered');
  end('revert', 3);
  t.equal(layers.get('f'), 10, 'what is over is not uncovered');
  end('revert', 1);
  t.ok(layers.isEmpty);

  for (const token of [4, 5]) {
    underWay.add(token);
    layers.put('f', token, token);
  }
  end('confirm', 5);
  t.notOk(layers.has('f'), 'the fourth is overtaken');
  end('revert', 4);
  t.strictSame([...layers.values()], []);
});

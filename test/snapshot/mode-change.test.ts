import t from 'tap';
import { changedMode, parseModeChanges } from '../../src/snapshot/mode-change.ts';

t.test('modes become what chmod(1) and rsync --chmod make of them', t => {
  const rows: [how: string, file: [number, number], directory: [number, number]][] = [
    ['D755,F644', [0o600, 0o644], [0o700, 0o755]],
    ['0640', [0o777, 0o640], [0o777, 0o640]],
    ['go-w', [0o666, 0o644], [0o777, 0o755]],
    ['u=rw,go=r', [0o777, 0o644], [0o700, 0o644]],
    ['a+rX', [0o600, 0o644], [0o700, 0o755]],
    ['a+rX', [0o700, 0o755], [0o711, 0o755]],
    ['F-x', [0o755, 0o644], [0o755, 0o755]],
    ['Dg+s', [0o644, 0o644], [0o755, 0o2755]],
    ['+t', [0o644, 0o1644], [0o755, 0o1755]],
    ['u-s,g-s', [0o6755, 0o755], [0o2755, 0o755]],
    ['=', [0o644, 0], [0o755, 0]],
    ['u+w-x', [0o555, 0o655], [0o555, 0o655]],
    ['a=rX', [0o644, 0o444], [0o700, 0o555]],
    ['ug=rwX,o=', [0o755, 0o770], [0o755, 0o770]],
  ];
  for (const [how, [file, fileNow], [directory, directoryNow]] of rows) {
    const changes = parseModeChanges(how) ?? [];
    t.ok(changes.length > 0, how);
    t.equal(changedMode(file, false, changes), fileNow, `${how} of ${file.toString(8)}`);
    t.equal(changedMode(directory, true, changes), directoryNow, `${how} of directory`);
  }
  t.equal(changedMode(0o640, false, []), 0o640, 'nothing asked, nothing changed');
  t.end();
});

t.test('what is no change of modes is refused', t => {
  for (const text of ['', 'u', '77', '77777', '888', 'q+x', 'u+q', 'D', 'u+x,', 'FD644', 'X+u']) {
    t.equal(parseModeChanges(text), undefined, `'${text}'`);
  }
  t.end();
});

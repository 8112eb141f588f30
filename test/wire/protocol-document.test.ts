// PROTOCOL.md and the code say the same about which message may come when, and how it is numbered.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { MessageType } from '../../src/wire/messages.ts';
import { allowedMessages } from '../../src/wire/session-state.ts';

const path = join(import.meta.dirname, '../../../src/wire/PROTOCOL.md');
const lines = fs.readFileSync(path, 'utf8').split('\n');

t.test('the table of states', async t => {
  const header = lines.indexOf('| state | sender | receiver | verifier |');
  const roles = ['sender', 'receiver', 'verifier'] as const;
  const rows = lines.slice(header + 2, header + 6).map(line => line.split('|').slice(1, -1));
  t.strictSame(
    rows.map(([state]) => state?.trim().split(' ')[0]),
    ['greeting', 'welcome', 'open', 'over'],
  );
  for (const [state, i] of [
    ['greeting', 0],
    ['welcome', 1],
    ['open', 2],
    ['over', 3],
  ] as const) {
    for (const [column, role] of roles.entries()) {
      const text = rows[i]?.[column + 1]?.trim() ?? '';
      const documented = text === '' ? [] : text.split(', ');
      const allowed = Object.entries(MessageType)
        .filter(([, type]) => allowedMessages[role][state].has(type))
        .map(([name]) => name);
      t.strictSame(documented.sort(), allowed.sort(), `${state} of a ${role}`);
    }
  }
});

t.test('the number of each message', async t => {
  const text = lines.join('\n');
  const missing = Object.entries(MessageType)
    .filter(([name, type]) => !new RegExp(`\\b${name}, ${type}\\b`).test(text))
    .map(([name]) => name);
  t.strictSame(missing, []);
});

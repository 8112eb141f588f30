// What a verifier found: each name is looked at again, content included, whatever its times say.
// What is as recorded stays; attributes are set, those of the root always; anything else is kept
// and forgotten.
import { rootId } from '../snapshot/entry.ts';
import type { MistrustedName } from '../wire/messages.ts';
import { compareContent } from './sweep-directory.ts';
import type { SweepView } from './sweep-view.ts';

/** `view` is that of the slice under way. */
export function* mend(
  names: readonly MistrustedName[],
  view: () => SweepView,
): Generator<void, void> {
  for (const one of names) {
    yield* mendName(one, view);
    yield;
  }
  view().checkAttributes(rootId);
}

function* mendName(
  { parent, name, id, isOther }: MistrustedName,
  view: () => SweepView,
): Generator<void, void> {
  if (id === 0) {
    view().checkFound(parent, name);
    return;
  }
  const entry = view().changes.entry(parent, name);
  // Another commit was here meanwhile.
  if (entry?.id !== id) return;
  if (isOther) {
    view().expel(parent, name);
    return;
  }
  const verdict = view().check(parent, name);
  if (entry.kind === 'directory') view().checkAttributes(id);
  if (entry.kind === 'link') view().setLinkTime(parent, name);
  const isFile = entry.kind === 'file' && view().changes.entry(parent, name)?.id === id;
  if (verdict === 'doubtful' || isFile) yield* compareContent({ id: parent, name }, view);
}

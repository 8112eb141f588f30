// Which messages a peer may send when. One table; whatever is not in it ends the connection.
//
//   greeting -- Hello of a sender ---> open, of a verifier likewise
//            -- Hello of a receiver -> welcome -- Welcome -> open
//   any      -- Failure -------------> over
import { ReplicaError } from '../errors.ts';
import { type Message, MessageType } from './messages.ts';

export type SessionState = 'greeting' | 'welcome' | 'open' | 'over';
type Role = 'sender' | 'receiver' | 'verifier';

const { Hello, Welcome, Failure, Ping, Pong, Credit, ...rest } = MessageType;
const always = [Failure, Ping, Pong] as const;

/** Message types a peer of that role may send in that state. */
export const allowedMessages: {
  readonly [role in Role]: { readonly [state in SessionState]: ReadonlySet<MessageType> };
} = {
  sender: {
    greeting: new Set([Hello, Failure]),
    welcome: new Set(),
    open: new Set([
      ...always,
      rest.ListDigests,
      rest.GetListing,
      rest.Offer,
      rest.GetGrains,
      rest.Operations,
      rest.CommitEnd,
      rest.StageOpen,
      rest.StageData,
      rest.StageAbort,
      rest.InSync,
    ]),
    over: new Set(),
  },
  receiver: {
    greeting: new Set([Hello, Failure]),
    welcome: new Set([...always, Credit, Welcome]),
    open: new Set([
      ...always,
      Credit,
      rest.DirectoryDigests,
      rest.Listing,
      rest.Need,
      rest.Grains,
      rest.Durable,
      rest.Rejected,
      rest.Lost,
      rest.StageRefused,
      rest.Checked,
      rest.Forgotten,
    ]),
    over: new Set(),
  },
  verifier: {
    greeting: new Set([Hello, Failure]),
    welcome: new Set(),
    open: new Set([...always, rest.Verify, rest.Mistrust]),
    over: new Set(),
  },
};

/** Follows what one peer sends. */
export class PeerSession {
  #role: Role = 'sender';
  #state: SessionState = 'greeting';

  get state(): SessionState {
    return this.#state;
  }

  /** Throws ERR_PROTOCOL when `type` may not come now; called before the payload is decoded. */
  check(type: number): void {
    const allowed: ReadonlySet<number> = allowedMessages[this.#role][this.#state];
    if (allowed.has(type)) return;
    const who = this.#state === 'greeting' ? '' : ` of a ${this.#role}`;
    const text = `message of type ${type} in state '${this.#state}'${who}`;
    throw new ReplicaError('ERR_PROTOCOL', text);
  }

  /** `message` came and was allowed. */
  advance(message: Message): void {
    if (message.type === MessageType.Hello) {
      this.#role = message.role;
      this.#state = message.role === 'receiver' ? 'welcome' : 'open';
    } else if (message.type === MessageType.Welcome) {
      this.#state = 'open';
    } else if (message.type === MessageType.Failure) {
      this.#state = 'over';
    }
  }
}

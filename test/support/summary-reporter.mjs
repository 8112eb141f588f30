// A reporter for tap: copies TAP through and ends with one plain line for .ci/run to add up.
// Look at the exit code too: too little coverage fails a run in which every test passed.
import { Transform } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';

/** tap's own closing line, such as `# { total: 6, pass: 4, todo: 1, skip: 1 }`. */
const totals = /^# \{ total: (\d+)(.*)\}$/;

export default class SummaryReporter extends Transform {
  #decoder = new StringDecoder('utf8');
  #rest = '';
  #closing = '';

  _transform(chunk, _encoding, done) {
    const lines = (this.#rest + this.#decoder.write(chunk)).split('\n');
    this.#rest = lines.pop();
    for (const line of lines) if (totals.test(line)) this.#closing = line;
    done(null, chunk);
  }

  _flush(done) {
    const count = word => Number(new RegExp(`\\b${word}: (\\d+)`).exec(this.#closing)?.[1] ?? 0);
    // Without a closing line the run was cut short: that is a failure, whatever passed so far.
    const failed = this.#closing === '' ? 1 : count('fail');
    done(
      null,
      `${count('pass')} passed, ${failed} failed, ${count('skip') + count('todo')} skipped\n`,
    );
  }
}

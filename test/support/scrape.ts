// Reads what --metrics answers, with a parser of its own.
import http from 'node:http';

export interface Answer {
  readonly status: number | undefined;
  readonly type: string | undefined;
  readonly body: string;
}

export async function get(url: string, method = 'GET'): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const request = http.request(url, { method, agent: false }, response => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', text => {
        body += text;
      });
      response.on('end', () => {
        const { statusCode: status, headers } = response;
        resolve({ status, type: headers['content-type'], body });
      });
    });
    request.on('error', reject);
    request.end();
  });
}

/**
 * Values by name and labels as they stand: 'replica_problems_total{code="EACCES"}'. Throws for
 * anything that the format does not know.
 */
export function parseExposition(text: string): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  const types = new Map<string, string>();
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  for (const line of text.slice(0, -1).split('\n')) {
    if (/^# HELP [a-z_]+ \S.*$/.test(line)) continue;
    const type = /^# TYPE ([a-z_]+) (counter|gauge|histogram|summary)$/.exec(line);
    if (type) {
      if (types.has(type[1] ?? '')) throw new Error(`told twice: ${line}`);
      types.set(type[1] ?? '', type[2] ?? '');
      continue;
    }
    const label = '[a-z_]+="(?:[^"\\\\\\x00-\\x1f]|\\\\["\\\\n])*"';
    const sample = new RegExp(`^(([a-z_]+)(?:\\{${label}(?:,${label})*\\})?) (\\S+)$`).exec(line);
    const name = sample?.[2] ?? '';
    const isTold = types.has(name) || types.has(name.replace(/_(bucket|sum|count)$/, ''));
    if (!sample || !isTold || Number.isNaN(Number(sample[3])))
      throw new Error(`not a sample: ${line}`);
    if (values.has(sample[1] ?? '')) throw new Error(`there twice: ${line}`);
    values.set(sample[1] ?? '', Number(sample[3]));
  }
  return values;
}

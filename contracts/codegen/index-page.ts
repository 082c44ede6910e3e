import { endpoints } from '../endpoints.api.ts';
import type { Endpoint } from '../http.api.ts';
import { errorAnswers } from './error-answers.ts';

const escape = (text: string): string => text.replaceAll('|', '\\|');

function row(of: Endpoint): string {
  const successes = Object.keys(of.responses).map((status) => `**${status}**`);
  const errors = errorAnswers(of).map(({ status }) => String(status));
  const cells = [
    `\`${of.method.toUpperCase()} ${of.path}\``,
    `\`${of.id}\``,
    of.auth === 'none' ? 'anybody' : of.auth,
    of.summary,
    [...successes, ...errors].join(' '),
    of.idempotent ? 'yes' : '-',
    of.rate === 'none' ? '-' : of.rate,
    of.audit === undefined ? '-' : `\`${of.audit}\``,
  ];
  return `| ${cells.map(escape).join(' | ')} |`;
}

const header =
  '| endpoint | operation | who | what | statuses | idempotency key | rate class | audit action |\n' +
  '| --- | --- | --- | --- | --- | --- | --- | --- |';

/** The endpoint index as Markdown, grouped by tag in the order of the contract. */
export function indexPage(all: readonly Endpoint[] = endpoints): string {
  const tags = [...new Set(all.map((of) => of.tag))];
  const sections = tags.map((tag) => {
    const members = all.filter((of) => of.tag === tag);
    const internal = members.some((of) => of.listener === 'internal')
      ? '\n\nServed on the node-agent listener.'
      : '';
    return `## ${tag}${internal}\n\n${header}\n${members.map(row).join('\n')}\n`;
  });
  return (
    '# Endpoints\n\nGenerated from the contract by `npm run codegen`; do not edit. Success statuses are bold. ' +
    `${all.length} operations.\n\n${sections.join('\n')}`
  );
}

import { terminalWord } from './audit.ts';

/** Longest text of the log that a report shows, in UTF-16 units. */
const SHOWN_MOST = 160;

/** Text of the log for a terminal: what could drive it or reorder a line stands as its JSON escape, and what is long is cut. */
export function textWord(said: string): string {
  const cut = said.length > SHOWN_MOST ? `${said.slice(0, SHOWN_MOST)}…` : said;
  return cut === '' ? '""' : terminalWord(cut.toWellFormed());
}

/**
 * Text of the log for Markdown: a code span (CommonMark §6.1), in which there is no link, mention, image, HTML or emphasis.
 * What could end the span, the cell of a table or the line, or would be HTML to a renderer that is careless, stands as its JSON escape.
 */
export function markdownWord(said: string): string {
  const safe = textWord(said).replace(/[`|<>&]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return `\`${safe}\``;
}

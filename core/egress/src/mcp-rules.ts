import type { McpRule } from '@caisson/contract';
import type { McpMessage, McpRead } from './mcp.ts';
import { matchesText } from './text-pattern.ts';

/** Whether a rule allows every message of a body. Not read at all: it does not. */
export function allowsMcp(rule: McpRule, read: McpRead | undefined): boolean {
  return read !== undefined && read !== null && !('unclear' in read) && read.messages.every((message) => allowsMessage(rule, message));
}

function allowsMessage({ methods, tools }: McpRule, { method, tool }: McpMessage): boolean {
  if (method === null) return true; // an answer asks for nothing
  if (methods?.some((pattern) => matchesText(pattern, method)) === false) return false;
  return tool === null || tools === undefined || tools.some((pattern) => matchesText(pattern, tool));
}

/** Whether a rule denies some message of a body, or what nobody could tell from one. */
export function deniesMcp(rule: McpRule, read: McpRead | undefined): boolean {
  if (read === undefined) return true;
  if (read === null) return false;
  return 'unclear' in read || read.messages.some((message) => deniesMessage(rule, message));
}

function deniesMessage({ methods, tools }: McpRule, { method, tool }: McpMessage): boolean {
  if (method === null) return false;
  const means = (patterns: readonly string[], text: string): boolean => patterns.some((pattern) => matchesText(pattern.toLowerCase().replaceAll('%2a', '%2A'), text.toLowerCase()));
  if (tool !== null && tools !== undefined) return means(tools, tool);
  return methods !== undefined && means(methods, method);
}

/** How refusals and the record call what a body holds, without what goes with it. */
export function mcpWords(read: McpRead | undefined): string {
  if (read === undefined || read === null) return '';
  if ('unclear' in read) return ` (${read.unclear})`;
  const [first, ...more] = read.messages.map(({ method, tool }) => (tool === null ? (method ?? 'an answer') : `${method ?? ''} of ${tool}`));
  return ` (${first ?? ''}${more.length === 0 ? '' : ` and ${more.length} more`})`;
}

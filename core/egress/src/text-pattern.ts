/** Whether a text is one that a pattern means: `*` stands for any characters, `%2A` for a star. Takes time in proportion to text times pattern at most. */
export function matchesText(pattern: string, text: string): boolean {
  const [first = '', ...others] = pattern.split('*').map((piece) => piece.replaceAll('%2A', '*'));
  const last = others.pop();
  if (last === undefined) return text === first;
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false;
  const end = text.length - last.length;
  let at = first.length;
  // The leftmost match of a piece leaves the most to those that follow.
  for (const piece of others) {
    const found = text.indexOf(piece, at);
    if (found === -1 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}

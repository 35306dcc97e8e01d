/** Lines, without their ends, of text that comes in pieces; the last one needs no end. A longer line comes in parts of `mostChars`. */
export async function* linesOf(pieces: AsyncIterable<string>, mostChars: number): AsyncGenerator<string, void> {
  let parts: string[] = [];
  let size = 0;
  const take = (): string => {
    const line = parts.join('');
    parts = [];
    size = 0;
    return line;
  };
  for await (const piece of pieces) {
    for (let start = 0; start < piece.length; ) {
      const end = piece.indexOf('\n', start);
      if (size === mostChars && end !== start) yield take();
      const part = piece.slice(start, Math.min(end === -1 ? piece.length : end, start + mostChars - size));
      parts.push(part);
      size += part.length;
      start += part.length;
      if (start !== end) continue;
      yield take();
      start++;
    }
  }
  if (size > 0) yield take();
}

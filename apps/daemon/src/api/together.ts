/** Characters that are held back, at most. */
const HELD_MOST = 64 * 1024;

/**
 * The first piece together with those that come within `mostMs`, in one: each piece that is sent wakes who reads it. What
 * comes later, or is more, follows as it comes; what fails does so after all that came before.
 */
export async function* together(first: string, rest: AsyncGenerator<string>, mostMs: number): AsyncGenerator<string, void> {
  const late = Promise.withResolvers<null>();
  const timer = setTimeout(late.resolve, mostMs, null);
  let held = first;
  let next = rest.next();
  try {
    while (mostMs > 0 && held.length < HELD_MOST) {
      const come = await Promise.race([next, late.promise]).catch(() => null);
      if (come === null || come.done === true) break;
      held += come.value;
      next = rest.next();
    }
    next.catch(() => undefined); // who stops reading here does not hear of it
    yield held;
    for (let come = await next; come.done !== true; come = await rest.next()) yield come.value;
  } finally {
    clearTimeout(timer);
    await rest.return(undefined);
  }
}

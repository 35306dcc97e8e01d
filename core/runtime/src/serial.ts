/** Runs tasks one after the other, in the order they are handed in. A task that rejects does not stop the next. */
export function inOrder(): (task: () => Promise<void>) => Promise<void> {
  let last: Promise<void> = Promise.resolve();
  return (task) => {
    const next = last.then(task);
    last = next.catch(() => undefined);
    return next;
  };
}

// Work on a list, several items at once.

/**
 * Calls `work` for every item, in order, at most `workers` at once. The first that throws ends it:
 * what has begun is waited for, nothing more begins, and its error is thrown.
 */
export async function inParallel<T>(
  items: readonly T[],
  workers: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < items.length)
      try {
        await work(items[next++]!);
      } catch (error) {
        next = items.length;
        throw error;
      }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: workers }, worker));
  const failed = outcomes.find(({ status }) => status === "rejected");
  if (failed) throw (failed as PromiseRejectedResult).reason;
}

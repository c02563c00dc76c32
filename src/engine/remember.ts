// A bounded memo table.

/** `map.get(key)`, made if absent; the entry used longest ago goes when there are more than `limit`. */
export function remember<Key, T>(map: Map<Key, T>, key: Key, limit: number, make: () => T): T {
  const value = map.get(key) ?? make();
  map.delete(key);
  map.set(key, value);
  if (map.size > limit) map.delete(map.keys().next().value!);
  return value;
}

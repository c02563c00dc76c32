// The allocator of the process, prepared for training. glibc hands freed memory back to the kernel
// page by page, and a step frees and takes the same tensors again and again.

/** The largest block that glibc can be made to keep at all. */
const LARGEST_KEPT = 32 * 2 ** 20;
const CHUNK_OVERHEAD = 2 ** 16;
/** Blocks of that size which stay below the pin: more than a kernel's tensors of up to it take at once. */
const ROOM = 8;

/** Lies above the room for tensors, and is never touched, so it takes addresses alone. */
let pin: ArrayBuffer | undefined;

/**
 * Makes glibc keep freed blocks of up to 32 MiB for the next tensor (about 6 % of a step at the same
 * peak memory). Freeing a mapped block raises malloc's dynamic thresholds to its size (mallopt(3),
 * M_MMAP_THRESHOLD), so one of the largest size that counts is taken and freed. What is free at the
 * heap's end is still given back, above twice that size, which a kernel of the head did several times a
 * run (30,000 page faults a step, in some processes and not in others, as their heaps happened to lie): so
 * tensors get room before a block that stays. Other allocators take no notice, and thresholds that the user
 * has set in the environment stay as they are.
 */
export function keepFreedMemory(): void {
  if (pin || process.platform !== "linux") return;
  const takeBlock = () => new ArrayBuffer(LARGEST_KEPT - CHUNK_OVERHEAD);
  const free = (block: ArrayBuffer) => block.transfer(0);
  free(takeBlock());
  const room = Array.from({ length: ROOM }, takeBlock);
  pin = takeBlock();
  room.forEach(free);
}

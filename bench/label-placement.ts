// Where the words beside the points of a scatter plot go: near their point, on no other word and on
// no point. Coordinate descent: each label in turn takes the cheapest of its places beside all others.

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Box extends Point {
  readonly width: number;
  readonly height: number;
}

export interface LabelledPoint extends Point {
  readonly words: string;
}

/** A label's place: its box, from the left upper corner, and how far it is from its point. */
export interface Placed extends Box {
  readonly distance: number;
}

const LINE = 14;
/** Of a letter of 11 pixels, on average; sans-serif fonts differ. */
const LETTER = 6;
const DISTANCES = [10, 16, 24, 34, 46, 60, 76, 94, 114];
/** Up to here words are seen to belong to their point. */
export const FREE_DISTANCE = 16;
const DIRECTIONS = Array.from({ length: 16 }, (_, i) => (i * Math.PI) / 8);
const TURNS = 6;
/** Of a square pixel of overlap, and of a crossed word, against a pixel of distance. */
const COST = { overlap: 5, outside: 50, crossing: 60 };

/**
 * Places a label for every point.
 *
 * @param marks what no label may cover: the points themselves, and others
 * @returns in the order of the points
 */
export function placeLabels(
  points: readonly LabelledPoint[],
  marks: readonly Box[],
  bounds: Box,
): Placed[] {
  const candidates = points.map(candidatesOf);
  const placed = candidates.map(([first]) => first!);
  for (let turn = 0; turn < TURNS; turn++)
    for (const [i, point] of points.entries()) {
      const others = placed.filter((_, other) => other !== i);
      const cost = (place: Placed): number =>
        place.distance +
        COST.outside * (place.width * place.height - overlap(place, bounds)) +
        COST.overlap * sum([...others, ...marks].map((box) => overlap(place, box))) +
        COST.crossing * others.filter((box) => crosses(point, middleOf(place), box)).length;
      const costs = candidates[i]!.map(cost);
      placed[i] = candidates[i]![costs.indexOf(Math.min(...costs))]!;
    }
  return placed;
}

/** Nearest first; the very first is to the right. */
function candidatesOf({ x, y, words }: LabelledPoint): Placed[] {
  const width = words.length * LETTER;
  return DISTANCES.flatMap((distance) =>
    DIRECTIONS.map((angle) => {
      const [right, down] = [Math.cos(angle), Math.sin(angle)];
      // The box touches the circle of this radius with the side or corner that faces the point.
      const left = x + right * distance - (width * (1 - right)) / 2;
      const top = y + down * distance - (LINE * (1 - down)) / 2;
      return { x: left, y: top, width, height: LINE, distance };
    }),
  );
}

/** The area that two boxes share. */
export function overlap(a: Box, b: Box): number {
  const across = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const down = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  return Math.max(0, across) * Math.max(0, down);
}

export const middleOf = ({ x, y, width, height }: Box): Point => ({
  x: x + width / 2,
  y: y + height / 2,
});

/** Whether a line meets a box, looked at in steps. */
function crosses(from: Point, to: Point, { x, y, width, height }: Box): boolean {
  return Array.from({ length: 12 }, (_, i) => (i + 1) / 12).some((share) => {
    const at = { x: from.x + share * (to.x - from.x), y: from.y + share * (to.y - from.y) };
    return at.x > x && at.x < x + width && at.y > y && at.y < y + height;
  });
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

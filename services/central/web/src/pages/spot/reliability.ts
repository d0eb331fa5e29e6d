import type { ReliabilityBin } from '@/api/schema'

export interface Point {
  /** e.g. 10–20%. */
  name: string
  predicted: number
  observed: number
  /** Wilson's interval of what was observed, at 95 %. */
  low: number
  high: number
  count: number
  interrupted: number
}

const z = 1.96

/** Bins that hold predictions, with how sure what was observed is. */
export function pointsOf(bins: readonly ReliabilityBin[]): Point[] {
  return bins
    .filter((bin) => bin.count > 0)
    .map(({ lower, upper, predicted, observed, count }) => {
      const [low, high] = wilson(observed, count)
      return { name: `${Math.round(lower * 100)}–${Math.round(upper * 100)}%`, predicted, observed, low, high, count, interrupted: Math.round(observed * count) }
    })
}

/** The interval that a share of n is in, by Wilson. */
export function wilson(share: number, n: number): [low: number, high: number] {
  if (n <= 0) return [0, 1]
  const scale = 1 + (z * z) / n
  const middle = (share + (z * z) / (2 * n)) / scale
  const half = (z / scale) * Math.sqrt((share * (1 - share)) / n + (z * z) / (4 * n * n))
  return [Math.max(0, middle - half), Math.min(1, middle + half)]
}

/** What the diagram says, in a sentence. */
export function verdictOf(points: readonly Point[]): string {
  const total = points.reduce((sum, each) => sum + each.count, 0)
  if (total < 100) return 'Too few predictions have come to their end to judge them.'
  const off = points.filter((each) => each.count >= 20 && (each.predicted < each.low || each.predicted > each.high))
  if (off.length === 0) return 'What is foretold is what happens, as far as these numbers can tell.'
  const over = off.filter((each) => each.predicted > each.high).length
  const where = off.map((each) => each.name).join(', ')
  return over === off.length ? `Risk is overstated at ${where}.` : over === 0 ? `Risk is understated at ${where}.` : `What is foretold is off at ${where}.`
}

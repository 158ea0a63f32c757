import type { Source } from './layout.ts'
import { fillNormal, type Random, shuffle, stream } from './random.ts'

export const DIMENSIONS = 384
const BLOCK = 128 // the Hadamard transform needs a power of two; three of these make 384
const ROUNDS = 3

export type Vectors = {
  /** The unit vectors of the chunks of a source, one after another. */
  ofSource(source: Source): Float32Array
  /**
   * A query about a topic: its centre, and for a query made from a chunk a part of the way to that chunk.
   * @param towards share of the way from the centre to the chunk
   * @param noise weight of what belongs to this query alone
   */
  ofQuery(source: Source, row: number, towards: number, noise: number, random: Random): Float32Array
}

type Spectrum = Float64Array
const spectrum = (shift: number, exponent: number): Spectrum =>
  Float64Array.from({ length: DIMENSIONS }, (_, i) => (i + shift) ** -exponent)

const STEEP = spectrum(4, 0.75)
const FLAT = spectrum(8, 0.55)

/**
 * Vectors as sentence encoders give them: topics with centres of their own, sources beside them, chunks around those, most of
 * the variance in few directions, and one common mean. Topics are shared between tenants; were each tenant's its own,
 * every filtered nearest-neighbour search would look perfect.
 */
export function makeVectors(topicCount: number, seed: number): Vectors {
  const rotate = makeRotation(stream(seed, 'rotation'))
  const mean = new Float64Array(DIMENSIONS)
  fillNormal(stream(seed, 'mean vector'), new Float64Array(DIMENSIONS).fill(0.35 / Math.sqrt(DIMENSIONS)), mean)
  const centres = Array.from({ length: topicCount }, (_, topic) => unitDraw(stream(seed, 'topic centre', topic), STEEP))

  const finish = (sum: Float64Array, into: Float32Array): void => {
    rotate(sum)
    let square = 0
    for (let i = 0; i < DIMENSIONS; i++) {
      const value = (sum[i] as number) + (mean[i] as number)
      sum[i] = value
      square += value * value
    }
    const scale = 1 / Math.sqrt(square)
    for (let i = 0; i < DIMENSIONS; i++) into[i] = (sum[i] as number) * scale
  }
  /** What a chunk has beside the centre of its topic: its source's offset and its own. */
  const offsetOf = (
    source: Source,
    row: number,
    sourceOffset = unitDraw(stream(seed, 'source offset', source.index), STEEP),
  ) => {
    const offset = unitDraw(stream(seed, 'chunk offset', row), FLAT)
    for (let i = 0; i < DIMENSIONS; i++) offset[i] = 0.25 * (sourceOffset[i] as number) + 0.75 * (offset[i] as number)
    return offset
  }

  return {
    ofSource(source) {
      const vectors = new Float32Array(source.size * DIMENSIONS)
      const centre = centres[source.topic] as Float64Array
      const sourceOffset = unitDraw(stream(seed, 'source offset', source.index), STEEP)
      for (let n = 0; n < source.size; n++) {
        const sum = offsetOf(source, source.firstRow + n, sourceOffset)
        for (let i = 0; i < DIMENSIONS; i++) sum[i] = (sum[i] as number) + (centre[i] as number)
        finish(sum, vectors.subarray(n * DIMENSIONS, (n + 1) * DIMENSIONS))
      }
      return vectors
    },
    ofQuery(source, row, towards, noise, random) {
      const own = unitDraw(random, FLAT)
      const offset = offsetOf(source, row)
      const centre = centres[source.topic] as Float64Array
      for (let i = 0; i < DIMENSIONS; i++) {
        own[i] = (centre[i] as number) + towards * (offset[i] as number) + noise * (own[i] as number)
      }
      const vector = new Float32Array(DIMENSIONS)
      finish(own, vector)
      return vector
    },
  }
}

function unitDraw(random: Random, deviations: Spectrum): Float64Array {
  const draw = new Float64Array(DIMENSIONS)
  fillNormal(random, deviations, draw)
  let square = 0
  for (let i = 0; i < DIMENSIONS; i++) square += (draw[i] as number) ** 2
  const scale = 1 / Math.sqrt(square)
  for (let i = 0; i < DIMENSIONS; i++) draw[i] = (draw[i] as number) * scale
  return draw
}

/**
 * A random rotation: rounds of random signs, a Hadamard transform of each third and a random permutation. It is orthogonal
 * and spreads every direction over all coordinates like a dense random matrix, for a twentieth of the arithmetic.
 */
function makeRotation(random: Random): (vector: Float64Array) => void {
  const rounds = Array.from({ length: ROUNDS }, () => ({
    signs: Float64Array.from({ length: DIMENSIONS }, () => (random() < 0.5 ? -1 : 1) / Math.sqrt(BLOCK)),
    places: Int32Array.from(
      shuffle(
        random,
        Array.from({ length: DIMENSIONS }, (_, i) => i),
      ),
    ),
  }))
  const scratch = new Float64Array(DIMENSIONS)
  return (vector) => {
    for (const { signs, places } of rounds) {
      for (let i = 0; i < DIMENSIONS; i++) scratch[i] = (vector[i] as number) * (signs[i] as number)
      for (let start = 0; start < DIMENSIONS; start += BLOCK) hadamard(scratch, start)
      for (let i = 0; i < DIMENSIONS; i++) vector[places[i] as number] = scratch[i] as number
    }
  }
}

function hadamard(values: Float64Array, start: number): void {
  for (let half = 1; half < BLOCK; half *= 2) {
    for (let group = start; group < start + BLOCK; group += 2 * half) {
      for (let i = group; i < group + half; i++) {
        const a = values[i] as number
        const b = values[i + half] as number
        values[i] = a + b
        values[i + half] = a - b
      }
    }
  }
}

/** As pgvector reads it. Seven digits: all that a float4 has. */
export function vectorText(vectors: Float32Array, from = 0): string {
  let text = '['
  for (let i = 0; i < DIMENSIONS; i++) text += (i ? ',' : '') + Math.fround(vectors[from + i] as number).toPrecision(7)
  return `${text}]`
}

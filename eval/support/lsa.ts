import { stem, terms } from '../../supabase/functions/_shared/providers/text.ts'

/** Weights of the terms of one text: indices into the vocabulary and their values. */
type SparseRow = { columns: Int32Array; values: Float64Array }

/** Rows of equal length, one after another. */
type Matrix = { rows: number; columns: number; values: Float64Array }

const OVERSAMPLING = 24
const POWER_ITERATIONS = 2
const SEED = 1990 // the year of Deerwester and others, Indexing by Latent Semantic Analysis

const matrix = (rows: number, columns: number): Matrix => ({ rows, columns, values: new Float64Array(rows * columns) })

function countTerms(text: string): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { text: word, isStopWord, isUnspaced } of terms(text)) {
    if (isStopWord) continue
    const term = isUnspaced ? word : stem(word)
    counts.set(term, (counts.get(term) ?? 0) + 1)
  }
  return counts
}

/** TF-IDF with damped counts, of unit length. Terms of no document are left out. */
function weigh(counts: Map<string, number>, vocabulary: Map<string, { column: number; idf: number }>): SparseRow {
  const entries = [...counts].flatMap(([term, count]) => {
    const known = vocabulary.get(term)
    return known ? [{ column: known.column, value: (1 + Math.log(count)) * known.idf }] : []
  })
  const norm = Math.hypot(...entries.map(({ value }) => value)) || 1
  return {
    columns: Int32Array.from(entries, ({ column }) => column),
    values: Float64Array.from(entries, ({ value }) => value / norm),
  }
}

function vocabularyOf(documents: Map<string, number>[]): Map<string, { column: number; idf: number }> {
  const documentCounts = new Map<string, number>()
  for (const counts of documents) {
    for (const term of counts.keys()) documentCounts.set(term, (documentCounts.get(term) ?? 0) + 1)
  }
  return new Map(
    [...documentCounts].map(([term, count], column) => [
      term,
      { column, idf: Math.log((1 + documents.length) / (1 + count)) + 1 },
    ]),
  )
}

/** Sparse rows times a matrix. */
function times(rows: SparseRow[], right: Matrix): Matrix {
  const result = matrix(rows.length, right.columns)
  rows.forEach(({ columns, values }, row) => {
    const target = result.values.subarray(row * right.columns, (row + 1) * right.columns)
    columns.forEach((column, i) => {
      const value = values[i] as number
      const source = right.values.subarray(column * right.columns, (column + 1) * right.columns)
      for (let j = 0; j < target.length; j++) target[j] = (target[j] as number) + value * (source[j] as number)
    })
  })
  return result
}

/** The transpose of sparse rows times a matrix. */
function transposedTimes(rows: SparseRow[], width: number, right: Matrix): Matrix {
  const result = matrix(width, right.columns)
  rows.forEach(({ columns, values }, row) => {
    const source = right.values.subarray(row * right.columns, (row + 1) * right.columns)
    columns.forEach((column, i) => {
      const value = values[i] as number
      const target = result.values.subarray(column * right.columns, (column + 1) * right.columns)
      for (let j = 0; j < target.length; j++) target[j] = (target[j] as number) + value * (source[j] as number)
    })
  })
  return result
}

/** The transpose of a matrix times itself. */
function gram({ rows, columns, values }: Matrix): Matrix {
  const result = matrix(columns, columns)
  for (let row = 0; row < rows; row++) {
    const source = values.subarray(row * columns, (row + 1) * columns)
    for (let i = 0; i < columns; i++) {
      const value = source[i] as number
      if (value === 0) continue
      const target = result.values.subarray(i * columns, (i + 1) * columns)
      for (let j = i; j < columns; j++) target[j] = (target[j] as number) + value * (source[j] as number)
    }
  }
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < i; j++) result.values[i * columns + j] = result.values[j * columns + i] as number
  }
  return result
}

function multiply(left: Matrix, right: Matrix): Matrix {
  const result = matrix(left.rows, right.columns)
  for (let row = 0; row < left.rows; row++) {
    const target = result.values.subarray(row * right.columns, (row + 1) * right.columns)
    for (let k = 0; k < left.columns; k++) {
      const value = left.values[row * left.columns + k] as number
      const source = right.values.subarray(k * right.columns, (k + 1) * right.columns)
      for (let j = 0; j < target.length; j++) target[j] = (target[j] as number) + value * (source[j] as number)
    }
  }
  return result
}

/** Eigenvalues, largest first, and eigenvectors (as columns) of a symmetric matrix: the cyclic method of Jacobi. */
export function eigen(symmetric: Matrix): { values: number[]; vectors: Matrix } {
  const size = symmetric.rows
  const a = Float64Array.from(symmetric.values)
  // Eigenvectors as rows while it runs: a rotation then touches two stretches of memory.
  const v = new Float64Array(size * size)
  for (let i = 0; i < size; i++) v[i * size + i] = 1
  const rotateRows = (m: Float64Array, p: number, q: number, c: number, s: number) => {
    const first = m.subarray(p * size, (p + 1) * size)
    const second = m.subarray(q * size, (q + 1) * size)
    for (let k = 0; k < size; k++) {
      const x = first[k] as number
      const y = second[k] as number
      first[k] = c * x - s * y
      second[k] = s * x + c * y
    }
  }
  const scale = Math.hypot(...Array.from({ length: size }, (_, i) => a[i * size + i] as number))
  for (let sweep = 0; sweep < 30; sweep++) {
    let off = 0
    for (let p = 0; p < size; p++) {
      for (let q = p + 1; q < size; q++) {
        const apq = a[p * size + q] as number
        off += apq * apq
        if (Math.abs(apq) <= 1e-15 * scale) continue
        const theta = ((a[q * size + q] as number) - (a[p * size + p] as number)) / (2 * apq)
        const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1))
        const c = 1 / Math.hypot(t, 1)
        const s = t * c
        rotateRows(a, p, q, c, s)
        for (let k = 0; k < size; k++) {
          const x = a[k * size + p] as number
          const y = a[k * size + q] as number
          a[k * size + p] = c * x - s * y
          a[k * size + q] = s * x + c * y
        }
        rotateRows(v, p, q, c, s)
      }
    }
    if (Math.sqrt(off) <= 1e-10 * scale) break
  }
  const order = Array.from({ length: size }, (_, i) => i).sort(
    (x, y) => (a[y * size + y] as number) - (a[x * size + x] as number),
  )
  const vectors = matrix(size, size)
  order.forEach((from, to) => {
    for (let k = 0; k < size; k++) vectors.values[k * size + to] = v[from * size + k] as number
  })
  return { values: order.map((i) => a[i * size + i] as number), vectors }
}

/** Columns that span the same space and are orthonormal, from the eigenvectors of the small matrix of their products. */
function orthonormal(columns: Matrix): Matrix {
  const { values, vectors } = eigen(gram(columns))
  const scaled = matrix(vectors.rows, vectors.columns)
  for (let i = 0; i < vectors.rows; i++) {
    for (let j = 0; j < vectors.columns; j++) {
      const value = values[j] as number
      scaled.values[i * vectors.columns + j] =
        value > 0 ? (vectors.values[i * vectors.columns + j] as number) / Math.sqrt(value) : 0
    }
  }
  return multiply(columns, scaled)
}

/** Numbers of a normal distribution, the same for the same seed (mulberry32, Box and Muller). */
function normals(seed: number): () => number {
  let state = seed
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0
    let value = Math.imul(state ^ (state >>> 15), 1 | state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32
  }
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())
}

function unitRows({ rows, columns, values }: Matrix, dimensions: number): number[][] {
  return Array.from({ length: rows }, (_, row) => {
    const vector = Array.from(values.subarray(row * columns, row * columns + dimensions))
    const norm = Math.hypot(...vector)
    if (norm === 0) vector[0] = 1
    return norm === 0 ? vector : vector.map((value) => value / norm)
  })
}

/**
 * Latent semantic analysis: TF-IDF of the documents, reduced to the `dimensions` directions that keep most of it
 * (randomised subspace iteration after Halko, Martinsson and Tropp, 2011), and the questions folded in. The same texts
 * give the same vectors.
 *
 * @returns one vector of unit length per text; a text without known words gives the first axis
 */
export function latentSemanticVectors(
  documents: string[],
  questions: string[],
  dimensions: number,
): { documents: number[][]; questions: number[][] } {
  const counted = documents.map(countTerms)
  const vocabulary = vocabularyOf(counted)
  const rows = counted.map((counts) => weigh(counts, vocabulary))
  const draw = normals(SEED)
  const start = matrix(vocabulary.size, dimensions + OVERSAMPLING)
  for (let i = 0; i < start.values.length; i++) start.values[i] = draw()
  let basis = orthonormal(times(rows, start))
  for (let i = 0; i < POWER_ITERATIONS; i++) {
    basis = orthonormal(times(rows, transposedTimes(rows, vocabulary.size, basis)))
  }
  // With A ~ basis B: the right singular vectors of B are the directions, in terms of the vocabulary.
  const projected = transposedTimes(rows, vocabulary.size, basis)
  const directions = multiply(projected, eigen(gram(projected)).vectors)
  for (let j = 0; j < directions.columns; j++) {
    let norm = 0
    for (let i = 0; i < directions.rows; i++) norm += (directions.values[i * directions.columns + j] as number) ** 2
    norm = Math.sqrt(norm) || 1
    for (let i = 0; i < directions.rows; i++) {
      directions.values[i * directions.columns + j] = (directions.values[i * directions.columns + j] as number) / norm
    }
  }
  const asked = questions.map((question) => weigh(countTerms(question), vocabulary))
  return {
    documents: unitRows(times(rows, directions), dimensions),
    questions: unitRows(times(asked, directions), dimensions),
  }
}

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eigen, latentSemanticVectors } from '../../eval/support/lsa.ts'
import { readMatrix } from '../../eval/support/npy.ts'

const cosine = (a: number[], b: number[]) => a.reduce((total, value, index) => total + value * (b[index] ?? 0), 0)

describe('eigenvectors', () => {
  test('rebuild the matrix, largest eigenvalue first', () => {
    const size = 5
    // Symmetric, with numbers that repeat no pattern.
    const at = (i: number, j: number) => Math.sin(1 + i * j + i + j) + (i === j ? i : 0)
    const values = Float64Array.from({ length: size * size }, (_, index) => at(Math.floor(index / size), index % size))
    const found = eigen({ rows: size, columns: size, values })
    expect(found.values).toEqual([...found.values].sort((a, b) => b - a))
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) {
        const rebuilt = found.values.reduce(
          (total, value, k) =>
            total + value * (found.vectors.values[i * size + k] ?? 0) * (found.vectors.values[j * size + k] ?? 0),
          0,
        )
        expect(rebuilt).toBeCloseTo(at(i, j), 9)
      }
    }
  })
})

describe('latent semantic vectors', () => {
  const documents = [
    'cars drive on the road with engine and wheels',
    'automobiles drive on the road with engine and wheels',
    'bread and butter taste of flour and milk',
    'cake tastes of flour, sugar and milk',
    'a cake of butter and flour',
    'engine and wheels of automobiles',
  ]

  test('bring together words that stand in the same company', () => {
    const vectors = latentSemanticVectors(documents, ['cars'], 2)
    const [question = []] = vectors.questions
    const [, automobiles = [], bread = []] = vectors.documents
    expect(cosine(question, automobiles)).toBeGreaterThan(0.9)
    expect(cosine(question, bread)).toBeLessThan(0.3)
  })

  test('have unit length, and are the same each time', () => {
    const first = latentSemanticVectors(documents, ['cake', 'zzz'], 3)
    for (const vector of [...first.documents, ...first.questions]) {
      expect(vector).toHaveLength(3)
      expect(cosine(vector, vector)).toBeCloseTo(1, 9)
    }
    expect(latentSemanticVectors(documents, ['cake', 'zzz'], 3)).toEqual(first)
  })
})

describe('a .npy file', () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'bulkhead-npy-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const npy = (header: string, floats: number[]): string => {
    const file = join(folder, 'matrix.npy')
    const start = Buffer.from([0x93, ...Buffer.from('NUMPY'), 1, 0, header.length & 255, header.length >> 8])
    writeFileSync(file, Buffer.concat([start, Buffer.from(header), Buffer.from(Float32Array.from(floats).buffer)]))
    return file
  }

  test('is read row by row', () => {
    const file = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", [1, 2, 3, 4, 5, 6.5])
    expect(readMatrix(file).map((row) => [...row])).toEqual([
      [1, 2, 3],
      [4, 5, 6.5],
    ])
  })

  test('of another kind is refused', () => {
    expect(() => readMatrix(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1), }", [1]))).toThrow('32-bit')
    expect(() => readMatrix(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1), }", [1]))).toThrow('32-bit')
    const file = join(folder, 'other.npy')
    writeFileSync(file, 'not a matrix')
    expect(() => readMatrix(file)).toThrow('not a .npy file')
  })
})

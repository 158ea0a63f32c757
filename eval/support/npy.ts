import { readFileSync } from 'node:fs'

const MAGIC = '\x93NUMPY'

/**
 * Reads a matrix of 32-bit floats from a .npy file, one array per row.
 * @throws Error for another file, element type, byte order or shape
 */
export function readMatrix(file: string): Float32Array[] {
  const bytes = readFileSync(file)
  if (bytes.toString('latin1', 0, MAGIC.length) !== MAGIC) throw new Error(`${file} is not a .npy file.`)
  // Versions 2 and later give the length of the header in four bytes instead of two.
  const isShort = bytes[6] === 1
  const headerAt = isShort ? 10 : 12
  const dataAt = headerAt + (isShort ? bytes.readUInt16LE(8) : bytes.readUInt32LE(8))
  const header = bytes.toString('latin1', headerAt, dataAt)
  const [, rowCount, columnCount] = /'shape': \((\d+), (\d+)\)/.exec(header) ?? []
  if (!header.includes("'<f4'") || !header.includes("'fortran_order': False") || !rowCount || !columnCount) {
    throw new Error(`${file} is not a matrix of little-endian 32-bit floats: ${header.trim()}`)
  }
  const columns = Number(columnCount)
  return Array.from({ length: Number(rowCount) }, (_, row) =>
    Float32Array.from({ length: columns }, (_, column) => bytes.readFloatLE(dataAt + 4 * (row * columns + column))),
  )
}

/** Pieces of a stream as one array, in their order. */
export function joinBytes(pieces: readonly Uint8Array[]) {
  const bytes = new Uint8Array(pieces.reduce((size, piece) => size + piece.byteLength, 0))
  let offset = 0
  for (const piece of pieces) {
    bytes.set(piece, offset)
    offset += piece.byteLength
  }
  return bytes
}

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createOfflineEmbedder } from '../../supabase/functions/_shared/providers/offline-embedder.ts'
import { type Collection, DATA_FOLDER, type Text } from './collections.ts'
import { latentSemanticVectors } from './lsa.ts'
import { readMatrix } from './npy.ts'

type Vectors = ReadonlyMap<string, ArrayLike<number>>

/** Vectors of one model for a collection: of every document and every question, by their ids. */
export type VectorLeg = { label: string; model: string; documents: Vectors; questions: Vectors }

const LSA_DIMENSIONS = 256

const byId = (texts: Text[], vectors: ArrayLike<number>[]): Vectors =>
  new Map(texts.map(({ id }, index) => [id, vectors[index] as ArrayLike<number>]))

/** The vectors the product makes without a provider. They know no synonyms: the weak leg of most installations' tests. */
async function offlineLeg({ documents, questions }: Collection): Promise<VectorLeg> {
  const embedder = createOfflineEmbedder()
  const embed = async (texts: Text[]) => byId(texts, await embedder.embed(texts.map(({ text }) => text)))
  return {
    label: 'offline embedder',
    model: embedder.model,
    documents: await embed(documents),
    questions: await embed(questions),
  }
}

/** Real vectors of the documents; those of the questions are approximate, and behave like real ones. */
function miniLmLeg(): VectorLeg {
  const ids = JSON.parse(readFileSync(join(DATA_FOLDER, 'cranfield/vector_ids.json'), 'utf8')) as {
    docs: string[]
    queries: string[]
  }
  const read = (file: string, ids: string[]): Vectors => {
    const vectors = readMatrix(join(DATA_FOLDER, 'cranfield', file))
    return new Map(ids.map((id, row) => [id, vectors[row] as Float32Array]))
  }
  return {
    label: 'MiniLM (questions approx.)',
    model: 'all-MiniLM-L6-v2',
    documents: read('doc_vectors_minilm.npy', ids.docs),
    questions: read('query_vectors_minilm_approx.npy', ids.queries),
  }
}

function lsaLeg({ documents, questions }: Collection): VectorLeg {
  const texts = (list: Text[]) => list.map(({ text }) => text)
  const vectors = latentSemanticVectors(texts(documents), texts(questions), LSA_DIMENSIONS)
  return {
    label: `LSA ${LSA_DIMENSIONS} (weak)`,
    model: `lsa-${LSA_DIMENSIONS}`,
    documents: byId(documents, vectors.documents),
    questions: byId(questions, vectors.questions),
  }
}

/** The vector legs a collection is measured with. */
export async function vectorLegsOf(collection: Collection): Promise<VectorLeg[]> {
  const offline = await offlineLeg(collection)
  if (collection.name === 'cranfield') return [miniLmLeg(), offline]
  if (collection.name === 'scifact') return [lsaLeg(collection), offline]
  return [offline]
}

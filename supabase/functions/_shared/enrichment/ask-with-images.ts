import type { AskedDocument, ObjectAnswer } from '../agent/ask-for-object.ts'
import { ImagesRefusedError, chatImagesOf } from '../agent/asking-with-images.ts'
import type { ProviderAccess } from '../agent/provider-call.ts'
import { AppError, describeError } from '../errors.ts'
import type { ObjectStore } from '../object-store.ts'
import type { PageImage } from '../page-images.ts'
import type { ChatImage } from '../providers/index.ts'
import { askAbout } from './ask.ts'
import type { Questions } from './ask.ts'

/** A document with the images of its pages that its row lists, by page. */
export type IllustratedDocument = AskedDocument & { images: readonly PageImage[] }

/** What there is to show, or why nothing is shown. */
type Shown = { images: ChatImage[]; note: string | null }

const TEXT_ALONE = 'its text alone was read.'
const nothing = (why: string): Shown => ({ images: [], note: `${why}: ${TEXT_ALONE}` })

async function imagesToShow(
  { chat, signal, log }: ProviderAccess,
  objects: Pick<ObjectStore, 'get'> | null,
  listed: readonly PageImage[],
): Promise<Shown> {
  if (chat.takesImages !== true) return nothing('The model was not shown images of this document, for it takes none')
  if (listed.length === 0) return nothing('There are no images of the pages of this document')
  try {
    const read = objects === null ? [] : await chatImagesOf(objects, listed, signal)
    if (read.length > 0) return { images: read.map(({ content }) => content), note: null }
  } catch (error) {
    signal.throwIfAborted()
    // The text will do: an image that cannot be read costs the document no answer.
    log.error('page_image_not_read', { error: describeError(error) })
  }
  return nothing('The images of the pages of this document could not be read')
}

const whyRefused = ({ cause }: ImagesRefusedError): string =>
  cause instanceof AppError && cause.code === 'context_length_exceeded'
    ? `With images of its pages this document is too long for the model: ${TEXT_ALONE}`
    : `The model refused images of the pages of this document: ${TEXT_ALONE}`

const withNote = (answer: ObjectAnswer, note: string | null): ObjectAnswer => ({
  ...answer,
  note: [note, answer.note].filter((one) => one !== null).join(' ') || null,
})

/**
 * Asks about a document whose first pages the model is shown beside its text, as many as one request may have. Where there is
 * no image, none can be read or the model does not take them, it is asked about the text alone, and the note says so.
 * @throws as `askForObject`
 */
export async function askWithImages(
  access: ProviderAccess,
  objects: Pick<ObjectStore, 'get'> | null,
  questions: Questions,
  { images: listed, ...document }: IllustratedDocument,
): Promise<ObjectAnswer> {
  const { images, note } = await imagesToShow(access, objects, listed)
  try {
    return withNote(await askAbout(access, questions, document, images), note)
  } catch (error) {
    if (!(error instanceof ImagesRefusedError)) throw error
    return withNote(await askAbout(access, questions, document), whyRefused(error))
  }
}

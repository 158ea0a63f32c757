import { EventSourceParserStream } from 'eventsource-parser/stream'

/**
 * The `data` of each complete event of an event stream, however the network has cut it. Stops reading when the consumer stops.
 */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void, undefined> {
  // TextDecoderStream keeps a character that is cut by a network read; the parser keeps an event that is.
  const reader = body
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
    .pipeThrough(new EventSourceParserStream())
    .getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      yield value.data
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}

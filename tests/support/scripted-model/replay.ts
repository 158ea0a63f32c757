import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import type { ModelInput, Player, WireMessage } from './server.ts'
import { textOf } from './server.ts'
import type { Turn } from './turns.ts'

/**
 * Conversations of a file of JSON lines, which may be gzipped: either every line is one message of one conversation, or
 * every line holds one conversation as `messages`.
 */
export function readConversations(file: string | URL): WireMessage[][] {
  const bytes = readFileSync(file)
  const text = (bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes).toString('utf8')
  const lines = text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => JSON.parse(line) as WireMessage & { messages?: WireMessage[] })
  const whole = lines.flatMap(({ messages }) => (messages === undefined ? [] : [messages]))
  return whole.length > 0 ? whole : [lines]
}

const turnOf = (message: WireMessage): Turn => ({
  text: textOf(message.content),
  toolCalls: (message.tool_calls ?? []).map(({ id, function: called }) => ({
    ...(id === undefined ? {} : { id }),
    name: called?.name ?? '',
    arguments: called?.arguments ?? '',
  })),
})

const isUser = ({ role }: WireMessage) => role === 'user'
const isAssistant = ({ role }: WireMessage) => role === 'assistant'

/**
 * What the recorded model said at this point: after as many user messages as there are now, and as many answers since the
 * last of them. So the tool messages of earlier questions, which a session does not keep, make no difference.
 */
function recordedTurn(recording: readonly WireMessage[], input: ModelInput): Turn | null {
  const asked = input.messages.filter(isUser).length
  const answersSince = input.messages.slice(input.messages.findLastIndex(isUser) + 1).filter(isAssistant).length
  let users = 0
  let answers = 0
  for (const message of recording) {
    if (isUser(message)) users += 1
    if (users !== asked || !isAssistant(message)) continue
    if (answers === answersSince) return turnOf(message)
    answers += 1
  }
  return null
}

/**
 * Plays recorded conversations. The one whose first user message is the request's is played; it fails where none is, or
 * where the recording has no answer.
 * @param conversation its position in the file, to play it whatever the request's first message is.
 */
export function replay(file: string | URL, conversation?: number): Player {
  const recordings = readConversations(file)
  return (input) => {
    const first = textOf(input.messages.find(isUser)?.content)
    const recording =
      conversation === undefined
        ? recordings.find((messages) => textOf(messages.find(isUser)?.content) === first)
        : recordings[conversation]
    if (recording === undefined) throw new Error('No recorded conversation begins like this one.')
    const turn = recordedTurn(recording, input)
    if (turn === null) throw new Error('The recording has no answer at this point of the conversation.')
    return turn
  }
}

import type { ChatMessage } from '../providers/index.ts'
import type { PromptEdit } from './journal.ts'
import type { RunState } from './run-state.ts'
import { truncateMessages, withoutOldResults } from './truncation.ts'

/** The messages as the edit leaves them. The same messages and edit always give the same: that is how a prompt is restored. */
export function editedMessages(messages: readonly ChatMessage[], edit: PromptEdit): ChatMessage[] {
  switch (edit.op) {
    case 'drop_results':
      return withoutOldResults(messages, edit.turns)
    case 'summary':
      return [edit.first, ...messages.slice(messages.length - edit.kept)]
    case 'truncate':
      return truncateMessages(messages, edit.chars)
  }
}

/** Shortens the prompt of the run, and remembers how. */
export function editPrompt(run: RunState, edit: PromptEdit): void {
  run.request = { ...run.request, messages: editedMessages(run.request.messages, edit) }
  run.promptEdits.push(edit)
}

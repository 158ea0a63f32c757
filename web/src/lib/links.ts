/** Addresses of other screens, from inside any of them: a leading `~` leaves the nested route. */
export const links = {
  chat: (sessionId?: string): string => (sessionId ? `~/chat/${sessionId}` : '~/chat'),
  documents: (): string => '~/documents',
  /** A document; with a span, its page text is opened there and the span marked. Offsets as `chunks.start_char`. */
  document: (sourceId: string, span?: { from: number; to: number }): string =>
    span ? `~/documents/${sourceId}/span/${span.from}/${span.to}` : `~/documents/${sourceId}`,
  runs: (): string => '~/runs',
  run: (runId: string): string => `~/runs/${runId}`,
  agent: (agentId: string): string => `~/agents/${agentId}`,
  approvals: (): string => '~/approvals',
  person: (userId: string): string => `~/access/person/${userId}`,
  documentAccess: (sourceId: string): string => `~/access/document/${sourceId}`,
}

import { bodyOf, cstring, message, readCstring, type Message } from './codec.ts'

/**
 * Keeps the named prepared statements of one connection apart from those of the others: they share one session, in which
 * names are unique. On the way in a name gets the connection's prefix.
 */
export class StatementNames {
  #prefix: string
  #names = new Set<string>()

  constructor(connectionId: number) {
    this.#prefix = `wire_${connectionId}_`
  }

  /** The names as the session knows them. */
  get inSession(): string[] {
    return [...this.#names].map((name) => this.#prefix + name)
  }

  /** SQL that names prepared statements, with the names the session knows; ALL means those of this connection. */
  rewriteSql(sql: string): string {
    const all = /^\s*(discard|deallocate(?:\s+prepare)?)\s+all\s*;?\s*$/i.exec(sql)?.[1]?.toLowerCase()
    if (all) {
      const deallocations = this.inSession.map((name) => `deallocate "${name.replaceAll('"', '""')}"`)
      this.#names.clear()
      return [...deallocations, all === 'discard' ? 'reset all' : 'reset application_name'].join('; ')
    }
    return sql.replace(
      /^(\s*(?:deallocate(?:\s+prepare)?|execute)\s+)("?)([A-Za-z_][\w$]*|(?<=")[^"]+)\2/i,
      (whole, head: string, quote: string, name: string) =>
        this.#names.has(name) ? `${head}${quote}${this.#prefix}${name}${quote}` : whole,
    )
  }

  /** Parse, Bind, Describe and Close with the prefixed name; other messages as they are. */
  rewrite(incoming: Message): Buffer {
    const body = bodyOf(incoming)
    switch (incoming.type) {
      case 'P': {
        const [name, behind] = readCstring(body, 0)
        if (!name) break
        this.#names.add(name)
        return message('P', Buffer.concat([cstring(this.#prefix + name), body.subarray(behind)]))
      }
      case 'B': {
        const [portal, behindPortal] = readCstring(body, 0)
        const [name, behind] = readCstring(body, behindPortal)
        if (!name) break
        return message('B', Buffer.concat([cstring(portal), cstring(this.#prefix + name), body.subarray(behind)]))
      }
      case 'D':
      case 'C': {
        if (String.fromCharCode(body[0] ?? 0) !== 'S') break
        const [name] = readCstring(body, 1)
        if (!name) break
        if (incoming.type === 'C') this.#names.delete(name)
        return message(incoming.type, Buffer.concat([body.subarray(0, 1), cstring(this.#prefix + name)]))
      }
    }
    return incoming.bytes
  }
}

import { strFromU8 } from 'fflate'
import { openArchive, type Unpack } from './archive.ts'
import type { ExtractLimits } from './limits.ts'
import { sanitizeTitle } from './sanitize.ts'
import { decodeEntities, readXml } from './xml.ts'

/** Where a part points: the kind of thing, e.g. `worksheet`, and its path in the archive. */
export type Relationship = { kind: string; path: string }

/** An element's name without its prefix, which is for the writer of the file to choose. */
export const localName = (name: string): string => name.slice(name.indexOf(':') + 1)

/** The title that the core properties of a document give. */
const titleOf = (core: string | undefined): string =>
  sanitizeTitle(decodeEntities(/<dc:title>([^<]+)<\/dc:title>/.exec(core ?? '')?.[1] ?? ''))

/** A relationship's id, whatever the prefix of its attribute. */
export const relationshipId = (attributes: Record<string, string>): string | undefined =>
  Object.entries(attributes).find(([name]) => name.endsWith(':id'))?.[1]

/** The path that a target in `part` means. Paths are compared in lower case, as the format wants it. */
function resolve(part: string, target: string): string {
  const folder = target.startsWith('/') ? [] : part.split('/').slice(0, -1)
  const path: string[] = folder
  for (const step of target.toLowerCase().split('/')) {
    if (step === '..') path.pop()
    else if (step !== '' && step !== '.') path.push(step)
  }
  return path.join('/')
}

/**
 * The parts of an Office document and how they point at each other. What lies outside of the archive is not followed.
 * All of it shares one limit on what may be unpacked.
 */
export class OfficePackage {
  private readonly unpack: Unpack
  private readonly parts = new Map<string, Uint8Array>()

  /** @throws ExtractionFailure `corrupt_document`, `limit_exceeded`. */
  constructor(bytes: Uint8Array, limits: ExtractLimits, what: string) {
    this.unpack = openArchive(bytes, limits, what)
    this.add((path) => path.endsWith('.rels') || path === 'docprops/core.xml')
  }

  private add(wanted: (path: string) => boolean): void {
    const parts = this.unpack((name) => wanted(name.toLowerCase()))
    for (const [name, content] of Object.entries(parts)) this.parts.set(name.toLowerCase(), content)
  }

  /** Unpacks these parts. All at one go: each call goes through the whole directory of the archive. */
  load(paths: ReadonlySet<string>): void {
    this.add((path) => paths.has(path))
  }

  /** The paths of the parts that match, in lower case. Unpacks nothing. */
  find(pattern: RegExp): string[] {
    const found = new Set<string>()
    this.unpack((name) => {
      if (pattern.test(name.toLowerCase())) found.add(name.toLowerCase())
      return false
    })
    return [...found]
  }

  /**
   * The text of a part that was loaded; undefined when there is none. Given once, so that no part is read as often as a
   * document likes to point at it, and none is kept longer than it is needed.
   */
  take(path: string): string | undefined {
    const part = this.parts.get(path)
    this.parts.delete(path)
    return part && strFromU8(part)
  }

  /** Where a part points, by the ids it uses; the archive itself with an empty name. @throws XmlError */
  related(part: string): Map<string, Relationship> {
    const file = part.slice(part.lastIndexOf('/') + 1)
    const found = new Map<string, Relationship>()
    for (const event of readXml(this.take(`${part.slice(0, part.length - file.length)}_rels/${file}.rels`) ?? '')) {
      if (event.type !== 'open' || localName(event.name) !== 'Relationship') continue
      const { Id: id, Type: type = '', Target: target, TargetMode: mode } = event.attributes
      if (id === undefined || target === undefined || mode === 'External') continue
      found.set(id, { kind: type.slice(type.lastIndexOf('/') + 1), path: resolve(part, target) })
    }
    return found
  }

  /** The title that the document gives itself; empty when it has none. */
  title(): string {
    return titleOf(this.take('docprops/core.xml'))
  }
}

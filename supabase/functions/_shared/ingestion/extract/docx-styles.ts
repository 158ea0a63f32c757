import { readXml } from './xml.ts'

/**
 * Heading level (1-6) of each paragraph style of a Word document, by style id. Ids are translated by localised versions of
 * Word, names are not, and an outline level says it whatever the name.
 */
export function readHeadingStyles(stylesXml: string): Map<string, number> {
  const levels = new Map<string, number>()
  const basedOn = new Map<string, string>()
  let style: string | null = null
  for (const event of readXml(stylesXml)) {
    if (event.type === 'open' && event.name === 'w:style') {
      style = event.attributes['w:type'] === 'paragraph' ? (event.attributes['w:styleId'] ?? null) : null
    } else if (event.type === 'close' && event.name === 'w:style') {
      style = null
    } else if (event.type === 'open' && style) {
      const value = event.attributes['w:val'] ?? ''
      if (event.name === 'w:name') {
        const level = headingLevel(value)
        if (level) levels.set(style, level)
      } else if (event.name === 'w:basedOn') {
        basedOn.set(style, value)
      } else if (event.name === 'w:outlineLvl' && /^[0-5]$/.test(value) && !levels.has(style)) {
        levels.set(style, Number(value) + 1)
      }
    }
  }
  for (const id of basedOn.keys()) {
    let parent = basedOn.get(id)
    for (let steps = 0; parent && !levels.has(id) && steps < 10; steps++) {
      const level = levels.get(parent)
      if (level) levels.set(id, level)
      parent = basedOn.get(parent)
    }
  }
  return levels
}

/** Level of a style by its name or, without a style sheet, by its id: `heading 2`, `Heading2`, `Title`. */
export function headingLevel(name: string): number | null {
  const match = /^heading ?([1-6])$/i.exec(name)
  if (match) return Number(match[1])
  return /^title$/i.test(name) ? 1 : null
}

import { watch } from 'node:fs'

/** Editors write a file in several steps; changes this close together count as one. */
const SETTLE_MS = 80

/**
 * Calls `onChange` with the paths below `folder` that changed, a moment after the last of them did.
 * Returns a function that ends the watching.
 */
export function watchFolder(folder: string, onChange: (paths: string[]) => void): () => void {
  const changed = new Set<string>()
  let timer: NodeJS.Timeout | undefined
  const watcher = watch(folder, { recursive: true }, (_event, path) => {
    if (path === null) return
    changed.add(path.split('\\').join('/'))
    clearTimeout(timer)
    timer = setTimeout(() => {
      const paths = [...changed]
      changed.clear()
      onChange(paths)
    }, SETTLE_MS)
  })
  watcher.on('error', () => {}) // a folder that vanished has nothing more to say
  return () => {
    clearTimeout(timer)
    watcher.close()
  }
}

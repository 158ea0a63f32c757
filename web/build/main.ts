import { fileURLToPath } from 'node:url'
import path from 'node:path'
import process from 'node:process'
import { parseArgs, stripVTControlCharacters } from 'node:util'
import { build } from 'vite'
import { LOCAL_MODE } from './settings.ts'

// `npm run build:console`: the console as static files, in web/dist or the folder that --out names. --local builds the
// one of the local stack.
const WEB = fileURLToPath(new URL('..', import.meta.url))
const { values } = parseArgs({ options: { local: { type: 'boolean', default: false }, out: { type: 'string' } } })

try {
  await build({
    root: WEB,
    configFile: path.join(WEB, 'vite.config.ts'),
    // The others write the compiled configuration to a file, which would stay behind when the build is cut off.
    configLoader: 'native',
    mode: values.local ? LOCAL_MODE : 'production',
    build: { outDir: path.resolve(values.out ?? path.join(WEB, 'dist')), emptyOutDir: true },
  })
} catch (error) {
  const message = error instanceof Error ? error.message : String(error)
  // Rolldown colours it without asking what it is printed to.
  console.error(`\n${process.stderr.isTTY ? message : stripVTControlCharacters(message)}`)
  process.exitCode = 1
}

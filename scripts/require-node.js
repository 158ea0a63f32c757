// Plain JavaScript, preloaded by the npm scripts (`node --import`): an older Node cannot even read the TypeScript
// files, and would say so in a way that helps nobody.
const NEEDED = 24

if (Number(process.versions.node.split('.')[0]) < NEEDED) {
  console.error(
    `Bulkhead needs Node ${NEEDED} or newer; this is ${process.versions.node}.\n` +
      'Start it through npm (`npm start`, `npm test`, ...): on Linux x64 `npm ci` installs a fitting Node for these ' +
      `commands.\nElsewhere install Node ${NEEDED} from https://nodejs.org or with your version manager.`,
  )
  process.exit(1)
}

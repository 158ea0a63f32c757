/** A thread of the extraction process that ends it when the worker that started it is gone, however busy the parser is. */
import process from 'node:process'

const CHECK_MS = 500
const parent = process.ppid

setInterval(() => {
  if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL')
}, CHECK_MS)

import process from 'node:process'
import { probe } from './egress-probe.ts'

console.log(JSON.stringify(await probe(JSON.parse(process.argv[2] as string))))

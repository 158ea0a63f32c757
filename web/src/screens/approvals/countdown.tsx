import { useEffect, useState } from 'react'
import { Badge } from '../../ui/index.ts'

const two = (value: number): string => String(value).padStart(2, '0')

/** The time that is left, counted down. */
export function Countdown({ until }: { until: string }) {
  const end = new Date(until).getTime()
  const [now, setNow] = useState(Date.now)
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000)
    return () => clearInterval(timer)
  }, [])
  const seconds = Math.max(0, Math.floor((end - now) / 1000))
  if (seconds === 0) return <Badge tone="bad">expired</Badge>
  const days = Math.floor(seconds / 86_400)
  const clock = `${two(Math.floor((seconds % 86_400) / 3_600))}:${two(Math.floor((seconds % 3_600) / 60))}:${two(seconds % 60)}`
  return (
    <span role="timer" title={new Date(until).toLocaleString()}>
      <Badge tone={seconds < 300 ? 'warn' : 'neutral'}>
        {days > 0 && `${days} d `}
        {clock} left
      </Badge>
    </span>
  )
}

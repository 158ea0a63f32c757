import { useCallback, useEffect, useRef, useState, type RefObject } from 'react'

/** Pixels from the end within which one counts as being there. */
const NEAR_PX = 80

const distanceToEnd = (): number => {
  const { scrollHeight, scrollTop, clientHeight } = document.documentElement
  return scrollHeight - scrollTop - clientHeight
}

/**
 * Keeps the page at its end while it grows, unless its reader has scrolled away.
 * @param what is shown: the page begins at its end when that changes; null: at its beginning, and stays there
 * @returns `end` goes on the last element inside of what grows.
 */
export function useStickToEnd(what: string | null): {
  end: RefObject<HTMLDivElement | null>
  isAtEnd: boolean
  toEnd: () => void
} {
  const end = useRef<HTMLDivElement>(null)
  const sticks = useRef(what !== null)
  const [isAtEnd, setIsAtEnd] = useState(true)

  const scroll = useCallback(() => {
    const root = document.documentElement
    root.scrollTop = root.scrollHeight
  }, [])
  const toEnd = useCallback(() => {
    sticks.current = true
    setIsAtEnd(true)
    scroll()
  }, [scroll])

  useEffect(() => {
    if (what !== null) return toEnd()
    sticks.current = false
    document.documentElement.scrollTop = 0
  }, [what, toEnd])
  useEffect(() => {
    let last = document.documentElement.scrollTop
    const onScroll = () => {
      const { scrollTop } = document.documentElement
      // Growing does not scroll up; only a reader does.
      if (scrollTop < last - 2 || distanceToEnd() < NEAR_PX) sticks.current = distanceToEnd() < NEAR_PX
      last = scrollTop
      setIsAtEnd(sticks.current || distanceToEnd() < NEAR_PX)
    }
    addEventListener('scroll', onScroll, { passive: true })
    const growing = end.current?.parentElement
    const observer = new ResizeObserver(() => {
      if (sticks.current) scroll()
      else setIsAtEnd(distanceToEnd() < NEAR_PX)
    })
    if (growing) observer.observe(growing)
    return () => {
      removeEventListener('scroll', onScroll)
      observer.disconnect()
    }
  }, [what, scroll])
  return { end, isAtEnd, toEnd }
}

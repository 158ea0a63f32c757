import { FileUp } from 'lucide-react'
import { useEffect, useRef, useState } from 'react'
import styles from './documents.module.css'

const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes('Files') ?? false

/** Takes files that are dropped anywhere on the page, and says so while they are held over it. */
export function DropArea({ onFiles, told }: { onFiles: (files: File[]) => void; told: string }) {
  const [isOver, setIsOver] = useState(false)
  const latest = useRef(onFiles)
  useEffect(() => {
    latest.current = onFiles
  })

  useEffect(() => {
    // Each element under the pointer is entered and left: only the balance says whether the page was left.
    let inside = 0
    const leave = () => {
      inside = 0
      setIsOver(false)
    }
    const onEnter = (event: DragEvent) => {
      if (!hasFiles(event)) return
      event.preventDefault()
      inside++
      setIsOver(true)
    }
    const onOver = (event: DragEvent) => {
      if (!hasFiles(event)) return
      event.preventDefault()
      if (event.dataTransfer) event.dataTransfer.dropEffect = 'copy'
    }
    const onLeave = (event: DragEvent) => {
      if (hasFiles(event) && --inside <= 0) leave()
    }
    const onDrop = (event: DragEvent) => {
      if (!hasFiles(event)) return
      // Else the browser would open the file in place of the console.
      event.preventDefault()
      leave()
      latest.current([...(event.dataTransfer?.files ?? [])])
    }
    addEventListener('dragenter', onEnter)
    addEventListener('dragover', onOver)
    addEventListener('dragleave', onLeave)
    addEventListener('drop', onDrop)
    return () => {
      removeEventListener('dragenter', onEnter)
      removeEventListener('dragover', onOver)
      removeEventListener('dragleave', onLeave)
      removeEventListener('drop', onDrop)
    }
  }, [])

  if (!isOver) return null
  return (
    <div className={styles['drop']} role="status">
      <div className={styles['drop-text']}>
        <FileUp size={36} aria-hidden />
        <strong>Drop the files to upload them</strong>
        <span>{told}</span>
      </div>
    </div>
  )
}

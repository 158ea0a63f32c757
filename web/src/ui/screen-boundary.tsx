import { Component, type ReactNode } from 'react'
import { Button } from './button.tsx'
import { ErrorNotice } from './feedback.tsx'

/** Keeps an error of one screen from taking the navigation with it. Also seen when a new version has replaced the files. */
export class ScreenBoundary extends Component<{ children: ReactNode }, { error: unknown }> {
  override state: { error: unknown } = { error: null }

  static getDerivedStateFromError(error: unknown): { error: unknown } {
    return { error: error ?? new Error('The screen failed.') }
  }

  override render(): ReactNode {
    if (this.state.error === null) return this.props.children
    return (
      <>
        <ErrorNotice error={this.state.error} title="This screen could not be shown" />
        <p>
          <Button onClick={() => location.reload()}>Load the page anew</Button>
        </p>
      </>
    )
  }
}

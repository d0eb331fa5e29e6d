import { Unbuilt } from '@/pages/Unbuilt'

export function Plan() {
  return <Unbuilt title="Plan" />
}

import { Unbuilt } from '@/pages/Unbuilt'

export function Spot() {
  return <Unbuilt title="Spot" />
}

import { Unbuilt } from '@/pages/Unbuilt'

export function Recommendations() {
  return <Unbuilt title="Recommendations" />
}

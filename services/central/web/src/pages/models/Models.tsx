import { Unbuilt } from '@/pages/Unbuilt'

export function Models() {
  return <Unbuilt title="Models and data" />
}

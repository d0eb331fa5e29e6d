import { Unbuilt } from '@/pages/Unbuilt'

export function Settings() {
  return <Unbuilt title="Settings" />
}

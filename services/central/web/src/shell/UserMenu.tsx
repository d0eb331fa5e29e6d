import { useQueryClient } from '@tanstack/react-query'
import { DropdownMenu as Menu } from 'radix-ui'
import { forget, meKey, useMe } from '@/api/me'
import { useAct } from '@/api/query'
import { word } from '@/format/words'
import { Icon, type IconName } from '@/ui/Icon'
import { chooseTheme, useTheme, type ThemeChoice } from './theme'

const themes: [choice: ThemeChoice, text: string, icon: IconName][] = [
  ['light', 'Light', 'sun'],
  ['dark', 'Dark', 'moon'],
  ['system', 'As the system', 'screen'],
]

const item = 'flex h-8 items-center gap-2.5 rounded-md px-2 text-sm outline-none data-highlighted:bg-hover cursor-pointer'

/** Who is signed in, the theme, and the way out. */
export function UserMenu() {
  const me = useMe()
  const { choice } = useTheme()
  const signOut = useSignOut()
  const initial = (me.name || me.actor).charAt(0).toUpperCase()
  return (
    <Menu.Root modal={false}>
      <Menu.Trigger aria-label={`Account: ${me.name || me.actor}`} className="flex items-center gap-1.5 rounded-full">
        <span aria-hidden="true" className="grid size-8 place-items-center rounded-full bg-accent-soft text-sm font-semibold text-accent">
          {initial}
        </span>
      </Menu.Trigger>
      <Menu.Portal>
        <Menu.Content align="end" sideOffset={6} className="rise z-50 w-64 rounded-lg border border-line bg-panel p-1.5 shadow-high">
          <div className="px-2 py-1.5">
            <p className="truncate font-medium">{me.name || me.actor}</p>
            <p className="text-sm text-ink-3">
              {word(me.role)}
              {me.customer_name ? ` at ${me.customer_name}` : ', CloudOptim staff'}
            </p>
          </div>
          <Menu.Separator className="my-1.5 h-px bg-line" />
          <Menu.Label className="px-2 py-1 text-xs text-ink-3">Theme</Menu.Label>
          <Menu.RadioGroup value={choice} onValueChange={(next) => chooseTheme(next as ThemeChoice)}>
            {themes.map(([value, text, icon]) => (
              <Menu.RadioItem key={value} value={value} className={item}>
                <Icon name={icon} className="text-ink-3" />
                <span className="flex-1">{text}</span>
                <Menu.ItemIndicator>
                  <Icon name="check" className="text-accent" />
                </Menu.ItemIndicator>
              </Menu.RadioItem>
            ))}
          </Menu.RadioGroup>
          <Menu.Separator className="my-1.5 h-px bg-line" />
          <Menu.Item asChild className={item}>
            <a href="/openapi.json" target="_blank" rel="noreferrer">
              <Icon name="external" className="text-ink-3" />
              API description
            </a>
          </Menu.Item>
          <Menu.Item className={item} onSelect={signOut}>
            <Icon name="leave" className="text-ink-3" />
            Sign out
          </Menu.Item>
        </Menu.Content>
      </Menu.Portal>
    </Menu.Root>
  )
}

/** Ends the session and forgets everything it showed. */
function useSignOut(): () => void {
  const cache = useQueryClient()
  const end = useAct('AccountService/EndSession', {
    onDone: () => {
      cache.setQueryData(meKey, null) // shows the sign-in page at once
      forget(cache)
    },
  })
  return () => end.mutate({})
}

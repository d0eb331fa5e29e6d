import { setNonce } from 'get-nonce'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './shell/App'
import { startTheme } from './shell/theme'
import './styles.css'

startTheme()
// A page that the browser kept whole would show what it knew before somebody signed out.
window.addEventListener('pageshow', (event) => event.persisted && location.reload())
// Styles that dialogs add while they are open carry the nonce that central made for this page.
setNonce(document.querySelector<HTMLMetaElement>('meta[name=csp-nonce]')?.content ?? '')

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <App />
  </StrictMode>,
)

/** Whether the screen is as narrow as a phone's, when a page is opened. */
export const narrow = (): boolean => window.matchMedia('(max-width: 39.99rem)').matches

/** Whether the screen is narrower than so many rem when a page is opened; without: as a phone's is. */
export const narrow = (than = 40): boolean => window.matchMedia(`(max-width: ${than - 0.01}rem)`).matches

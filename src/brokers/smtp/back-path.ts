/** Where UAA sends people back to; the catalog, UAA's client and the page have to say the same. */
export const BACK_PATH = '/signed-in';

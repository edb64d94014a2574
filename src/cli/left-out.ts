const NO_PLUGINS = 'plugins are programs made for the public CLI, and speak to it in ways of its own';

/** Commands of the public CLI that ours does not have, and why. docs/cf-commands.md shows them; a test holds the list true. */
export const LEFT_OUT: Readonly<Record<string, string>> = {
  'add-plugin-repo': NO_PLUGINS,
  'remove-plugin-repo': NO_PLUGINS,
  'list-plugin-repos': NO_PLUGINS,
  'repo-plugins': NO_PLUGINS,
  plugins: NO_PLUGINS,
  'install-plugin': NO_PLUGINS,
  'uninstall-plugin': NO_PLUGINS,
};

/**
 * How a process of an app begins, as Cloud Foundry's launcher has it: the scripts of the buildpacks, then those of the app,
 * then its `.profile`, all in the shell that becomes the start command.
 */
const LAUNCH = `
cd "$HOME" 2>/dev/null || { echo "no folder $HOME in the droplet" >&2; exit 1; }
mkdir -p "$TMPDIR"
unset GEM_PATH
source_all() {
  local script
  for script in "$1"/*.sh; do
    if [ -f "$script" ]; then . "$script"; fi
  done
}
source_all /home/vcap/profile.d
source_all /home/vcap/app/.profile.d
if [ -f /home/vcap/app/.profile ]; then . /home/vcap/app/.profile; fi
unset -f source_all
exec bash -c "$1"
`;

/** What warden is asked to spawn for a start command; runs in /home/vcap/app. */
export function launchArguments(command: string): string[] {
  return ['/bin/bash', '-c', LAUNCH, 'launch', command];
}

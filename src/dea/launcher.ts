import { type ImageConfig, imageLaunch } from './docker/image.ts';

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

/** The same with where and as whom it begins: as the image says, where there is one. */
export function launchRequest(
  command: string,
  image: ImageConfig | undefined,
): { args: string[]; cwd: string; user: string } {
  if (image) return imageLaunch(image, command);
  return { args: launchArguments(command), cwd: '/home/vcap', user: 'vcap' };
}

/**
 * For whoever enters a container by `cf ssh`: what Cloud Foundry's documents tell to call there, `/tmp/lifecycle/shell` for a shell
 * with the app's environment and `/tmp/lifecycle/launcher FOLDER COMMAND METADATA`.
 */
const LIFECYCLE = `
if [ ! -e /tmp/lifecycle ] && mkdir "/tmp/lifecycle.$$" 2>/dev/null; then
  cat > "/tmp/lifecycle.$$/launcher" <<'END_OF_LAUNCHER'
#!/bin/bash
export HOME=\${1:-/home/vcap/app}
set -- "\${2:-exec bash}"
${LAUNCH}
END_OF_LAUNCHER
  printf '#!/bin/bash\\nexec /tmp/lifecycle/launcher /home/vcap/app "exec bash" ""\\n' > "/tmp/lifecycle.$$/shell"
  chmod +x "/tmp/lifecycle.$$"/*
  mv -T "/tmp/lifecycle.$$" /tmp/lifecycle 2>/dev/null || rm -r "/tmp/lifecycle.$$"
fi
`;

/** Images of others may have no bash. */
const ANY_SHELL = `
for shell in /bin/bash /usr/bin/bash /bin/sh; do
  if [ -x "$shell" ]; then exec "$shell" "$@"; fi
done
`;

const ANY_SFTP_SERVER = `
for server in /usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server /usr/lib/ssh/sftp-server; do
  if [ -x "$server" ]; then exec "$server"; fi
done
echo 'there is no sftp-server in this container; use "scp -O", or "cat" by a command' >&2
exit 127
`;

/** What warden is asked to spawn for somebody who comes by ssh. */
export function sessionArguments(
  what: { kind: 'shell' } | { kind: 'exec'; command: string } | { kind: 'sftp' },
): string[] {
  switch (what.kind) {
    case 'shell':
      return ['/bin/sh', '-c', LIFECYCLE + ANY_SHELL, 'ssh'];
    case 'exec':
      return ['/bin/sh', '-c', LIFECYCLE + ANY_SHELL, 'ssh', '-c', what.command];
    case 'sftp':
      return ['/bin/sh', '-c', ANY_SFTP_SERVER];
    default:
      return what satisfies never;
  }
}

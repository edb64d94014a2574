/** `script/stack [FOLDER]`: makes sure that the stack is in FOLDER (default /var/cache/ingot/stacks) and says where. */
import { describeError } from '#kernel/errors.ts';
import { ensureStack, stackName } from '#platform/stack.ts';

const [stacks_folder = '/var/cache/ingot/stacks'] = process.argv.slice(2);
try {
  const { rootfs, built } = await ensureStack({
    stacks_folder,
    name: stackName,
    onProgress: (line) => console.log(`  ${line}`),
  });
  console.log(`${built ? 'built' : 'found'} ${rootfs}`);
} catch (error) {
  console.error(`script/stack: ${describeError(error)}`);
  process.exitCode = 1;
}
